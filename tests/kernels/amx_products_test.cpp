#include "kernels/amx/products.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <tuple>

namespace octet::kernels::amx {
namespace {

// Follows the loads, and sees that every product finds what it multiplies.
void expect_whole(const BlockSpec& spec) {
  std::array<TileLoad, 8> held{};
  std::set<std::tuple<int, int, size_t>> done;  // tile, panel, k step
  for (const TileProduct& p : plan_products(spec, 0)) {
    for (const TileLoad& l : p.loads) {
      ASSERT_GE(l.tile, spec.m * spec.n) << "over a sum";
      ASSERT_LT(l.tile, 8);
      held[static_cast<size_t>(l.tile)] = l;
    }
    const TileLoad &x = held[static_cast<size_t>(p.a)], &w = held[static_cast<size_t>(p.b)];
    ASSERT_TRUE(x.from_x);
    ASSERT_FALSE(w.from_x);
    EXPECT_EQ(x.k, w.k);
    EXPECT_EQ(w.index, p.panel);
    EXPECT_EQ(p.c, x.index * spec.n + w.index);
    EXPECT_EQ(p.first, x.k == 0);
    EXPECT_TRUE(done.insert({x.index, w.index, x.k}).second) << "twice";
  }
  EXPECT_EQ(done.size(), static_cast<size_t>(spec.m * spec.n) * spec.steps.size());
}

TEST(AmxProducts, FindWhatTheyMultiplyForEveryBlocking) {
  for (const auto& [m, n] : {std::pair{1, 1}, {1, 2}, {1, 3}, {1, 4}, {2, 1}, {2, 2}, {3, 1}, {4, 1}})
    for (const int32_t steps : {1, 2, 7})
      for (const bool dense : {false, true}) {
        BlockSpec spec;
        spec.m = m, spec.n = n, spec.dense = dense;
        for (int32_t k = 0; k < steps; ++k) spec.steps.push_back(64 * k);
        expect_whole(spec);
        if (HasFatalFailure()) return;
      }
}

TEST(AmxProducts, SumsOfResidentPanelsTakeTurns) {
  BlockSpec spec;
  spec.n = 4, spec.resident = true, spec.steps = {0};
  ASSERT_EQ(variants(spec), 3);
  int before = accumulators(spec) - 1;
  for (int variant = 0; variant < 3; ++variant)
    for (const TileProduct& p : plan_products(spec, variant)) {
      EXPECT_EQ(p.c, (before + 1) % accumulators(spec));
      before = p.c;
    }
}

}  // namespace
}  // namespace octet::kernels::amx
