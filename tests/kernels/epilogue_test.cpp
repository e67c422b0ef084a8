#include "kernels/epilogue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace octet::kernels {
namespace {

Epilogue to_u8(float scale) {
  Epilogue e;
  e.out = DType::u8;
  e.scale = {scale};
  return e;
}

int quantized(const Epilogue& e, int32_t sum, int residual = 0) {
  const uint8_t r = static_cast<uint8_t>(residual);
  uint8_t y = 0;
  apply_reference(e, sum, 0, 1.0f, &r, &y);
  return y;
}

TEST(EpilogueReference, RoundsHalfToEvenThenAddsTheZeroPoint) {
  Epilogue e = to_u8(0.5f);
  EXPECT_EQ(quantized(e, 5), 2);
  EXPECT_EQ(quantized(e, 7), 4);
  e.zero_point = 11;  // odd: ties must not move
  EXPECT_EQ(quantized(e, 5), 13);
  EXPECT_EQ(quantized(e, 7), 15);
}

TEST(EpilogueReference, SaturatesFarOutsideInt32) {
  Epilogue e = to_u8(1e30f);
  e.zero_point = 3;
  EXPECT_EQ(quantized(e, 7), 255);
  EXPECT_EQ(quantized(e, -7), 0);
  e.lo = 3, e.hi = 200;
  EXPECT_EQ(quantized(e, 7), 200);
  EXPECT_EQ(quantized(e, -7), 3);
}

TEST(EpilogueReference, OneRoundingOrTwo) {
  Epilogue e = to_u8(0.5f);
  e.residual = ResidualKind::u8_once;
  e.residual_scale = 0.25f;
  e.residual_zero_point = 2;
  EXPECT_EQ(quantized(e, 5, 4), 3);  // 2.5 + 0.5 = 3
  e.residual = ResidualKind::u8_twice;
  EXPECT_EQ(quantized(e, 5, 4), 2);  // 2.5 -> 2, + 0.5 = 2.5 -> 2
}

TEST(EpilogueReference, ActivationsBeforeTheStore) {
  Epilogue e = to_u8(1.0f);
  e.zero_point = 100;
  e.act = ActKind::leaky_relu;
  e.alpha = 0.1f;
  EXPECT_EQ(quantized(e, -50), 95);
  EXPECT_EQ(quantized(e, 50), 150);
  Epilogue f;
  f.act = ActKind::clamp;
  f.act_lo = -1;
  f.act_hi = 6;
  float y = 0;
  apply_reference(f, 9.0f, 0, nullptr, &y);
  EXPECT_EQ(y, 6.0f);
  apply_reference(f, std::numeric_limits<float>::quiet_NaN(), 0, nullptr, &y);
  EXPECT_TRUE(std::isnan(y));
}

TEST(EpilogueReference, CombinationsWithoutAKernelSayWhy) {
  Epilogue e = to_u8(1.0f);
  EXPECT_TRUE(unsupported_reason(e, false).empty());
  EXPECT_EQ(unsupported_reason(e, true), "a float product stores float32 only");
  e.act = ActKind::clamp;
  EXPECT_EQ(unsupported_reason(e, false), "a clamp on an 8-bit output is given in quanta (lo, hi)");
  e = {};
  e.residual = ResidualKind::u8_twice;
  EXPECT_EQ(unsupported_reason(e, false), "two roundings need an 8-bit output");
}

}  // namespace
}  // namespace octet::kernels
