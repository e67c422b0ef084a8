#include "kernels/conv.h"

#include <gtest/gtest.h>

#include "tests/kernels/conv_check.h"

namespace octet::kernels {
namespace {

using namespace testing;

class ConvTest : public ::testing::TestWithParam<const Isa*> {
 protected:
  void SetUp() override {
    std::string reason;
    if (!supported(*GetParam(), &reason)) GTEST_SKIP() << GetParam()->name << ": " << reason;
  }
  static std::string run(const Case& c) { return check(*GetParam(), c); }
};
INSTANTIATE_TEST_SUITE_P(Isas, ConvTest, ::testing::ValuesIn(vector_isas()),
                         [](const auto& test) { return std::string(test.param->name); });

Case conv(int64_t ic, int64_t h, int64_t w, int64_t oc, int64_t kernel, int64_t stride = 1, int64_t pad = 0) {
  Case c;
  c.ic = ic;
  c.h = h;
  c.w = w;
  c.oc = oc;
  c.kh = c.kw = kernel;
  c.stride_h = c.stride_w = stride;
  c.pad_top = c.pad_left = c.pad_bottom = c.pad_right = pad;
  c.x_zero_point = 7;
  return c;
}

Case float_conv(Case c, bool residual, ActKind act, bool bias) {
  c.weights = DType::f32;
  c.epilogue = EpilogueWords{.out = DType::f32, .act = act, .bias = bias};
  if (residual) c.epilogue->residual = ResidualKind::f32;
  return c;
}

TEST_P(ConvTest, GemmOfEveryTail) {
  for (int rows : {1, 2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 28, 29, 33})
    for (int k : {1, 3, 4, 5, 64, 70}) {
      Case c = conv(k, 1, rows, 1 + (rows * 7 + k * 3) % 140, 1);
      c.seed = static_cast<uint64_t>(rows * 100 + k);
      ASSERT_EQ(run(c), "");
    }
}

// Some larger than a piece (gelu_rows.h), some with more parts than rows of blocks.
TEST_P(ConvTest, GeluOfAGemm) {
  for (const auto& [rows, oc, parts] :
       {std::array{1, 16, 1}, {7, 21, 3}, {33, 64, 2}, {128, 140, 1}, {300, 330, 1}, {300, 330, 4}, {20, 900, 5}})
    for (const bool bias : {false, true})
      for (const bool at_run : {false, true}) {
        Case c = conv(70, 1, rows, oc, 1);
        c.epilogue = EpilogueWords{.out = DType::f32, .act = ActKind::gelu, .bias = bias, .gain = 0.05f};
        c.seed = static_cast<uint64_t>(rows + oc + bias);
        c.extra_pixel = oc % 3;
        c.parts = parts;
        c.at_run = at_run;
        ASSERT_EQ(run(c), "");
      }
}

// Clamped as floats, the range kept, and quantized: of a convolution that dynamic quantization follows.
TEST_P(ConvTest, QuantizedValues) {
  for (const float gain : {0.02f, 1.0f})
    for (int oc : {1, 16, 21, 64, 96, 144})
      for (Case c : {conv(16, 9, 13, oc, 1), conv(24, 7, 7, oc, 3, 1, 1), conv(24, 11, 11, oc, 3, 2, 1),
                     conv(96, 1, 40, oc, 1), conv(3, 20, 20, oc, 3, 2, 1)}) {
        c.epilogue = EpilogueWords{
            .act = ActKind::clamp, .bias = oc % 3 == 0, .zero_point = 51, .gain = gain, .y_scale = 7.5f / 255.0f};
        c.at_run = oc != 64;
        c.seed = static_cast<uint64_t>(oc + (gain == 1.0f) + c.h);
        c.parts = 1 + oc % 3;
        ASSERT_EQ(run(c), "");
        c.epilogue->act = ActKind::none;
        c.epilogue->zero_point = oc % 2 == 0 ? 0 : 51;
        ASSERT_EQ(run(c), "");
      }
}

TEST_P(ConvTest, EveryNumberOfOutputChannels) {
  for (int oc = 1; oc <= 140; ++oc) {
    Case c = conv(20, 1, 9, oc, 1);
    c.extra_pixel = 5;
    c.stage = oc % 3 == 0 ? Stage::f32 : oc % 3 == 1 ? Stage::u8 : Stage::s32;
    c.seed = static_cast<uint64_t>(oc);
    ASSERT_EQ(run(c), "");
  }
}

// Without VNNI one or two rows take weights as words, which are exact whatever they hold.
TEST_P(ConvTest, OneOrTwoRowsOfEveryKindOfWeightAndNumberOfChannels) {
  int seed = 1;
  for (int rows : {1, 2})
    for (WeightPattern weights :
         {WeightPattern::all_127, WeightPattern::all_minus_128, WeightPattern::alternating, WeightPattern::random})
      for (int oc : {1, 7, 8, 9, 16, 17, 31, 33, 64, 65})
        for (int k : {1, 6, 16, 61, 128}) {
          Case c = conv(k, 1, rows, oc, 1);
          c.pattern = weights;
          c.input = seed % 2 ? InputPattern::all_255 : InputPattern::random;
          c.stage = seed % 3 == 0 ? Stage::f32 : seed % 3 == 1 ? Stage::u8 : Stage::s32;
          c.extra_pixel = seed % 4 == 0 ? 3 : 0;
          c.guard_front = seed % 2 == 0;
          c.parts = 1 + seed % 3;
          c.seed = static_cast<uint64_t>(seed++);
          ASSERT_EQ(run(c), "");
        }
  Case c = conv(64, 1, 2, 64, 1);
  const Checked checked(c);
  const auto packed = pack_weights(*GetParam(), checked.problem().shape, checked.weights());
  const std::string name = make_conv(*GetParam(), checked.problem(), packed, 1, nullptr)->name();
  EXPECT_EQ(name.find("words") != std::string::npos, GetParam()->dot == DotKind::maddubs) << name;
}

TEST_P(ConvTest, WeightsThatSaturateWithoutProof) {
  for (WeightPattern weights : {WeightPattern::all_127, WeightPattern::all_minus_128, WeightPattern::alternating,
                                WeightPattern::random, WeightPattern::sparse})
    for (InputPattern input : {InputPattern::random, InputPattern::all_255, InputPattern::extremes})
      for (int k : {1, 3}) {
        Case c = conv(48, 5, 6, 24, k);
        c.pattern = weights;
        c.input = input;
        c.stage = Stage::s32;
        ASSERT_EQ(run(c), "");
      }
}

TEST_P(ConvTest, ZeroPointsOfWeightsAndInputAtTheirEnds) {
  for (int x_zero_point : {0, 1, 128, 255})
    for (DType dtype : {DType::s8, DType::u8})
      for (bool zero_points : {false, true}) {
        Case c = conv(19, 6, 7, 21, 3, 1, 1);
        c.x_zero_point = x_zero_point;
        c.weights = dtype;
        c.weight_zero_points = zero_points;
        c.stage = Stage::s32;
        ASSERT_EQ(run(c), "");
      }
}

TEST_P(ConvTest, AccumulatorsWrapAsTheReferenceDoes) {
  Case c = conv(80000, 1, 3, 9, 1);  // 80000 * 255 * 127 > 2^31
  c.pattern = WeightPattern::all_127;
  c.input = InputPattern::all_255;
  c.stage = Stage::s32;
  ASSERT_EQ(run(c), "");
  c.stage = Stage::u8;
  ASSERT_EQ(run(c), "");
}

TEST_P(ConvTest, EveryIntegerEpilogue) {
  for (DType out : {DType::u8, DType::f32})
    for (ResidualKind residual : {ResidualKind::none, ResidualKind::u8_once, ResidualKind::u8_twice, ResidualKind::f32})
      for (ActKind act : {ActKind::none, ActKind::clamp, ActKind::leaky_relu})
        for (bool bias : {false, true}) {
          Case c = conv(24, 5, 6, 37, 1);
          c.epilogue = EpilogueWords{.out = out, .residual = residual, .act = act, .bias = bias};
          c.extra_pixel = 2;
          Random random(1);
          if (!unsupported_reason(make_epilogue(c, random), false).empty()) continue;
          ASSERT_EQ(run(c), "");
        }
}

TEST_P(ConvTest, TableBehindEveryIntegerEpilogue) {
  Case c = conv(24, 5, 6, 37, 1);
  c.table = true;
  if (!has_table_stage(*GetParam())) {
    EXPECT_NE(run(c), "") << "refused";
    GTEST_SKIP() << GetParam()->name << ": tables behind products are steps of their own";
  }
  for (ResidualKind residual : {ResidualKind::none, ResidualKind::u8_once, ResidualKind::u8_twice})
    for (int zero_point : {0, 11, 255})
      for (auto [lo, hi] : {std::pair{0, 255}, std::pair{11, 200}})
        for (int64_t oc : {1, 16, 37, 64, 100})
          for (int64_t kernel : {1, 3}) {
            Case with = conv(24, 5, 6, oc, kernel, 1, kernel / 2);
            with.table = true;
            with.epilogue =
                EpilogueWords{.residual = residual, .bias = oc == 37, .zero_point = zero_point, .lo = lo, .hi = hi};
            with.parts = static_cast<int>(kernel);
            with.extra_pixel = oc % 3;
            ASSERT_EQ(run(with), "");
            with.h = with.w = 1;
            with.kh = with.kw = 1, with.pad_top = with.pad_left = with.pad_bottom = with.pad_right = 0;
            ASSERT_EQ(run(with), "");
          }
}

TEST_P(ConvTest, OutputZeroPointsClampsAndSaturation) {
  for (int zero_point : {0, 1, 128, 255})
    for (float gain : {1.0f, 30.0f, 1e9f, 1e38f})
      for (auto [lo, hi] :
           {std::pair{0, 255}, std::pair{zero_point, 255}, std::pair{zero_point / 2, 128 + zero_point / 2}}) {
        Case c = conv(24, 4, 5, 19, 1);
        c.epilogue = EpilogueWords{.zero_point = zero_point, .lo = lo, .hi = hi, .gain = gain};
        ASSERT_EQ(run(c), "");
        c.epilogue->residual = ResidualKind::u8_once;
        c.epilogue->act = ActKind::leaky_relu;
        ASSERT_EQ(run(c), "");
      }
}

TEST_P(ConvTest, FloatEpilogues) {
  for (bool residual : {false, true})
    for (ActKind act : {ActKind::none, ActKind::clamp, ActKind::leaky_relu})
      for (bool bias : {false, true})
        for (int oc : {1, 7, 16, 23, 41, 64, 128}) {
          Case c = float_conv(conv(13, 5, 6, oc, 3, 1, 1), residual, act, bias);
          c.input = act == ActKind::clamp ? InputPattern::some_nan : InputPattern::random;
          c.extra_pixel = 1;
          ASSERT_EQ(run(c), "");
        }
}

TEST_P(ConvTest, DynamicQuantizationZeroPointAndScaleAtRun) {
  for (int zero_point : {0, 100, 255})
    for (DType out : {DType::f32, DType::s32})
      for (int groups : {1, 2}) {
        Case c = conv(34, 5, 5, 38, 3, 1, 1);
        c.groups = groups;
        c.x_zero_point = zero_point;
        c.at_run = true;
        c.epilogue = EpilogueWords{.out = out, .bias = out == DType::f32};
        c.parts = 2;
        ASSERT_EQ(run(c), "");
      }
}

TEST_P(ConvTest, AnyNumberOfPartsGivesTheSameBytes) {
  for (int parts : {2, 3, 4, 7, 16})
    for (int size : {1, 3, 14}) {
      Case c = conv(16, size, size, 70, 3, 1, 1);
      c.parts = parts;
      ASSERT_EQ(run(c), "");
    }
}

TEST_P(ConvTest, StemsOverThreeChannels) {
  for (int extra : {0, 1})
    for (int k : {3, 7}) {
      Case c = conv(3, 20, 21, 32, k, 2, k / 2);
      c.n = 2;
      c.extra_pixel = extra;
      ASSERT_EQ(run(c), "");
      ASSERT_EQ(run(float_conv(c, false, ActKind::none, false)), "");
    }
}

TEST_P(ConvTest, RefusalsAreSentences) {
  const Checked checked(conv(8, 1, 4, 8, 1));
  ConvProblem problem = checked.problem();
  const auto packed = pack_weights(*GetParam(), problem.shape, checked.weights());
  std::string reason;
  problem.x_dtype = DType::f32;
  EXPECT_EQ(make_conv(*GetParam(), problem, packed, 1, &reason), nullptr);
  EXPECT_EQ(reason, "a float32 input does not go with 8-bit weights");
  problem = checked.problem();
  problem.epilogue.residual = ResidualKind::f32;
  EXPECT_EQ(make_conv(*GetParam(), problem, packed, 1, &reason), nullptr);
  EXPECT_EQ(reason, "an 8-bit output takes an 8-bit residual only");
}

// Code for ISAs that this CPU lacks must still come out of the generators (a bad operand throws).
TEST(Conv, EveryIsaGeneratesItsKernels) {
  for (const Isa* target : vector_isas())
    for (int oc : {5, 16, 40, 64, 128})
      for (int k : {1, 3})
        for (auto [weights, out, residual] : {std::tuple{DType::s8, DType::u8, ResidualKind::u8_twice},
                                              {DType::s8, DType::f32, ResidualKind::u8_once},
                                              {DType::f32, DType::f32, ResidualKind::f32}}) {
          Case c = conv(12, 14, 14, oc, k);
          c.weights = weights;
          c.epilogue = EpilogueWords{.out = out, .residual = residual, .act = ActKind::leaky_relu};
          const Checked checked(c);
          std::string reason;
          const auto packed = pack_weights(*target, checked.problem().shape, checked.weights());
          const auto kernel = make_conv(*target, checked.problem(), packed, 1, &reason);
          ASSERT_NE(kernel, nullptr) << reason;
          EXPECT_NE(kernel->name().find(target->name), std::string::npos) << kernel->name();
          EXPECT_GT(packed_bytes(*packed), 0u);
          EXPECT_FALSE(describe(*packed).empty());
        }
}

TEST(ConvReference, IsAlsoAnIsa) {
  Case c = conv(5, 6, 6, 7, 3, 1, 1);
  c.parts = 2;
  EXPECT_EQ(check(isa(IsaId::reference), c), "");
}

// The formulas by hand, independent of conv_reference: 2 x 2 image, 2 channels, 1x1, one output channel.
TEST(ConvReference, HandComputed) {
  const uint8_t x[] = {10, 20, 30, 40, 50, 60, 70, 80};
  const int8_t w[] = {2, -3};
  const int32_t bias[] = {5};
  ConvProblem p;
  p.shape.ic = 2;
  p.shape.ih = p.shape.iw = p.shape.oh = p.shape.ow = 2;
  p.x = {2, 4, 8};
  p.y = {1, 2, 4};
  p.epilogue.out = DType::u8;
  p.epilogue.scale = {0.5f};
  p.epilogue.zero_point = 100;
  ConvWeights weights{w, DType::s8, {}, bias, 10, false};
  uint8_t y[4];
  conv_reference(p, weights, {x, y, nullptr, nullptr, 1.0f, 0});
  // pixel 0: 2*(10-10) - 3*(20-10) + 5 = -25; * 0.5 = -12.5 -> -12 (to even) + 100
  EXPECT_EQ(y[0], 88);
  EXPECT_EQ(y[1], 100 + -22);  // 40 - 90 + 5 = -45, -22.5 -> -22
  EXPECT_EQ(y[2], 100 - 32);   // 80 - 150 + 5 = -65, -32.5 -> -32
  EXPECT_EQ(y[3], 100 - 42);   // 120 - 210 + 5 = -85, -42.5 -> -42
}

}  // namespace
}  // namespace octet::kernels
