#include "kernels/amx/amx_conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

#include "conv_check.h"
#include "kernels/amx/blocking.h"
#include "kernels/amx/gather.h"
#include "kernels/amx/schedule.h"
#include "kernels/amx/tile_config.h"
#include "kernels/packed_weights.h"
#include "ops_testing.h"

namespace octet::kernels {
namespace {

using namespace testing;
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

TEST(AmxPacking, LeavesToVectorsWhatTheyDoBetter) {
  const auto packs = [](int64_t ic, DType dtype, uint8_t weight) {
    ConvShape shape;
    shape.ic = ic;
    shape.oc = 16;
    const std::vector<uint8_t> bytes(static_cast<size_t>(64 * ic), weight);
    ConvWeights weights;
    weights.data = bytes.data();
    weights.dtype = dtype;
    return pack_amx(isa(IsaId::amx), shape, weights) != nullptr;
  };
  EXPECT_TRUE(packs(64, DType::s8, 128));
  EXPECT_TRUE(packs(17, DType::s8, 128));
  EXPECT_FALSE(packs(16, DType::s8, 128)) << "16 or less of K";
  EXPECT_TRUE(packs(64, DType::u8, 127));
  EXPECT_FALSE(packs(64, DType::u8, 128)) << "does not fit s8";
  EXPECT_FALSE(packs(64, DType::f32, 0));
}

// --- the kernels against conv_reference --------------------------------------------------------------------------------

class Amx : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    if (!supported(isa(IsaId::amx), &reason)) GTEST_SKIP() << "amx: " << reason;
  }
  void TearDown() override { release_tiles(); }
  static std::string run(const Case& c) { return check(isa(IsaId::amx), c, pack_amx, make_amx_conv); }
};

// Rows of x lie together and end at a page, so that a byte read beyond the last piece faults.
TEST_F(Amx, StacksInterleaveKernelRows) {
  for (int64_t piece = 1; piece <= 8; ++piece)
    for (int64_t rows = 1; rows <= 12; ++rows)
      for (int64_t elements : {1, 2, 7, 8, 9, 33, 115}) {
        const amx::Stacks stacks{piece, (rows * piece + 15) / 16 * 16, elements};
        if (stacks.element > 64) continue;
        const int64_t x_row = elements * piece;
        const Guarded<uint8_t> x(random_bytes(static_cast<size_t>(rows * x_row), static_cast<unsigned>(elements)),
                                 Wall::after);
        const Guarded<uint8_t> y(static_cast<size_t>((elements - 1) * stacks.element + 64), Wall::after);
        const auto code = amx::stack_kernel(isa(IsaId::amx), stacks, rows);
        const amx::StackArgs args{x.data(), x_row, y.data()};
        code->entry<amx::StackFunction>()(&args);
        for (int64_t j = 0; j < elements; ++j)
          for (int64_t row = 0; row < rows; ++row)
            for (int64_t b = 0; b < piece; ++b)
              ASSERT_EQ(y.data()[j * stacks.element + row * piece + b], x.data()[row * x_row + j * piece + b])
                  << piece << " bytes, " << rows << " rows, element " << j << " of " << elements;
        ASSERT_TRUE(y.margins_untouched());
      }
}

Case conv_case(int64_t ic, int64_t oc, int64_t size, int64_t kernel, uint64_t seed) {
  Case c;
  c.ic = ic;
  c.oc = oc;
  c.h = c.w = size;
  c.kh = c.kw = kernel;
  c.pad_top = c.pad_left = c.pad_bottom = c.pad_right = kernel / 2;
  c.seed = seed;
  return c;
}

TEST_F(Amx, EveryNumberOfOutputChannels) {
  for (int64_t oc = 1; oc <= 70; ++oc) ASSERT_EQ(run(conv_case(33, oc, 5, 1, static_cast<uint64_t>(oc))), "");
}

TEST_F(Amx, EveryNumberOfInputChannels) {
  for (int64_t ic = 2; ic <= 66; ic += 4) {
    Case c = conv_case(ic, 20, 5, 3, static_cast<uint64_t>(ic));
    c.guard_front = ic % 8 == 2;
    ASSERT_EQ(run(c), "");
    c.extra_pixel = 3;  // pixels do not touch
    ASSERT_EQ(run(c), "");
  }
}

TEST_F(Amx, EveryNumberOfRows) {
  for (int64_t rows = 1; rows <= 70; ++rows) {
    Case c = conv_case(70, 40, 1, 1, static_cast<uint64_t>(rows));
    c.w = rows;
    ASSERT_EQ(run(c), "");
  }
}

TEST_F(Amx, ManyKSteps) {
  for (int64_t ic : {500, 640})
    for (int64_t oc : {16, 40, 130}) {
      Case c = conv_case(ic, oc, 6, 1, static_cast<uint64_t>(ic + oc));
      c.w = 11;
      ASSERT_EQ(run(c), "");
      c.w = c.h = 2;
      ASSERT_EQ(run(c), "");
    }
}

TEST_F(Amx, EveryEpilogue) {
  for (Stage stage : kStages)
    for (int64_t size : {6, 3}) {
      Case c = conv_case(64, 83, size, 3, static_cast<uint64_t>(stage));
      c.stage = stage;
      c.x_zero_point = 99;
      ASSERT_EQ(run(c), "");
    }
}

TEST_F(Amx, EveryEpilogueOfPanelsInThrees) {
  for (Stage stage : kStages)
    for (int64_t ic : {24, 72, 136}) {
      Case c = conv_case(ic, 139, 6, 1, static_cast<uint64_t>(stage));
      c.stage = stage;
      c.x_zero_point = 99;
      ASSERT_EQ(run(c), "");
    }
}

// Cut in every way that the cost model names.
std::string check_candidates(const Case& c) {
  const Isa& amx = isa(IsaId::amx);
  const Checked checked(c);
  for (size_t candidate = 0;; ++candidate) {
    bool more = true;
    const Make make = [&](const Isa& on, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights, int,
                          std::string* reason) {
      auto conv = make_amx_candidate(on, problem, weights, candidate);
      more = conv != nullptr;
      return more ? std::move(conv) : make_amx_conv(on, problem, weights, 1, reason);
    };
    if (std::string wrong = checked.run(amx, pack_amx, make); !wrong.empty()) return wrong;
    if (!more) return {};
  }
}

TEST_F(Amx, PixelsThatTouchAreStoredAsLines) {
  for (const Stage stage : {Stage::u8, Stage::u8_clamped, Stage::u8_bias_leaky, Stage::u8_once, Stage::u8_twice})
    for (const int64_t oc : {16, 24, 32, 48})
      for (const int64_t ic : {24, 72, 200}) {
        Case c = conv_case(ic, oc, 1, 1, static_cast<uint64_t>(ic + oc));
        c.stage = stage;
        c.w = 70;  // the last tile has rows of the one before
        c.parts = ic == 72 ? 3 : 1;
        c.table = oc != 32;
        ASSERT_EQ(check_candidates(c), "");
        c.h = 2;  // some tiles reach over the end of a row
        ASSERT_EQ(run(c), "");
        c.extra_pixel = 4;
        ASSERT_EQ(run(c), "");
      }
}

TEST_F(Amx, EveryCandidateGivesTheSameBytes) {
  for (const Stage stage : kStages)
    for (const int64_t oc : {16, 60, 139})
      for (const int64_t ic : {24, 72, 200}) {
        Case c = conv_case(ic, oc, 6, 1, static_cast<uint64_t>(stage));
        c.w = 11;
        c.stage = stage;
        c.table = ic == 72;
        ASSERT_EQ(check_candidates(c), "");
      }
}

TEST_F(Amx, PartsOfKGiveTheSameBytes) {
  const auto tries_parts = [](const Case& c) {
    const Isa& amx = isa(IsaId::amx);
    const Checked checked(c);
    bool parts = false;
    const Make look = [&](const Isa& on, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights, int,
                          std::string* reason) {
      for (size_t i = 0; const auto conv = make_amx_candidate(on, problem, weights, i); ++i)
        parts |= conv->name().find("k in ") != std::string::npos;
      return make_amx_conv(on, problem, weights, 1, reason);
    };
    EXPECT_EQ(checked.run(amx, pack_amx, look), "");
    return parts;
  };
  for (const Stage stage : kStages)
    for (const int threads : {1, 3, 7}) {
      Case c = conv_case(2200, 139, 1, 1, static_cast<uint64_t>(stage));
      c.w = 140;  // nine tiles, the last of them moved back: fewer rows of blocks than seven threads
      c.stage = stage;
      c.parts = threads;
      ASSERT_EQ(check_candidates(c), "");
      if (threads == 1) {
        EXPECT_TRUE(tries_parts(c));
      }
    }
  Case c = conv_case(500, 90, 12, 3, 11);
  c.x_zero_point = 200;
  ASSERT_EQ(check_candidates(c), "");
  EXPECT_TRUE(tries_parts(c));
}

TEST_F(Amx, OnlyWholePixelsThatTouchAreDense) {
  const Isa& amx = isa(IsaId::amx);
  const auto name = [&](int64_t oc, int64_t width, int64_t extra_pixel) {
    Case c = conv_case(72, oc, 1, 1, 1);
    c.w = width;
    c.extra_pixel = extra_pixel;
    const Checked checked(c);
    std::string reason;
    return make_amx_conv(amx, checked.problem(), pack_amx(amx, checked.problem().shape, checked.weights()), 1, &reason)
        ->name();
  };
  for (const int64_t oc : {16, 24, 32, 48})
    for (const int64_t width : {96, 70}) EXPECT_TRUE(name(oc, width, 0).ends_with(" dense")) << oc;
  for (const int64_t oc : {8, 20, 40, 64, 80}) EXPECT_FALSE(name(oc, 96, 0).ends_with(" dense")) << oc;
  EXPECT_FALSE(name(24, 96, 4).ends_with(" dense"));
}

TEST_F(Amx, ExtremeWeightsAreExact) {
  for (WeightPattern pattern : {WeightPattern::all_127, WeightPattern::all_minus_128, WeightPattern::alternating})
    for (int32_t x_zero_point : {0, 255})
      for (InputPattern input : {InputPattern::random, InputPattern::all_255}) {
        Case c = conv_case(200, 32, 4, 3, 4);
        c.input = input;
        c.pattern = pattern;
        c.x_zero_point = x_zero_point;
        c.stage = Stage::s32;
        ASSERT_EQ(run(c), "");
      }
}

TEST_F(Amx, GroupsAndDynamicQuantization) {
  for (int64_t size : {3, 7})
    for (int parts : {1, 3}) {
      Case c = conv_case(96, 60, size, 3, 21);
      c.groups = 3;
      c.at_run = true;
      c.x_zero_point = 57;
      c.stage = Stage::f32_bias_clamp;
      c.parts = parts;
      ASSERT_EQ(run(c), "");
    }
}

TEST_F(Amx, AnyNumberOfPartsGivesTheSameBytes) {
  for (int parts : {1, 2, 3, 5, 64})
    for (int64_t size : {3, 9}) {
      Case c = conv_case(80, 150, size, 3, 13);
      c.n = 2;
      c.parts = parts;
      ASSERT_EQ(run(c), "");
    }
}

TEST_F(Amx, RandomShapes) {
  Random random(2026);
  for (int i = 0; i < 120; ++i) {
    Case c = conv_case(random.in(2, 100), random.in(1, 90), 1, 1, random.bits());
    c.h = random.in(1, 9);
    c.w = random.in(1, 36);
    c.n = random.in(1, 2);
    c.kh = random.in(1, 3);
    c.kw = random.in(1, 4);
    if (c.ic * c.kh * c.kw <= 16) c.ic += 16;
    if (random.in(0, 5) == 0) {
      c.groups = random.in(1, 3);
      c.ic = c.groups * 20;
      c.oc = c.groups * random.in(1, 20);
    }
    c.stride_h = random.in(1, 2);
    c.stride_w = random.in(1, 2);
    c.dilation_h = random.in(1, 2);
    c.dilation_w = random.in(1, 2);
    const auto pads = [&](int64_t reach, int64_t size, int64_t& before, int64_t& after) {
      before = random.in(0, reach);
      after = random.in(std::max<int64_t>(0, reach + 1 - size - before), reach + 1);
    };
    pads(c.dilation_h * (c.kh - 1), c.h, c.pad_top, c.pad_bottom);
    pads(c.dilation_w * (c.kw - 1), c.w, c.pad_left, c.pad_right);
    c.bias = random.flip();
    c.x_zero_point = static_cast<int32_t>(random.pick({0, 128, 255, 31}));
    c.stage = kStages[random.in(0, 9)];
    c.extra_pixel = random.in(0, 2) * random.in(0, 9);
    c.extra_row = random.in(0, 2) * random.in(0, 31);
    c.guard_front = random.flip();
    c.parts = static_cast<int>(random.in(1, 4));
    ASSERT_EQ(run(c), "") << "case " << i;
  }
}

TEST_F(Amx, EveryThreadConfiguresItsOwnTiles) {
  release_tiles();
  std::vector<std::string> results(3);
  std::vector<std::thread> threads;
  for (std::string& result : results)
    threads.emplace_back([&result] {
      result = run(conv_case(64, 64, 8, 3, 17));
      release_tiles();
      result += run(conv_case(64, 64, 8, 3, 18));
    });
  for (std::thread& t : threads) t.join();
  for (const std::string& result : results) EXPECT_EQ(result, "");
}

}  // namespace
}  // namespace octet::kernels
