#include "kernels/product/bins.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <vector>

namespace octet::kernels {
namespace {

std::vector<int8_t> gaussian(size_t count, float sigma, int largest = 127) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<int8_t> weights(count);
  for (int8_t& w : weights)
    w = static_cast<int8_t>(std::clamp(static_cast<int>(std::lround(normal(random))), -largest, largest));
  return weights;
}

struct Range {
  int low = 0, high = 0;
};

// A scalar run of a panel: exact sums by the vector program, and a check that no int16 lane of any bin can leave its range
// whatever the activations are.
void check_panel(const std::vector<int8_t>& weights, size_t groups, int columns) {
  const BinnedPanel panel = bin_panel(weights.data(), groups, columns);
  std::vector<uint8_t> x(4 * groups);
  std::mt19937 random(9);
  for (uint8_t& v : x) v = static_cast<uint8_t>(random() % 3 == 0 ? 255 : random());

  const size_t vector = static_cast<size_t>(4 * columns);
  const int8_t* b = panel.b.data();
  size_t used = 0;
  std::vector<int64_t> sums(static_cast<size_t>(columns));
  std::multiset<uint32_t> order(panel.order.begin(), panel.order.end());
  for (const BinRun& run : panel.runs) {
    const BinType type = kBinTypes[run.type];
    for (int bin = 0; bin < run.count; ++bin) {
      std::vector<Range> lanes(static_cast<size_t>(2 * columns));
      for (int g = 0; g < type.x + type.d; ++g, ++used) {
        const uint8_t* a = &x[4 * panel.order[used]];
        for (size_t i = 0; i < vector; ++i) {
          Range& lane = lanes[i / 2];
          if (g < type.x) {
            const int magnitude = static_cast<uint8_t>(b[i]);
            sums[i / 4] += magnitude * static_cast<int8_t>(a[i % 4] ^ static_cast<uint8_t>(b[vector + i]));
            lane.low += -128 * magnitude;
            lane.high += 127 * magnitude;
          } else {
            sums[i / 4] += a[i % 4] * b[i];
            (b[i] < 0 ? lane.low : lane.high) += 255 * b[i];
          }
        }
        b += g < type.x ? 2 * vector : vector;
      }
      for (const Range& lane : lanes) {
        ASSERT_GE(lane.low, INT16_MIN);
        ASSERT_LE(lane.high, INT16_MAX);
      }
    }
  }
  EXPECT_EQ(b, panel.b.data() + panel.b.size());
  EXPECT_EQ(used, panel.order.size());
  for (size_t g = 0; g < groups; ++g) {
    const bool zero = std::all_of(&weights[g * vector], &weights[g * vector] + vector, [](int8_t w) { return w == 0; });
    EXPECT_EQ(order.count(static_cast<uint32_t>(g)), zero ? 0u : 1u);
  }
  for (size_t n = 0; n < static_cast<size_t>(columns); ++n) {
    int64_t exact = 0;
    for (size_t k = 0; k < 4 * groups; ++k) exact += x[k] * weights[k / 4 * vector + 4 * n + k % 4];
    EXPECT_EQ(sums[n] + panel.bias[n], exact) << "column " << n;
  }
}

TEST(Bins, ExactAndInRangeForEveryKindOfWeight) {
  for (int columns : {8, 16})
    for (size_t groups : {1u, 2u, 5u, 36u, 144u}) {
      const size_t count = groups * static_cast<size_t>(4 * columns);
      check_panel(gaussian(count, 36), groups, columns);
      check_panel(gaussian(count, 12), groups, columns);
      check_panel(gaussian(count, 36, 63), groups, columns);
      check_panel(std::vector<int8_t>(count, 127), groups, columns);
      check_panel(std::vector<int8_t>(count, -128), groups, columns);
      check_panel(std::vector<int8_t>(count, 0), groups, columns);
      std::vector<int8_t> mixed(count);
      for (size_t i = 0; i < count; ++i) mixed[i] = i % 2 ? 127 : -128;
      check_panel(mixed, groups, columns);
      std::mt19937 random(3);
      for (int8_t& w : mixed) w = static_cast<int8_t>(random());
      check_panel(mixed, groups, columns);
      for (int8_t& w : mixed) w = random() % 50 ? int8_t{0} : static_cast<int8_t>(random());
      check_panel(mixed, groups, columns);
    }
}

// Operations a k-group, as the head comment of bins.h counts them: what decides the speed.
double operations(const BinnedPanel& panel) {
  size_t bins = 0;
  for (const BinRun& run : panel.runs) bins += static_cast<size_t>(run.count);
  return static_cast<double>(2 * panel.order.size() + panel.x_groups + bins) / static_cast<double>(panel.order.size());
}

TEST(Bins, RealisticWeightsPackTightly) {
  EXPECT_LT(operations(bin_panel(gaussian(576 * 32, 36).data(), 576, 8)), 2.75);
  EXPECT_LT(operations(bin_panel(gaussian(576 * 32, 18, 63).data(), 576, 8)), 2.3);
  EXPECT_LE(operations(bin_panel(std::vector<int8_t>(576 * 32, 127).data(), 576, 8)), 4.0);
}

}  // namespace
}  // namespace octet::kernels
