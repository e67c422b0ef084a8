// Random problems of every convolution family, on every instruction set of this machine, against conv_reference.
//
// Two thousand problems a family, in shards so that ctest runs them in parallel; a problem is made and its expected bytes
// are computed once, then every ISA must give the same bytes, touch nothing around them and read nothing beyond the slack. A
// failure prints the whole case.
#include <gtest/gtest.h>

#include "kernels/depthwise.h"
#include "kernels/packed_weights.h"
#include "kernels/product/product_conv.h"
#include "kernels/product/weights.h"
#include "tests/kernels/conv_check.h"

namespace octet::kernels {
namespace {

using namespace testing;

constexpr int kShards = 8, kCasesAShard = 250;

// Padding before and after a run of `size`, at least as much as one window needs.
void random_pads(Random& random, int64_t reach, int64_t size, int64_t& before, int64_t& after) {
  before = random.in(0, reach);
  after = random.in(std::max<int64_t>(0, reach + 1 - size - before), reach + 1);
}

// Everything but sizes and kernel.
void random_details(Random& random, Case& c) {
  c.n = random.pick({1, 1, 1, 2});
  random_pads(random, c.dilation_h * (c.kh - 1), c.h, c.pad_top, c.pad_bottom);
  random_pads(random, c.dilation_w * (c.kw - 1), c.w, c.pad_left, c.pad_right);
  c.weights = random.pick({DType::s8, DType::s8, DType::s8, DType::u8, DType::f32});
  c.weight_zero_points = random.in(0, 3) == 0;
  c.bias = random.flip();
  c.pattern = random.pick({WeightPattern::random, WeightPattern::gauss, WeightPattern::gauss, WeightPattern::all_127,
                           WeightPattern::all_minus_128, WeightPattern::alternating, WeightPattern::one_value,
                           WeightPattern::sparse});
  c.input = random.pick({InputPattern::random, InputPattern::random, InputPattern::all_255, InputPattern::extremes});
  c.x_zero_point = random.pick({0, 1, 31, 128, 255});
  c.stage = c.weights == DType::f32 ? kFloatStages[random.in(0, 2)] : random.flip() ? Stage::u8 : kStages[random.in(0, 9)];
  c.at_run = c.weights != DType::f32 && c.stage < Stage::u8 && random.in(0, 2) == 0;
  c.extra_pixel = random.in(0, 2) * random.in(0, 9);
  c.extra_row = random.in(0, 2) * random.in(0, 31);
  c.guard_front = random.flip();
  c.parts = random.pick({1, 1, 2, 3, 4});
}

Case random_product(Random& random) {
  Case c;
  c.seed = random.bits();
  c.kh = random.pick({1, 1, 1, 2, 3, 3, 5});
  c.kw = random.pick<int64_t>({c.kh, c.kh, 1, 3, 7});
  c.stride_h = random.in(1, 2);
  c.stride_w = random.in(1, 3);
  c.dilation_h = random.in(1, 2);
  c.dilation_w = random.pick({1, 1, 2});
  c.h = random.pick<int64_t>({1, random.in(1, 12)});
  c.w = random.in(1, 33);
  c.groups = random.pick({1, 1, 1, 1, 2, 3});
  const int64_t most = c.kh * c.kw == 1 ? 150 : 40;
  c.ic = c.groups * random.in(1, most / c.groups);
  c.oc = c.groups * random.in(1, most / c.groups);
  if (c.groups > 1 && c.groups == c.ic) c.ic *= 2;  // not depthwise
  random_details(random, c);
  return c;
}

Case random_depthwise(Random& random) {
  Case c;
  c.seed = random.bits();
  c.ic = c.groups = random.pick({random.in(2, 40), random.in(2, 150)});
  c.oc = c.ic * random.pick({1, 1, 1, 1, 2, 3});
  c.kh = random.pick({3, 3, 5, 1, 2, 4, 7});
  c.kw = random.pick({c.kh, c.kh, random.in(1, 7)});
  c.stride_h = random.in(1, 3);
  c.stride_w = random.pick({c.stride_h, c.stride_h, random.in(1, 3)});
  c.dilation_h = random.pick({1, 1, 1, 2, 3});
  c.dilation_w = random.pick({1, 1, 1, 2, 3});
  c.h = random.in(1, 12);
  c.w = random.in(1, 30);
  random_details(random, c);
  return c;
}

using RandomCase = Case (*)(Random&);

void expect_every_isa_exact(RandomCase make_case, uint64_t seed, const Pack& pack, const Make& make) {
  Random random(seed);
  for (int i = 0; i < kCasesAShard; ++i) {
    const Checked checked(make_case(random));
    for (const Isa* isa : vector_isas())
      if (supported(*isa)) {
        ASSERT_EQ(checked.run(*isa, pack, make), "") << "case " << i;
      }
  }
}

class ConvProperties : public ::testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Shards, ConvProperties, ::testing::Range<uint64_t>(0, kShards));

// By the family that takes the case: tiles on AMX, unless vectors are better.
TEST_P(ConvProperties, AnyFamily) { expect_every_isa_exact(random_product, 1000 + GetParam(), pack_weights, make_conv); }

// The vector kernels, on AMX machines too.
TEST_P(ConvProperties, Product) {
  expect_every_isa_exact(random_product, 2000 + GetParam(), pack_product, make_product_conv);
}

TEST_P(ConvProperties, Depthwise) {
  expect_every_isa_exact(random_depthwise, 3000 + GetParam(), pack_depthwise, make_depthwise);
}

}  // namespace
}  // namespace octet::kernels
