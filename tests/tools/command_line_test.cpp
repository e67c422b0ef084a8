// The program as its users meet it: exit statuses, and one line for each mistake.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/tools/testing.h"
#include "tools/npy.h"

namespace octet::tools {
namespace {

using graph::Tensor;

class CommandLineTest : public ::testing::Test {
 protected:
  CommandLineTest() {
    onnx::export_model(*small_graph({2, 3}), path("good.onnx"));
    bytes_ = read_file(path("good.onnx"));
    write_npy(path("x.npy"), Tensor::of<float>(DType::f32, {2, 3}, {-3, -2, -1, 0, 1, 2}).view());
  }

  std::string path(const std::string& name) const { return folder_.path() + "/" + name; }
  std::string file(const std::string& name, const std::string& bytes) const {
    write_file(path(name), bytes);
    return path(name);
  }
  // The good model's bytes with the first `from` replaced by `to`, of the same length.
  std::string patched(const std::string& from, const std::string& to) const {
    std::string bytes = bytes_;
    EXPECT_EQ(from.size(), to.size());
    const size_t at = bytes.find(from);
    EXPECT_NE(at, std::string::npos);
    return bytes.replace(at, from.size(), to);
  }
  // Exit status 2, nothing on standard output, and exactly one line on standard error that holds all of `parts`.
  void expect_refusal(const std::string& arguments, const std::vector<std::string>& parts,
                      const std::string& environment = "") const {
    const ProgramResult r = octet(arguments, environment);
    EXPECT_EQ(r.status, 2) << arguments << "\n" << r.err;
    EXPECT_EQ(r.out, "") << arguments;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
    EXPECT_EQ(r.err.rfind("octet: ", 0), 0u) << r.err;
    for (const std::string& part : parts)
      EXPECT_NE(r.err.find(part), std::string::npos) << "no '" << part << "' in: " << r.err;
  }

  TemporaryFolder folder_;
  std::string bytes_;
};

TEST_F(CommandLineTest, RunWritesItsOutputs) {
  const ProgramResult r =
      octet("run " + path("good.onnx") + " --input xin=" + path("x.npy") + " --output-dir " + path("out/deep"));
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.err, "");
  EXPECT_NE(r.out.find("yout float32[2,3]"), std::string::npos) << r.out;
  EXPECT_EQ(read_npy(path("out/deep/yout.npy")).to_f32(), (std::vector<float>{0, 0, 0, 1, 2, 3}));
}

TEST_F(CommandLineTest, BadUsageIsOneLine) {
  expect_refusal("", {"no command given", "bench", "zoo"});
  expect_refusal("fly", {"unknown command 'fly'", "bench"});
  expect_refusal("--fly", {"--fly"});
  expect_refusal("run", {"model", "octet run --help"});
  expect_refusal("bench " + path("good.onnx") + " --speed 3", {"--speed", "octet bench --help"});
  expect_refusal("bench " + path("good.onnx") + " --threads none", {"--threads"});
  expect_refusal("bench " + path("good.onnx") + " --threads 0", {"--threads"});
  expect_refusal("bench " + path("good.onnx") + " --precision int4", {"--precision", "int4", "fp32"});
  expect_refusal("inspect " + path("good.onnx") + " --stage done", {"--stage", "done", "optimized"});
  expect_refusal("zoo", {"subcommand"});
}

TEST_F(CommandLineTest, HelpAndVersionAreNoMistakes) {
  EXPECT_EQ(octet("--version").status, 0);
  EXPECT_EQ(octet("--version").out.rfind("octet ", 0), 0u);
  for (const char* command : {"", "bench", "run", "quantize", "inspect", "test", "zoo", "zoo export", "cpu"}) {
    const ProgramResult r = octet(std::string(command) + " --help");
    EXPECT_EQ(r.status, 0) << command;
    EXPECT_EQ(r.err, "") << command;
    EXPECT_GT(r.out.size(), 100u) << command;
  }
}

TEST_F(CommandLineTest, UnknownIsaOrZooName) {
  for (const std::string command : {"bench", "run", "inspect --stage plan"})
    expect_refusal(
        command + " " + path("good.onnx") + " --isa sse9" + (command == "run" ? " --input xin=" + path("x.npy") : ""),
        {"sse9", "reference", "avx2", "amx"});
  expect_refusal("bench " + path("good.onnx"), {"OCTET_ISA", "turbo"}, "OCTET_ISA=turbo");
  expect_refusal("cpu", {"OCTET_ISA", "turbo"}, "OCTET_ISA=turbo");
  expect_refusal("inspect zoo:resnet51", {"zoo:resnet51", "resnet50"});
  expect_refusal("zoo export resnet51 " + path("z.onnx"), {"resnet51", "resnet50"});
  expect_refusal("zoo export vgg16 " + path("z.onnx") + " --int8 --dialect qnn", {"qnn", "qdq, qlinear or dynamic"});
  expect_refusal("zoo export vgg16 " + path("z.onnx") + " --int8 --activations f8", {"f8", "u8 or s8"});
  expect_refusal("zoo export vgg16 " + path("z.onnx") + " --dialect qlinear", {"--int8"});
  expect_refusal("zoo export vgg16 " + path("z.onnx") + " --int8 --dialect dynamic --activations s8", {"dynamic", "u8"});
  expect_refusal("zoo export vgg16 " + path("z.onnx") + " --int8 --dialect qlinear --style fused", {"qlinear", "portable"});
  expect_refusal("zoo export vgg16 " + path("z.onnx") + " --with-past", {"zoo:vgg16", "keeps no cache"});
}

TEST_F(CommandLineTest, MalformedFilesNameTheFile) {
  expect_refusal("inspect " + path("missing.onnx"), {"missing.onnx"});
  expect_refusal("inspect " + folder_.path(), {folder_.path()});
  expect_refusal("inspect " + file("empty.onnx", ""), {"empty.onnx"});
  for (const size_t part : {size_t{1}, size_t{2}, size_t{3}})
    expect_refusal("inspect " + file("cut.onnx", bytes_.substr(0, bytes_.size() * part / 4)), {"cut.onnx"});
  uint64_t state = 1;
  for (int i = 0; i < 5; ++i) {
    std::string noise;
    while (noise.size() < 3000)
      noise += static_cast<char>((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
    expect_refusal("inspect " + file("noise.onnx", noise), {"noise.onnx"});
  }
}

TEST_F(CommandLineTest, ACyclicGraphNamesANode) {
  // The first node reads the last one's output: a name of the same length keeps the file well-formed.
  auto g = small_graph({2, 3});
  g->rename(g->inputs()[0], "xinp");
  onnx::export_model(*g, path("acyclic.onnx"));
  std::string bytes = read_file(path("acyclic.onnx"));
  bytes.replace(bytes.find("xinp"), 4, "yout");
  expect_refusal("inspect " + file("cycle.onnx", bytes), {"cycle.onnx", "plus"});
}

TEST_F(CommandLineTest, AnUnsupportedOperatorIsNamed) {
  expect_refusal("inspect " + file("odd.onnx", patched("Relu", "Rfft")), {"odd.onnx", "Rfft", "relu"});
}

TEST_F(CommandLineTest, WrongInputsAreComparedWithTheModels) {
  const std::string run = "run " + path("good.onnx") + " ";
  expect_refusal(run, {"good.onnx", "'xin' float32[2,3]"});
  expect_refusal(run + "--input zin=" + path("x.npy"), {"good.onnx", "zin", "'xin' float32[2,3]"});
  write_npy(path("wide.npy"), Tensor(DType::f32, {2, 4}).view());
  expect_refusal(run + "--input xin=" + path("wide.npy"), {"good.onnx", "xin", "float32[2,4]", "float32[2,3]"});
  write_npy(path("bytes.npy"), Tensor(DType::u8, {2, 3}).view());
  expect_refusal(run + "--input xin=" + path("bytes.npy"), {"good.onnx", "xin", "uint8[2,3]", "float32[2,3]"});
  expect_refusal(run + "--input xin=" + path("none.npy"), {"none.npy"});
  expect_refusal(run + "--input xin", {"--input xin", "NAME=x.npy"});
  expect_refusal("bench " + path("good.onnx") + " --batch 5", {"good.onnx", "--batch 5", "xin"});
}

TEST_F(CommandLineTest, UnwritableOutputsAreRefusedBeforeTheWork) {
  const std::string nowhere = path("no/such/folder/f");
  expect_refusal("bench zoo:vgg16 --json " + nowhere, {nowhere, "cannot be written"});
  expect_refusal("bench zoo:vgg16 --html " + nowhere, {nowhere, "cannot be written"});
  expect_refusal("inspect " + path("good.onnx") + " --dot " + nowhere, {nowhere, "cannot be written"});
  expect_refusal("inspect " + path("good.onnx") + " --json " + folder_.path(), {folder_.path(), "it is a folder"});
  expect_refusal("zoo export vgg16 " + nowhere, {nowhere, "cannot be written"});
  expect_refusal("quantize " + path("good.onnx") + " " + nowhere, {nowhere, "cannot be written"});
  file("plain", "");
  expect_refusal("run " + path("good.onnx") + " --input xin=" + path("x.npy") + " --output-dir " + path("plain/sub"),
                 {"plain/sub"});
}

TEST_F(CommandLineTest, InspectShowsEachStage) {
  for (const char* stage : {"imported", "optimized", "plan"}) {
    const ProgramResult r = octet("inspect " + path("good.onnx") + " --stage " + stage + " --json " + path("s.json") +
                                  " --dot " + path("s.dot"));
    ASSERT_EQ(r.status, 0) << r.err;
    EXPECT_NE(r.out.find("relu"), std::string::npos) << r.out;
    const auto json = nlohmann::json::parse(read_file(path("s.json")));
    EXPECT_EQ(json["stage"], stage);
    EXPECT_EQ(json["inputs"][0]["name"], "xin");
    EXPECT_GE(json["nodes"].size(), 1u);
    EXPECT_EQ(json.contains("steps"), std::string(stage) == "plan");
    EXPECT_EQ(read_file(path("s.dot")).rfind("digraph", 0), 0u);
  }
  EXPECT_EQ(octet("inspect " + path("good.onnx") + " --why").status, 0);
}

TEST_F(CommandLineTest, BenchWritesTheAgreedJson) {
  const std::string digits = std::string(OCTET_SOURCE_DIR) + "/tools/digits/digits";
  const ProgramResult r = octet("bench " + digits + ".onnx --data " + digits +
                                ".json --samples 50 --seconds 0.02 --threads 1 --isa avx2,reference --json " +
                                path("r.json") + " --html " + path("r.html"));
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.err, "") << "progress only on a terminal";
  const auto json = nlohmann::json::parse(read_file(path("r.json")));
  EXPECT_TRUE(json["octet"]["version"].is_string());
  EXPECT_TRUE(json["octet"]["commit"].is_string());
  EXPECT_TRUE(json["machine"]["isas"].is_array());
  ASSERT_EQ(json["runs"].size(), 4u);
  ASSERT_EQ(json["comparisons"].size(), 2u);
  for (const auto& run : json["runs"]) {
    EXPECT_EQ(run["model"], "digits");
    EXPECT_EQ(run["threads"], 1);
    for (const char* key : {"min", "median", "p90", "p99", "mean"})
      EXPECT_GT(run["latency_ms"][key].get<double>(), 0) << key;
    for (const char* key : {"throughput_per_s", "load_ms", "first_ms", "peak_rss_mb", "weights_mb", "arena_mb", "gops"})
      EXPECT_GT(run[key].get<double>(), 0) << key << " " << run.dump();
    EXPECT_EQ(run["accuracy"]["metric"], "top1");
    EXPECT_EQ(run["accuracy"]["samples"], 50);
    EXPECT_GT(run["accuracy"]["value"].get<double>(), 0.9);
    EXPECT_EQ(run["output_hash"].get<std::string>().size(), 16u);
  }
  EXPECT_FALSE(json["runs"][0].contains("agreement"));
  EXPECT_GT(json["runs"][1]["agreement"]["cosine"].get<double>(), 0.95);
  EXPECT_GT(json["runs"][1]["steps"]["int8"].get<int>(), 0);
  EXPECT_EQ(json["runs"][0]["output_hash"], json["runs"][2]["output_hash"]) << "FP32 on avx2 and reference";
  EXPECT_EQ(json["runs"][1]["output_hash"], json["runs"][3]["output_hash"]) << "INT8 on avx2 and reference";
  EXPECT_NE(read_file(path("r.html")).find("<table>"), std::string::npos);
}

TEST_F(CommandLineTest, QuantizedModelsRunWithStreamsAndBatch) {
  const std::string digits = std::string(OCTET_SOURCE_DIR) + "/tools/digits/digits";
  for (const std::string style : {"fused", "portable"}) {
    const std::string out = path(style + ".onnx");
    const ProgramResult q = octet("quantize " + digits + ".onnx " + out + " --data " + digits + ".json --style " + style);
    ASSERT_EQ(q.status, 0) << q.err;
    const ProgramResult r =
        octet("bench " + out + " --streams 2 --batch 2 --seconds 0.02 --threads 1 --json " + path("r.json"));
    ASSERT_EQ(r.status, 0) << r.err;
    const auto json = nlohmann::json::parse(read_file(path("r.json")));
    ASSERT_EQ(json["runs"].size(), 1u) << "a quantized model is run as it is";
    EXPECT_EQ(json["runs"][0]["precision"], "int8");
    EXPECT_EQ(json["runs"][0]["streams"], 2);
    EXPECT_EQ(json["runs"][0]["batch"], 2);
  }
  expect_refusal("bench " + path("fused.onnx") + " --precision fp32", {"fused.onnx", "quantized already"});
}

TEST_F(CommandLineTest, WeightsOfFourBitsRunFromAFileAndKeepTheAccuracy) {
  const std::string digits = std::string(OCTET_SOURCE_DIR) + "/tools/digits/digits";
  const ProgramResult q = octet("quantize " + digits + ".onnx " + path("w4.onnx") + " --weights 4 --block 16");
  ASSERT_EQ(q.status, 0) << q.err;
  const ProgramResult r = octet("bench " + path("w4.onnx") + " --data " + digits +
                                ".json --isa avx2,reference --seconds 0.02 --threads 1 --json " + path("r.json"));
  ASSERT_EQ(r.status, 0) << r.err;
  const auto json = nlohmann::json::parse(read_file(path("r.json")));
  ASSERT_EQ(json["runs"].size(), 2u);
  EXPECT_GT(json["runs"][0]["accuracy"]["value"].get<double>(), 0.98);
  EXPECT_EQ(json["runs"][0]["output_hash"], json["runs"][1]["output_hash"]) << "avx2 and reference";
  const std::string quantize = "quantize " + digits + ".onnx " + path("c8.onnx") + " --cache 8";
  expect_refusal(quantize, {"digits.onnx", "no attention over a cache"});
  expect_refusal(quantize + " --dialect dynamic", {"--cache", "expected --dialect qdq or qlinear"});
  EXPECT_FALSE(std::filesystem::exists(path("c8.onnx")));
}

TEST_F(CommandLineTest, CpuNamesWhatItTakes) {
  const ProgramResult r = octet("cpu");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find("octet takes " + isas_here().back()), std::string::npos) << r.out;
  const ProgramResult capped = octet("cpu", "OCTET_ISA=reference");
  EXPECT_NE(capped.out.find("octet takes reference"), std::string::npos) << capped.out;
}

TEST_F(CommandLineTest, ZooListsAndExports) {
  const ProgramResult list = octet("zoo list");
  for (const char* name : {"resnet18", "resnet50", "mobilenet_v2", "squeezenet1_1", "vgg16"})
    EXPECT_NE(list.out.find(name), std::string::npos) << list.out;
  const ProgramResult r = octet("zoo export squeezenet1_1 " + path("z.onnx") + " --batch 2");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(onnx::import_model(path("z.onnx"))->inputs()[0]->type().shape(), (Shape{2, 3, 224, 224}));
}

}  // namespace
}  // namespace octet::tools
