#include "kernels/product/blocking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace octet::kernels {
namespace {

// Blocks of (pixels + 1 for the weights), as a fraction of what perfectly full blocks would cost.
double waste(const Blocking& b, int64_t pixels, int max_rows) {
  double cost = 0;
  for (const PixelBlock& block : b.blocks) cost += b.shapes[static_cast<size_t>(block.shape)].pixels() + 1;
  return cost / (static_cast<double>(pixels) * (max_rows + 1) / max_rows) - 1;
}

TEST(Blocking, EveryPixelOnceForEverySize) {
  for (int max_rows : {1, 6, 8, 14, 16, 28})
    for (int64_t height : {1, 2, 3, 5, 7, 8, 13, 14, 28})
      for (int64_t width = 1; width <= 30; ++width) {
        const Blocking b = blocking(height, width, max_rows);
        std::vector<int> seen(static_cast<size_t>(height * width));
        for (const PixelBlock& block : b.blocks) {
          const BlockShape s = b.shapes[static_cast<size_t>(block.shape)];
          ASSERT_LE(s.pixels(), max_rows);
          for (int y = 0; y < s.rows; ++y)
            for (int x = 0; x < s.columns; ++x) {
              ASSERT_LT(block.y + y, height);
              ASSERT_LT(block.x + x, width);
              ++seen[static_cast<size_t>((block.y + y) * width + block.x + x)];
            }
        }
        ASSERT_TRUE(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }))
            << height << "x" << width << " by " << max_rows;
      }
}

TEST(Blocking, SizesOfTheResNetsWasteLittle) {
  EXPECT_LT(waste(blocking(56, 56, 8), 56 * 56, 8), 0.001);
  EXPECT_LT(waste(blocking(28, 28, 8), 28 * 28, 8), 0.001);
  EXPECT_LT(waste(blocking(14, 14, 8), 14 * 14, 8), 0.01);
  EXPECT_LT(waste(blocking(7, 7, 8), 7 * 7, 8), 0.02);
  EXPECT_LT(waste(blocking(14, 14, 6), 14 * 14, 6), 0.01);
  EXPECT_LT(waste(blocking(14, 14, 14), 14 * 14, 14), 0.001);
  EXPECT_LT(waste(blocking(7, 7, 14), 7 * 7, 14), 0.04);
}

TEST(Blocking, AMatrixIsFullBlocksAndOneRest) {
  const Blocking b = blocking(1, 128 + 5, 8);
  ASSERT_EQ(b.shapes.size(), 2u);
  EXPECT_EQ(b.shapes[0], (BlockShape{1, 8}));
  EXPECT_EQ(b.shapes[1], (BlockShape{1, 5}));
  EXPECT_EQ(b.blocks.size(), 17u);
}

TEST(ChunkBlocks, AtLeastOneAndMoreForLargeWeights) {
  const Caches caches{.first_level = 48 << 10, .second_level = 2 << 20};
  EXPECT_EQ(chunk_blocks(1000, 100, int64_t{1} << 40, caches), 1);
  EXPECT_EQ(chunk_blocks(1000, 100, 0, caches), chunk_blocks(1000, 100, 1, caches));
  EXPECT_EQ(chunk_blocks(1000, 100, 2048, caches), 24) << "activations in the first level while small weights pass";
  EXPECT_EQ(chunk_blocks(512 << 10, 100, 2048, caches), 640) << "one pass of weights that come as they are used";
  EXPECT_EQ(chunk_blocks(512 << 10, 1000, 2048, caches), 24) << "the first of many passes may wait";
  EXPECT_EQ(chunk_blocks(int64_t{8} << 20, 1000, 2048, caches), 640)
      << "as many as the second level holds, for one pass of large weights";
}

TEST(GridPart, PartsCoverTheGridOnce) {
  for (int parts : {1, 2, 3, 4, 5, 8, 16, 31})
    for (int64_t blocks : {0, 1, 2, 7, 100})
      for (int64_t panels : {1, 2, 9, 64}) {
        std::vector<int> seen(static_cast<size_t>(blocks * panels));
        for (int part = 0; part < parts; ++part) {
          const GridPart p = grid_part(blocks, panels, part, parts);
          for (int64_t b = p.block_begin; b < p.block_end; ++b)
            for (int64_t n = p.panel_begin; n < p.panel_end; ++n) ++seen[static_cast<size_t>(b * panels + n)];
        }
        ASSERT_TRUE(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }))
            << blocks << " blocks, " << panels << " panels, " << parts << " parts";
      }
}

TEST(GridPart, RowsFirstThenPanelsWhenRowsAreFew) {
  EXPECT_EQ(grid_part(100, 8, 0, 4), (GridPart{0, 25, 0, 8}));
  EXPECT_EQ(grid_part(1, 8, 1, 4), (GridPart{0, 1, 2, 4}));
  EXPECT_EQ(grid_part(2, 8, 3, 4), (GridPart{1, 2, 4, 8}));
}

}  // namespace
}  // namespace octet::kernels
