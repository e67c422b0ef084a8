#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Ints = std::vector<int64_t>;

bool all_kernels(const Node&) { return true; }
bool no_kernels(const Node&) { return false; }

Value* conv(Builder& b, Value* x, uint32_t seed, int64_t channels = 4) {
  return b.op("Conv", {x, b.graph.add_constant(random_floats({4, channels, 1, 1}, seed))});
}

double difference_after_layouts(Builder& b, const std::function<bool(const Node&)>& wants = all_kernels) {
  optimize(b.graph);
  const std::vector<Tensor> in = random_inputs(b.graph);
  const std::vector<Tensor> before = run_reference(b.graph, in);
  assign_layouts(b.graph, wants);
  verify(b.graph);
  const std::vector<Tensor> after = run_reference(b.graph, in);
  double worst = 0;
  for (size_t i = 0; i < before.size(); ++i) worst = std::max(worst, largest_difference(before[i], after[i]));
  for (const Value* v : b.graph.outputs()) EXPECT_EQ(v->layout, Layout::plain);
  return worst;
}

TEST(AssignLayouts, OneRegionTurnsOnceAtEachBorder) {
  Builder b;
  Value* x = conv(b, b.input("x", {1, 3, 4, 4}), 1, 3);
  Value* y = b.op("HardSwish", {x});
  y = b.op("Mul", {y, b.floats({1, 4, 1, 1}, {1, 2, 3, 4})});
  y = b.op("Concat", {y, x}, {{"axis", int64_t{1}}});
  y = b.op("MaxPool", {y}, {{"kernel_shape", Ints{2, 2}}});
  b.output(b.op("Flatten", {y}));
  EXPECT_EQ(difference_after_layouts(b), 0);
  EXPECT_EQ(op_names(b.graph),
            (Names{"octet.Reorder", "octet.Conv", "HardSwish", "Mul", "Concat", "MaxPool", "octet.Reorder", "Flatten"}));
}

TEST(AssignLayouts, WithoutKernelsEverythingStaysPlain) {
  Builder b;
  b.output(conv(b, b.input("x", {1, 3, 4, 4}), 1, 3));
  EXPECT_EQ(difference_after_layouts(b, no_kernels), 0);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
}

TEST(AssignLayouts, AQuantizationForOneOperatorOnImagesTurnsThem) {
  const auto ops = [](const std::function<bool(const Node&)>& wants, bool read_twice) {
    Builder b;
    Value* x = b.q(b.input("x", {1, 3, 4, 4}), 0.02f, 128);
    b.output(b.op("MaxPool", {x}, {{"kernel_shape", Ints{2, 2}}}));
    if (read_twice) b.output(b.op("Flatten", {x}));
    EXPECT_EQ(difference_after_layouts(b, wants), 0);
    return op_names(b.graph);
  };
  EXPECT_EQ(ops(all_kernels, false), (Names{"QuantizeLinear", "MaxPool", "octet.Reorder"}));
  EXPECT_EQ(ops(all_kernels, true), (Names{"QuantizeLinear", "octet.Reorder", "MaxPool", "Flatten", "octet.Reorder"}));
  const auto only_plain = [](const Node& node) { return node.op_name() != "QuantizeLinear"; };
  EXPECT_EQ(ops(only_plain, false), (Names{"QuantizeLinear", "octet.Reorder", "MaxPool", "octet.Reorder"}));
}

TEST(AssignLayouts, ConsumersShareOneReorderAValue) {
  Builder b;
  Value* x = b.input("x", {1, 4, 4, 4});
  b.output(conv(b, x, 1));
  b.output(conv(b, x, 2));
  Value* y = conv(b, x, 3);
  b.output(b.op("Flatten", {y}));
  b.output(b.op("Transpose", {y}, {{"perm", Ints{0, 2, 3, 1}}}));
  EXPECT_EQ(difference_after_layouts(b), 0);
  const Names names = op_names(b.graph);
  EXPECT_EQ(std::count(names.begin(), names.end(), "octet.Reorder"), 4) << "the input, y for Flatten, and two outputs";
}

TEST(AssignLayouts, ATransposeToOrFromTheModelsOwnChannelsLastIsFree) {
  Builder b;
  Value* x = b.op("Transpose", {b.input("x", {1, 4, 4, 3})}, {{"perm", Ints{0, 3, 1, 2}}});
  b.output(b.op("Transpose", {b.op("Relu", {conv(b, x, 1, 3)})}, {{"perm", Ints{0, 2, 3, 1}}}));
  EXPECT_EQ(difference_after_layouts(b), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"Transpose", "octet.Conv", "Transpose"}));
  EXPECT_EQ(b.graph.nodes().front()->output()->layout, Layout::channels_last);
}

TEST(AssignLayouts, AConstantThatVariesOverPixelsKeepsItsConsumerPlain) {
  Builder b;
  Value* y = conv(b, b.input("x", {1, 4, 4, 4}), 1);
  y = b.op("Mul", {y, b.graph.add_constant(random_floats({4, 4}, 2))});
  b.output(conv(b, b.op("Tanh", {y}), 3));
  EXPECT_EQ(difference_after_layouts(b), 0);
  EXPECT_EQ(find_node(b.graph, "Mul")->output()->layout, Layout::plain);
}

TEST(AssignLayouts, MixedOperandsFollowTheConsumer) {
  Builder b;
  Value* r = b.input("r", {1, 4, 4, 4});
  Value* y = b.op("Relu", {conv(b, b.input("x", {1, 4, 4, 4}), 1)});
  b.output(conv(b, b.op("Add", {y, r}), 3));
  EXPECT_EQ(difference_after_layouts(b), 0);
  EXPECT_EQ(find_node(b.graph, "Add")->output()->layout, Layout::channels_last);
}

TEST(AssignLayouts, AResidualOfAnotherLayoutIsTurnedToo) {
  Builder b;
  Value* x = b.input("x", {1, 4, 4, 4});
  b.output(b.op("Relu", {b.op("Add", {conv(b, x, 1), x})}));
  EXPECT_EQ(difference_after_layouts(b), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Reorder", "octet.Conv", "octet.Reorder"}));
}

}  // namespace
}  // namespace octet::graph::test
