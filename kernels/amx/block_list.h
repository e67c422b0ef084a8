// The blocks of an AMX product in the order in which they run, and how threads divide them among them.
//
//   for list in lists:                      one, of which threads take stretches, or one a thread: of its rows or its channels
//     for group, chunk of panels, part of K:
//       for m tiles, for n panels:          a block
//
// Each call of a kernel begins and ends with half a block that overlaps nothing, so what a thread runs should be one stretch.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/amx/blocking.h"
#include "kernels/amx/generator.h"
#include "kernels/caches.h"
#include "kernels/conv.h"
#include "kernels/partition.h"
#include "kernels/prefetch.h"

namespace octet::kernels::amx {

enum class Share : uint8_t { list, rows, channels };

// Threads take rows of blocks of all channels, and read mostly what they wrote themselves. But where weights are much more
// than that and more than stays near, they take other channels, and each reads but its part of the weights. Two threads by rows
// and by channels, microseconds of all layers: first products of BERT's FFNs (2.4 MB) 1840 and 1703, 7x7 stage of ResNet-50 (1
// to 2.4 MB) 558 and 481; BERT's second products, whose x is larger, 1869 and 2027; MiniLM's first (0.6 MB) 212 and 231. `columns`: of blocks.
Share choose_share(const ConvProblem& problem, int64_t rows, int64_t columns, size_t weight_bytes, int threads,
                   const Caches& caches);

// Those of `count` in blocks of `block` that fall to a part.
WorkRange part_of(int64_t count, int64_t block, int part, int parts);

struct BlockShape {
  int m = 1, n = 1, columns = 16;
  bool dense = false;
  int part = 0;  // of K
};

// Stretch of the list: panels side by side under a list's tiles, with one part of K.
struct Chunk {
  int64_t begin = 0, end = 0, in_row = 1;  // blocks, and how many of them lie side by side
  int64_t panels = 1;
};

struct BlockList {
  std::vector<Block> blocks;
  std::vector<BlockShape> shapes;  // of each
  std::vector<Chunk> chunks;
  std::vector<int64_t> ends;  // of the threads' lists; empty when there is but one
  Share share = Share::list;
  bool splits_k = false;

  // body(begin, end) for the stretches that a part runs, in order. Parts need not be as many as the threads it was made for.
  template <class Body>
  void for_share(int part, int parts, Body&& body) const {
    if (static_cast<size_t>(parts) == ends.size()) {
      const auto p = static_cast<size_t>(part);
      return body(p == 0 ? 0 : ends[p - 1], ends[p]);
    }
    const auto cut = [&](int64_t begin, int64_t end) {
      const WorkRange mine = split_work(end - begin, part, parts);
      if (mine.size() > 0) body(begin + mine.begin, begin + mine.end);
    };
    if (parts == 1 || !splits_k) return cut(0, static_cast<int64_t>(blocks.size()));
    for (const Chunk& chunk : chunks) cut(chunk.begin, chunk.end);  // the same blocks of each part of K
  }
};

struct ListProblem {
  const ConvProblem& problem;
  const Tiling& tiling;
  const Blocking& blocking;
  int64_t panels = 1, k_steps = 1, panel_bytes = 0;       // of a group
  int64_t records_per_group = 0;                          // of channel parameters
  int64_t dense_params = 0;                               // record of dense rows, or 0 (BlockSpec::dense)
  std::function<int64_t(int64_t tile, int64_t group)> x;  // from BlockArgs::x to the tile's first row
};
BlockList list_blocks(const ListProblem& problem, Share share, int threads);

// Lets the blocks of each part fetch what the part is to fetch. Every block takes the same number of lines of one range, which is
// returned: one of few numbers, so that layers share code, and as many as it needs for all to be taken.
int assign_prefetch(BlockList& list, std::span<const std::vector<ByteRange>> of_parts);

}  // namespace octet::kernels::amx
