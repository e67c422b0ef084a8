// Transposed convolution, common to ConvTranspose and octet.ConvTranspose: one row of sums.
//
// Output pixel o gathers the inputs i with i * stride + k * dilation - pad = o. The sum of one output runs over input row,
// input column, channel, in that order, from +0; so kernel positions run backwards, and the outputs of one phase (o modulo
// stride) are a plain convolution by every stride-th tap of the turned kernel, with the same sums to the bit.
#pragma once

#include "graph/ops/window.h"

namespace octet::graph::ops {

// `x` is channel 0 of the group in one image, `w` tap 0 of the output channel's weights for it; channels of w lie
// `w_channel` elements apart. Adds to row[out.size[2]] the sums of output row (d, h). step(x element, w element, sum) gives
// the new sum.
template <class X, class W, class A, class Step>
void add_transposed_row(const Image& image, const Image& out, const Window3& k, const X* x, const W* w, int64_t w_channel,
                        int64_t channels, int64_t d, int64_t h, A* row, Step step) {
  for (int64_t kd = k.kernel[0]; kd-- > 0;) {
    const int64_t sd = d + k.pad[0] - kd * k.dilation[0];
    if (sd < 0 || sd % k.stride[0] != 0 || sd / k.stride[0] >= image.size[0]) continue;
    for (int64_t kh = k.kernel[1]; kh-- > 0;) {
      const int64_t sh = h + k.pad[1] - kh * k.dilation[1];
      if (sh < 0 || sh % k.stride[1] != 0 || sh / k.stride[1] >= image.size[1]) continue;
      for (int64_t kw = k.kernel[2]; kw-- > 0;) {
        const int64_t shift = kw * k.dilation[2] - k.pad[2];
        const int64_t tap = (kd * k.kernel[1] + kh) * k.kernel[2] + kw;
        const int64_t first = shift >= 0 ? 0 : (-shift + k.stride[2] - 1) / k.stride[2];
        const int64_t last = shift >= out.size[2] ? 0 : std::min(image.size[2], (out.size[2] - 1 - shift) / k.stride[2] + 1);
        for (int64_t c = 0; c < channels; ++c) {
          const X* from = x + ((c * image.size[0] + sd / k.stride[0]) * image.size[1] + sh / k.stride[1]) * image.size[2];
          const W weight = w[c * w_channel + tap];
          for (int64_t i = first; i < last; ++i) {
            A& sum = row[i * k.stride[2] + shift];
            sum = step(from[i], weight, sum);
          }
        }
      }
    }
  }
}

}  // namespace octet::graph::ops
