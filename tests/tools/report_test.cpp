#include "tools/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace octet::tools {
namespace {

BenchRun run(const std::string& precision) {
  BenchRun r;
  r.model = "net";
  r.file = "net.onnx";
  r.precision = precision;
  r.isa = "avx2";
  r.latency = summarize({3, 1, 2});
  r.throughput = 500;
  r.cold = {10, 4, 30};
  r.weights_mb = 2;
  r.arena_mb = 1;
  r.gops = 8;
  r.output_hash = "0123456789abcdef";
  return r;
}

TEST(Report, JsonHasEveryAgreedKeyInItsPlace) {
  Report report;
  report.machine = {"Some CPU", 2, {"avx2"}};
  report.runs = {run("fp32"), run("int8")};
  report.runs[1].accuracy = Accuracy{"top1", 0.75, 100};
  report.runs[1].agreement = Agreement{0.99, 30, 0.999};
  report.comparisons = {{"net", "avx2", 1, 3.5, 3.4, 0.01, 3.9}, {"net", "avx2", 1, 3.5, 3.4, {}, 3.9}};
  const auto json = nlohmann::json::parse(to_json(report));

  const auto keys = [](const nlohmann::json& object) {
    std::vector<std::string> names;
    for (const auto& [key, value] : object.items()) names.push_back(key);
    return names;  // sorted
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(keys(json), (Names{"comparisons", "machine", "octet", "runs"}));
  EXPECT_EQ(keys(json["octet"]), (Names{"commit", "version"}));
  EXPECT_EQ(keys(json["machine"]), (Names{"cores", "cpu", "isas"}));
  EXPECT_EQ(keys(json["runs"][0]),
            (Names{"arena_mb", "batch", "file", "first_ms", "gops", "isa", "latency_ms", "load_ms", "model", "output_hash",
                   "peak_rss_mb", "precision", "steps", "streams", "threads", "throughput_per_s", "weights_mb"}));
  EXPECT_EQ(keys(json["runs"][0]["latency_ms"]), (Names{"mean", "median", "min", "p90", "p99", "samples"}));
  EXPECT_EQ(keys(json["runs"][0]["steps"]), (Names{"float", "int8"}));
  EXPECT_EQ(keys(json["runs"][1]["accuracy"]), (Names{"metric", "samples", "value"}));
  EXPECT_EQ(keys(json["runs"][1]["agreement"]), (Names{"cosine", "sqnr_db", "top1"}));
  EXPECT_EQ(keys(json["comparisons"][0]),
            (Names{"accuracy_drop", "isa", "model", "size_ratio", "speedup", "threads", "throughput_ratio"}));
  EXPECT_FALSE(json["comparisons"][1].contains("accuracy_drop")) << "no data, no accuracy";
  EXPECT_EQ(json["runs"][0]["latency_ms"]["median"], 2);
  EXPECT_EQ(json["comparisons"][0]["speedup"], 3.5);
}

TEST(Report, TextShowsAccuracyOnlyWhereItIsKnown) {
  Report report;
  report.runs = {run("fp32"), run("int8")};
  report.runs[1].accuracy = Accuracy{"top1", 0.7512, 100};
  report.comparisons = {{"net", "avx2", 1, 3.5, 3.4, 0.01, 3.9}};
  const std::string text = to_text(report);
  EXPECT_NE(text.find("top1 75.12 %"), std::string::npos) << text;
  EXPECT_NE(text.find("INT8 is 3.50 times as fast"), std::string::npos) << text;
  EXPECT_NE(text.find("accuracy drop 1.00 points"), std::string::npos) << text;
}

TEST(Report, HtmlEscapesNames) {
  Report report;
  report.runs = {run("fp32")};
  report.runs[0].model = "<script>";
  const std::string html = to_html(report);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;"), std::string::npos);
}

TEST(Latency, PercentilesAreSamples) {
  std::vector<double> ms;
  for (int i = 100; i >= 1; --i) ms.push_back(i);
  const Latency l = summarize(ms);
  EXPECT_EQ(l.samples, 100u);
  EXPECT_EQ(l.min, 1);
  EXPECT_EQ(l.median, 50.5);
  EXPECT_EQ(l.p90, 90);
  EXPECT_EQ(l.p99, 99);
  EXPECT_EQ(l.mean, 50.5);
  EXPECT_EQ(summarize({7}).p99, 7);
  EXPECT_EQ(summarize({}).samples, 0u);
}

}  // namespace
}  // namespace octet::tools
