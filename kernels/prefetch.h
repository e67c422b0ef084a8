// Which weights a step fetches for the steps behind it.
//
// A network's weights do not fit the second-level cache, and from beyond it they arrive at a third of the rate at which tile
// products use them up. Early layers need few weights and much time, late ones the reverse. So the weights of all steps are
// one stream in order of use, and a cursor runs ahead of the consumption: while a step uses its n bytes, it fetches the next
// n bytes that nobody has fetched, `ahead` bytes in front.
//
//      stream   [ step 0 ][step 1][      step 2      ][ … ]
//      step 0 fetches      └──── ahead ────┘[ n of 0 ]
//
// What lies in the second level waits behind what comes from beyond it, since the first level holds line buffers for both.
// So AMX blocks ask for two lines of four: the second level's own prefetcher, which holds none, follows with the other two.
// Measured on the 14x14 and 7x7 stages of ResNet-50, in turn: all lines 256 KiB ahead 1790 us, pairs 160 KiB 1706, 192 KiB
// 1731, 256 KiB 1790; single lines, 512 KiB and more are slower, and 1 MiB is slower than none. BERT, whose layers all wait
// for weights, loses 2 to 6 % at 160 KiB, little or nothing at 192.
#pragma once

#include <cstddef>
#include <vector>

namespace octet::kernels {

struct ByteRange {
  const std::byte* data = nullptr;
  size_t bytes = 0;
  bool operator==(const ByteRange&) const = default;
};

inline constexpr size_t kPrefetchAhead = 192 * 1024;

// A product of one row does nothing but read: its weights come straight into the first level, this many bytes ahead. Measured
// on the classifiers of vgg16, 123 MB from memory, in turn: fetched 192 KiB ahead 10.1 ms, not at all 7.8, 1 to 32 KiB ahead
// into the first level 7.5 to 7.8, best at 4; into the second 7.9.
inline constexpr size_t kStreamAhead = 4096;

// `weights` of each step, in order of use; the result has as many entries. A step whose weights are more than `ahead`
// fetches its own later ones; the first step with weights fetches from the beginning of the stream.
std::vector<std::vector<ByteRange>> plan_prefetch(const std::vector<std::vector<ByteRange>>& weights, size_t ahead);

}  // namespace octet::kernels
