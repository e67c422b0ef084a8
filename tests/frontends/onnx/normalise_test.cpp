// Older opsets take the newest meaning: operands that were attributes, renamed operators, other defaults.
#include <gtest/gtest.h>

#include "graph/eval.h"
#include "onnx_file.h"

namespace octet::test {
namespace {

using graph::Node;
using graph::Tensor;

const Node& only(const graph::Graph& g) {
  EXPECT_EQ(g.nodes().size(), 1u);
  return *g.nodes().front();
}
std::vector<int64_t> ints_of(const Node& n, size_t input) { return n.input(input)->constant().to_s64(); }

std::vector<float> run(const graph::Graph& g, const Shape& shape, const std::vector<float>& x) {
  return graph::run_reference(g, std::vector<Tensor>{Tensor::of<float>(DType::f32, shape, x)})[0].to_f32();
}

TEST(Normalise, clip) {
  const auto g = import_node(7, node("Clip", {"x"}, {"y"}, {attr_float("min", 0), attr_float("max", 6)}), {"4"});
  EXPECT_EQ(only(*g).input(1)->constant().to_f32(), std::vector<float>{0});
  EXPECT_EQ(only(*g).input(2)->constant().to_f32(), std::vector<float>{6});
  EXPECT_TRUE(only(*g).attrs().empty());
  const auto open = import_node(7, node("Clip", {"x"}, {"y"}, {attr_float("max", 6)}), {"4"});
  EXPECT_EQ(only(*open).input(1), nullptr);
  const auto half = import_node(7, node("Clip", {"x"}, {"y"}, {attr_float("min", 1)}), {"4"}, {}, kFloat16);
  EXPECT_EQ(only(*half).input(1)->dtype(), DType::f16);
  EXPECT_EQ(only(*half).input(1)->constant().at_f64(0), 1.0);
}

TEST(Normalise, dropout_and_its_mask) {
  const auto g = import_node(7, node("Dropout", {"x"}, {"y", "mask"}, {attr_float("ratio", 0.25f)}), {"4"});
  EXPECT_EQ(only(*g).input(1)->constant().to_f32(), std::vector<float>{0.25f});
  EXPECT_EQ(only(*g).outputs().size(), 2u);
}

TEST(Normalise, squeeze_and_unsqueeze) {
  const auto s = import_node(11, node("Squeeze", {"x"}, {"y"}, {attr_ints("axes", {0})}), {"1", "4"});
  EXPECT_EQ(ints_of(only(*s), 1), std::vector<int64_t>{0});
  EXPECT_EQ(graph::to_string(s->outputs()[0]->type()), "float32[4]");
  const auto u = import_node(11, node("Unsqueeze", {"x"}, {"y"}, {attr_ints("axes", {0, 2})}), {"4"});
  EXPECT_EQ(graph::to_string(u->outputs()[0]->type()), "float32[1,4,1]");
  EXPECT_EQ(import_node(13, node("Squeeze", {"x"}, {"y"}), {"1", "4"})->nodes().front()->inputs().size(), 1u);
}

TEST(Normalise, reductions) {
  const auto g =
      import_node(11, node("ReduceMean", {"x"}, {"y"}, {attr_ints("axes", {1}), attr_int("keepdims", 0)}), {"2", "3"});
  EXPECT_EQ(ints_of(only(*g), 1), std::vector<int64_t>{1});
  EXPECT_EQ(only(*g).attr("keepdims", int64_t{1}), 0);
  EXPECT_EQ(run(*g, {2, 3}, {1, 2, 3, 4, 5, 6}), (std::vector<float>{2, 5}));
  const auto all = import_node(12, node("ReduceSum", {"x"}, {"y"}), {"2", "3"});
  EXPECT_EQ(run(*all, {2, 3}, {1, 2, 3, 4, 5, 6}), std::vector<float>{21});
}

TEST(Normalise, slice) {
  const auto g =
      import_node(9, node("Slice", {"x"}, {"y"}, {attr_ints("starts", {1}), attr_ints("ends", {3}), attr_ints("axes", {1})}),
                  {"2", "4"});
  EXPECT_EQ(run(*g, {2, 4}, {0, 1, 2, 3, 4, 5, 6, 7}), (std::vector<float>{1, 2, 5, 6}));
}

TEST(Normalise, pad) {
  const auto g = import_node(9, node("Pad", {"x"}, {"y"}, {attr_ints("pads", {1, 0}), attr_float("value", 9)}), {"2"});
  EXPECT_EQ(run(*g, {2}, {1, 2}), (std::vector<float>{9, 1, 2}));
}

TEST(Normalise, split) {
  ModelParts parts;
  parts.nodes = {node("Split", {"x"}, {"a", "b"}, {attr_ints("split", {1, 3})}),
                 node("Concat", {"b", "a"}, {"y"}, {attr_int("axis", 0)})};
  parts.inputs = {value("x", kFloat, {"4"})};
  parts.outputs = {value("y", kFloat, {"4"})};
  parts.opset = 11;
  EXPECT_EQ(run(*import_parts(parts), {4}, {1, 2, 3, 4}), (std::vector<float>{2, 3, 4, 1}));
  parts.nodes[0] = node("Split", {"x"}, {"a", "b"});
  const auto equal = import_parts(parts);
  EXPECT_EQ(equal->nodes().front()->attr("num_outputs", int64_t{0}), 2);
  EXPECT_EQ(run(*equal, {4}, {1, 2, 3, 4}), (std::vector<float>{3, 4, 1, 2}));
}

TEST(Normalise, top_k) {
  ModelParts parts;
  parts.nodes = {node("TopK", {"x"}, {"y", "i"}, {attr_int("k", 2)})};
  parts.inputs = {value("x", kFloat, {"4"})};
  parts.outputs = {value("y", kFloat, {"2"})};
  parts.opset = 9;
  EXPECT_EQ(run(*import_parts(parts), {4}, {1, 4, 2, 3}), (std::vector<float>{4, 3}));
}

TEST(Normalise, upsample_is_resize_with_asymmetric_coordinates) {
  for (const int opset : {7, 9}) {
    const auto g = opset == 7 ? import_node(7, node("Upsample", {"x"}, {"y"}, {attr_floats("scales", {1, 1, 1, 2})}),
                                            {"1", "1", "1", "2"})
                              : import_node(9, node("Upsample", {"x", "s"}, {"y"}), {"1", "1", "1", "2"},
                                            {float_tensor("s", {4}, {1, 1, 1, 2})});
    EXPECT_EQ(only(*g).op_name(), "Resize");
    EXPECT_EQ(run(*g, {1, 1, 1, 2}, {1, 2}), (std::vector<float>{1, 1, 2, 2}));
  }
}

// onnx 1.5, test_resize_downsample_nearest and test_resize_downsample_linear.
TEST(Normalise, resize_10) {
  const std::vector<Message> scales{float_tensor("s", {4}, {1, 1, 0.6f, 0.6f})};
  const Names dims{"1", "1", "2", "4"};
  const auto nearest = import_node(10, node("Resize", {"x", "s"}, {"y"}, {attr_text("mode", "nearest")}), dims, scales);
  EXPECT_EQ(run(*nearest, {1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), (std::vector<float>{1, 3}));
  const auto linear = import_node(10, node("Resize", {"x", "s"}, {"y"}, {attr_text("mode", "linear")}), dims, scales);
  const std::vector<float> y = run(*linear, {1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_EQ(y.size(), 2u);
  EXPECT_NEAR(y[0], 1, 1e-5);
  EXPECT_NEAR(y[1], 2.6666665, 1e-5);
}

TEST(Normalise, softmax_over_the_last_axis_stays) {
  EXPECT_EQ(
      only(*import_node(9, node("Softmax", {"x"}, {"y"}, {attr_int("axis", 1)}), {"2", "3"})).attr("axis", int64_t{-1}), 1);
  EXPECT_EQ(only(*import_node(9, node("Softmax", {"x"}, {"y"}), {"2", "3", "1", "1"})).attr("axis", int64_t{-1}), 1);
  EXPECT_EQ(only(*import_node(13, node("Softmax", {"x"}, {"y"}, {attr_int("axis", 1)}), {"2", "3", "4"}))
                .attr("axis", int64_t{-1}),
            1);
}

TEST(Normalise, softmax_over_several_axes_is_that_of_a_matrix) {
  const Message n = node("Softmax", {"x"}, {"y"}, {attr_int("axis", 1)}, "sm");
  const std::vector<float> zeros(12, 0.0f), twelfths(12, 1.0f / 12);
  for (const Names& dims : {Names{"1", "3", "4"}, Names{"N", "3", "4"}, Names{"a", "b", "c"}}) {
    const auto g = import_node(11, n, dims);
    EXPECT_EQ(g->outputs()[0]->name(), "y");
    EXPECT_EQ(run(*g, {1, 3, 4}, zeros), twelfths);
    graph::verify(*g);
  }
}

TEST(Normalise, batch_normalization_in_inference) {
  const std::vector<Message> params{float_tensor("s", {1}, {1}), float_tensor("b", {1}, {0}), float_tensor("m", {1}, {0}),
                                    float_tensor("v", {1}, {1})};
  const Names in{"x", "s", "b", "m", "v"}, dims{"1", "1", "2"};
  const auto g =
      import_node(8, node("BatchNormalization", in, {"y", "mean", "var"}, {attr_int("spatial", 1)}), dims, params);
  EXPECT_EQ(only(*g).outputs().size(), 1u);
  EXPECT_FALSE(only(*g).has_attr("spatial"));
  EXPECT_THROW(import_node(8, node("BatchNormalization", in, {"y"}, {attr_int("spatial", 0)}), dims, params), Error);
  EXPECT_THROW(import_node(15, node("BatchNormalization", in, {"y"}, {attr_int("training_mode", 1)}), dims, params), Error);
}

TEST(Normalise, group_normalization_with_parameters_per_group) {
  const auto g = import_node(
      18, node("GroupNormalization", {"x", "s", "b"}, {"y"}, {attr_int("num_groups", 2), attr_float("epsilon", 0)}),
      {"1", "4", "1"}, {float_tensor("s", {2}, {1, 2}), float_tensor("b", {2}, {0, 10})});
  EXPECT_EQ(run(*g, {1, 4, 1}, {-1, 1, -1, 1}), (std::vector<float>{-1, 1, 8, 12}));
}

TEST(Normalise, attributes_that_were_required_are_missed) {
  ModelParts parts;
  parts.nodes = {node("Unsqueeze", {"x"}, {"y"}, {}, "n")};
  parts.inputs = {value("x", kFloat, {"2"})};
  parts.outputs = {value("y", kFloat, {"1", "2"})};
  parts.opset = 11;
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: node 'n' (Unsqueeze): attribute 'axes' is missing");
  parts.nodes = {node("Unsqueeze", {"x"}, {"y"}, {attr_int("axes", 1)}, "n")};
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: node 'n' (Unsqueeze): attribute 'axes' has the wrong kind");
  parts.nodes = {node("Unsqueeze", {"x", "x"}, {"y"}, {attr_ints("axes", {1})}, "n")};
  EXPECT_EQ(error_of(parts),
            "invalid model: test.onnx: node 'n' (Unsqueeze): has 2 inputs, expected at most 1 in this opset");
}

TEST(Normalise, microsoft_quantize_is_the_standard_one) {
  const auto g = import_node(11, node("QuantizeLinear", {"x", "s", "z"}, {"y"}, {}, "q", "com.microsoft"), {"2"},
                             {float_tensor("s", {}, {0.5f}), tensor_header("z", kUint8, {}).number(5, 3)});
  EXPECT_EQ(only(*g).op_name(), "QuantizeLinear");
}

}  // namespace
}  // namespace octet::test
