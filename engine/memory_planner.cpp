#include "engine/memory_planner.h"

#include <algorithm>
#include <numeric>

namespace octet {

MemoryPlan plan_memory(std::span<const BufferRequest> requests, size_t alignment) {
  const auto aligned = [&](size_t n) { return (n + alignment - 1) / alignment * alignment; };
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return requests[a].bytes > requests[b].bytes; });

  MemoryPlan plan{std::vector<size_t>(requests.size(), 0), 0};
  std::vector<size_t> placed;
  for (const size_t i : order) {
    std::vector<std::pair<size_t, size_t>> taken;  // offset, end
    for (const size_t j : placed)
      if (requests[i].first <= requests[j].last && requests[j].first <= requests[i].last)
        taken.emplace_back(plan.offsets[j], plan.offsets[j] + aligned(requests[j].bytes));
    std::sort(taken.begin(), taken.end());
    size_t offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + requests[i].bytes <= begin) break;
      offset = std::max(offset, end);
    }
    plan.offsets[i] = offset;
    plan.total = std::max(plan.total, offset + aligned(requests[i].bytes));
    placed.push_back(i);
  }
  return plan;
}

}  // namespace octet
