#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

TEST(BatchNormalization, IsOneFactorAChannel) {
  const Tensor x = floats({1, 2, 1, 2}, {1, 2, 3, 4});
  const Tensor y =
      eval("BatchNormalization", {x, floats({2}, {2, 3}), floats({2}, {0.5f, 1}), floats({2}, {1, 3}), floats({2}, {4, 9})},
           {{"epsilon", 0.0f}});
  EXPECT_EQ(y.to_f32(), (Floats{0.5f, 1.5f, 1, 2}));
  EXPECT_EQ(refusal("BatchNormalization",
                    {x, floats({3}, {1, 1, 1}), floats({2}, {0, 0}), floats({2}, {0, 0}), floats({2}, {1, 1})}),
            "test.onnx: node 'n' (BatchNormalization): channels and the size of a per-channel input disagree: 3 and 2");
}

TEST(BatchNormalization, StatisticsMayBeOfAnotherFloatType) {
  const Tensor half = halves({1}, {2}), zero = halves({1}, {0}), one = floats({1}, {1});
  const Attrs exact{{"epsilon", 0.0f}};
  EXPECT_EQ(eval("BatchNormalization", {floats({1, 1}, {3}), half, zero, zero, one}, exact).dtype(), DType::f32);
  EXPECT_EQ(eval("BatchNormalization", {halves({1, 1}, {3}), half, zero, zero, one}, exact).dtype(), DType::f16);
}

// mean, variance, inv as norm.cpp says for images, all sums in 16 lanes.
Floats normalized(const Floats& x, float epsilon) {
  const auto n = static_cast<float>(x.size());
  const float mean = numerics::sum16(x.size(), [&](size_t i) { return x[i]; }) / n;
  const float var = numerics::sum16(x.size(), [&](size_t i) { return (x[i] - mean) * (x[i] - mean); }) / n;
  const float inv = 1.0f / std::sqrt(var + epsilon);
  Floats y;
  for (const float v : x) y.push_back((v - mean) * inv);
  return y;
}

TEST(LayerNormalization, NormalisesTheTail) {
  const Tensor x = random_floats({2, 40}, 3);
  const Tensor scale = random_floats({40}, 4), bias = random_floats({40}, 5);
  const auto out = eval_all("LayerNormalization", {x, scale, bias}, {}, 3);
  const Floats all = x.to_f32(), s = scale.to_f32(), b = bias.to_f32();
  for (size_t r = 0; r < 2; ++r) {
    const auto at = [&](size_t i) { return all[r * 40 + i]; };
    const float mean = numerics::sum16(40, at) / 40;
    float lane[16] = {};  // of squares, each an FMA chain, then added by halves
    for (size_t i = 0; i < 40; ++i) lane[i % 16] = std::fma(at(i) - mean, at(i) - mean, lane[i % 16]);
    for (size_t width : {8u, 4u, 2u, 1u})
      for (size_t i = 0; i < width; ++i) lane[i] += lane[i + width];
    const float inverse = 1 / std::sqrt(lane[0] / 40 + 1e-5f);
    for (size_t i = 0; i < 40; ++i)
      EXPECT_EQ(out[0].as<float>()[r * 40 + i], std::fma((at(i) - mean) * inverse, s[i], b[i]));
    EXPECT_EQ(out[1].as<float>()[r], mean);
    EXPECT_EQ(out[2].as<float>()[r], inverse);
  }
  EXPECT_EQ(out[1].shape(), (Shape{2, 1}));
}

TEST(LayerNormalization, StatisticsOfSixteenBitFloatsStayFloat) {
  const auto out = eval_all("LayerNormalization", {halves({1, 2}, {1, 3}), halves({2}, {1, 1})}, {{"epsilon", 0.0f}}, 3);
  EXPECT_EQ(out[0].dtype(), DType::f16);
  EXPECT_EQ(out[1].dtype(), DType::f32);
  EXPECT_EQ(out[1].to_f32(), (Floats{2}));
  EXPECT_EQ(out[2].to_f32(), (Floats{1}));
}

TEST(InstanceAndGroupNormalization, TakeStatisticsPerImageAndGroup) {
  const Tensor x = random_floats({2, 4, 3, 3}, 6);
  const Tensor scale = floats({4}, {1, 2, 3, 4}), bias = floats({4}, {0, 1, 0, -1});
  const Tensor instance = eval("InstanceNormalization", {x, scale, bias});
  const Tensor group = eval("GroupNormalization", {x, scale, bias}, {{"num_groups", number(2)}});
  const Floats all = x.to_f32();
  const Floats one = normalized(Floats(all.begin() + 9, all.begin() + 18), 1e-5f);
  const Floats two = normalized(Floats(all.begin(), all.begin() + 18), 1e-5f);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(instance.as<float>()[9 + i], one[i] * 2 + 1);
    EXPECT_EQ(group.as<float>()[9 + i], two[9 + i] * 2 + 1);
  }
  EXPECT_NE(refusal("GroupNormalization", {x, scale, bias}, {{"num_groups", number(3)}}), "");
}

TEST(RmsNormalization, LeavesTheMean) {
  expect_near(eval("RMSNormalization", {floats({1, 2}, {3, 4}), floats({2}, {1, 2})}, {{"epsilon", 0.0f}}),
              {3 / std::sqrt(12.5f), 8 / std::sqrt(12.5f)});
}

TEST(LpNormalization, DividesByTheNormAlongAnAxis) {
  EXPECT_EQ(eval("LpNormalization", {floats({2, 2}, {3, 4, 0, 0})}).to_f32(), (Floats{3.0f / 5, 4.0f / 5, 0, 0}));
  EXPECT_EQ(eval("LpNormalization", {floats({2, 1}, {1, -3})}, {{"axis", number(0)}, {"p", number(1)}}).to_f32(),
            (Floats{0.25f, -0.75f}));
}

TEST(Lrn, LooksAtNeighbouringChannels) {
  const Tensor y =
      eval("LRN", {floats({1, 3, 1, 1}, {1, 2, 3})}, {{"size", number(3)}, {"alpha", 3.0f}, {"beta", 1.0f}, {"bias", 1.0f}});
  expect_near(y, {1.0f / 6, 2.0f / 15, 3.0f / 14});
}

TEST(MeanVarianceNormalization, SharesStatisticsAlongItsAxes) {
  const Tensor x = floats({1, 2, 1, 2}, {1, 3, 10, 10});
  expect_near(eval("MeanVarianceNormalization", {x}), {-1, 1, 0, 0}, 1e-5f);
  expect_near(eval("MeanVarianceNormalization", {floats({1, 2}, {1, 3})}, {{"axes", ints({-1})}}), {-1, 1}, 1e-5f);
}

}  // namespace
}  // namespace octet::graph::test
