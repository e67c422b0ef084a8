#include "graph/narrow.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octet::graph {
namespace {

constexpr DType kAll[] = {DType::f8e4m3fn,   DType::f8e4m3fnuz, DType::f8e5m2,
                          DType::f8e5m2fnuz, DType::f8e8m0,     DType::f4e2m1};

TEST(NarrowFloat, EveryNumberComesBack) {
  for (const DType t : kAll)
    for (int code = 0; code < (t == DType::f4e2m1 ? 16 : 256); ++code) {
      const float v = narrow_to_float(t, static_cast<uint8_t>(code));
      if (!std::isnan(v)) {
        EXPECT_EQ(float_to_narrow(t, v, false), code) << to_string(t) << " " << v;
      }
    }
}

TEST(NarrowFloat, HasTheLargestNumbersOfItsFormat) {
  EXPECT_EQ(narrow_to_float(DType::f8e4m3fn, 0x7e), 448);
  EXPECT_EQ(narrow_to_float(DType::f8e4m3fnuz, 0x7f), 240);
  EXPECT_EQ(narrow_to_float(DType::f8e5m2, 0x7b), 57344);
  EXPECT_EQ(narrow_to_float(DType::f8e5m2fnuz, 0x7f), 57344);
  EXPECT_EQ(narrow_to_float(DType::f4e2m1, 0x0f), -6);
  EXPECT_EQ(narrow_to_float(DType::f8e8m0, 254), std::ldexp(1.0f, 127));
}

TEST(NarrowFloat, RoundsHalfToEven) {
  EXPECT_EQ(float_to_narrow(DType::f8e4m3fn, 1.0625f), 0x38) << "1, not 1.125";
  EXPECT_EQ(float_to_narrow(DType::f8e4m3fn, 1.1875f), 0x3a) << "1.25, not 1.125";
  EXPECT_EQ(float_to_narrow(DType::f4e2m1, -2.5f), 0x0c) << "-2";
}

TEST(NarrowFloat, WhatIsTooLargeSaturatesOrDoesNot) {
  EXPECT_EQ(float_to_narrow(DType::f8e4m3fn, 1e6f), 0x7e);
  EXPECT_EQ(float_to_narrow(DType::f8e4m3fn, -INFINITY), 0xfe);
  EXPECT_TRUE(std::isnan(narrow_to_float(DType::f8e4m3fn, float_to_narrow(DType::f8e4m3fn, 1e6f, false))));
  EXPECT_EQ(narrow_to_float(DType::f8e5m2, float_to_narrow(DType::f8e5m2, -1e6f, false)), -INFINITY);
  EXPECT_EQ(float_to_narrow(DType::f8e5m2fnuz, 1e6f, false), 0x80) << "NaN, which has no sign";
  EXPECT_EQ(float_to_narrow(DType::f4e2m1, 100, false), 0x07);
}

TEST(NarrowFloat, FormatsWithoutMinusZeroHaveNaNThere) {
  EXPECT_EQ(float_to_narrow(DType::f8e4m3fnuz, -0.0f), 0);
  EXPECT_EQ(float_to_narrow(DType::f8e4m3fnuz, NAN), 0x80);
  EXPECT_EQ(float_to_narrow(DType::f8e4m3fn, -0.0f), 0x80);
  EXPECT_EQ(float_to_narrow(DType::f4e2m1, NAN), 0x08) << "none to be had: -0, as numpy's ml_dtypes";
}

TEST(NarrowFloat, PowersOfTwoRoundAsAsked) {
  EXPECT_EQ(float_to_narrow(DType::f8e8m0, 1.25f), 128);
  EXPECT_EQ(float_to_narrow(DType::f8e8m0, 1.25f, true, PowerRounding::down), 127);
  EXPECT_EQ(float_to_narrow(DType::f8e8m0, 1.25f, true, PowerRounding::nearest), 127);
  EXPECT_EQ(float_to_narrow(DType::f8e8m0, 1.5f, true, PowerRounding::nearest), 128);
}

}  // namespace
}  // namespace octet::graph
