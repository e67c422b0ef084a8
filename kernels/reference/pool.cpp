#include <algorithm>
#include <limits>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"
#include "octet/numerics.h"

namespace octet::kernels {
namespace {

// Calls visit(pixel offset in bytes) for the taps inside the image, row-major, and returns what an average divides by.
template <class Visit>
int64_t walk_window(const PoolProblem& p, int64_t oy, int64_t ox, Visit visit) {
  int64_t inside = 0, counted = 0;
  for (int64_t ky = 0; ky < p.kh; ++ky)
    for (int64_t kx = 0; kx < p.kw; ++kx) {
      const int64_t iy = oy * p.stride_h - p.pad_top + ky * p.dilation_h,
                    ix = ox * p.stride_w - p.pad_left + kx * p.dilation_w;
      if (iy < p.ih + p.pad_bottom && ix < p.iw + p.pad_right) ++counted;
      if (iy < 0 || iy >= p.ih || ix < 0 || ix >= p.iw) continue;
      ++inside;
      visit(iy * p.x.row + ix * p.x.pixel);
    }
  return p.count_include_pad ? counted : inside;
}

float pool_f32(const PoolProblem& p, const uint8_t* x, int64_t oy, int64_t ox) {
  const auto at = [&](int64_t offset) { return *reinterpret_cast<const float*>(x + offset); };
  if (p.kind == PoolKind::max) {
    float m = -std::numeric_limits<float>::infinity();
    walk_window(p, oy, ox, [&](int64_t offset) { m = numerics::larger(m, at(offset)); });
    return m;
  }
  float sum = 0;
  const int64_t count = walk_window(p, oy, ox, [&](int64_t offset) { sum += at(offset); });
  return sum / static_cast<float>(count);
}

uint8_t pool_u8(const PoolProblem& p, const uint8_t* x, int64_t oy, int64_t ox) {
  if (p.kind == PoolKind::max) {
    uint8_t m = 0;
    walk_window(p, oy, ox, [&](int64_t offset) { m = std::max(m, x[offset]); });
    return m;
  }
  // Padding stands for real zeros, so it adds nothing once the zero point is taken off.
  int32_t sum = 0;
  const int64_t count = walk_window(p, oy, ox, [&](int64_t offset) { sum += x[offset] - p.x_zero_point; });
  const float multiplier = (p.x_scale / p.y_scale) / static_cast<float>(count);
  return static_cast<uint8_t>(numerics::requantize(sum, multiplier, p.y_zero_point, 0, 255));
}

}  // namespace

void pool_reference_rows(const PoolProblem& p, const KernelArgs& args, WorkRange rows) {
  const int64_t element = static_cast<int64_t>(size_of(p.dtype));
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t image = row / p.oh, oy = row % p.oh;
    for (int64_t ox = 0; ox < p.ow; ++ox)
      for (int64_t c = 0; c < p.c; ++c) {
        const auto* x = static_cast<const uint8_t*>(args.a) + image * p.x.image + c * element;
        auto* y = static_cast<uint8_t*>(args.y) + image * p.y.image + oy * p.y.row + ox * p.y.pixel + c * element;
        if (p.dtype == DType::f32)
          *reinterpret_cast<float*>(y) = pool_f32(p, x, oy, ox);
        else
          *y = pool_u8(p, x, oy, ox);
      }
  }
}

void pool_reference(const PoolProblem& problem, const KernelArgs& args) {
  pool_reference_rows(problem, args, {0, problem.n * problem.oh});
}

}  // namespace octet::kernels
