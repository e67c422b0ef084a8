#include "kernels/depthwise.h"

#include <gtest/gtest.h>

#include <set>

#include "conv_check.h"
#include "kernels/depthwise/generator.h"
#include "kernels/depthwise/schedule.h"

namespace octet::kernels {
namespace {

using namespace testing;

// --- the schedule ------------------------------------------------------------------------------------------------------

// Every output of a block gets every kernel position exactly once, from the right pixel.
void expect_complete(const depthwise::Plan& plan, const depthwise::Schedule& schedule) {
  const depthwise::Window& w = plan.window;
  std::vector<std::vector<int>> seen(static_cast<size_t>(schedule.rows * schedule.cols));
  for (const depthwise::Group& g : schedule.groups)
    for (const depthwise::Use& u : g.uses)
      for (size_t i = 0; i < depthwise::kMaxTaps; ++i) {
        const int p = plan.tuples[static_cast<size_t>(u.tuple)][i];
        if (p == depthwise::kHole) continue;
        const depthwise::Pixel expected{u.row * w.stride_h + p / w.kw * w.dilation_h,
                                        u.col * w.stride_w + p % w.kw * w.dilation_w};
        EXPECT_EQ(g.pixels[i], expected);
        seen[static_cast<size_t>(u.row * schedule.cols + u.col)].push_back(p);
      }
  for (const std::vector<int>& positions : seen) {
    EXPECT_EQ(std::set<int>(positions.begin(), positions.end()).size(), static_cast<size_t>(w.kh * w.kw));
    EXPECT_EQ(positions.size(), static_cast<size_t>(w.kh * w.kw));
    if (plan.taps == 1) {
      EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end())) << "float sums have an order";
    }
  }
}

// No pixel is read outside the windows of the block's outputs: it might lie outside the tensor.
void expect_inside(const depthwise::Plan& plan, const depthwise::Schedule& schedule) {
  const depthwise::Window& w = plan.window;
  for (const depthwise::Group& g : schedule.groups)
    for (const depthwise::Pixel& p : g.pixels) {
      EXPECT_LE(p.row, (schedule.rows - 1) * w.stride_h + (w.kh - 1) * w.dilation_h);
      EXPECT_LE(p.col, (schedule.cols - 1) * w.stride_w + (w.kw - 1) * w.dilation_w);
    }
}

TEST(DepthwiseSchedule, CoversEveryTapOnce) {
  for (int taps : {1, 2, 4})
    for (int kh : {1, 2, 3, 5})
      for (int kw : {1, 3, 4, 7})
        for (int stride : {1, 2, 3})
          for (int dilation : {1, 2, 3}) {
            const depthwise::Window window{kh, kw, stride, stride == 3 ? 1 : stride, dilation, dilation == 3 ? 2 : dilation};
            const depthwise::Plan plan = depthwise::make_plan(window, taps, {.group = 5, .use = 4, .accumulators = 6});
            ASSERT_FALSE(plan.looped);
            for (const depthwise::Schedule& schedule : plan.schedules) {
              expect_complete(plan, schedule);
              expect_inside(plan, schedule);
            }
          }
}

TEST(DepthwiseSchedule, ThreeByThreeInPairsTakesFiveInstructionsAnOutput) {
  const depthwise::Plan plan = depthwise::make_plan({3, 3, 1, 1, 1, 1}, 2, {.group = 3, .use = 2, .accumulators = 14});
  EXPECT_EQ(plan.rows, 2);
  EXPECT_EQ(plan.cols, 7);
  size_t uses = 0;
  const depthwise::Schedule& schedule = plan.schedule(2, 7);
  for (const depthwise::Group& g : schedule.groups) uses += g.uses.size();
  EXPECT_EQ(uses, 14u * 5u);               // 9 taps in pairs, one of them half empty
  EXPECT_EQ(schedule.groups.size(), 19u);  // 4 x 9 input pixels: 5 flat pairs, 9 standing ones, 5 flat
}

TEST(DepthwiseSchedule, LargeKernelsAreLoops) {
  const depthwise::Plan plan = depthwise::make_plan({31, 31, 1, 1, 1, 1}, 2, {.group = 5, .use = 4, .accumulators = 6});
  EXPECT_TRUE(plan.looped);
  EXPECT_EQ(plan.tuples.size(), 481u);
  EXPECT_EQ(plan.tuples.back()[0], 960);
  EXPECT_EQ(plan.tuples.back()[1], depthwise::kHole);
}

// --- the packing -------------------------------------------------------------------------------------------------------

TEST(DepthwisePacking, ChoosesByTheRangeOfWeights) {
  const auto packed_as = [](IsaId id, uint8_t weight, int32_t zero_point) {
    ConvShape shape;
    shape.ic = shape.oc = shape.groups = 70;
    shape.kh = shape.kw = 3;
    std::vector<uint8_t> bytes(70 * 9, 120);
    bytes[5] = weight;
    ConvWeights weights;
    weights.data = bytes.data();
    weights.dtype = DType::u8;
    weights.zero_points = {&zero_point, 1};
    const std::string description = describe(*pack_depthwise(isa(id), shape, weights));
    return description.substr(0, description.find(','));
  };
  EXPECT_EQ(packed_as(IsaId::avx512_vnni, 200, 100), "int8 quads of 64 channels");
  EXPECT_EQ(packed_as(IsaId::avx512_vnni, 228, 100), "int8 quads of 64 channels in two planes");
  EXPECT_EQ(packed_as(IsaId::avx512_vnni, 255, 0), "int16 pairs") << "255 is no sum of two s8";
  EXPECT_EQ(packed_as(IsaId::avx2_vnni, 200, 100), "int8 quads");
  EXPECT_EQ(packed_as(IsaId::avx2_vnni, 228, 100), "int16 pairs");
  EXPECT_EQ(packed_as(IsaId::avx512, 200, 100), "int16 pairs");
}

// --- the kernels against conv_reference --------------------------------------------------------------------------------

class Depthwise : public ::testing::TestWithParam<IsaId> {
 protected:
  void SetUp() override {
    std::string reason;
    if (!supported(isa(GetParam()), &reason)) GTEST_SKIP() << isa(GetParam()).name << ": " << reason;
  }
  static std::string run(const Case& c) { return check(isa(GetParam()), c, pack_depthwise, make_depthwise); }
};

Case depthwise_case(int64_t channels, int64_t multiplier, int64_t h, int64_t w, uint64_t seed) {
  Case c;
  c.ic = c.groups = channels;
  c.oc = channels * multiplier;
  c.h = h;
  c.w = w;
  c.seed = seed;
  return c;
}

// Clamped as floats, the range kept, and quantized; channels that share a vector, in narrow and wide images.
TEST_P(Depthwise, QuantizedValues) {
  for (const float gain : {0.02f, 1.0f})
    for (const int64_t channels : {3, 16, 30, 32, 64, 96, 144})
      for (const int64_t width : {5, 11, 40})
        for (const int64_t stride : {1, 2}) {
          Case c = depthwise_case(channels, 1, 9, width, static_cast<uint64_t>(channels + width + stride + (gain == 1.0f)));
          c.stride_h = c.stride_w = stride;
          c.epilogue = EpilogueWords{
              .act = ActKind::clamp, .bias = channels % 3 == 0, .zero_point = 51, .gain = gain, .y_scale = 7.5f / 255.0f};
          c.at_run = channels != 64;
          c.x_zero_point = 9;
          c.parts = static_cast<int>(1 + width % 2);
          ASSERT_EQ(run(c), "");
          c.epilogue->act = ActKind::none;
          c.epilogue->zero_point = channels % 2 == 0 ? 0 : 51;
          ASSERT_EQ(run(c), "");
        }
}

TEST_P(Depthwise, TablesBehind8BitOutputs) {
  if (!has_table_stage(isa(GetParam()))) GTEST_SKIP() << isa(GetParam()).name << ": tables are steps of their own";
  for (const Stage stage : {Stage::u8, Stage::u8_clamped, Stage::u8_once, Stage::u8_twice})
    for (const int64_t channels : {3, 16, 30, 64, 96, 144})
      for (const int64_t width : {5, 11, 40})
        for (const int64_t stride : {1, 2}) {
          Case c = depthwise_case(channels, 1, 9, width, static_cast<uint64_t>(channels + width + stride));
          c.stride_h = c.stride_w = stride;
          c.stage = stage;
          c.table = true;
          c.parts = static_cast<int>(1 + width % 2);
          ASSERT_EQ(run(c), "");
        }
}

TEST_P(Depthwise, EveryChannelCount) {
  for (int64_t channels = 2; channels <= 70; ++channels)
    for (DType weights : {DType::s8, DType::f32}) {
      Case c = depthwise_case(channels, 1, 5, 7, static_cast<uint64_t>(channels));
      c.weights = weights;
      c.stage = weights == DType::f32 ? Stage::f32 : Stage::u8;
      c.x_zero_point = 113;
      ASSERT_EQ(run(c), "");
      c.extra_pixel = 3;
      c.guard_front = true;
      ASSERT_EQ(run(c), "");
    }
}

TEST_P(Depthwise, EveryImageSize) {
  for (int64_t h = 1; h <= 9; ++h)
    for (int64_t w = 1; w <= 14; ++w)
      for (DType weights : {DType::s8, DType::f32}) {
        Case c = depthwise_case(19, 1, h, w, static_cast<uint64_t>(h * 16 + w));
        c.weights = weights;
        c.stage = weights == DType::f32 ? Stage::f32 : Stage::u8;
        ASSERT_EQ(run(c), "");
      }
}

TEST_P(Depthwise, EveryEpilogue) {
  for (Stage stage : kStages)
    for (int64_t channels : {16, 35, 64}) {
      Case c = depthwise_case(channels, 1, 6, 9, static_cast<uint64_t>(channels) + static_cast<uint64_t>(stage));
      c.stage = stage;
      ASSERT_EQ(run(c), "");
      c.weights = DType::u8;
      c.weight_zero_points = true;
      ASSERT_EQ(run(c), "");
    }
  for (Stage stage : kFloatStages) {
    Case c = depthwise_case(29, 1, 6, 9, 3);
    c.weights = DType::f32;
    c.stage = stage;
    ASSERT_EQ(run(c), "");
  }
}

TEST_P(Depthwise, ExtremeWeightsAreExact) {
  for (WeightPattern pattern : {WeightPattern::all_127, WeightPattern::all_minus_128, WeightPattern::alternating})
    for (DType weights : {DType::s8, DType::u8})
      for (bool zero_points : {false, true})
        for (int32_t x_zero_point : {0, 128, 255})
          for (InputPattern input : {InputPattern::random, InputPattern::all_255}) {
            Case c = depthwise_case(24, 1, 7, 7, 4);
            c.input = input;
            c.pattern = pattern;
            c.weights = weights;
            c.weight_zero_points = zero_points;
            c.x_zero_point = x_zero_point;
            c.stage = Stage::s32;
            ASSERT_EQ(run(c), "");
          }
}

TEST_P(Depthwise, Multipliers) {
  for (int64_t multiplier : {2, 3, 4, 8, 17})
    for (int64_t channels : {2, 3, 16, 21})
      for (DType weights : {DType::s8, DType::u8, DType::f32}) {
        Case c = depthwise_case(channels, multiplier, 4, 5, static_cast<uint64_t>(channels * multiplier));
        c.weights = weights;
        c.weight_zero_points = weights == DType::u8;
        c.stage = weights == DType::f32 ? Stage::f32_residual : Stage::u8_once;
        c.extra_pixel = 5;
        ASSERT_EQ(run(c), "");
        c.guard_front = true;
        c.extra_pixel = 0;
        ASSERT_EQ(run(c), "");
      }
}

TEST_P(Depthwise, KernelsTooLargeToUnroll) {
  for (DType weights : {DType::s8, DType::u8, DType::f32})
    for (int64_t multiplier : {1, 2}) {
      Case c = depthwise_case(20, multiplier, 33, 34, 9);
      c.kh = c.kw = 31;
      c.pad_top = c.pad_left = 15;
      c.pad_bottom = c.pad_right = 15;
      c.weights = weights;
      c.weight_zero_points = weights == DType::u8;
      c.stage = weights == DType::f32 ? Stage::f32 : Stage::u8;
      c.h = 6;
      ASSERT_EQ(run(c), "");
      c.kh = 1;
      c.kw = 1001;
      c.pad_top = c.pad_bottom = 0;
      c.w = 1010;
      c.dilation_w = 1;
      c.pad_left = c.pad_right = 3;
      ASSERT_EQ(run(c), "");
    }
}

TEST_P(Depthwise, DynamicQuantization) {
  for (int32_t x_zero_point : {0, 7, 255})
    for (Stage stage : {Stage::f32, Stage::f32_bias_clamp, Stage::f32_residual}) {
      Case c = depthwise_case(37, 1, 8, 8, 11);
      c.at_run = true;
      c.x_zero_point = x_zero_point;
      c.stage = stage;
      c.parts = 3;
      ASSERT_EQ(run(c), "");
    }
}

TEST_P(Depthwise, AnyNumberOfPartsGivesTheSameBytes) {
  for (int parts : {1, 2, 3, 5, 64}) {
    Case c = depthwise_case(200, 1, 7, 7, 13);
    c.n = 2;
    c.parts = parts;
    ASSERT_EQ(run(c), "");
  }
}

TEST_P(Depthwise, RandomShapes) {
  Random random(2026);
  for (int i = 0; i < 400; ++i) {
    Case c =
        depthwise_case(random.in(2, 70), random.pick({1, 1, 1, 2, 3}), random.in(1, 15), random.in(1, 20), random.bits());
    c.n = random.in(1, 2);
    c.kh = random.in(1, 7);
    c.kw = random.in(1, 7);
    c.stride_h = random.in(1, 3);
    c.stride_w = random.in(1, 3);
    c.dilation_h = random.in(1, 3);
    c.dilation_w = random.in(1, 3);
    const auto pads = [&](int64_t reach, int64_t size, int64_t& before, int64_t& after) {
      before = random.in(0, reach);
      after = random.in(std::max<int64_t>(0, reach + 1 - size - before), reach + 1);
    };
    pads(c.dilation_h * (c.kh - 1), c.h, c.pad_top, c.pad_bottom);
    pads(c.dilation_w * (c.kw - 1), c.w, c.pad_left, c.pad_right);
    c.weights = random.pick({DType::s8, DType::s8, DType::u8, DType::f32});
    c.weight_zero_points = random.flip();
    c.bias = random.flip();
    c.x_zero_point = static_cast<int32_t>(random.pick({0, 128, 255, 31}));
    c.stage = c.weights == DType::f32 ? kFloatStages[random.in(0, 2)] : kStages[random.in(0, 9)];
    c.extra_pixel = random.in(0, 2) * random.in(0, 9);
    c.extra_row = random.in(0, 2) * random.in(0, 31);
    c.guard_front = random.flip();
    c.parts = static_cast<int>(random.in(1, 4));
    ASSERT_EQ(run(c), "") << "case " << i;
  }
}

TEST_P(Depthwise, DeclinesWithASentence) {
  Case c = depthwise_case(16, 1, 4, 4, 1);
  c.weights = DType::f32;
  c.stage = Stage::u8;
  EXPECT_NE(run(c).find("declined: a float product"), std::string::npos) << run(c);
}

INSTANTIATE_TEST_SUITE_P(Isas, Depthwise,
                         ::testing::Values(IsaId::avx2, IsaId::avx2_vnni, IsaId::avx512, IsaId::avx512_vnni, IsaId::amx),
                         [](const auto& test) { return std::string(isa(test.param).name); });

}  // namespace
}  // namespace octet::kernels
