#include "kernels/prefetch.h"

#include <gtest/gtest.h>

namespace octet::kernels {
namespace {

const std::byte memory[4096] = {};

TEST(PrefetchPlan, RunsAheadByTheBytesThatAStepUses) {
  const std::vector<PrefetchStep> weights = {{{{memory, 100}}}, {}, {{{memory + 1000, 200}}}, {{{memory + 2000, 50}}}};
  const auto plan = plan_prefetch(weights, 150);
  ASSERT_EQ(plan.size(), 4u);
  EXPECT_EQ(plan[0], (std::vector<ByteRange>{{memory, 100}, {memory + 1000, 150}}))
      << "the first fetches up to the distance";
  EXPECT_TRUE(plan[1].empty());
  EXPECT_EQ(plan[2], (std::vector<ByteRange>{{memory + 1150, 50}, {memory + 2000, 50}}))
      << "its own later bytes, then the next step's";
  EXPECT_TRUE(plan[3].empty());
}

TEST(PrefetchPlan, TheNextStepTakesOverFromOneThatDoesNotFetch) {
  const std::vector<PrefetchStep> weights = {
      {{{memory, 100}}}, {{{memory + 1000, 200}}, false}, {{{memory + 2000, 50}}}, {{{memory + 3000, 80}}}};
  const auto plan = plan_prefetch(weights, 60);
  EXPECT_EQ(plan[0], (std::vector<ByteRange>{{memory, 100}, {memory + 1000, 60}}));
  EXPECT_TRUE(plan[1].empty());
  EXPECT_EQ(plan[2], (std::vector<ByteRange>{{memory + 2000, 50}, {memory + 3000, 60}})) << "nothing that has been used";
  EXPECT_EQ(plan[3], (std::vector<ByteRange>{{memory + 3060, 20}}));
}

TEST(PrefetchPlan, FetchesEveryByteOnceAndInOrder) {
  for (size_t ahead : {1u, 63u, 500u, 5000u}) {
    std::vector<PrefetchStep> weights;
    for (size_t i = 0; i < 20; ++i) weights.push_back({{{memory + 200 * i, 1 + 37 * i % 200}}});
    std::vector<ByteRange> all;
    for (const auto& step : plan_prefetch(weights, ahead)) all.insert(all.end(), step.begin(), step.end());
    size_t total = 0, fetched = 0;
    for (const auto& step : weights) total += step.weights[0].bytes;
    for (size_t i = 0; i < all.size(); ++i) {
      fetched += all[i].bytes;
      if (i > 0) {
        EXPECT_GE(all[i].data, all[i - 1].data + all[i - 1].bytes);
      }
    }
    EXPECT_EQ(fetched, total);
  }
}

}  // namespace
}  // namespace octet::kernels
