#include "kernels/weight_only.h"

#include "kernels/packed_weights.h"
#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class WeightOnlyTest : public OpsTest {};

struct Example {
  int64_t m, n, k, block;
  int bits;
  bool zeros, bias;
};

// Weights, scales and zero points as a model holds them.
struct Stored {
  std::vector<uint8_t> q, zero;
  std::vector<float> scale, bias;
  WeightOnlyWeights weights;

  explicit Stored(const Example& e) {
    weights = {e.n, e.k, e.block, e.bits, nullptr, nullptr, nullptr};
    std::mt19937 random(7);
    q.resize(static_cast<size_t>(e.n * weights.blocks() * weights.block_bytes()));
    for (uint8_t& byte : q) byte = static_cast<uint8_t>(random());
    scale = random_floats(static_cast<size_t>(e.n * weights.blocks()), 1.0f, 8);
    zero.resize(e.zeros ? scale.size() : 0);
    for (uint8_t& z : zero) z = static_cast<uint8_t>(random() % (1u << e.bits));
    if (e.bias) bias = random_floats(static_cast<size_t>(e.n), 3.0f, 9);
    weights.q = q.data();
    weights.scale = scale.data();
    if (e.zeros) weights.zero = zero.data();
  }
};

TEST_P(WeightOnlyTest, EqualsTheReferenceAndStaysInside) {
  if (target().id == IsaId::reference) GTEST_SKIP() << "it has no kernel: the operator's scalar form runs";
  const Example examples[] = {
      {1, 16, 32, 32, 4, false, false},    {1, 1, 16, 16, 4, true, true},        {2, 17, 80, 32, 4, true, false},
      {3, 40, 256, 256, 4, false, true},   {5, 23, 96, 32, 8, true, true},       {6, 8, 100, 64, 8, false, false},
      {7, 33, 13, 16, 4, true, true},      {1, 31, 770, 1024, 8, false, true},   {4, 64, 128, 128, 8, true, false},
      {11, 9, 2000, 2048, 4, true, false}, {1, 48, 513, 16, 4, true, false},     {16, 40, 192, 32, 4, false, true},
      {33, 17, 200, 16, 4, true, false},   {20, 32, 256, 128, 4, true, true},    {48, 16, 288, 96, 8, false, false},
      {9, 35, 77, 128, 8, false, true},    {300, 16, 6144, 32, 4, false, false},
  };
  for (const Example& e : examples) {
    const Stored stored(e);
    const auto x = random_floats(static_cast<size_t>(e.m * e.k), 2.0f, 1);
    std::vector<float> expected(static_cast<size_t>(e.m * e.n));
    weight_only_reference(stored.weights, e.m, e.bias ? stored.bias.data() : nullptr, x.data(), expected.data());
    const auto product = make_weight_only(target(), e.m, stored.bias, pack_weight_only(target(), stored.weights));
    for (const Wall wall : {Wall::before, Wall::after})
      for (const int parts : {1, 3}) {
        const Guarded<float> gx(x, wall), y(expected.size(), wall);
        for (int part = 0; part < parts; ++part) {
          const Guarded<std::byte> workspace((product->workspace_bytes() + 63) / 64 * 64, Wall::after);
          product->run({gx.data(), y.data(), workspace.data()}, part, parts);
        }
        ASSERT_TRUE(same(y.values(), expected))
            << product->name() << " " << e.m << "x" << e.n << "x" << e.k << " block " << e.block;
        ASSERT_TRUE(y.margins_untouched());
      }
  }
}

// The sum is that of dequantized weights, up to rounding.
TEST(WeightOnly, MeansTheProductByDequantizedWeights) {
  const Example e{2, 5, 70, 32, 4, true, true};
  const Stored stored(e);
  const auto x = random_floats(static_cast<size_t>(e.m * e.k), 2.0f, 1);
  std::vector<float> y(static_cast<size_t>(e.m * e.n));
  weight_only_reference(stored.weights, e.m, stored.bias.data(), x.data(), y.data());
  for (int64_t m = 0; m < e.m; ++m)
    for (int64_t n = 0; n < e.n; ++n) {
      double sum = stored.bias[static_cast<size_t>(n)], magnitude = 0;
      for (int64_t k = 0; k < e.k; ++k) {
        const int64_t at = n * 3 + k / 32;
        const int byte = stored.q[static_cast<size_t>(at * 16 + k % 32 / 2)];
        const int q = k % 2 == 0 ? byte & 15 : byte >> 4;
        const double term = (q - stored.zero[static_cast<size_t>(at)]) *
                            static_cast<double>(stored.scale[static_cast<size_t>(at)]) *
                            static_cast<double>(x[static_cast<size_t>(m * e.k + k)]);
        sum += term;
        magnitude += std::abs(term);
      }
      EXPECT_NEAR(y[static_cast<size_t>(m * e.n + n)], sum, 1e-5 * magnitude + 1e-5);
    }
}

TEST_P(WeightOnlyTest, AwkwardActivations) {
  if (target().id == IsaId::reference) GTEST_SKIP() << "it has no kernel: the operator's scalar form runs";
  const Example e{3, 20, 64, 16, 4, true, true};
  const Stored stored(e);
  auto x = random_floats(static_cast<size_t>(e.m * e.k), 2.0f, 1);
  for (int i = 0; i < 16; ++i) x[static_cast<size_t>(i)] = i == 3 ? 1e-33f : 0.0f;        // a block that counts as zeros
  for (int i = 16; i < 32; ++i) x[static_cast<size_t>(i)] = i == 20 ? 3e38f : -1e-3f;     // far apart
  x[64 + 5] = std::numeric_limits<float>::infinity();                                     // the second row is no number
  for (int i = 128; i < 144; ++i) x[static_cast<size_t>(i)] = std::ldexp(1.0f, i - 140);  // powers of two
  std::vector<float> expected(static_cast<size_t>(e.m * e.n)), y(expected.size());
  weight_only_reference(stored.weights, e.m, stored.bias.data(), x.data(), expected.data());
  const auto product = make_weight_only(target(), e.m, stored.bias, pack_weight_only(target(), stored.weights));
  std::vector<std::byte> workspace(product->workspace_bytes());
  product->run({x.data(), y.data(), workspace.data()}, 0, 1);
  ASSERT_TRUE(same(y, expected));
  EXPECT_TRUE(std::isnan(y[20]));
  EXPECT_TRUE(std::isfinite(y[40]));
}

INSTANTIATE_TEST_SUITE_P(Isa, WeightOnlyTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
