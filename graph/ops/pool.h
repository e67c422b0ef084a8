// Pooling, common to MaxPool, AveragePool and QLinearAveragePool: output dimensions and the walk over a window.
#pragma once

#include "graph/ops/window.h"

namespace octet::graph::ops {

// Input 0 is [N, C, spatial...]; the kernel is the attribute kernel_shape.
template <class Ctx>
std::optional<Window> pool_window(const Ctx& ctx, const MaybeDims& x) {
  expect_rank(ctx, 0, x, 3, 5);
  const std::vector<int64_t> kernel = ctx.node().ints("kernel_shape");
  if (!x) return std::nullopt;
  if (kernel.size() != x->size() - 2)
    fail(ctx, "kernel_shape has " + std::to_string(kernel.size()) + " entries; expected " + std::to_string(x->size() - 2));
  const Dims spatial(x->begin() + 2, x->end());
  return window_of(ctx, kernel, &spatial);
}

template <class Ctx>
MaybeDims pool_dims(const Ctx& ctx, const MaybeDims& x) {
  const std::optional<Window> window = pool_window(ctx, x);
  if (!window) return std::nullopt;
  Dims out(x->size());
  out[0] = (*x)[0];
  out[1] = (*x)[1];
  const bool ceil_mode = ctx.node().attr("ceil_mode", int64_t{0}) != 0;
  for (size_t i = 2; i < x->size(); ++i) out[i] = window_output(ctx, *window, i - 2, (*x)[i], ceil_mode);
  return out;
}

// Calls f(offset into the plane) for each tap of output (d, h, w) that lies inside the image, in row-major order.
template <class F>
void for_each_tap(const Image& x, const Window3& k, int64_t d, int64_t h, int64_t w, F&& f) {
  for (int64_t kd = 0; kd < k.kernel[0]; ++kd) {
    const int64_t xd = d * k.stride[0] + kd * k.dilation[0] - k.pad[0];
    if (xd < 0 || xd >= x.size[0]) continue;
    for (int64_t kh = 0; kh < k.kernel[1]; ++kh) {
      const int64_t xh = h * k.stride[1] + kh * k.dilation[1] - k.pad[1];
      if (xh < 0 || xh >= x.size[1]) continue;
      for (int64_t kw = 0; kw < k.kernel[2]; ++kw) {
        const int64_t xw = w * k.stride[2] + kw * k.dilation[2] - k.pad[2];
        if (xw >= 0 && xw < x.size[2]) f((xd * x.size[1] + xh) * x.size[2] + xw);
      }
    }
  }
}

// What an average divides by: the taps inside the image, or, counting the padding, inside the padded image (with ceil_mode a
// window may reach past that).
inline int64_t average_count(const Image& x, const Window3& k, bool with_padding, int64_t d, int64_t h, int64_t w) {
  const int64_t at[3] = {d, h, w};
  int64_t count = 1;
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t low = with_padding ? -k.pad[axis] : 0;
    const int64_t high = x.size[axis] + (with_padding ? k.pad_end[axis] : 0);
    int64_t inside = 0;
    for (int64_t tap = 0; tap < k.kernel[axis]; ++tap) {
      const int64_t place = at[axis] * k.stride[axis] + tap * k.dilation[axis] - k.pad[axis];
      inside += place >= low && place < high;
    }
    count *= inside;
  }
  return count;
}

// Calls f(output index, offset of the image plane, d, h, w) for every output in row-major order.
template <class F>
void for_each_window(const Image& x, const Image& y, F&& f) {
  int64_t index = 0;
  for (int64_t p = 0; p < y.n * y.c; ++p)
    for (int64_t d = 0; d < y.size[0]; ++d)
      for (int64_t h = 0; h < y.size[1]; ++h)
        for (int64_t w = 0; w < y.size[2]; ++w) f(index++, p * x.plane(), d, h, w);
}

// Average pools of 8-bit quantized images: y = quantize_scaled(float(sum - count * zx) * ((sx / sy) / float(count)), zy).
struct AverageQuant {
  float x_scale = 1;
  int32_t x_zero_point = 0;
  float y_scale = 1;
  int32_t y_zero_point = 0;
};
Tensor average_pool_quantized(EvalContext& ctx, const Tensor& x, const AverageQuant& quant);
Tensor global_average_pool_quantized(const Tensor& x, const AverageQuant& quant);

}  // namespace octet::graph::ops
