#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

// MatMul by [40, 3] weights in blocks of 16, then a bias.
void build(Builder& b, DType dtype, bool zeros, int64_t block = 16) {
  Value* x = b.input("x", {2, 40});
  Tensor q(dtype, {40, 3});
  const bool is_signed = dtype == DType::s4 || dtype == DType::s8;
  const int span = dtype == DType::s4 || dtype == DType::u4 ? 16 : 256;
  for (int i = 0; i < 120; ++i)
    q.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(i * 37 % span - (is_signed ? span / 2 : 0));
  const int64_t blocks = (40 + block - 1) / block;
  std::vector<Value*> in{b.graph.add_constant(q, "w"), b.graph.add_constant(random_floats({blocks, 3}, 2, 0.01f, 0.1f))};
  if (zeros) {
    Tensor zero(dtype, {blocks, 3});
    for (int i = 0; i < zero.size(); ++i) zero.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(i % 5);
    in.push_back(b.graph.add_constant(zero));
  }
  Value* w = b.op("DequantizeLinear", in, {{"axis", int64_t{0}}, {"block_size", block}});
  b.output(b.op("Add", {b.op("MatMul", {x, w}), b.floats({3}, {1, 2, 3})}));
}

TEST(WeightOnly, BlockedWeightsStayNarrowAndTakeTheBias) {
  for (const DType dtype : {DType::s4, DType::u4, DType::s8, DType::u8})
    for (const bool zeros : {false, true}) {
      Builder b;
      build(b, dtype, zeros);
      const Tensor x = random_floats({2, 40}, 1);
      const Tensor before = run_reference(b.graph, std::vector<Tensor>{x})[0];
      optimize(b.graph, {});
      EXPECT_EQ(op_names(b.graph), (std::vector<std::string>{"com.microsoft.MatMulNBits"})) << to_string(dtype) << zeros;
      EXPECT_LT(largest_difference(before, run_reference(b.graph, std::vector<Tensor>{x})[0]), 1e-4)
          << to_string(dtype) << zeros;
    }
}

TEST(WeightOnly, OtherBlocksAreEvaluatedAhead) {
  Builder b;
  build(b, DType::s4, false, 20);
  optimize(b.graph, {});
  EXPECT_EQ(find_node(b.graph, "com.microsoft.MatMulNBits"), nullptr);
}

}  // namespace
}  // namespace octet::graph::test
