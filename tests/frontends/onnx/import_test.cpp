#include <gtest/gtest.h>

#include "onnx_file.h"

namespace octet::test {
namespace {

using graph::Tensor;

TEST(Import, types_symbols_and_names_are_kept) {
  ModelParts parts;
  parts.nodes = {node("Relu", {"x"}, {"h"}, {}, "act"), node("MatMul", {"h", "w"}, {"y"})};
  parts.inputs = {value("x", kFloat, {"batch", "", "3"})};
  parts.outputs = {value("y", kFloat, {"batch", "", "2"})};
  parts.initializers = {float_tensor("w", {3, 2}, {1, 2, 3, 4, 5, 6})};
  const auto g = import_parts(parts);
  EXPECT_EQ(g->name, "g");
  EXPECT_EQ(g->file, "test.onnx");
  ASSERT_EQ(g->inputs().size(), 1u);
  EXPECT_EQ(graph::to_string(g->inputs()[0]->type()), "float32[batch,?,3]");
  ASSERT_EQ(g->nodes().size(), 2u);
  EXPECT_EQ(g->nodes().front()->name(), "act");
  EXPECT_EQ(g->find_value("h")->producer(), g->nodes().front().get());
  EXPECT_EQ(g->find_value("w")->constant().to_f32(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(g->output_names(), Names{"y"});
  EXPECT_EQ(graph::to_string(g->outputs()[0]->type()), "float32[batch,?,2]");
  graph::verify(*g);
}

TEST(Import, a_dimension_of_minus_one_is_unknown) {
  const auto g = import_node(11, node("Relu", {"x"}, {"y"}), {"-1", "3", "-1"});
  EXPECT_EQ(graph::to_string(g->outputs()[0]->type()), "float32[?,3,?]");
}

TEST(Import, nodes_may_stand_in_any_order) {
  ModelParts parts;
  parts.nodes = {node("Relu", {"b"}, {"y"}), node("Neg", {"a"}, {"b"}), node("Abs", {"x"}, {"a"})};
  parts.inputs = {value("x", kFloat, {"1"})};
  parts.outputs = {value("y", kFloat, {"1"})};
  const auto g = import_parts(parts);
  std::vector<std::string_view> ops;
  for (const auto& n : g->nodes()) ops.push_back(n->op_name());
  EXPECT_EQ(ops, (std::vector<std::string_view>{"Abs", "Neg", "Relu"}));
  graph::verify(*g);
}

TEST(Import, an_initializer_that_is_also_an_input_is_a_constant) {
  ModelParts parts;
  parts.nodes = {node("Add", {"x", "b"}, {"y"})};
  parts.inputs = {value("x", kFloat, {"2"}), value("b", kFloat, {"2"})};
  parts.outputs = {value("y", kFloat, {"2"})};
  parts.initializers = {float_tensor("b", {2}, {1, 2})};
  const auto g = import_parts(parts);
  EXPECT_EQ(g->inputs().size(), 1u);
  EXPECT_TRUE(g->find_value("b")->is_constant());
}

TEST(Import, constant_nodes_become_constants) {
  ModelParts parts;
  parts.nodes = {node("Constant", {}, {"t"}, {attr_tensor("value", float_tensor("", {2}, {1, 2}))}),
                 node("Constant", {}, {"f"}, {attr_float("value_float", 3)}),
                 node("Constant", {}, {"i"}, {attr_ints("value_ints", {4, 5})}),
                 node("Add", {"x", "t"}, {"a"}),
                 node("Add", {"a", "f"}, {"b"}),
                 node("Expand", {"b", "i"}, {"y"})};
  parts.inputs = {value("x", kFloat, {"1"})};
  parts.outputs = {value("y", kFloat, {"4", "5"})};
  parts.nodes[0] = node("Constant", {}, {"t"}, {attr_tensor("value", float_tensor("", {1}, {1}))});
  const auto g = import_parts(parts);
  EXPECT_EQ(g->nodes().size(), 3u);
  EXPECT_EQ(g->find_value("t")->constant().to_f32(), std::vector<float>{1});
  EXPECT_EQ(g->find_value("f")->constant().shape(), Shape{});
  EXPECT_EQ(g->find_value("i")->constant().to_s64(), (std::vector<int64_t>{4, 5}));
  EXPECT_EQ(graph::to_string(g->outputs()[0]->type()), "float32[4,5]");

  parts.nodes[0] = node("Constant", {}, {"t"}, {attr_float("value_int", 1)}, "k");
  EXPECT_EQ(error_of(parts).substr(0, 86),
            "invalid model: test.onnx: node 'k' (Constant): attribute 'value_int' is float; expecte");
}

TEST(Import, an_input_or_a_constant_may_be_an_output) {
  ModelParts parts;
  parts.inputs = {value("x", kFloat, {"2"})};
  parts.outputs = {value("x", kFloat, {"2"}), value("c", kFloat, {"1"})};
  parts.initializers = {float_tensor("c", {1}, {1})};
  const auto g = import_parts(parts);
  EXPECT_EQ(g->outputs()[0], g->inputs()[0]);
  EXPECT_TRUE(g->outputs()[1]->is_constant());
}

TEST(Import, values_named_like_those_the_graph_invents_keep_their_names) {
  ModelParts parts;
  parts.nodes = {node("Split", {"x"}, {"v_1", "v_0"}, {attr_int("axis", 0)}), node("Sub", {"v_1", "v_0"}, {"v_2"})};
  parts.inputs = {value("x", kFloat, {"2"})};
  parts.outputs = {value("v_2", kFloat, {"1"})};
  parts.opset = 13;
  const auto g = import_parts(parts);
  const graph::Node* split = g->nodes().front().get();
  EXPECT_EQ(split->output(0)->name(), "v_1");
  EXPECT_EQ(split->output(1)->name(), "v_0");
  EXPECT_EQ(g->outputs()[0]->name(), "v_2");
}

TEST(Import, other_domains_keep_their_name) {
  ModelParts parts;
  parts.nodes = {node("QLinearAdd", {"x", "s", "z", "x", "s", "z", "s", "z"}, {"y"}, {}, "add", "com.microsoft")};
  parts.inputs = {value("x", kUint8, {"2"})};
  parts.outputs = {value("y", kUint8, {"2"})};
  parts.initializers = {float_tensor("s", {}, {0.5f}), tensor_header("z", kUint8, {}).number(5, 3)};
  EXPECT_EQ(import_parts(parts)->nodes().front()->op_name(), "com.microsoft.QLinearAdd");
  parts.nodes = {node("Relu", {"x"}, {"y"}, {}, "r", "ai.onnx")};
  parts.inputs = {value("x", kFloat, {"2"})};
  parts.outputs = {value("y", kFloat, {"2"})};
  EXPECT_EQ(import_parts(parts)->nodes().front()->op_name(), "Relu");
}

TEST(Import, optional_operands_may_be_absent_in_the_middle) {
  const auto g = import_node(17, node("Clip", {"x", "", "hi"}, {"y"}), {"2"}, {float_tensor("hi", {}, {6})});
  const graph::Node* clip = g->nodes().front().get();
  EXPECT_EQ(clip->input(1), nullptr);
  EXPECT_EQ(clip->input(2)->name(), "hi");
}

TEST(Import, unused_initializers_are_dropped_after_they_were_checked) {
  const auto g = import_node(17, node("Relu", {"x"}, {"y"}), {"2"}, {float_tensor("unused", {1}, {1})});
  EXPECT_EQ(g->find_value("unused"), nullptr);
}

TEST(Import, opsets_newer_than_any_known_are_accepted) {
  EXPECT_EQ(import_node(99, node("Relu", {"x"}, {"y"}), {"2"})->nodes().size(), 1u);
}

TEST(Import, a_missing_file_is_an_io_error_that_names_it) {
  try {
    onnx::import_model("/nonexistent/model.onnx");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io);
    EXPECT_EQ(std::string(e.what()), "/nonexistent/model.onnx: cannot be opened: No such file or directory");
  }
  EXPECT_THROW(onnx::import_model("/tmp"), Error);
}

}  // namespace
}  // namespace octet::test
