// Convolution, common to Conv, ConvInteger, QLinearConv and octet.Conv: output dimensions and the sum of products.
//
// The sum of one output runs over kernel row, kernel column, channel, in that order, from +0. Taps on the padding are left
// out: they would add 0. The loops keep the order while the innermost one walks a row of outputs:
//
//   for output row:  sums[row] = 0
//     for kernel depth, row, column:  for channel of the group:
//       for output column whose tap lies inside:  sums[column] = step(x, w, sums[column])
#pragma once

#include <algorithm>

#include "graph/ops/window.h"

namespace octet::graph::ops {

// x is input `xi` [N, C, spatial...], w input `wi` [O, C / group, kernel...].
template <class Ctx>
MaybeDims conv_dims(const Ctx& ctx, size_t xi, size_t wi) {
  const MaybeDims x = dims_of(ctx, xi);
  const MaybeDims w = dims_of(ctx, wi);
  expect_rank(ctx, xi, x, 3, 5);
  expect_rank(ctx, wi, w, 3, 5);
  if (!x && !w) return std::nullopt;
  const size_t rank = x ? x->size() : w->size();
  Dims out(rank);
  if (x) out[0] = (*x)[0];
  if (!w) return out;
  if (w->size() != rank)
    fail(ctx, "weights have shape " + describe(*w) + "; expected rank " + std::to_string(rank) + ", that of the image");
  out[1] = (*w)[0];
  const int64_t group = ctx.node().attr("group", int64_t{1});
  if (group < 1) fail(ctx, "group is " + std::to_string(group) + "; expected at least 1");
  if (out[1].known() && out[1].value % group != 0)
    fail(ctx, std::to_string(out[1].value) + " output channels do not divide into " + std::to_string(group) + " groups");
  if (!x) return out;
  if ((*x)[1].known() && (*w)[1].known() && (*x)[1].value != (*w)[1].value * group)
    fail(ctx, "the image has " + std::to_string((*x)[1].value) + " channels; expected " +
                  std::to_string((*w)[1].value * group) + ", " + std::to_string((*w)[1].value) + " a group by the weights");
  const std::vector<int64_t> given = ctx.node().ints("kernel_shape");
  if (!given.empty() && given.size() != rank - 2)
    fail(ctx, "kernel_shape has " + std::to_string(given.size()) + " entries; expected " + std::to_string(rank - 2));
  std::vector<int64_t> kernel(rank - 2);
  for (size_t i = 0; i < kernel.size(); ++i) {
    const Dim& k = (*w)[i + 2];
    if (!k.known() && given.empty()) return out;
    kernel[i] = k.known() ? k.value : given[i];
    if (!given.empty() && given[i] != kernel[i]) fail(ctx, "kernel_shape disagrees with the weights' shape " + describe(*w));
  }
  const Dims spatial(x->begin() + 2, x->end());
  const Window window = window_of(ctx, kernel, &spatial);
  for (size_t i = 0; i < kernel.size(); ++i) out[i + 2] = window_output(ctx, window, i, spatial[i]);
  return out;
}

struct ConvGeometry {
  Image x, y;
  Window3 window;
  int64_t groups = 1;
  int64_t group_inputs() const { return x.c / groups; }
  int64_t group_outputs() const { return y.c / groups; }
  int64_t weights_per_output() const { return group_inputs() * window.taps(); }
};

inline ConvGeometry conv_geometry(const EvalContext& ctx, size_t xi, size_t wi, const Shape& out) {
  const Shape& x = ctx.in(xi).shape();
  const Shape& w = ctx.in(wi).shape();
  const Dims spatial(x.begin() + 2, x.end());
  ConvGeometry g;
  g.x = image_of(x);
  g.y = image_of(out);
  g.window = three_axes(window_of(ctx, {w.begin() + 2, w.end()}, &spatial));
  g.groups = ctx.node().attr("group", int64_t{1});
  const Window3& k = g.window;
  const bool pointwise = k.taps() == 1 && k.stride == std::array<int64_t, 3>{1, 1, 1} && g.x.size == g.y.size;
  if (pointwise) g.x.size = g.y.size = {1, 1, g.x.plane()};
  return g;
}

// The sums of image n, output channel o, into sums[plane]. step(x element, w element, sum) gives the new sum.
template <class X, class W, class A, class Step>
void conv_plane(const ConvGeometry& g, const X* x, const W* w, int64_t n, int64_t o, A* sums, Step step) {
  const auto& [xs, ys, k] = std::tie(g.x.size, g.y.size, g.window);
  const int64_t channels = g.group_inputs();
  const X* image = x + (n * g.x.c + o / g.group_outputs() * channels) * g.x.plane();
  const W* weights = w + o * g.weights_per_output();
  for (int64_t d = 0; d < ys[0]; ++d)
    for (int64_t h = 0; h < ys[1]; ++h) {
      A* row = sums + (d * ys[1] + h) * ys[2];
      std::fill(row, row + ys[2], A{0});
      for (int64_t kd = 0; kd < k.kernel[0]; ++kd) {
        const int64_t xd = d * k.stride[0] + kd * k.dilation[0] - k.pad[0];
        if (xd < 0 || xd >= xs[0]) continue;
        for (int64_t kh = 0; kh < k.kernel[1]; ++kh) {
          const int64_t xh = h * k.stride[1] + kh * k.dilation[1] - k.pad[1];
          if (xh < 0 || xh >= xs[1]) continue;
          for (int64_t kw = 0; kw < k.kernel[2]; ++kw) {
            const int64_t shift = kw * k.dilation[2] - k.pad[2];
            const int64_t stride = k.stride[2];
            const int64_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
            const int64_t last = shift >= xs[2] ? 0 : std::min(ys[2], (xs[2] - 1 - shift) / stride + 1);
            const int64_t tap = (kd * k.kernel[1] + kh) * k.kernel[2] + kw;
            for (int64_t c = 0; c < channels; ++c) {
              const X* from = image + ((c * xs[0] + xd) * xs[1] + xh) * xs[2] + shift;
              const W weight = weights[c * k.taps() + tap];
              for (int64_t i = first; i < last; ++i) row[i] = step(from[i * stride], weight, row[i]);
            }
          }
        }
      }
    }
}

}  // namespace octet::graph::ops
