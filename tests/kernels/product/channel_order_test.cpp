#include "kernels/product/channel_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/product/bins.h"

namespace octet::kernels {
namespace {

constexpr int kColumns = 8;

std::vector<int8_t> gaussian(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 40);
  std::vector<int8_t> weights(static_cast<size_t>(count));
  for (int8_t& w : weights) w = static_cast<int8_t>(std::clamp(std::lround(normal(random)), -127L, 127L));
  return weights;
}

// X groups of a pointwise layer whose channels lie in this order.
size_t x_groups(const std::vector<int8_t>& weights, int64_t outputs, const std::vector<int64_t>& order) {
  const size_t channels = order.size();
  size_t count = 0;
  for (size_t first = 0; first < static_cast<size_t>(outputs); first += kColumns) {
    std::vector<int8_t> panel;
    for (size_t group = 0; group < channels / 4; ++group)
      for (size_t column = first; column < first + kColumns; ++column)
        for (size_t i = 0; i < 4; ++i)
          panel.push_back(weights[column * channels + static_cast<size_t>(order[4 * group + i])]);
    count += bin_panel(panel.data(), channels / 4, kColumns).x_groups;
  }
  return count;
}

std::vector<int64_t> as_they_are(int64_t channels) {
  std::vector<int64_t> order(static_cast<size_t>(channels));
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

TEST(ChannelOrder, LeavesFewerGroupsToFlip) {
  const int64_t channels = 256, outputs = 64;
  const std::vector<int8_t> weights = gaussian(channels * outputs, 1);
  const std::vector<int64_t> order = order_channels({{{weights.data(), outputs, 1, {}}}}, channels, kColumns, false);
  EXPECT_TRUE(std::is_permutation(order.begin(), order.end(), as_they_are(channels).begin()));
  const size_t before = x_groups(weights, outputs, as_they_are(channels)), after = x_groups(weights, outputs, order);
  EXPECT_LT(2 * after, before) << "of " << channels / 4 * outputs / kColumns << " groups";
}

TEST(ChannelOrder, WithinPanelsNoChannelLeavesItsPanel) {
  const int64_t channels = 40, outputs = 24, taps = 9;
  const std::vector<int8_t> weights = gaussian(channels * outputs * taps, 2), others = gaussian(channels * 12, 3);
  const std::vector<ChannelUse> uses{{weights.data(), outputs, taps, {}}, {others.data(), 12, 1, {}}};
  const std::vector<int64_t> order = order_channels(uses, channels, kColumns, true);
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i] / kColumns, static_cast<int64_t>(i) / kColumns);
  EXPECT_NE(order, as_they_are(channels));
  EXPECT_TRUE(std::is_permutation(order.begin(), order.end(), as_they_are(channels).begin()));
}

TEST(ChannelOrder, LargeNeighboursOfOneSignArePartedAndTheOrderOfOutputsCounts) {
  // Outputs 0-7 make channels 0 and 1 clash, outputs 8-15 channels 0 and 2; with the outputs mixed both pairs clash
  // everywhere.
  const int64_t channels = 4, outputs = 16;
  std::vector<int8_t> weights(static_cast<size_t>(channels * outputs), 0);
  for (size_t n = 0; n < 16; ++n) weights[n * 4] = 100;
  for (size_t n = 0; n < 8; ++n) weights[n * 4 + 1] = 100;
  for (size_t n = 8; n < 16; ++n) weights[n * 4 + 2] = 100;
  const std::vector<int64_t> order = order_channels({{{weights.data(), outputs, 1, {}}}}, channels, kColumns, false);
  EXPECT_EQ(order, (std::vector<int64_t>{0, 3, 1, 2}));
  std::vector<int64_t> reversed = as_they_are(outputs);
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(order_channels({{{weights.data(), outputs, 1, reversed}}}, channels, kColumns, false), order);
}

TEST(ChannelOrder, OddCountsStayAsTheyAre) {
  const std::vector<int8_t> weights = gaussian(6 * 8, 4);
  EXPECT_EQ(order_channels({{{weights.data(), 8, 1, {}}}}, 6, kColumns, false), as_they_are(6));
}

TEST(ChannelOrder, OnlyIsasThatAddInInt16WantIt) {
  for (const Isa& isa : all_isas()) EXPECT_EQ(ordered_columns(isa) > 0, isa.dot == DotKind::maddubs) << isa.name;
}

}  // namespace
}  // namespace octet::kernels
