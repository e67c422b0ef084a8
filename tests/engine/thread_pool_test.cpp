#include "engine/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace octet {
namespace {

TEST(ThreadPool, EveryThreadRunsOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (int round = 0; round < 100; ++round) {
      std::vector<int> count(static_cast<size_t>(threads), 0);
      pool.run([&](int thread) { ++count[static_cast<size_t>(thread)]; });
      EXPECT_EQ(count, std::vector<int>(static_cast<size_t>(threads), 1));
    }
  }
}

TEST(ThreadPool, BarrierSeparatesSteps) {
  constexpr int kThreads = 3, kSteps = 500;
  ThreadPool pool(kThreads);
  std::atomic<int> done{0};
  std::atomic<int> early{0};
  pool.run([&](int) {
    for (int step = 0; step < kSteps; ++step) {
      done.fetch_add(1);
      pool.barrier().wait();
      if (done.load() < (step + 1) * kThreads) early.fetch_add(1);
      pool.barrier().wait();
    }
  });
  EXPECT_EQ(early.load(), 0);
  EXPECT_EQ(done.load(), kThreads * kSteps);
}

TEST(ThreadPool, DefaultIsAtLeastOne) { EXPECT_GE(default_threads(), 1); }

}  // namespace
}  // namespace octet
