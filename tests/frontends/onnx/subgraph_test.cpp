#include <gtest/gtest.h>

#include "graph/eval.h"
#include "onnx_file.h"

namespace octet::test {
namespace {

using graph::Graph;
using graph::Tensor;

Message typeless(std::string_view name) { return Message().text(1, name); }

Message boolean(std::string_view name) { return value(name, kBool, {}); }

// y = c ? x + w : -h, where h = |x| and w is a weight.
ModelParts choice() {
  ModelParts yes, no, parts;
  yes.nodes = {node("Add", {"x", "w"}, {"a"})};
  yes.outputs = {typeless("a")};
  no.nodes = {node("Neg", {"h"}, {"b"})};
  no.outputs = {typeless("b")};
  parts.nodes = {
      node("If", {"c"}, {"y"}, {attr_graph("then_branch", graph_message(yes)), attr_graph("else_branch", graph_message(no))},
           "choice"),
      node("Abs", {"x"}, {"h"})};
  parts.inputs = {boolean("c"), value("x", kFloat, {"2"})};
  parts.outputs = {typeless("y")};
  parts.initializers = {float_tensor("w", {2}, {10, 20})};
  return parts;
}

TEST(Subgraph, what_it_reads_becomes_an_input_and_constants_go_in) {
  const auto g = import_parts(choice());
  graph::verify(*g);
  // The file has the node before what its branch reads.
  const graph::Node& n = *g->nodes().back();
  ASSERT_EQ(n.op_name(), "If");
  EXPECT_EQ(n.attr("captures", int64_t{0}), 2);
  EXPECT_EQ(n.inputs().size(), 3u);
  for (const Graph* branch : n.subgraphs()) EXPECT_EQ(branch->inputs().size(), 2u);
  const auto run = [&](bool c) {
    const Tensor condition = Tensor::of<uint8_t>(DType::boolean, {}, {static_cast<uint8_t>(c)});
    return graph::run_reference(*g, std::vector<Tensor>{condition, Tensor::of<float>(DType::f32, {2}, {-1, 2})})[0].to_f32();
  };
  EXPECT_EQ(run(true), (std::vector<float>{9, 22}));
  EXPECT_EQ(run(false), (std::vector<float>{-1, -2}));
}

TEST(Subgraph, an_inner_one_reads_through_the_outer) {
  ModelParts inner_yes, inner_no, yes, no, parts = choice();
  inner_yes.nodes = {node("Mul", {"x", "s"}, {"p"})};
  inner_yes.outputs = {typeless("p")};
  inner_no.nodes = {node("Identity", {"s"}, {"q"})};
  inner_no.outputs = {typeless("q")};
  yes.nodes = {node("Sub", {"x", "h"}, {"s"}), node("If", {"c"}, {"a"},
                                                    {attr_graph("then_branch", graph_message(inner_yes)),
                                                     attr_graph("else_branch", graph_message(inner_no))})};
  yes.outputs = {typeless("a")};
  no.nodes = {node("Neg", {"x"}, {"b"})};
  no.outputs = {typeless("b")};
  parts.nodes[0] = node("If", {"c"}, {"y"},
                        {attr_graph("then_branch", graph_message(yes)), attr_graph("else_branch", graph_message(no))});
  const auto g = import_parts(parts);
  graph::verify(*g);
  const Tensor condition = Tensor::of<uint8_t>(DType::boolean, {}, {1});
  const auto out = graph::run_reference(*g, std::vector<Tensor>{condition, Tensor::of<float>(DType::f32, {2}, {-1, 2})});
  EXPECT_EQ(out[0].to_f32(), (std::vector<float>{2, 0}));
}

TEST(Subgraph, comes_back_from_an_exported_file) {
  ModelParts inner, yes, parts = choice();
  inner.nodes = {node("Mul", {"h", "s"}, {"p"})};
  inner.outputs = {typeless("p")};
  yes.nodes = {node("Sub", {"x", "w"}, {"s"}),
               node("If", {"c"}, {"a"},
                    {attr_graph("then_branch", graph_message(inner)), attr_graph("else_branch", graph_message(inner))})};
  yes.outputs = {typeless("a")};
  ModelParts no;
  no.nodes = {node("Neg", {"h"}, {"s"})};  // a name that the other branch has, too
  no.outputs = {typeless("h")};            // handed through
  parts.nodes[0] = node("If", {"c"}, {"y"},
                        {attr_graph("then_branch", graph_message(yes)), attr_graph("else_branch", graph_message(no))});
  const auto first = import_parts(parts);
  const auto second = import_file(onnx::export_bytes(*first));
  graph::verify(*second);
  for (const bool c : {false, true}) {
    const std::vector<Tensor> in{Tensor::of<uint8_t>(DType::boolean, {}, {static_cast<uint8_t>(c)}),
                                 Tensor::of<float>(DType::f32, {2}, {-1, 2})};
    EXPECT_EQ(graph::run_reference(*second, in)[0].to_f32(), graph::run_reference(*first, in)[0].to_f32());
  }
}

TEST(Subgraph, defects_are_named) {
  ModelParts parts = choice(), yes;
  yes.nodes = {node("Neg", {"nowhere"}, {"a"})};
  yes.outputs = {typeless("a")};
  parts.nodes[0] =
      node("If", {"c"}, {"y"},
           {attr_graph("then_branch", graph_message(yes)), attr_graph("else_branch", graph_message(yes))}, "choice");
  EXPECT_EQ(error_of(parts),
            "invalid model: test.onnx: node 'choice' (If): a subgraph reads 'nowhere', which is defined neither in it nor "
            "around it");
  parts.nodes[0] = node("If", {"c"}, {"y"}, {attr_graph("then_branch", graph_message(yes))}, "choice");
  parts.nodes.push_back(node("Identity", {"x"}, {"nowhere"}));
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: node 'choice' (If): attribute 'else_branch' (graph) is missing");
}

// A branch within a branch within a branch ...: refused before the stack is.
TEST(Subgraph, too_deep_a_nest_is_refused) {
  ModelParts leaf;
  leaf.nodes = {node("Neg", {"x"}, {"a"})};
  leaf.outputs = {typeless("a")};
  Message g = graph_message(leaf);
  for (int i = 0; i < 60; ++i) {
    ModelParts level;
    level.nodes = {node("If", {"c"}, {"a"}, {attr_graph("then_branch", g), attr_graph("else_branch", graph_message(leaf))})};
    level.outputs = {typeless("a")};
    g = graph_message(level);
  }
  ModelParts parts = choice();
  parts.nodes[0] =
      node("If", {"c"}, {"y"}, {attr_graph("then_branch", g), attr_graph("else_branch", graph_message(leaf))}, "choice");
  EXPECT_NE(error_of(parts), "no error");
}

}  // namespace
}  // namespace octet::test
