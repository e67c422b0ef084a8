#include "kernels/conv.h"

#include <random>

#include "tests/kernels/conv_fixture.h"

namespace octet::kernels {
namespace {

class ConvTest : public PerIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, ConvTest, testing::ValuesIn(vector_isas()), isa_name);

TEST_P(ConvTest, GemmOfEveryTail) {
  for (int rows : {1, 2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 28, 29, 33})
    for (int k : {1, 3, 4, 5, 64, 70}) {
      ConvCase c;
      c.shape = conv_shape(1, k, 1, rows, 1 + (rows * 7 + k * 3) % 70, 1);
      c.seed = static_cast<unsigned>(rows * 100 + k);
      ConvRun(c).check(isa());
    }
}

TEST_P(ConvTest, EveryNumberOfOutputChannels) {
  for (int oc = 1; oc <= 70; ++oc) {
    ConvCase c;
    c.shape = conv_shape(1, 20, 1, 9, oc, 1);
    c.y_before = 3;
    c.y_after = 5;
    c.out = oc % 3 == 0 ? DType::f32 : oc % 3 == 1 ? DType::u8 : DType::s32;
    c.seed = static_cast<unsigned>(oc);
    ConvRun(c).check(isa());
  }
}

TEST_P(ConvTest, RandomShapes) {
  std::mt19937 random(2026);
  const auto pick = [&](std::initializer_list<int> from) {
    return std::data(from)[std::uniform_int_distribution<size_t>(0, from.size() - 1)(random)];
  };
  const auto upto = [&](int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random); };
  for (int i = 0; i < 150; ++i) {
    ConvCase c;
    ConvShape& s = c.shape;
    s.groups = pick({1, 1, 1, 2, 3});
    s.n = upto(1, 2);
    s.ic = s.groups * upto(1, 70 / static_cast<int>(s.groups));
    s.oc = s.groups * upto(1, 70 / static_cast<int>(s.groups));
    if (s.groups > 1 && s.groups == s.ic) s.ic *= 2;
    s.kh = pick({1, 1, 2, 3, 3, 5, 7});
    s.kw = pick({1, 1, 2, 3, 3, 5, 7});
    s.stride_h = upto(1, 2), s.stride_w = upto(1, 3);
    s.dilation_h = upto(1, 2), s.dilation_w = pick({1, 1, 2});
    s.pad_top = upto(0, static_cast<int>(s.kh) - 1), s.pad_left = upto(0, static_cast<int>(s.kw) - 1);
    s.oh = upto(1, 9), s.ow = upto(1, 17);
    // The smallest image whose last output exists, with bottom and right padding of their own.
    s.ih = std::max<int64_t>(1, (s.oh - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1 - s.pad_top - upto(0, static_cast<int>(s.kh) - 1));
    s.iw = std::max<int64_t>(1, (s.ow - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1 - s.pad_left - upto(0, static_cast<int>(s.kw) - 1));
    c.x = pick({0, 0, 1}) ? DType::f32 : DType::u8;
    c.out = c.x == DType::f32 ? DType::f32 : pick({0, 0, 1}) ? DType::f32 : DType::u8;
    c.residual = c.x == DType::f32 ? (upto(0, 1) ? ResidualKind::f32 : ResidualKind::none)
                                   : (upto(0, 1) ? ResidualKind::u8_once : ResidualKind::none);
    c.weights = upto(0, 1) ? WeightFill::gauss : WeightFill::uniform;
    c.weight_dtype = upto(0, 3) ? DType::s8 : DType::u8;
    c.weight_zero_points = upto(0, 3) == 0;
    c.x_extra = pick({0, 0, 1, 5});
    c.row_extra = pick({0, 3, 8});
    c.y_before = pick({0, 2}), c.y_after = pick({0, 1});
    c.float_bias = upto(0, 1);
    c.seed = static_cast<unsigned>(i);
    ConvRun(c).check(isa());
    if (HasFatalFailure()) return;
  }
}

TEST_P(ConvTest, WeightsThatSaturateWithoutProof) {
  for (WeightFill weights : {WeightFill::all_127, WeightFill::all_minus_128, WeightFill::alternating, WeightFill::uniform,
                             WeightFill::sparse})
    for (InputFill input : {InputFill::random, InputFill::all_255, InputFill::extremes})
      for (int k : {1, 3}) {
        ConvCase c;
        c.shape = conv_shape(1, 48, 5, 6, 24, k);
        c.weights = weights;
        c.input = input;
        c.out = DType::s32;
        ConvRun(c).check(isa());
      }
}

TEST_P(ConvTest, ZeroPointsOfWeightsAndInputAtTheirEnds) {
  for (int x_zero_point : {0, 1, 128, 255})
    for (DType dtype : {DType::s8, DType::u8})
      for (bool per_channel : {false, true}) {
        ConvCase c;
        c.shape = conv_shape(1, 19, 6, 7, 21, 3, 1, 1);
        c.x_zero_point = x_zero_point;
        c.weight_dtype = dtype;
        c.weight_zero_points = per_channel;
        c.weights = WeightFill::uniform;
        c.out = DType::s32;
        ConvRun(c).check(isa());
      }
}

TEST_P(ConvTest, AccumulatorsWrapAsTheReferenceDoes) {
  ConvCase c;  // 80000 * 255 * 127 > 2^31
  c.shape = conv_shape(1, 80000, 1, 3, 9, 1);
  c.weights = WeightFill::all_127;
  c.input = InputFill::all_255;
  c.out = DType::s32;
  ConvRun(c).check(isa());
  c.out = DType::u8;
  ConvRun(c).check(isa());
}

TEST_P(ConvTest, EveryIntegerEpilogue) {
  for (DType out : {DType::u8, DType::f32})
    for (ResidualKind residual : {ResidualKind::none, ResidualKind::u8_once, ResidualKind::u8_twice, ResidualKind::f32})
      for (ActKind act : {ActKind::none, ActKind::clamp, ActKind::leaky_relu})
        for (bool float_bias : {false, true}) {
          ConvCase c;
          c.shape = conv_shape(1, 24, 5, 6, 37, 1);
          c.out = out;
          c.residual = residual;
          c.act = act;
          c.float_bias = float_bias;
          c.y_after = 2;
          ConvRun run(c);
          if (!unsupported_reason(run.problem().epilogue, false).empty()) continue;
          run.check(isa());
        }
}

TEST_P(ConvTest, OutputZeroPointsClampsAndSaturation) {
  for (int zero_point : {0, 1, 128, 255})
    for (float gain : {1.0f, 30.0f, 1e9f, 1e38f})
      for (auto [lo, hi] : {std::pair{0, 255}, std::pair{zero_point, 255}, std::pair{zero_point / 2, 128 + zero_point / 2}}) {
        ConvCase c;
        c.shape = conv_shape(1, 24, 4, 5, 19, 1);
        c.y_zero_point = zero_point;
        c.lo = lo, c.hi = hi;
        c.gain = gain;
        ConvRun(c).check(isa());
        c.residual = ResidualKind::u8_once;
        c.act = ActKind::leaky_relu;
        ConvRun(c).check(isa());
      }
}

TEST_P(ConvTest, FloatEpilogues) {
  for (ResidualKind residual : {ResidualKind::none, ResidualKind::f32})
    for (ActKind act : {ActKind::none, ActKind::clamp, ActKind::leaky_relu})
      for (bool bias : {false, true})
        for (int oc : {1, 7, 16, 23, 41, 64, 128}) {
          ConvCase c;
          c.x = c.out = DType::f32;
          c.shape = conv_shape(1, 13, 5, 6, oc, 3, 1, 1);
          c.residual = residual;
          c.act = act;
          c.float_bias = bias;
          c.input = act == ActKind::clamp ? InputFill::some_nan : InputFill::random;
          c.y_before = 1, c.y_after = 1;
          ConvRun(c).check(isa());
        }
}

TEST_P(ConvTest, DynamicQuantizationZeroPointAndScaleAtRun) {
  for (int zero_point : {0, 100, 255})
    for (DType out : {DType::f32, DType::s32})
      for (int groups : {1, 2}) {
        ConvCase c;
        c.shape = conv_shape(1, 34, 5, 5, 38, 3, 1, 1, 1, groups);
        c.x_zero_point = zero_point;
        c.x_zero_point_at_run = true;
        c.out = out;
        c.float_bias = out == DType::f32;
        ConvRun(c).check(isa(), 2);
      }
}

TEST_P(ConvTest, AnyNumberOfPartsGivesTheSameBytes) {
  for (int parts : {2, 3, 4, 7, 16})
    for (int size : {1, 3, 14}) {
      ConvCase c;
      c.shape = conv_shape(1, 16, size, size, 70, 3, 1, 1);
      ConvRun(c).check(isa(), parts);
    }
}

TEST_P(ConvTest, StemsOverThreeChannels) {
  for (int x_extra : {0, 1})
    for (int k : {3, 7}) {
      ConvCase c;
      c.shape = conv_shape(2, 3, 20, 21, 32, k, 2, k / 2);
      c.x_extra = x_extra;
      ConvRun(c).check(isa());
      c.x = c.out = DType::f32;
      ConvRun(c).check(isa());
    }
}

TEST_P(ConvTest, RefusalsAreSentences) {
  ConvCase c;
  c.shape = conv_shape(1, 8, 1, 4, 8, 1);
  ConvRun run(c);
  const auto packed = pack_weights(isa(), c.shape, run.weights());
  ConvProblem problem = run.problem();
  std::string reason;
  problem.x_dtype = DType::f32;
  EXPECT_EQ(make_conv(isa(), problem, packed, 1, &reason), nullptr);
  EXPECT_EQ(reason, "a float32 input does not go with 8-bit weights");
  problem = run.problem();
  problem.epilogue.residual = ResidualKind::f32;
  EXPECT_EQ(make_conv(isa(), problem, packed, 1, &reason), nullptr);
  EXPECT_EQ(reason, "an 8-bit output takes an 8-bit residual only");
}

// Code for ISAs that this CPU lacks must still come out of the generators (a bad operand throws).
TEST(Conv, EveryIsaGeneratesItsKernels) {
  for (const Isa* target : vector_isas())
    for (int oc : {5, 16, 40, 64, 128})
      for (int k : {1, 3})
        for (auto [x, out] : {std::pair{DType::u8, DType::u8}, std::pair{DType::u8, DType::f32}, std::pair{DType::f32, DType::f32}}) {
          ConvCase c;
          c.shape = conv_shape(1, 12, 14, 14, oc, k);
          c.x = x;
          c.out = out;
          c.act = ActKind::leaky_relu;
          c.residual = x == DType::f32 ? ResidualKind::f32 : out == DType::u8 ? ResidualKind::u8_twice : ResidualKind::u8_once;
          ConvRun run(c);
          std::string reason;
          const auto packed = pack_weights(*target, c.shape, run.weights());
          const auto conv = make_conv(*target, run.problem(), packed, 1, &reason);
          ASSERT_NE(conv, nullptr) << reason;
          EXPECT_NE(conv->name().find(target->name), std::string::npos) << conv->name();
          EXPECT_GT(packed_bytes(*packed), 0u);
          EXPECT_FALSE(describe(*packed).empty());
        }
}

TEST(ConvReference, IsAlsoAnIsa) {
  ConvCase c;
  c.shape = conv_shape(1, 5, 6, 6, 7, 3, 1, 1);
  ConvRun(c).check(isa(IsaId::reference), 2);
}

// The formulas by hand, independent of conv_reference: 2 x 2 image, 2 channels, 1x1, one output channel.
TEST(ConvReference, HandComputed) {
  const uint8_t x[] = {10, 20, 30, 40, 50, 60, 70, 80};
  const int8_t w[] = {2, -3};
  const int32_t bias[] = {5};
  ConvProblem p;
  p.shape = conv_shape(1, 2, 2, 2, 1, 1);
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
