// Placing buffers with known lifetimes into one arena.
//
// Greedy by size: the largest buffer first, each at the lowest offset where it overlaps no placed buffer that lives at the
// same time. A pure function: lifetimes in, offsets out.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace octet {

struct BufferRequest {
  size_t bytes = 0;
  int first = 0;  // index of the first step that writes it
  int last = 0;   // index of the last step that reads it, inclusive
};

struct MemoryPlan {
  std::vector<size_t> offsets;
  size_t total = 0;
};

MemoryPlan plan_memory(std::span<const BufferRequest> requests, size_t alignment = 64);

}  // namespace octet
