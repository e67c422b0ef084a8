#include "engine/value_histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace octet {
namespace {

std::vector<float> normal(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> x(count);
  for (float& v : x) v = distribution(random);
  return x;
}

// The mean square error of 8 bits over a range.
double error(const std::vector<float>& x, ValueHistogram::Range range) {
  const double lo = std::min(0.0, static_cast<double>(range.min)), hi = std::max(0.0, static_cast<double>(range.max)),
               step = (hi - lo) / 255;
  const double zero = std::round(-lo / step);
  double sum = 0;
  for (const float v : x) {
    const double q = std::clamp(std::nearbyint(static_cast<double>(v) / step) + zero, 0.0, 255.0);
    sum += std::pow((q - zero) * step - static_cast<double>(v), 2);
  }
  return sum / static_cast<double>(x.size());
}

TEST(ValueHistogram, EvenlySpreadNumbersKeepTheirExtremes) {
  ValueHistogram h;
  std::vector<float> x;
  for (int i = 0; i < 1000; ++i) x.push_back(static_cast<float>(i) * 0.01f - 2.0f);
  h.add(x.data(), 1000);
  EXPECT_NEAR(h.best_range().min, -2.0f, 0.05f);
  EXPECT_NEAR(h.best_range().max, 7.99f, 0.2f);
  EXPECT_EQ(h.max(), x.back());
}

TEST(ValueHistogram, AnOutlierIsCutOffWhereThatPays) {
  std::vector<float> x = normal(200000, 1);
  x.push_back(9);
  ValueHistogram h;
  h.add(x.data(), static_cast<int64_t>(x.size()));
  const ValueHistogram::Range range = h.best_range();
  EXPECT_LT(range.max, 8.0f);
  EXPECT_GT(range.max, 3.0f);
  EXPECT_LT(error(x, range), 0.8 * error(x, {h.min(), h.max()}));
}

TEST(ValueHistogram, SamplesMayGrow) {
  ValueHistogram together, apart;
  std::vector<float> all;
  for (int i = 0; i < 5; ++i) {
    std::vector<float> x = normal(1000, static_cast<unsigned>(i));
    for (float& v : x) v *= std::exp2(static_cast<float>(2 * i));
    apart.add(x.data(), 1000);
    all.insert(all.end(), x.begin(), x.end());
  }
  together.add(all.data(), static_cast<int64_t>(all.size()));
  EXPECT_EQ(apart.min(), together.min());
  EXPECT_EQ(apart.max(), together.max());
  EXPECT_NEAR(apart.best_range().max, together.best_range().max, 0.03f * together.max());
}

TEST(ValueHistogram, ZerosAndOneSidedValues) {
  ValueHistogram zeros, positive;
  const std::vector<float> nothing(10, 0.0f);
  zeros.add(nothing.data(), 10);
  EXPECT_EQ(zeros.best_range().min, 0.0f);
  EXPECT_EQ(zeros.best_range().max, 0.0f);
  const std::vector<float> x = {0, 0, 1, 2, 3, 4};
  positive.add(x.data(), 6);
  EXPECT_EQ(positive.best_range().min, 0.0f);
  EXPECT_NEAR(positive.best_range().max, 4.0f, 0.1f);
}

}  // namespace
}  // namespace octet
