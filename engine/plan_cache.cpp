#include "engine/plan_cache.h"

#include <algorithm>

#include "engine/compile.h"
#include "engine/fp_state.h"

namespace octet {

std::shared_ptr<const Plan> PlanCache::get(const std::vector<Shape>& shapes, int threads) {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(plans_.begin(), plans_.end(), [&](const Entry& e) { return e.threads == threads && e.shapes == shapes; });
  if (found != plans_.end()) {
    std::rotate(found, found + 1, plans_.end());
    return plans_.back().plan;
  }
  const FpState fp_state;
  auto plan = compile(graph_, shapes, threads, settings_);
  if (plans_.size() == kMost) {
    plans_.erase(plans_.begin());
    settings_.weights->drop_unused();
  }
  plans_.push_back({shapes, threads, plan});
  return plan;
}

size_t PlanCache::size() const {
  const std::lock_guard lock(mutex_);
  return plans_.size();
}

}  // namespace octet
