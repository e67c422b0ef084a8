#include "graph/quantize/weight_only.h"

#include <gtest/gtest.h>

#include "graph/quantize/quantize.h"
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

// A MatMul of batches with a bias, and a Gemm.
void build(Builder& b) {
  Value* x = b.input("x", {2, 3, 40});
  Value* y = b.op("Add", {b.op("MatMul", {x, b.graph.add_constant(random_floats({40, 24}, 2), "w")}),
                          b.floats({24}, std::vector<float>(24, 0.5f))});
  y = b.op("Reshape", {y, b.ints({-1, 24})});
  b.output(b.op("Gemm", {y, b.graph.add_constant(random_floats({5, 24}, 3), "v"), b.floats({5}, {1, 2, 3, 4, 5})},
                {{"transB", int64_t{1}}}));
}

TEST(QuantizeWeights, ProductsKeepTheirMeaning) {
  for (const int bits : {4, 8}) {
    Builder b;
    build(b);
    const std::vector<Tensor> in = random_inputs(b.graph);
    const Tensor before = run_reference(b.graph, in)[0];
    prepare_for_quantization(b.graph);
    const auto quantized = quantize_weights(b.graph, {bits, 16});
    int products = 0;
    for (const auto& node : quantized->nodes()) products += node->op_name() == "com.microsoft.MatMulNBits";
    EXPECT_EQ(products, 2);
    EXPECT_EQ(find_node(*quantized, "MatMul"), nullptr);
    // Half a step of the widest block, over 40 and 24 sums of up to 2 and some.
    EXPECT_LT(largest_difference(before, run_reference(*quantized, in)[0]), bits == 4 ? 6.0 : 0.4) << bits;
    EXPECT_GT(largest_difference(before, run_reference(*quantized, in)[0]), 0.0) << bits;
  }
}

TEST(QuantizeWeights, WeightsOnTheGridStayExact) {
  Builder b;
  std::vector<float> w;
  for (int k = 0; k < 16; ++k) w.push_back(static_cast<float>(k - 8) * 0.25f);
  b.output(b.op("MatMul", {b.input("x", {1, 16}), b.floats({16, 1}, w)}));
  const std::vector<Tensor> in = random_inputs(b.graph);
  const Tensor before = run_reference(b.graph, in)[0];
  EXPECT_LT(largest_difference(before, run_reference(*quantize_weights(b.graph, {4, 16}), in)[0]), 1e-5);
}

TEST(QuantizeWeights, RefusesWhatItCannotDo) {
  Builder b;
  b.output(b.op("Relu", {b.input("x", {1, 16})}));
  EXPECT_THROW(quantize_weights(b.graph, {4, 32}), Error);
  build(b);
  EXPECT_THROW(quantize_weights(b.graph, {4, 24}), Error);
  EXPECT_THROW(quantize_weights(b.graph, {3, 32}), Error);
}

}  // namespace
}  // namespace octet::graph::test
