#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

TEST(FoldConstants, ArithmeticOnConstants) {
  Builder b;
  Value* sum = b.op("Add", {b.floats({2}, {1, 2}), b.floats({2}, {3, 4})});
  const std::string name = sum->name();
  b.output(b.op("Mul", {b.input("x", {2}), sum}));
  EXPECT_EQ(difference_after(b.graph, {fold_constants}), 0);
  EXPECT_EQ(op_names(b.graph), Names{"Mul"});
  EXPECT_EQ(b.graph.find_value(name)->constant().to_f32(), (std::vector<float>{4, 6}));
}

TEST(FoldConstants, TheShapeOfAValueIsConstantWhenItsDimensionsAre) {
  Builder b;
  Value* x = b.input("x", {2, 3, 4});
  Value* batch = b.op("Gather", {b.op("Shape", {x}), b.ints({0})}, {{"axis", int64_t{0}}});
  b.output(b.op("Reshape", {x, b.op("Concat", {batch, b.ints({-1})}, {{"axis", int64_t{0}}})}));
  EXPECT_EQ(difference_after(b.graph, {fold_constants}), 0);
  EXPECT_EQ(op_names(b.graph), Names{"Reshape"});
}

TEST(FoldConstants, WeightsBehindADequantizeStayIntegersUntilTheEnd) {
  Builder b;
  b.output(b.op("Add", {b.input("x", {2, 4}), b.weights({2, 4}, 1, {0.5f, 0.25f})}));
  EXPECT_EQ(fold_constants(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"DequantizeLinear", "Add"}));
  EXPECT_EQ(difference_after(b.graph, {fold_dequantized}), 0);
  EXPECT_EQ(op_names(b.graph), Names{"Add"});
}

TEST(FoldConstants, ABlowUpIsLeftToRunTime) {
  Builder b;
  Value* big = b.op("Expand", {b.scalar(1.0f), b.ints({8192, 4096})});
  b.output(b.op("Add", {b.input("x", {1}), big}));
  EXPECT_EQ(fold_constants(b.graph), 0);
  EXPECT_NE(big->producer()->why.find("64 MiB"), std::string::npos);
}

}  // namespace
}  // namespace octet::graph::test
