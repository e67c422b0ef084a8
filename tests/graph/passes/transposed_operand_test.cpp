#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Longs = std::vector<int64_t>;

Value* turned(Builder& b, Value* k, const Longs& perm) { return b.op("Transpose", {k}, {{"perm", perm}}); }

TEST(FuseTransposedOperand, ScoresReadTheKeysAsTheyLie) {
  Builder b;
  Value *q = b.input("q", {2, 3, 5, 8}), *k = b.input("k", {2, 3, 7, 8});
  b.output(b.op("MatMul", {q, turned(b, k, {0, 1, 3, 2})}));
  EXPECT_EQ(difference_after(b.graph, {fuse_transposed_operand}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"com.microsoft.FusedMatMul"}));
}

TEST(FuseTransposedOperand, OneMatrixServesAllHeads) {
  Builder b;
  Value *q = b.input("q", {2, 3, 5, 8}), *k = b.input("k", {7, 8});
  b.output(b.op("MatMul", {q, turned(b, k, {1, 0})}));
  EXPECT_EQ(difference_after(b.graph, {fuse_transposed_operand}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"com.microsoft.FusedMatMul"}));
}

TEST(FuseTransposedOperand, OtherOrdersAndOtherReadersKeepTheTranspose) {
  Builder b;
  Value *q = b.input("q", {2, 3, 5, 8}), *k = b.input("k", {2, 7, 3, 8});
  b.output(b.op("MatMul", {q, turned(b, k, {0, 2, 3, 1})}));
  Value* shared = turned(b, b.input("c", {2, 3, 7, 8}), {0, 1, 3, 2});
  b.output(b.op("MatMul", {q, shared}));
  b.output(shared);
  EXPECT_EQ(difference_after(b.graph, {fuse_transposed_operand}), 0);
  EXPECT_EQ(find_node(b.graph, "com.microsoft.FusedMatMul"), nullptr);
}

}  // namespace
}  // namespace octet::graph::test
