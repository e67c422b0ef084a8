#include "engine/memory_planner.h"

#include <gtest/gtest.h>

#include <random>

namespace octet {
namespace {

void expect_disjoint(const std::vector<BufferRequest>& requests, const MemoryPlan& plan) {
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(plan.offsets[i] % 64, 0u);
    EXPECT_LE(plan.offsets[i] + requests[i].bytes, plan.total);
    for (size_t j = 0; j < i; ++j) {
      const bool together = requests[i].first <= requests[j].last && requests[j].first <= requests[i].last;
      const bool apart =
          plan.offsets[i] + requests[i].bytes <= plan.offsets[j] || plan.offsets[j] + requests[j].bytes <= plan.offsets[i];
      EXPECT_TRUE(!together || apart) << i << " and " << j;
    }
  }
}

TEST(MemoryPlanner, ReusesMemoryOfDeadBuffers) {
  const std::vector<BufferRequest> chain{{1000, 0, 1}, {1000, 1, 2}, {1000, 2, 3}};
  const MemoryPlan plan = plan_memory(chain);
  expect_disjoint(chain, plan);
  EXPECT_EQ(plan.total, 2048u) << "two buffers of 1000 bytes live at a time";
}

TEST(MemoryPlanner, FillsGaps) {
  const std::vector<BufferRequest> requests{{4096, 0, 9}, {128, 0, 1}, {128, 2, 3}, {128, 1, 2}};
  const MemoryPlan plan = plan_memory(requests);
  expect_disjoint(requests, plan);
  EXPECT_EQ(plan.total, 4096u + 256u);
}

TEST(MemoryPlanner, RandomLifetimesNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<BufferRequest> requests;
    for (int i = 0; i < 60; ++i) {
      const int first = static_cast<int>(random() % 40);
      requests.push_back({1 + random() % 5000, first, first + static_cast<int>(random() % 10)});
    }
    expect_disjoint(requests, plan_memory(requests));
  }
}

TEST(MemoryPlanner, NothingToPlace) { EXPECT_EQ(plan_memory({}).total, 0u); }

}  // namespace
}  // namespace octet
