// dead_code, merge_duplicates, remove_identity, fix_reshapes.
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

TEST(DeadCode, WhatNoOutputNeedsGoes) {
  Builder b;
  Value* x = b.input("x", {2});
  b.op("Sigmoid", {b.op("Relu", {x})});
  b.output(b.op("Neg", {x}));
  EXPECT_EQ(dead_code(b.graph), 2);
  EXPECT_EQ(op_names(b.graph), Names{"Neg"});
}

TEST(MergeDuplicates, EqualNodesBecomeOneWhateverConstantHoldsTheirOperand) {
  Builder b;
  Value* x = b.input("x", {2});
  Value* y = b.op("Mul", {x, b.floats({2}, {1, 2})});
  Value* z = b.op("Mul", {x, b.floats({2}, {1, 2})});
  Value* other = b.op("Mul", {x, b.floats({2}, {1, 3})});
  b.output(b.op("Add", {b.op("Add", {y, z}), other}));
  EXPECT_EQ(difference_after(b.graph, {merge_duplicates}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"Mul", "Mul", "Add", "Add"}));
}

TEST(MergeDuplicates, DifferentAttributesStayApart) {
  Builder b;
  Value* x = b.input("x", {2, 2});
  b.output(b.op("Add", {b.op("Softmax", {x}, {{"axis", int64_t{0}}}), b.op("Softmax", {x}, {{"axis", int64_t{1}}})}));
  EXPECT_EQ(merge_duplicates(b.graph), 0);
}

TEST(RemoveIdentity, NodesThatChangeNothing) {
  Builder b;
  Value* x = b.input("x", {1, 2, 4, 4});
  Value* v = b.op("Identity", {x});
  v = b.op("Dropout", {v});
  v = b.op("Cast", {v}, {{"to", int64_t{1}}});
  v = b.op("Transpose", {v}, {{"perm", std::vector<int64_t>{0, 1, 2, 3}}});
  v = b.op("Pad", {v, b.ints({0, 0, 0, 0, 0, 0, 0, 0})});
  v = b.op("Slice", {v, b.ints({0}), b.ints({100}), b.ints({2})});
  v = b.op("Concat", {v}, {{"axis", int64_t{1}}});
  v = b.op("Reshape", {v, b.ints({1, 2, 4, -1})});
  b.output(b.op("Relu", {v}));
  EXPECT_EQ(difference_after(b.graph, {remove_identity}), 0);
  EXPECT_EQ(op_names(b.graph), Names{"Relu"});
}

TEST(RemoveIdentity, AReversingSliceAndARealTransposeStay) {
  Builder b;
  Value* x = b.input("x", {4, 4});
  Value* v = b.op("Slice", {x, b.ints({-1}), b.ints({-100}), b.ints({0}), b.ints({-1})});
  b.output(b.op("Transpose", {v}, {{"perm", std::vector<int64_t>{1, 0}}}));
  EXPECT_EQ(remove_identity(b.graph), 0);
}

TEST(RemoveIdentity, TransposesAndReshapesInARowCompose) {
  Builder b;
  Value* x = b.input("x", {2, 3, 4});
  Value* v = b.op("Transpose", {x}, {{"perm", std::vector<int64_t>{2, 0, 1}}});
  v = b.op("Transpose", {v}, {{"perm", std::vector<int64_t>{2, 0, 1}}});
  v = b.op("Unsqueeze", {v, b.ints({0})});
  v = b.op("Flatten", {v}, {{"axis", int64_t{2}}});
  b.output(v);
  EXPECT_EQ(difference_after(b.graph, {remove_identity}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"Transpose", "Reshape"}));
}

TEST(FixReshapes, ABatchSizeReadFromTheInputNeedsNoShapeArithmetic) {
  Builder b;
  Type type = Type::known(DType::f32, {1, 3, 4, 4});
  (*type.dims)[0] = Dim(std::string("N"));
  Value* x = b.graph.add_input("x", type);
  Value* batch = b.op("Gather", {b.op("Shape", {x}), b.ints({0})}, {{"axis", int64_t{0}}});
  b.output(b.op("Reshape", {x, b.op("Concat", {batch, b.ints({48})}, {{"axis", int64_t{0}}})}));
  EXPECT_EQ(fix_reshapes(b.graph), 1);
  infer_types(b.graph);
  verify(b.graph);
  EXPECT_EQ(op_names(b.graph), Names{"Reshape"});
  EXPECT_EQ(b.graph.nodes().front()->input(1)->constant().to_s64(), (std::vector<int64_t>{-1, 48}));
}

}  // namespace
}  // namespace octet::graph::test
