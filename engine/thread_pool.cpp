#include "engine/thread_pool.h"

#include <emmintrin.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace octet {
namespace {

// CPUs' worth of time a cgroup grants, rounded up; 0 when there is no limit.
int cgroup_limit() {
  std::string quota;
  double period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period) {
    if (quota == "max" || period <= 0) return 0;
    return static_cast<int>(std::ceil(std::stod(quota) / period));
  }
  double v1_quota = 0;
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_file >> v1_quota && period_file >> period && v1_quota > 0 && period > 0)
    return static_cast<int>(std::ceil(v1_quota / period));
  return 0;
}

int physical_cores(const cpu_set_t& allowed) {
  std::set<std::pair<int, int>> cores;
  int unknown = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    int core = 0, package = 0;
    std::ifstream core_file(topology + "core_id");
    std::ifstream package_file(topology + "physical_package_id");
    if (core_file >> core && package_file >> package)
      cores.emplace(package, core);
    else
      ++unknown;
  }
  return static_cast<int>(cores.size()) + unknown;
}

}  // namespace

int default_threads() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  int count = 1;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = physical_cores(allowed);
  const int limit = cgroup_limit();
  if (limit > 0) count = std::min(count, limit);
  return std::max(count, 1);
}

void Barrier::wait() noexcept {
  constexpr int kSpins = 4000;
  const uint32_t phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.fetch_add(1, std::memory_order_acq_rel);
    phase_.notify_all();
    return;
  }
  for (int i = 0; i < kSpins; ++i) {
    if (phase_.load(std::memory_order_acquire) != phase) return;
    _mm_pause();
  }
  while (phase_.load(std::memory_order_acquire) == phase) phase_.wait(phase, std::memory_order_acquire);
}

ThreadPool::ThreadPool(int threads) : barrier_(std::max(threads, 1)), done_(std::max(threads, 1)) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  generation_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::run(const std::function<void(int)>& task) {
  if (workers_.empty()) {
    task(0);
    return;
  }
  task_ = &task;
  generation_.fetch_add(1, std::memory_order_acq_rel);
  generation_.notify_all();
  task(0);
  done_.wait();
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    generation_.wait(seen, std::memory_order_acquire);
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_acquire)) return;
    (*task_)(thread);
    done_.wait();
  }
}

}  // namespace octet
