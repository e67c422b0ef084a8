#include "kernels/amx/amx_conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <thread>

#include "conv_check.h"
#include "kernels/amx/blocking.h"
#include "kernels/amx/gather.h"
#include "kernels/amx/schedule.h"
#include "kernels/amx/tile_config.h"
#include "kernels/jit/epilogue_emitter.h"
#include "kernels/packed_weights.h"
#include "ops_testing.h"

namespace octet::kernels {
namespace {

using namespace testing;
using amx::Blocking;
using amx::make_tiling;
using amx::RowSource;
using amx::Tiling;

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
  for (const Stage stage : {Stage::s32, Stage::f32_bias_clamp, Stage::u8_clamped, Stage::u8_twice}) {
    Case c = conv_case(1590, 90, 1, 1, static_cast<uint64_t>(stage));
    c.w = 140;  // nine tiles, the last of them moved back
    c.stage = stage;
    c.parts = stage == Stage::u8_twice ? 7 : stage == Stage::s32 ? 1 : 3;  // rows of blocks are five
    ASSERT_EQ(check_candidates(c), "");
    EXPECT_TRUE(tries_parts(c));
  }
  Case c = conv_case(500, 70, 12, 3, 11);
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

// One and two products: sums start at the bias and are floats one subtraction away, where they are within 2^22: 128 * 255 * 128
// is, just, so that the bias decides.
TEST_F(Amx, SumsOfFewProductsAreExactAtTheirBounds) {
  for (WeightPattern pattern : {WeightPattern::all_127, WeightPattern::all_minus_128, WeightPattern::random})
    for (const int64_t ic : {64, 120, 128})
      for (const Stage stage : {Stage::u8, Stage::u8_once, Stage::u8_twice, Stage::f32, Stage::f32_u8_residual})
        for (const int64_t size : {5, 9}) {
          Case c = conv_case(ic, 72, size, 1, 6);
          c.input = pattern == WeightPattern::random ? InputPattern::extremes : InputPattern::all_255;
          c.pattern = pattern;
          c.x_zero_point = 255 * (size == 9);
          c.stage = stage;
          ASSERT_EQ(run(c), "");
        }
}

TEST_F(Amx, CentredSumsAreWithinHalfTheirOffset) {
  Epilogue e;
  e.out = DType::u8;
  e.scale = {0.5f};
  e.zero_point = 100;  // clamped below it: no offset sums
  const auto exact = [&](int64_t bound) { return centred_sum_is_exact(e, std::array{bound}); };
  EXPECT_TRUE(exact((1 << 22) - 1));
  EXPECT_FALSE(exact(1 << 22));
  e.lo = 100;
  EXPECT_FALSE(exact(1000)) << "its sums are offset";
  e.out = DType::s32;
  EXPECT_FALSE(exact(1000)) << "stored as they are";
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

// 1.2 MB of weights: three parts of 63 panels end within a chunk.
TEST_F(Amx, ThreadsThatTakeChannelsOfManyWeights) {
  for (const int parts : {2, 3})
    for (const bool gelu : {false, true}) {
      Case c = conv_case(1100, 1000, 1, 1, 17);
      c.w = 33;
      c.parts = parts;
      if (gelu) c.epilogue = EpilogueWords{.out = DType::f32, .act = ActKind::gelu, .gain = 0.05f};
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
