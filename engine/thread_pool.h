// A persistent team of threads. The caller of run() is thread 0; the others park between runs and never spin there.
//
// Inside a run, steps are separated by barriers: a thread that arrives early spins briefly, since steps are tens of
// microseconds long, and then parks.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace octet {

// Physical cores this process may use: affinity mask, cgroup quota and topology, whichever is smallest; at least 1.
int default_threads();

class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait() noexcept;

 private:
  const int threads_;
  std::atomic<int> arrived_{0};
  std::atomic<uint32_t> phase_{0};
};

class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }
  Barrier& barrier() { return barrier_; }
  // Calls task(thread) on every thread and returns when all are done. `task` must not throw.
  void run(const std::function<void(int)>& task);

 private:
  void work(int thread);

  Barrier barrier_;
  Barrier done_;
  std::atomic<uint32_t> generation_{0};
  std::atomic<bool> stop_{false};
  const std::function<void(int)>* task_ = nullptr;
  std::vector<std::thread> workers_;
};

}  // namespace octet
