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
  graph::assign_layouts(g, takes_channels_last);
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
  EXPECT_TRUE(p.is_slice(a, cat->output(), 0) && p.is_slice(b, cat->output(), 16));
  EXPECT_EQ(p.at(b).offset - p.at(a).offset, 16u * 4u);
  EXPECT_EQ(p.at(b).strides.pixel, 40 * 4);
}

Value* concat(Graph& g, std::vector<Value*> inputs) {
  Node* n = g.add_node("Concat", std::move(inputs));
  n->set_attr("axis", int64_t{1});
  graph::infer_types(g, *n);
  return n->output();
}

TEST(Placement, AConcatenationThatGrowsIsOneImage) {
  Graph g;
  Value* a = conv(g, g.add_input("x", Type::known(DType::f32, {1, 8, 4, 4})), 8, 16, 1);
  Value* b = conv(g, a, 16, 4, 3);
  Value* first = concat(g, {a, b});
  Value* c = conv(g, first, 20, 4, 3);
  Value* second = concat(g, {a, b, c});
  g.add_output(conv(g, second, 24, 8, 1));
  const Placement p = place(g);
  EXPECT_TRUE(p.is_slice(a, second, 0) && p.is_slice(b, second, 16) && p.is_slice(c, second, 20));
  EXPECT_TRUE(p.is_slice(first, second, 0));
  EXPECT_EQ(p.at(first).strides.pixel, 24 * 4);
  EXPECT_EQ(p.at(a).halo, (Halo{1, 1, 1, 1})) << "the widest that any part needs";
}

TEST(Placement, AnInputConcatenatedTwiceLiesInOnePlaceOnly) {
  Graph g;
  Value* a = conv(g, g.add_input("x", Type::known(DType::f32, {1, 8, 4, 4})), 8, 16, 1);
  Value* twice = concat(g, {a, a});
  g.add_output(conv(g, twice, 32, 8, 1));
  const Placement p = place(g);
  EXPECT_TRUE(p.is_slice(a, twice, 0));
  EXPECT_FALSE(p.is_slice(a, twice, 16));
}

TEST(Placement, ThePartsOfASplitLieInWhatIsSplit) {
  Graph g;
  Value* a = conv(g, g.add_input("x", Type::known(DType::f32, {1, 8, 4, 4})), 8, 16, 1);
  Node* split = g.add_node("Split", {a, g.add_constant(Tensor::of_s64({4, 12}))}, 2);
  split->set_attr("axis", int64_t{1});
  graph::infer_types(g, *split);
  g.add_output(conv(g, split->output(0), 4, 8, 1));
  g.add_output(conv(g, split->output(1), 12, 8, 3));
  const Placement p = place(g);
  EXPECT_TRUE(p.is_slice(split->output(0), a, 0) && p.is_slice(split->output(1), a, 4));
  EXPECT_EQ(p.at(a).halo, (Halo{1, 1, 1, 1}));
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
