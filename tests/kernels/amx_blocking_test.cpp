// How AMX products are cut and when their blocks do what: pure functions.
#include "kernels/amx/blocking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kernels/amx/schedule.h"

namespace octet::kernels {
namespace {

using amx::Blocking;
using amx::make_tiling;
using amx::RowSource;
using amx::Tiling;

// --- tiling ------------------------------------------------------------------------------------------------------------

ConvProblem image_problem(int64_t n, int64_t size, int64_t kernel, int64_t stride, int64_t channels, int64_t halo) {
  ConvProblem p;
  ConvShape& s = p.shape;
  s.n = n;
  s.ic = s.oc = channels;
  s.ih = s.iw = size;
  s.kh = s.kw = kernel;
  s.stride_h = s.stride_w = stride;
  s.pad_top = s.pad_left = kernel / 2;
  s.oh = s.ow = (size + 2 * (kernel / 2) - kernel) / stride + 1;
  p.x.pixel = channels;
  p.x.row = (size + 2 * halo) * p.x.pixel;
  p.x.image = (size + 2 * halo) * p.x.row;
  p.y.pixel = channels;
  p.y.row = s.ow * channels;
  p.y.image = s.oh * p.y.row;
  p.residual = p.y;
  return p;
}

// Every output is stored once, from the tile row that reads its window; no tile reads past the last window.
void expect_tiling(const ConvProblem& p, const Tiling& tiling) {
  const ConvShape& s = p.shape;
  const auto window = [&](int64_t image, int64_t oy, int64_t ox) {
    return image * p.x.image + (oy * s.stride_h - s.pad_top) * p.x.row + (ox * s.stride_w - s.pad_left) * p.x.pixel;
  };
  std::set<int64_t> stored;
  for (int64_t row = 0; row < tiling.tiles() * amx::kTileRows; ++row) {
    const auto i = static_cast<size_t>(row);
    const int64_t y = tiling.rows[i].y;
    if (y >= 0) {
      EXPECT_TRUE(stored.insert(y).second) << "stored twice: " << y;
    }
    if (tiling.source == RowSource::phases) {
      const amx::PhasePlanes planes = amx::make_phase_planes(s);
      const int64_t position = tiling.x[i / amx::kTileRows] / planes.pixel + row % amx::kTileRows;
      EXPECT_LT(position, (s.oh - 1) * planes.width + s.ow);
      if (y >= 0) {
        EXPECT_EQ(y, position / planes.width * p.y.row + position % planes.width * p.y.pixel);
      }
      continue;
    }
    const int64_t x = tiling.source == RowSource::copied
                          ? tiling.copied[i]
                          : tiling.x[i / amx::kTileRows] + row % amx::kTileRows * tiling.row_bytes;
    EXPECT_GE(x, window(0, 0, 0));
    EXPECT_LE(x, window(s.n - 1, s.oh - 1, s.ow - 1));
    if (y < 0) continue;
    EXPECT_EQ(x, window(y / p.y.image, y % p.y.image / p.y.row, y % p.y.row / p.y.pixel));
  }
  EXPECT_EQ(static_cast<int64_t>(stored.size()), s.n * s.oh * s.ow);
}

TEST(AmxTiling, StoresEveryOutputOnce) {
  for (int64_t n : {1, 2, 3})
    for (int64_t size : {1, 2, 4, 7, 14, 15, 16, 17, 33})
      for (int64_t kernel : {1, 3})
        for (int64_t stride : {1, 2})
          for (int64_t halo : {1, 3})
            for (int64_t panels : {1, 16}) {
              const ConvProblem p = image_problem(n, size, kernel, stride, 32, halo);
              expect_tiling(p, make_tiling(p, panels));
            }
}

TEST(AmxTiling, UnitStrideIsFlat) {
  const Tiling tiling = make_tiling(image_problem(1, 14, 3, 1, 256, 1), 16);
  EXPECT_EQ(tiling.source, RowSource::flat);
  EXPECT_EQ(tiling.tiles(), 14);  // 13 * 16 + 14 positions
  EXPECT_EQ(tiling.row_bytes, 256);
}

TEST(AmxTiling, StridedImagesBecomePlanesOfStrideOne) {
  const ConvProblem p = image_problem(1, 28, 3, 2, 256, 1);
  const Tiling tiling = make_tiling(p, 16);
  EXPECT_EQ(tiling.source, RowSource::phases);
  EXPECT_EQ(tiling.tiles(), (13 * 15 + 14 + 15) / 16);
  const amx::PhasePlanes planes = amx::make_phase_planes(p.shape);
  EXPECT_EQ(planes.phases.size(), 4u);
  EXPECT_EQ(planes.height, 15);
  EXPECT_EQ(planes.width, 15);
  EXPECT_EQ(planes.at(p.shape, 2, 1), planes.plane + 15 * 256) << "kernel row 2, column 1: phase (0, 1), one row down";
}

TEST(AmxTiling, ManyImagesGoRowByRowAndFewRowsAreCopied) {
  EXPECT_EQ(make_tiling(image_problem(2, 56, 3, 2, 128, 1), 8).source, RowSource::rows);
  EXPECT_EQ(make_tiling(image_problem(1, 3, 1, 1, 512, 0), 32).source, RowSource::copied);
}

// --- blocking ----------------------------------------------------------------------------------------------------------

amx::BlockingProblem cut(int64_t tiles, int64_t panels, int64_t k_steps, bool copied = false) {
  return {.tiles = tiles,
          .panels = panels,
          .k_steps = k_steps,
          .x_tile_bytes = 1024 * k_steps / (k_steps % 9 == 0 ? 3 : 1),
          .copied = copied,
          .residual = false,
          .offset_sum = false};
}
Blocking first_choice(const amx::BlockingProblem& problem) { return amx::candidate_blockings(problem).front(); }
std::pair<int, int> shape_of(const Blocking& b) { return {b.m, b.n}; }

TEST(AmxBlocking, TheModelFollowsTheNumberOfKSteps) {
  EXPECT_EQ(shape_of(first_choice(cut(196, 16, 1))), std::pair(1, 4)) << "1x1 64 -> 256 at 56x56: the epilogue decides";
  EXPECT_EQ(shape_of(first_choice(cut(14, 16, 36))), std::pair(2, 2)) << "3x3 256 -> 256 at 14x14: loads decide";
  EXPECT_EQ(shape_of(first_choice(cut(1, 63, 32, true))), std::pair(1, 4)) << "one row of a matrix";
  EXPECT_EQ(shape_of(first_choice(cut(50, 1, 9))), std::pair(4, 1)) << "16 output channels";
  EXPECT_EQ(first_choice(cut(50, 64, 9, true)).chunk, 64) << "rows are copied once for all panels";
}

TEST(AmxBlocking, PanelsInThreesMayBeTakenByThrees) {
  const auto offers_threes = [](int64_t panels) {
    const std::vector<Blocking> candidates = amx::candidate_blockings(cut(196, panels, 1));
    return std::any_of(candidates.begin(), candidates.end(),
                       [](const Blocking& b) { return shape_of(b) == std::pair(1, 3); });
  };
  EXPECT_TRUE(offers_threes(9)) << "24 -> 144 channels: by fours a block of one panel is left";
  EXPECT_FALSE(offers_threes(16));
  const Blocking threes{1, 3, 3, amx::Stream::x}, twos{1, 2, 2, amx::Stream::x};
  EXPECT_LT(amx::estimated_cycles(cut(196, 9, 1), threes), amx::estimated_cycles(cut(196, 9, 1), twos));
}

TEST(AmxBlocking, DenseBlocksOfFewKStepsMayHaveTwoTiles) {
  const auto has_2x2 = [](const amx::BlockingProblem& problem) {
    const auto candidates = amx::candidate_blockings(problem);
    return std::any_of(candidates.begin(), candidates.end(), [](const Blocking& b) { return b.m == 2 && b.n == 2; });
  };
  amx::BlockingProblem problem = cut(196, 2, 2);
  EXPECT_FALSE(has_2x2(problem));
  problem.dense_channels = 24;
  EXPECT_TRUE(has_2x2(problem));
}

TEST(AmxBlocking, MoreWorkCostsMore) {
  const Blocking b{2, 2, 8, amx::Stream::weights};
  EXPECT_LT(amx::estimated_cycles(cut(14, 16, 36), b), amx::estimated_cycles(cut(28, 16, 36), b));
  EXPECT_LT(amx::estimated_cycles(cut(14, 16, 36), b), amx::estimated_cycles(cut(14, 32, 36), b));
  EXPECT_LT(amx::estimated_cycles(cut(14, 16, 36), b), amx::estimated_cycles(cut(14, 16, 72), b));
  EXPECT_GE(amx::estimated_cycles(cut(14, 16, 36), b), 14 * 16 * 36 * 16) << "a tile product takes 16 cycles";
}

TEST(AmxBlocking, StreamingWhatIsUsedAgainCosts) {
  const auto cycles = [](int64_t chunk, amx::Stream stream) {
    return amx::estimated_cycles(cut(49, 8, 8), {1, 4, chunk, stream});
  };
  EXPECT_LT(cycles(4, amx::Stream::x), cycles(4, amx::Stream::weights)) << "32 KiB of weights for all rows";
  EXPECT_LT(cycles(8, amx::Stream::weights), cycles(8, amx::Stream::x)) << "8 KiB of x for all panels";
  EXPECT_LT(cycles(4, amx::Stream::none), cycles(4, amx::Stream::weights));
}

TEST(AmxBlocking, AWideChunkIsReadBeforeItIsFetched) {
  const auto factor = [](int64_t chunk, int64_t panels, int64_t steps) {
    return amx::network_factor(cut(14, panels, steps), {2, 2, chunk, amx::Stream::weights});
  };
  EXPECT_EQ(factor(4, 16, 36), 1) << "144 KiB, less than what is fetched ahead";
  EXPECT_GT(factor(8, 16, 36), 1);
  EXPECT_GT(factor(16, 16, 36), factor(8, 16, 36));
  EXPECT_EQ(factor(32, 4, 36), 1) << "there are no more panels than four";
}

TEST(AmxBlocking, LongKMayComeInParts) {
  const auto parts = [](amx::BlockingProblem problem) {
    int most = 1;
    for (const Blocking& b : amx::candidate_blockings(problem)) most = std::max(most, b.k_parts);
    return most;
  };
  amx::BlockingProblem ffn = cut(8, 48, 48);
  EXPECT_EQ(parts(ffn), 1) << "only where its epilogue and its rows of x allow";
  ffn.splits_k = true;
  EXPECT_EQ(parts(ffn), 3);
  EXPECT_GT(first_choice(ffn).k_parts, 1) << "two tiles of x over all of K do not stay in the first level";
  amx::BlockingProblem longer = cut(256, 48, 48);
  longer.splits_k = true;
  EXPECT_EQ(parts(longer), 3);
  longer.tiles = 2048;
  EXPECT_EQ(parts(longer), 1) << "the sums of a chunk would not stay in the second level";
  amx::BlockingProblem attention = cut(8, 48, 12);
  attention.splits_k = true;
  EXPECT_EQ(parts(attention), 1) << "they do";
}

TEST(AmxBlocking, PartsOfKCoverIt) {
  for (const int64_t steps : {32, 36, 48, 49, 72})
    for (const int parts : {1, 2, 3, 4}) {
      const Blocking b{.k_parts = parts};
      int64_t at = 0;
      for (int part = 0; part < parts; ++part) {
        const auto [first, end] = amx::k_part(steps, b, part);
        EXPECT_EQ(first, at);
        EXPECT_GT(end, first);
        at = end;
      }
      EXPECT_EQ(at, steps);
    }
}

TEST(AmxBlocking, EveryCandidateFitsTheAccumulators) {
  for (int64_t tiles = 1; tiles < 20; ++tiles)
    for (int64_t panels = 1; panels < 20; ++panels)
      for (int64_t steps : {1, 2, 8, 9, 40, 400})
        for (bool copied : {false, true})
          for (const Blocking& b : amx::candidate_blockings(cut(tiles, panels, steps, copied))) {
            EXPECT_LE(b.m * b.n, 4);
            EXPECT_GE(b.m, 1);
            EXPECT_GE(b.n, 1);
            EXPECT_EQ(b.chunk % b.n, 0);
            EXPECT_GE(b.chunk, b.n);
            if (copied) {
              EXPECT_GE(b.chunk, panels) << "rows are copied once a chunk";
            }
            if (steps <= 2) {
              EXPECT_LE(b.m, b.n == 1 ? 2 : 1) << "units of tall blocks cannot wrap";
            }
          }
}

// --- schedule ----------------------------------------------------------------------------------------------------------

TEST(AmxSchedule, UnitsComeAfterTheStoresAndBeforeTheNextBlocksStores) {
  for (int tiles = 1; tiles <= 4; ++tiles)
    for (int k_steps : {1, 2, 3, 4, 9, 72})
      for (int units : {16, 32, 64}) {
        const amx::Schedule s = amx::make_schedule(tiles, tiles, k_steps, units);
        ASSERT_EQ(s.units.size(), static_cast<size_t>(units));
        const auto time = [&](const amx::Schedule::Unit& u) { return u.stage * s.slots + u.slot; };
        EXPECT_GE(time(s.units.front()), s.slots + tiles - 1) << "tiles are stored up to slot t-2 of the next block";
        EXPECT_GE(time(s.units.front()), s.setup_stage * s.slots + s.setup_slot);
        EXPECT_LT(time(s.units.back()), s.setup_stage * s.slots + s.setup_slot + s.slots)
            << "one block's parameters at a time";
        for (size_t i = 1; i < s.units.size(); ++i) EXPECT_LE(time(s.units[i - 1]), time(s.units[i]));
        // The next block's first tile is stored in its last slot, before the units there.
        const int next_store = 2 * s.slots - 1;
        if (!s.two_buffers) {
          EXPECT_LT(time(s.units.back()), next_store);
        }
        EXPECT_LT(time(s.units.back()), next_store + s.slots);
      }
}

}  // namespace
}  // namespace octet::kernels
