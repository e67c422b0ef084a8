// The window of one output pixel along one axis, clipped to the image: a pure function, so that border cases have their own
// test.
//
//   pad_begin  |------------- size -------------|  pad_end
//   t     t     t     t                                      kernel 4, dilation 6: taps 2 and 3 are inside, all 4 counted
//               first
#pragma once

#include <cstdint>

namespace octet::kernels {

struct PoolAxis {
  int64_t size = 1, kernel = 1, stride = 1, dilation = 1, pad_begin = 0, pad_end = 0;
};

struct PoolTaps {
  int64_t first = 0;    // coordinate of the first tap inside the image; 0 when there is none
  int64_t inside = 0;   // taps inside the image
  int64_t counted = 0;  // taps inside the padded image
  bool operator==(const PoolTaps&) const = default;
};

inline PoolTaps pool_taps(const PoolAxis& axis, int64_t output) {
  const int64_t start = output * axis.stride - axis.pad_begin;
  PoolTaps taps;
  for (int64_t k = 0; k < axis.kernel; ++k) {
    const int64_t at = start + k * axis.dilation;
    if (at < axis.size + axis.pad_end) ++taps.counted;
    if (at < 0 || at >= axis.size) continue;
    if (taps.inside++ == 0) taps.first = at;
  }
  return taps;
}

}  // namespace octet::kernels
