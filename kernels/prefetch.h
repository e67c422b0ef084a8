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
// Threads have a stream each, of the weights that they read themselves: a second-level cache is its core's own. Two threads
// that fetched half of one stream each, in turn with this: bert_base on AMX, shared by rows, 7.58 ms and 6.94, resnet50 on avx512_vnni 7.57
// and 7.14.
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

// Behind the others, joined to the last one where it touches it.
void append_range(std::vector<ByteRange>& ranges, const ByteRange& range);

inline constexpr size_t kPrefetchAhead = 192 * 1024;

// A product of one row does nothing but read: its weights come straight into the first level, this many bytes ahead. Measured
// on the classifiers of vgg16, 123 MB from memory, in turn: fetched 192 KiB ahead 10.1 ms, not at all 7.8, 2 to 16 KiB ahead
// into the first level 7.5 to 7.8, 1 or 32 KiB 8.1 to 8.4; into the second, 8 or 32 KiB, 7.9 to 8.2.
inline constexpr size_t kStreamAhead = 4096;

struct PrefetchStep {
  std::vector<ByteRange> weights;
  bool fetches = true;  // or its kernel cannot, or has enough to do with its own
};
// Of the steps of one thread: for each, in order of use, what it fetches. A step whose weights are more than `ahead` fetches its own later ones; the
// first one that fetches begins with the stream. What a step that does not fetch leaves falls to the next one that does, as
// far as it is still to come.
std::vector<std::vector<ByteRange>> plan_prefetch(const std::vector<PrefetchStep>& steps, size_t ahead);

}  // namespace octet::kernels
