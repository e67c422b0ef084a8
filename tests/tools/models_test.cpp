// Whole models: the embedded one always, the real networks of ../shared/models where they are present.
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/model.h"
#include "tests/tools/testing.h"
#include "tools/evaluate.h"
#include "tools/model_source.h"
#include "tools/quantizer.h"
#include "tools/test_case.h"

namespace octet::tools {
namespace {

namespace fs = std::filesystem;

// FP32 and INT8 of a model on a data set, the second quantized with its calibration part.
struct Compared {
  Accuracy fp32, int8;
  std::vector<std::string> fp32_hashes, int8_hashes;  // one for each ISA and thread count
};

Compared compare(const std::string& model, const std::string& data_file, bool every_isa) {
  Dataset data = Dataset::load(data_file);
  const ModelSource source = open_model(model);
  QuantizeRequest request;
  request.data = &data;
  const Quantized quantized = quantize_model(source, request, [](const std::string&) {});
  const Model fp32 = model_from_graph(source.graph->clone()), int8 = model_from_graph(quantized.graph->clone());
  const InputFeed feed{&data, {}, 0};
  const Evaluation e = evaluate({{&fp32, "fp32", false}, {&int8, "int8", false}}, feed, 2, [](size_t) {});
  Compared result{*e.accuracy[0], *e.accuracy[1], {}, {}};
  if (!every_isa) return result;
  for (const std::string& isa : isas_here())
    for (const int threads : {1, 2}) {
      const Model a = model_from_graph(source.graph->clone(), {isa, {}}),
                  b = model_from_graph(quantized.graph->clone(), {isa, {}});
      result.fp32_hashes.push_back(output_hash({&a, "fp32", false}, feed, threads));
      result.int8_hashes.push_back(output_hash({&b, "int8", false}, feed, threads));
    }
  return result;
}

TEST(Digits, AccuracyAndEqualBitsOnEveryIsa) {
  const std::string digits = std::string(OCTET_SOURCE_DIR) + "/tools/digits/digits";
  const Compared c = compare(digits + ".onnx", digits + ".json", true);
  EXPECT_EQ(c.fp32.samples, 450u);
  EXPECT_GE(c.fp32.value, 0.98);
  EXPECT_GE(c.int8.value, c.fp32.value - 0.01);
  for (const std::string& hash : c.fp32_hashes) EXPECT_EQ(hash, c.fp32_hashes[0]);
  for (const std::string& hash : c.int8_hashes) EXPECT_EQ(hash, c.int8_hashes[0]);
  EXPECT_NE(c.fp32_hashes[0], c.int8_hashes[0]) << "INT8 really is another computation";
}

fs::path shared() { return OCTET_SHARED_DIR; }

class SharedModel : public ::testing::TestWithParam<const char*> {};

TEST_P(SharedModel, PassesOnEveryIsaWithEqualBits) {
  const fs::path folder = shared() / "models" / GetParam();
  if (!fs::exists(folder / "model.onnx")) GTEST_SKIP() << folder.string() << " is not here";
  const auto run = [&](const std::vector<std::string>& isas, int threads, size_t data_sets) {
    TestOptions options;
    options.isas = isas;
    options.threads = threads;
    options.data_sets = data_sets;
    const CaseResult result = run_case(folder.string(), options);
    EXPECT_EQ(result.verdict, Verdict::passed) << result.reason;
    return result.hash;
  };
  auto isas = isas_here();
  run(isas, 1, 1);  // the scalar path takes its time: one data set
  isas.erase(isas.begin());
  if (isas.empty()) return;
  EXPECT_EQ(run(isas, 1, 0), run(isas, 2, 0)) << "one thread and two";
}

INSTANTIATE_TEST_SUITE_P(Models, SharedModel,
                         ::testing::Values("mnist", "squeezenet1_1", "mobilenet_v2", "mobilenet_v2_qdq",
                                           "mobilenet_v2_dynamic", "resnet20_cifar10", "resnet56_cifar10", "ic_resnet8",
                                           "kws_dscnn", "kws_dscnn_int8", "ad01", "ad01_int8", "vww_96", "super_resolution",
                                           "ultraface_rfb320", "squeezenet1_1_fp16", "vit_cifar10", "dtln_1", "dtln_2",
                                           "silero_vad", "fastestdet", "yolox_nano", "yunet_n_320", "ppocr_v3_det"),
                         [](const auto& named) { return std::string(named.param); });

struct Expected {
  const char* model;
  const char* data;
  double fp32;    // top-1 of ONNX Runtime
  double within;  // fraction of samples that may differ from it
  double most_int8_drop;
};

class SharedAccuracy : public ::testing::TestWithParam<Expected> {};

TEST_P(SharedAccuracy, IsThatOfOnnxRuntimeAndInt8StaysClose) {
  const Expected& e = GetParam();
  const std::string model = (shared() / "models" / e.model / "model.onnx").string(),
                    data = (shared() / "data" / e.data).string();
  if (!fs::exists(model) || !fs::exists(data)) GTEST_SKIP() << model << " or " << data << " is not here";
  const Compared c = compare(model, data, false);
  EXPECT_NEAR(c.fp32.value, e.fp32, e.within);
  EXPECT_GE(c.int8.value, c.fp32.value - e.most_int8_drop);
}

INSTANTIATE_TEST_SUITE_P(Models, SharedAccuracy,
                         ::testing::Values(Expected{"mnist", "mnist/mnist.json", 0.9892, 2.5 / 9500, 0.01},
                                           Expected{"resnet20_cifar10", "cifar10/resnet.json", 0.8102, 2.5 / 4500, 0.01},
                                           Expected{"ic_resnet8", "cifar10/ic_resnet8.json", 0.7669, 2.5 / 4500, 0.01}),
                         [](const auto& named) { return std::string(named.param.model); });

TEST(SharedQuantized, KeywordSpottingKeepsItsAccuracy) {
  const fs::path model = shared() / "models/kws_dscnn_int8/model.onnx", json = shared() / "data/kws/int8.json";
  if (!fs::exists(model) || !fs::exists(json)) GTEST_SKIP() << model.string() << " or " << json.string() << " is not here";
  const Dataset data = Dataset::load(json.string());
  const Model net = Model::load(model.string());
  const InputFeed feed{&data, {}, 0};
  const Evaluation e = evaluate({{&net, "kws", false}}, feed, 2, [](size_t) {});
  EXPECT_EQ(e.accuracy[0]->samples, 1000u);
  EXPECT_NEAR(e.accuracy[0]->value, 0.9020, 0.0025);
}

}  // namespace
}  // namespace octet::tools
