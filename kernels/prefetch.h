// Which weights a step fetches for the steps behind it.
//
// A network's weights do not fit the second-level cache, and from beyond it they arrive at a third of the rate at which tile
// products use them up. Early layers need few weights and much time, late ones the reverse. So the weights of all steps are one
// stream in order of use, and a cursor runs ahead of the consumption: while a step uses its n bytes, it fetches the next n bytes
// that nobody has fetched, `ahead` bytes in front.
//
//      stream   [ step 0 ][step 1][      step 2      ][ … ]
//      step 0 fetches      └──── ahead ────┘[ n of 0 ]
//
// Measured on ResNet-50: 192-384 KiB ahead are best, 1 MiB is slower than none (shared/prototypes/amx/FINDINGS.md, point 6).
#pragma once

#include <cstddef>
#include <vector>

namespace octet::kernels {

struct ByteRange {
  const std::byte* data = nullptr;
  size_t bytes = 0;
  bool operator==(const ByteRange&) const = default;
};

inline constexpr size_t kPrefetchAhead = 256 * 1024;

// `weights` of each step, in order of use; the result has as many entries. A step whose weights are more than `ahead` fetches
// its own later ones; the first step with weights fetches from the beginning of the stream.
std::vector<std::vector<ByteRange>> plan_prefetch(const std::vector<std::vector<ByteRange>>& weights, size_t ahead);

}  // namespace octet::kernels
