// Products of two values that both come at run time: on kernels, with the bits of the scalar form.
#include "tests/engine/equal_bits.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;
using graph::test::Builder;
using Longs = std::vector<int64_t>;

graph::Tensor numbers(const Shape& shape) { return graph::test::random_floats(shape, 5, -2, 3); }

Value* turned(Builder& b, Value* x) { return b.op("Transpose", {b.op("Neg", {x})}, {{"perm", Longs{0, 1, 3, 2}}}); }

TEST(MatMulAtRunTime, IntegersOfTheDynamicDialect) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        Value* x = b.input("x", {2, 3, 17, 21});
        const Node *p = b.node("DynamicQuantizeLinear", {x}, {}, 3),
                   *q = b.node("DynamicQuantizeLinear", {turned(b, x)}, {}, 3);
        Value* sum = b.op("MatMulInteger", {p->output(0), q->output(0), p->output(2), q->output(2)});
        Value* scale = b.op("Mul", {p->output(1), q->output(1)});
        b.output(b.op("Mul", {b.op("Cast", {sum}, {{"to", int64_t{1}}}), scale}));
      },
      numbers({2, 3, 17, 21}), "MatMulInteger, Cast and Mul");
}

TEST(MatMulAtRunTime, SumsOfIntegersOfAnySign) {
  for (const DType left : {DType::u8, DType::s8})
    for (const DType right : {DType::u8, DType::s8})
      expect_kernels_with_equal_bits(
          [=](Builder& b) {
            Value* x = b.input("x", {2, 3, 17, 21});
            Value* one = b.op("Slice", {turned(b, x), b.ints({0}), b.ints({1}), b.ints({1})});  // serves all heads
            b.output(b.op("MatMulInteger", {b.q(x, 0.02f, 5, left), b.q(one, 0.03f, 7, right), b.zero_point(left, 5),
                                            b.zero_point(right, 7)}));
          },
          numbers({2, 3, 17, 21}), "MatMulInteger");
}

TEST(MatMulAtRunTime, QuantizedProductsOfTheOperatorOrientedDialect) {
  for (const DType dtype : {DType::u8, DType::s8})
    expect_kernels_with_equal_bits(
        [=](Builder& b) {
          Value* x = b.input("x", {2, 3, 17, 21});
          const auto zero = [&](int z) { return b.zero_point(dtype, z); };
          b.output(
              b.op("QLinearMatMul", {b.q(x, 0.02f, 5, dtype), b.scalar(0.02f), zero(5), b.q(turned(b, x), 0.03f, 7, dtype),
                                     b.scalar(0.03f), zero(7), b.scalar(0.7f), zero(3)}));
        },
        numbers({2, 3, 17, 21}), "QLinearMatMul");
}

TEST(MatMulAtRunTime, WeightsThatAreNoMatrix) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        const Node* p = b.node("DynamicQuantizeLinear", {b.input("x", {2, 3, 17, 21})}, {}, 3);
        Value* w = b.graph.add_constant(graph::test::random_bytes(DType::s8, {3, 21, 10}, 3));
        Value* sum = b.op("MatMulInteger", {p->output(0), w, p->output(2)});
        Value* scale = b.op("Mul", {p->output(1), b.scalar(0.013f)});
        b.output(b.op("Mul", {b.op("Cast", {sum}, {{"to", int64_t{1}}}), scale}));
      },
      numbers({2, 3, 17, 21}), "weights of a head each");
}

struct Fused {
  int64_t a, b, batch_a, batch_b;  // transA and so on
  Shape left, right;
};
const Fused kFused[] = {
    {1, 0, 0, 0, {2, 3, 17, 9}, {2, 3, 17, 9}}, {0, 1, 0, 0, {2, 3, 17, 9}, {3, 20, 9}},
    {1, 1, 0, 0, {2, 3, 9, 9}, {9, 9}},         {0, 1, 1, 1, {7, 2, 3, 9}, {5, 2, 3, 9}},
    {1, 0, 1, 1, {7, 2, 3, 9}, {7, 2, 3, 4}},   {0, 0, 1, 0, {6, 5, 8}, {5, 8, 11}},
    {1, 1, 0, 1, {4, 5, 6}, {33, 4, 5}},        {0, 0, 0, 0, {4, 5, 6}, {6, 40}},
};

TEST(MatMulAtRunTime, FusedMatMulReadsItsOperandsAsTheyLie) {
  for (const Fused& f : kFused)
    for (const float alpha : {1.0f, 0.37f}) {
      const int64_t size = element_count(f.left), other = element_count(f.right);
      expect_kernels_with_equal_bits(
          [&](Builder& b) {
            Value* x = b.input("x", {size + other});
            const auto part = [&](int64_t from, int64_t count, const Shape& shape) {
              return b.op("Reshape", {b.op("Slice", {x, b.ints({from}), b.ints({from + count})}), b.ints(shape)});
            };
            b.output(b.op("com.microsoft.FusedMatMul", {part(0, size, f.left), part(size, other, f.right)},
                          {{"transA", f.a},
                           {"transB", f.b},
                           {"transBatchA", f.batch_a},
                           {"transBatchB", f.batch_b},
                           {"alpha", alpha}}));
          },
          numbers({size + other}), "FusedMatMul");
    }
}

}  // namespace
}  // namespace octet
