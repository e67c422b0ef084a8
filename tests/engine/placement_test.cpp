#include "engine/placement.h"

#include <gtest/gtest.h>

#include "engine/lower/lower.h"
#include "graph/op_def.h"
#include "graph/passes/pass.h"

namespace octet {
namespace {

using graph::Graph;
using graph::Node;
using graph::Tensor;
using graph::Type;
using graph::Value;

Value* conv(Graph& g, Value* x, int64_t in, int64_t out, int64_t kernel, Value* residual = nullptr) {
  Value* w = g.add_constant(Tensor(DType::f32, {out, in, kernel, kernel}));
  Node* n = g.add_node("octet.Conv", {x, w, nullptr, residual});
  const int64_t p = kernel / 2;
  n->set_attr("pads", std::vector<int64_t>{p, p, p, p});
  n->set_attr("strides", std::vector<int64_t>{1, 1});
  n->set_attr("dilations", std::vector<int64_t>{1, 1});
  graph::infer_types(g, *n);
  return n->output();
}

Placement place(Graph& g) {
  graph::infer_types(g);
  graph::assign_layouts(g, [](const Node& n) { return n.op().layout == graph::LayoutRole::channels_last && find_lowering(n) != nullptr; });
  return place_values(g, kernels::isa(kernels::IsaId::avx2));
}

TEST(Placement, AConvolutionsInputGetsTheHaloItReaches) {
  Graph g;
  Value* a = conv(g, g.add_input("x", Type::known(DType::f32, {1, 8, 6, 5})), 8, 16, 1);
  g.add_output(conv(g, a, 16, 8, 3));
  const Placement p = place(g);
  EXPECT_EQ(p.at(a).halo, (Halo{1, 1, 1, 1}));
  EXPECT_EQ(p.at(a).strides.pixel, 16 * 4);
  EXPECT_EQ(p.at(a).strides.row, (5 + 2) * 16 * 4);
  EXPECT_EQ(p.at(a).strides.image, (6 + 2) * p.at(a).strides.row);
}

TEST(Placement, ConcatenatedProducersWriteTheirSlices) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {1, 8, 4, 4}));
  Value* a = conv(g, x, 8, 16, 1);
  Value* b = conv(g, x, 8, 24, 1);
  Node* cat = g.add_node("Concat", {a, b});
  cat->set_attr("axis", int64_t{1});
  g.add_output(conv(g, cat->output(), 40, 8, 1));
  const Placement p = place(g);
  EXPECT_TRUE(p.at(a).in_group && p.at(b).in_group);
  EXPECT_EQ(p.at(a).group, p.at(cat->output()).group);
  EXPECT_EQ(p.at(b).offset - p.at(a).offset, 16u * 4u);
  EXPECT_EQ(p.at(b).strides.pixel, 40 * 4);
}

TEST(Placement, AResidualIsOverwrittenWhenNothingElseReadsIt) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {1, 8, 4, 4}));
  Value* skip = conv(g, x, 8, 8, 1);
  Value* sum = conv(g, conv(g, skip, 8, 8, 1), 8, 8, 1, skip);
  g.add_output(conv(g, sum, 8, 8, 1));
  const Placement p = place(g);
  EXPECT_EQ(p.at(sum).group, p.at(skip).group);
}

TEST(Placement, AResidualReadLaterKeepsItsMemory) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {1, 8, 4, 4}));
  Value* skip = conv(g, x, 8, 8, 1);
  Value* sum = conv(g, conv(g, skip, 8, 8, 1), 8, 8, 1, skip);
  g.add_output(conv(g, sum, 8, 8, 1, skip));
  const Placement p = place(g);
  EXPECT_NE(p.at(sum).group, p.at(skip).group);
}

TEST(Placement, AReshapeSharesItsInputsMemory) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {2, 12}));
  Node* relu = g.add_node("Relu", {x});
  Node* reshape = g.add_node("Reshape", {relu->output(), g.add_constant(Tensor::of_s64({4, 6}))});
  g.add_output(reshape->output());
  const Placement p = place(g);
  EXPECT_EQ(p.at(reshape->output()).offset, p.at(relu->output()).offset);
}

TEST(Placement, AnInputIsNeverOverwritten) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {2, 12}));
  Node* relu = g.add_node("Relu", {x});
  g.add_output(relu->output());
  const Placement p = place(g);
  EXPECT_NE(p.at(relu->output()).group, p.at(x).group);
}

}  // namespace
}  // namespace octet
