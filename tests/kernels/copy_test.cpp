#include "kernels/copy_plan.h"
#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

// How one side of a copy lies in memory; gaps are elements left alone after each pixel, row and image.
struct Side {
  bool channels_last;
  int64_t gap;
};

void set_strides(const CopyProblem& p, const Side& side, ImageLayout& layout, int64_t& channel) {
  const int64_t e = p.element;
  if (side.channels_last) {
    channel = e;
    layout.pixel = (p.c + side.gap) * e;
    layout.row = p.w * layout.pixel + side.gap * e;
    layout.image = p.h * layout.row + side.gap * e;
  } else {
    layout.pixel = e;
    layout.row = (p.w + side.gap) * e;
    channel = p.h * layout.row + side.gap * e;
    layout.image = p.c * channel + side.gap * e;
  }
}

CopyProblem problem_of(int64_t element, int64_t n, int64_t c, int64_t h, int64_t w, const Side& from, const Side& to) {
  CopyProblem p;
  p.element = element;
  p.n = n;
  p.c = c;
  p.h = h;
  p.w = w;
  set_strides(p, from, p.from, p.from_channel);
  set_strides(p, to, p.to, p.to_channel);
  return p;
}

size_t extent(const CopyProblem& p, const ImageLayout& layout, int64_t channel) {
  return static_cast<size_t>((p.n - 1) * layout.image + (p.h - 1) * layout.row + (p.w - 1) * layout.pixel +
                             (p.c - 1) * channel + p.element);
}

void expect_equals_reference(const Isa& isa, const CopyProblem& p, int parts) {
  const auto x = random_bytes(extent(p, p.from, p.from_channel), 1);
  const std::vector<uint8_t> blank(extent(p, p.to, p.to_channel), 0x5c);
  std::vector<uint8_t> expected = blank;
  copy_reference(p, {x.data(), nullptr, expected.data()});
  for (Wall wall : {Wall::before, Wall::after}) {
    const Guarded<uint8_t> a(x, wall), y(blank, wall);
    const KernelPtr kernel = make_copy(isa, p);
    run_parts(*kernel, {a.data(), nullptr, y.data()}, parts);
    ASSERT_TRUE(same(y.values(), expected))
        << kernel->name() << " element " << p.element << " c " << p.c << " h " << p.h << " w " << p.w << " parts " << parts;
    ASSERT_TRUE(y.margins_untouched());
  }
}

constexpr Side kSides[] = {{true, 0}, {true, 3}, {false, 0}, {false, 2}};

class CopyTest : public OpsTest {};

TEST_P(CopyTest, EveryPairOfLayoutsEqualsReference) {
  for (int64_t element : {1, 2, 4, 8})
    for (const Side& from : kSides)
      for (const Side& to : kSides)
        for (auto [n, c, h, w] :
             {std::array<int64_t, 4>{1, 3, 5, 7}, {2, 1, 4, 9}, {2, 17, 1, 33}, {1, 40, 3, 1}, {1, 1, 1, 1}, {1, 9, 11, 13}})
          expect_equals_reference(target(), problem_of(element, n, c, h, w, from, to), 1);
}

TEST_P(CopyTest, TransposesOfEveryTailEqualReference) {
  for (int64_t element : {1, 4})
    for (int64_t gap : {0, 1})
      for (int64_t c = 1; c <= 18; ++c)
        for (int64_t w : {1, 2, 3, 5, 7, 8, 9, 14, 15, 16, 17, 28, 31, 64, 71, 130, 1100}) {
          expect_equals_reference(target(), problem_of(element, 1, c, 1, w, {false, gap}, {true, gap}), 1);
          expect_equals_reference(target(), problem_of(element, 1, c, 1, w, {true, gap}, {false, gap}), 1);
        }
}

TEST_P(CopyTest, RunsOfEveryLengthEqualReference) {
  for (int64_t c = 1; c <= 530; c += c < 140 ? 1 : 29)
    expect_equals_reference(target(), problem_of(1, 1, c, 2, 3, {true, 1}, {true, 5}), 1);
}

TEST_P(CopyTest, PartsDoNotChangeTheResult) {
  for (int parts = 1; parts <= 5; ++parts)
    for (const Side& from : kSides)
      for (const Side& to : kSides)
        for (auto [n, c, h, w] : {std::array<int64_t, 4>{1, 3, 20, 30}, {1, 150, 1, 5}, {2, 700, 1, 1}})
          expect_equals_reference(target(), problem_of(1, n, c, h, w, from, to), parts);
}

TEST_P(CopyTest, PhasePlanesEqualReference) {
  CopyProblem p = problem_of(1, 1, 24, 6, 5, {true, 0}, {true, 0});
  p.from.pixel *= 2;  // every second pixel of every second row
  p.from.row = 4 * 10 * 24;
  expect_equals_reference(target(), p, 2);
}

INSTANTIATE_TEST_SUITE_P(Isas, CopyTest, every_isa(), isa_name);

TEST(CopyPlan, DenseTensorsAreOneRun) {
  const CopyPlan plan = plan_copy(problem_of(4, 2, 3, 5, 7, {true, 0}, {true, 0}));
  EXPECT_EQ(plan.form, CopyForm::runs);
  EXPECT_EQ(plan.run_bytes, 2 * 3 * 5 * 7 * 4);
  EXPECT_TRUE(plan.outer.empty());
}

TEST(CopyPlan, AChannelSliceIsOneLoopOfShortRuns) {
  CopyProblem p = problem_of(1, 1, 16, 5, 7, {true, 0}, {true, 0});
  p.to = {64, 7 * 64, 5 * 7 * 64};  // 16 of 64 channels
  const CopyPlan plan = plan_copy(p);
  EXPECT_EQ(plan.form, CopyForm::runs);
  EXPECT_EQ(plan.run_bytes, 16);
  EXPECT_EQ(plan.outer, (std::vector<CopyLoop>{{5, 112, 448}, {7, 16, 64}}));
}

TEST(CopyPlan, ChannelsFirstToLastFlattensTheImage) {
  const CopyPlan plan = plan_copy(problem_of(4, 2, 3, 5, 7, {false, 0}, {true, 0}));
  EXPECT_EQ(plan.form, CopyForm::transpose);
  EXPECT_EQ(plan.source_line, (CopyLoop{35, 4, 12}));
  EXPECT_EQ(plan.destination_line, (CopyLoop{3, 140, 4}));
  EXPECT_EQ(plan.outer, (std::vector<CopyLoop>{{2, 420, 420}}));
}

TEST(CopyPlan, OneChannelNeedsNoTransposition) {
  EXPECT_EQ(plan_copy(problem_of(4, 1, 1, 5, 7, {false, 0}, {true, 0})).form, CopyForm::runs);
}

TEST(CopyPlan, HalfPrecisionTransposesOneByOne) {
  EXPECT_EQ(plan_copy(problem_of(2, 1, 3, 5, 7, {false, 0}, {true, 0})).form, CopyForm::scalar);
}

}  // namespace
}  // namespace octet::kernels::testing
