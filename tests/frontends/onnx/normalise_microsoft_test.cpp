// ONNX Runtime's fused transformer operators, small enough to be worked out by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/eval.h"
#include "onnx_file.h"

namespace octet::test {
namespace {

using graph::Tensor;
using Floats = std::vector<float>;
using Tensors = std::vector<Tensor>;

Tensor floats(const Shape& shape, const Floats& values) { return Tensor::of<float>(DType::f32, shape, values); }
void expect_near(const Tensor& t, const Floats& wanted) {
  ASSERT_EQ(t.size(), static_cast<int64_t>(wanted.size()));
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(t.to_f32()[i], wanted[i], 1e-5f) << "element " << i;
}

Message fused(std::string_view op, const Names& inputs, const Names& outputs, const std::vector<Message>& attrs = {}) {
  return node(op, inputs, outputs, attrs, {}, "com.microsoft");
}
// x, r: float[1,2] → the node's outputs.
ModelParts pair_model(const Message& n, const Names& outputs, const std::vector<Message>& initializers) {
  ModelParts parts;
  parts.nodes = {n};
  parts.inputs = {value("x", kFloat, {"1", "2"}), value("r", kFloat, {"1", "2"})};
  for (const std::string& o : outputs) parts.outputs.push_back(Message().text(1, o));
  parts.initializers = initializers;
  return parts;
}

TEST(NormaliseMicrosoft, SkipLayerNormalizationAddsAndGivesTheSum) {
  const auto g = import_parts(pair_model(
      fused("SkipLayerNormalization", {"x", "r", "gamma", "beta", "bias"}, {"y", "", "", "sum"}, {attr_float("epsilon", 0)}),
      {"y", "sum"},
      {float_tensor("gamma", {2}, {2, 3}), float_tensor("beta", {2}, {10, 20}), float_tensor("bias", {2}, {1, 3})}));
  const Tensors out = graph::run_reference(*g, Tensors{floats({1, 2}, {1, 3}), floats({1, 2}, {1, 1})});
  expect_near(out[1], {3, 7});
  expect_near(out[0], {-1 * 2 + 10, 1 * 3 + 20});  // mean 5, deviation 2
}

TEST(NormaliseMicrosoft, SimplifiedFormsLeaveTheMean) {
  const auto skip = import_parts(
      pair_model(fused("SkipSimplifiedLayerNormalization", {"x", "r", "gamma"}, {"y"}, {attr_float("epsilon", 0)}), {"y"},
                 {float_tensor("gamma", {2}, {1, 2})}));
  const Floats want{3 / std::sqrt(12.5f), 8 / std::sqrt(12.5f)};
  expect_near(graph::run_reference(*skip, Tensors{floats({1, 2}, {2, 3}), floats({1, 2}, {1, 1})})[0], want);
  const auto plain = import_node(
      17, node("SimplifiedLayerNormalization", {"x", "gamma"}, {"y"}, {attr_float("epsilon", 0), attr_int("axis", -1)}),
      {"1", "2"}, {float_tensor("gamma", {2}, {1, 2})});
  expect_near(graph::run_reference(*plain, Tensors{floats({1, 2}, {3, 4})})[0], want);
}

TEST(NormaliseMicrosoft, ProductsWithAnActivationOfTheirOwn) {
  const auto gemm =
      import_node(17,
                  fused("FusedGemm", {"x", "w", "c"}, {"y"},
                        {attr_text("activation", "LeakyRelu"), attr_float("activation_alpha", 0.5f), attr_int("transB", 1)}),
                  {"1", "2"}, {float_tensor("w", {2, 2}, {1, 1, 1, -1}), float_tensor("c", {2}, {1, -2})});
  expect_near(graph::run_reference(*gemm, Tensors{floats({1, 2}, {2, 3})})[0], {6, -1.5f});

  ModelParts parts;
  parts.nodes = {fused("FusedConv", {"x", "w", "", "r"}, {"y"},
                       {attr_text("activation", "Clip"), attr_floats("activation_params", {0, 6})})};
  parts.inputs = {value("x", kFloat, {"1", "1", "1", "3"}), value("r", kFloat, {"1", "1", "1", "3"})};
  parts.outputs = {Message().text(1, "y")};
  parts.initializers = {float_tensor("w", {1, 1, 1, 1}, {2})};
  const Tensors in{floats({1, 1, 1, 3}, {1, 2, -3}), floats({1, 1, 1, 3}, {1, 5, 1})};
  expect_near(graph::run_reference(*import_parts(parts), in)[0], {3, 6, 0});
}

TEST(NormaliseMicrosoft, GeluInItsForms) {
  const std::vector<Message> bias{float_tensor("b", {2}, {1, -2})};
  const auto run = [](const graph::Graph& g, float a, float b) {
    return graph::run_reference(g, Tensors{floats({2}, {a, b})})[0];
  };
  const Floats exact{0.8413447f, -0.1586553f}, quick{0.8457958f, -0.1542042f};
  expect_near(run(*import_node(17, fused("Gelu", {"x"}, {"y"}), {"2"}), 1, -1), exact);
  expect_near(run(*import_node(17, fused("BiasGelu", {"x", "b"}, {"y"}), {"2"}, bias), 0, 1), exact);
  expect_near(run(*import_node(17, fused("FastGelu", {"x", "b"}, {"y"}), {"2"}, bias), 0, 1), {0.8411920f, -0.1588080f});
  expect_near(run(*import_node(17, fused("FastGelu", {"x"}, {"y"}), {"2"}), 1, -1), {0.8411920f, -0.1588080f});
  expect_near(run(*import_node(17, fused("QuickGelu", {"x"}, {"y"}), {"2"}), 1, -1), quick);
  expect_near(run(*import_node(17, fused("QuickGelu", {"x"}, {"y"}, {attr_float("alpha", 0)}), {"2"}), 1, -1),
              {0.5f, -0.5f});
}

// Two tokens of width 2: words 1 and 0, segments 0 and 1.
ModelParts embedding(const Names& inputs, const Names& outputs) {
  ModelParts parts;
  parts.nodes = {fused("EmbedLayerNormalization", inputs, outputs, {attr_float("epsilon", 0)})};
  parts.inputs = {value("ids", kInt32, {"1", "2"}), value("segments", kInt32, {"1", "2"}),
                  value("mask", kInt32, {"1", "2"})};
  for (const std::string& o : outputs)
    if (!o.empty()) parts.outputs.push_back(Message().text(1, o));
  parts.initializers = {float_tensor("words", {2, 2}, {1, 2, 3, 5}), float_tensor("positions", {3, 2}, {0, 0, 1, 4, 9, 9}),
                        float_tensor("types", {2, 2}, {0, 0, 2, 2}), float_tensor("gamma", {2}, {1, 1}),
                        float_tensor("beta", {2}, {0, 1})};
  return parts;
}
Tensors tokens() {
  const auto ints = [](const std::vector<int32_t>& v) { return Tensor::of<int32_t>(DType::s32, {1, 2}, v); };
  return {ints({1, 0}), ints({0, 1}), ints({1, 1})};
}

TEST(NormaliseMicrosoft, EmbeddingsAreSummedAndNormalised) {
  const auto g = import_parts(
      embedding({"ids", "segments", "words", "positions", "types", "gamma", "beta", "mask"}, {"y", "index", "sum"}));
  const Tensors out = graph::run_reference(*g, tokens());
  expect_near(out[2], {3, 5, 1 + 1 + 2, 2 + 4 + 2});
  expect_near(out[0], {-1, 2, -1, 2});
  EXPECT_EQ(out[1].to_s64(), std::vector<int64_t>{2});
  const auto bare = import_parts(embedding({"ids", "", "words", "positions", "", "gamma", "beta"}, {"y", "", "sum"}));
  expect_near(graph::run_reference(*bare, tokens())[1], {3, 5, 2, 6});
  const auto placed =
      import_parts(embedding({"ids", "", "words", "positions", "", "gamma", "beta", "", "segments"}, {"y", "", "sum"}));
  expect_near(graph::run_reference(*placed, tokens())[1], {3, 5, 2, 6});
}

TEST(NormaliseMicrosoft, RefusesWhatItCannotGive) {
  EXPECT_NE(
      error_of(embedding({"ids", "", "words", "positions", "", "gamma", "beta"}, {"y", "index"})).find("there is no mask"),
      std::string::npos);
  EXPECT_NE(error_of(embedding({"ids", "", "words", "positions", "", "gamma"}, {"y"})).find("input 6 is missing"),
            std::string::npos);
  const auto mean = pair_model(fused("SkipLayerNormalization", {"x", "r", "gamma"}, {"y", "mean"}), {"y", "mean"},
                               {float_tensor("gamma", {2}, {1, 1})});
  EXPECT_NE(error_of(mean).find("(the mean) is used"), std::string::npos);
}

}  // namespace
}  // namespace octet::test
