#include "kernels/pool_taps.h"
#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

struct Window {
  int64_t kernel, stride, dilation, pad_begin, pad_end;
};
constexpr Window kWindows[] = {
    {1, 1, 1, 0, 0}, {2, 2, 1, 0, 0}, {3, 2, 1, 1, 1}, {3, 1, 1, 1, 1},
    {3, 2, 1, 0, 2}, {5, 3, 1, 2, 1}, {2, 1, 3, 2, 2}, {2, 3, 1, 3, 3}};  // the last one has windows without any tap inside

int64_t outputs(int64_t size, const Window& w) {
  return (size + w.pad_begin + w.pad_end - (w.dilation * (w.kernel - 1) + 1)) / w.stride + 1;
}

// Channels-last, two images, gaps after each pixel, row and image of x and of y.
PoolProblem problem_of(PoolKind kind, DType dtype, int64_t c, int64_t ih, int64_t iw, const Window& h, const Window& w) {
  PoolProblem p;
  p.kind = kind;
  p.dtype = dtype;
  p.n = 2;
  p.c = c;
  p.ih = ih;
  p.iw = iw;
  p.oh = outputs(ih, h);
  p.ow = outputs(iw, w);
  p.kh = h.kernel;
  p.kw = w.kernel;
  p.stride_h = h.stride;
  p.stride_w = w.stride;
  p.dilation_h = h.dilation;
  p.dilation_w = w.dilation;
  p.pad_top = h.pad_begin;
  p.pad_bottom = h.pad_end;
  p.pad_left = w.pad_begin;
  p.pad_right = w.pad_end;
  const auto element = static_cast<int64_t>(size_of(dtype));
  const auto layout = [&](int64_t height, int64_t width, int64_t gap) {
    const int64_t pixel = (c + gap) * element, row = (width + gap) * pixel;
    return ImageLayout{pixel, row, (height + gap) * row};
  };
  p.x = layout(ih, iw, 1);
  p.y = layout(p.oh, p.ow, 3);
  p.x_scale = 0.031f;
  p.y_scale = 0.027f;
  p.x_zero_point = 119;
  p.y_zero_point = 130;
  return p;
}

int64_t extent(const ImageLayout& layout, int64_t n, int64_t h, int64_t w, int64_t pixel_bytes) {
  return (n - 1) * layout.image + (h - 1) * layout.row + (w - 1) * layout.pixel + pixel_bytes;
}

template <class T>
void expect_equals_reference(const Isa& isa, const PoolProblem& p, const std::vector<T>& x, int parts) {
  const auto pixel_bytes = p.c * static_cast<int64_t>(sizeof(T));
  const auto y_size = static_cast<size_t>(extent(p.y, p.n, p.oh, p.ow, pixel_bytes)) / sizeof(T);
  std::vector<T> expected(y_size, T{9});
  pool_reference(p, {x.data(), nullptr, expected.data()});
  for (Wall wall : {Wall::before, Wall::after}) {
    const Guarded<T> a(x, wall), y(std::vector<T>(y_size, T{9}), wall);
    run_parts(*make_pool(isa, p), {a.data(), nullptr, y.data()}, parts);
    ASSERT_TRUE(same(y.values(), expected)) << "c " << p.c << " kernel " << p.kh << "x" << p.kw << " parts " << parts;
    ASSERT_TRUE(y.margins_untouched());
  }
}

void check(const Isa& isa, const PoolProblem& p, int parts = 1) {
  const int64_t bytes = extent(p.x, p.n, p.ih, p.iw, p.c * static_cast<int64_t>(size_of(p.dtype)));
  if (p.dtype == DType::u8)
    expect_equals_reference(isa, p, random_bytes(static_cast<size_t>(bytes), 1), parts);
  else
    expect_equals_reference(isa, p, mixed_floats(static_cast<size_t>(bytes) / 4, 5.0f, 2), parts);
}

class PoolTest : public OpsTest {};

TEST_P(PoolTest, EveryChannelCountEqualsReference) {
  for (PoolKind kind : {PoolKind::max, PoolKind::average})
    for (DType dtype : {DType::u8, DType::f32})
      for (int64_t c = 1; c <= 300; c += c < 70 ? 1 : 23)
        check(target(), problem_of(kind, dtype, c, 4, 5, kWindows[2], kWindows[2]));
}

TEST_P(PoolTest, EveryWindowEqualsReference) {
  for (PoolKind kind : {PoolKind::max, PoolKind::average})
    for (DType dtype : {DType::u8, DType::f32})
      for (const Window& h : kWindows)
        for (const Window& w : kWindows)
          for (bool include : {false, true}) {
            PoolProblem p = problem_of(kind, dtype, 19, 9, 11, h, w);
            p.count_include_pad = include;
            check(target(), p);
          }
}

TEST_P(PoolTest, GlobalWindowsEqualReference) {
  for (PoolKind kind : {PoolKind::max, PoolKind::average})
    for (DType dtype : {DType::u8, DType::f32})
      for (int64_t size : {7, 16, 17, 40})  // 16 * 16 is the last sum in u16 lanes, 17 * 17 the first in s32
        for (int64_t c : {3, 40, 261})
          check(target(), problem_of(kind, dtype, c, size, size, {size, 1, 1, 0, 0}, {size, 1, 1, 0, 0}));
}

TEST_P(PoolTest, LargestSumsAreExact) {
  for (int64_t width : {257, 258, 5000})
    for (int zero_point : {0, 255}) {
      PoolProblem p = problem_of(PoolKind::average, DType::u8, 67, 1, width, {1, 1, 1, 0, 0}, {width, 1, 1, 0, 0});
      p.x_zero_point = p.y_zero_point = zero_point;
      p.x_scale = p.y_scale = 1.0f;
      const std::vector<uint8_t> x(static_cast<size_t>(extent(p.x, p.n, 1, width, p.c)), 255);
      expect_equals_reference(target(), p, x, 1);
    }
}

TEST_P(PoolTest, PartsDoNotChangeTheResult) {
  for (int parts = 1; parts <= 5; ++parts)
    for (DType dtype : {DType::u8, DType::f32}) {
      check(target(), problem_of(PoolKind::max, dtype, 40, 9, 9, kWindows[3], kWindows[3]), parts);
      PoolProblem global = problem_of(PoolKind::average, dtype, 2059, 7, 7, {7, 1, 1, 0, 0}, {7, 1, 1, 0, 0});
      global.n = 1;  // one row: the channels are shared out
      check(target(), global, parts);
    }
}

INSTANTIATE_TEST_SUITE_P(Isas, PoolTest, every_isa(), isa_name);

TEST(PoolTaps, AreClippedToTheImage) {
  const PoolAxis axis{.size = 5, .kernel = 3, .stride = 2, .dilation = 1, .pad_begin = 1, .pad_end = 0};
  EXPECT_EQ(pool_taps(axis, 0), (PoolTaps{0, 2, 3}));
  EXPECT_EQ(pool_taps(axis, 1), (PoolTaps{1, 3, 3}));
  EXPECT_EQ(pool_taps(axis, 2),
            (PoolTaps{3, 2, 2}));  // the third tap of a ceil_mode window lies outside the padded image too
}

TEST(PoolTaps, DilatedTapsStartAtTheFirstInside) {
  const PoolAxis axis{.size = 4, .kernel = 3, .stride = 1, .dilation = 3, .pad_begin = 4, .pad_end = 4};
  EXPECT_EQ(pool_taps(axis, 0), (PoolTaps{2, 1, 3}));  // -4, -1, 2
}

TEST(PoolReference, AveragesOfQuantizedValues) {
  PoolProblem p = problem_of(PoolKind::average, DType::u8, 1, 1, 3, {1, 1, 1, 0, 0}, {3, 1, 1, 0, 0});
  p.n = 1;
  p.x_scale = p.y_scale = 0.5f;
  p.x_zero_point = 10;
  p.y_zero_point = 20;
  const std::vector<uint8_t> x = {13, 0, 10, 0, 18};  // 3, 0 and 8 quanta, a gap between pixels
  uint8_t y = 0;
  pool_reference(p, {x.data(), nullptr, &y});
  EXPECT_EQ(y, 24);  // 11 / 3 rounded, above 20
}

}  // namespace
}  // namespace octet::kernels::testing
