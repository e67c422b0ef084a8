// How output pixels are cut into register blocks, and the work into cache blocks and parts. Pure functions of shapes.
//
// A kernel computes up to `max_rows` output pixels at once; which pixels is a rectangle of image rows and columns baked into
// its displacements (1x8, 2x4, 1x7 …). An image is covered by one main rectangle, and what remains right and below by
// others, so that 56, 28, 14 and 7 waste little:
//
//      14 x 14 by 8:   ┌─2x4─┬─2x4─┬─2x4─┬4x2┐
//                      ├─────┼─────┼─────┤   │      the cost of a rectangle is its pixels plus a constant for loading
//                      │     …           ├───┤      the weights, and the covering with the least cost is taken
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/caches.h"

namespace octet::kernels {

struct BlockShape {
  int rows = 1, columns = 1;
  int pixels() const { return rows * columns; }
  bool operator==(const BlockShape&) const = default;
};

struct PixelBlock {
  int64_t y = 0, x = 0;
  int shape = 0;  // index into Blocking::shapes
};

struct Blocking {
  std::vector<BlockShape> shapes;
  std::vector<PixelBlock> blocks;  // in order of rows, then columns; they cover every pixel once
};
Blocking blocking(int64_t height, int64_t width, int max_rows);

// Row blocks that share a cache: all panels pass over one chunk before the next begins. Small chunks keep their activations
// in the first level, and weights pass once for each. In a network the weights come from beyond the second level, fetched
// evenly over the step (prefetch.h), while the first of several passes wants all of them: unless what is fetched ahead is
// about all there is, or that pass is one of many, the chunk is as large as the second level holds, for one pass.
// ResNet-50 on avx512_vnni, steps in turn: 1x1 2048->512 at 7x7 215 us in chunks for the first level, 152 in one; 3x3
// 256 at 14x14 335 and 308.
int64_t chunk_blocks(int64_t weight_bytes, int64_t blocks, int64_t block_bytes, const Caches& caches);

// Part `part` of `parts` of a grid of row blocks and panels: whole rows of the grid first, columns when rows are few.
struct GridPart {
  int64_t block_begin = 0, block_end = 0, panel_begin = 0, panel_end = 0;
  bool operator==(const GridPart&) const = default;
};
GridPart grid_part(int64_t blocks, int64_t panels, int part, int parts);

}  // namespace octet::kernels
