// Normalisations take in the Adds, DQs and Qs around them, bit for bit.
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

constexpr int64_t kWidth = 24;

Value* norm(Builder& b, Value* x, const char* op = "LayerNormalization", const Attrs& attrs = {}) {
  std::vector<Value*> inputs{x, b.graph.add_constant(random_floats({kWidth}, 3))};
  if (std::string(op) == "LayerNormalization") inputs.push_back(b.graph.add_constant(random_floats({kWidth}, 4)));
  return b.op(op, inputs, attrs);
}
Value* input(Builder& b, const std::string& name) { return b.input(name, {2, 5, kWidth}); }
Value* quantized_input(Builder& b, const std::string& name) {
  return b.dq(b.input(name, {2, 5, kWidth}, DType::u8), 0.02f, 120);
}

void expect_same(Builder& b, const Names& names) {
  EXPECT_EQ(difference_after(b.graph, {canonical_quantization, fuse_norms}), 0);
  EXPECT_EQ(op_names(b.graph), names);
}

TEST(FuseNorms, TakesTheQuantizeBehindIt) {
  for (const char* op : {"LayerNormalization", "RMSNormalization"}) {
    Builder b;
    b.output(b.q(norm(b, input(b, "x"), op), 0.02f, 128));
    expect_same(b, {"octet.Norm"});
  }
}

TEST(FuseNorms, WhatOthersReadStays) {
  Builder b;
  Value* sum = b.op("Add", {input(b, "x"), input(b, "r")});
  Value* before = b.op("Neg", {sum});
  Value* y = norm(b, sum);
  b.output(b.q(y, 0.02f, 128));
  b.output(b.op("Abs", {y}));
  b.output(b.op("Add", {sum, before}));
  expect_same(b, {"octet.Norm", "Neg", "Abs", "Add"});
  EXPECT_EQ(find_node(b.graph, "octet.Norm")->outputs().size(), 3u);
}

TEST(FuseNorms, TakesQuantizedOperands) {
  Builder b;
  b.output(norm(b, b.op("Add", {quantized_input(b, "x"), input(b, "r")})));
  b.output(norm(b, quantized_input(b, "z"), "RMSNormalization"));
  expect_same(b, {"octet.Norm", "octet.Norm"});
}

TEST(FuseNorms, TheFirstOfTwoQuantizesIsTaken) {
  Builder b;
  Value* y = norm(b, input(b, "x"));
  b.output(b.q(y, 0.02f, 128));
  b.output(b.q(y, 0.05f, 100));
  expect_same(b, {"octet.Norm", "QuantizeLinear"});
}

TEST(FuseNorms, LeavesWhatItCannotTake) {
  Builder b;
  b.output(norm(b, input(b, "x")));                                                                  // nothing around it
  b.output(norm(b, b.op("Add", {input(b, "y"), b.input("row", {kWidth})})));                         // the sum broadcasts
  b.output(b.op("LayerNormalization", {b.op("Add", {input(b, "z"), input(b, "r")}), b.scalar(2)}));  // and here the scale
  EXPECT_EQ(fuse_norms(b.graph), 0);
}

}  // namespace
}  // namespace octet::graph::test
