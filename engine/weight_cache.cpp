#include "engine/weight_cache.h"

namespace octet {

std::shared_ptr<const kernels::PackedWeights> WeightCache::get(
    const std::string& key, const std::vector<graph::Tensor>& sources,
    const std::function<std::shared_ptr<const kernels::PackedWeights>()>& make) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found != entries_.end()) return found->second.packed;
  auto packed = make();
  entries_[key] = {packed, sources};
  return packed;
}

void WeightCache::drop_unused() {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const auto& entry) { return entry.second.packed.use_count() == 1; });
}

size_t WeightCache::bytes() const {
  const std::lock_guard lock(mutex_);
  size_t total = 0;
  for (const auto& [key, entry] : entries_) total += kernels::packed_bytes(*entry.packed);
  return total;
}

}  // namespace octet
