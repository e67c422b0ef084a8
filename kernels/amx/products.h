// Which tile product of an AMX block comes when, and which tile registers hold what.
//
//   tiles    0..m*n-1 C | the side with fewer tiles, all of it | the other side, rotating through the rest
//            1x4: C 0-3, A 4, B 5 6 7    2x2: C 0-3, A 4 5, B 6 7    4x1: C 0-3, B 4, A 5 6 7
//            1x4 with resident weights: C 0-2 by turns, A 3, B 4-7, loaded before the first block
//
// The side with fewer tiles stays for a k step; tiles of the other rotate, so that a load need not wait for the last
// product. A pure function of the block's form.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/amx/generator.h"

namespace octet::kernels::amx {

struct TileLoad {
  bool from_x = false;
  int tile = 0;
  int index = 0;  // of the tile of x or of the panel
  size_t k = 0;
};

struct TileProduct {
  int c = 0, a = 0, b = 0;
  bool first = false;           // of its c, which is then stored for the block that had it
  int stored = 0;               // the tile of that block
  bool stores_running = false;  // it is the block running at that time, not the one before
  std::vector<TileLoad> loads;  // what no product before it has loaded
  int panel = 0;                // of its block
};

// With four resident panels three sums rotate, and blocks come in as many variants.
int accumulators(const BlockSpec& spec);
int variants(const BlockSpec& spec);
std::vector<TileProduct> plan_products(const BlockSpec& spec, int variant);

}  // namespace octet::kernels::amx
