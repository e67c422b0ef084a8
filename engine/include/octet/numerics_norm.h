// The normative arithmetic of LayerNormalization and RMSNormalization over one row of n floats.
//
//   layer   mean = sum16(x) / n;  inverse = 1 / sqrt(squares16(x - mean) / n + epsilon)
//   rms     mean = 0;             inverse = 1 / sqrt(squares16(x) / n + epsilon)
//   then    y = fma((x - mean) * inverse, scale, bias), or ((x - mean) * inverse) * scale where there is no bias
//
// squares16 has the lanes of sum16, each a chain of FMAs; divisions and the root are IEEE. The variance is taken in a second
// walk over the row, from the differences: a row far from zero loses nothing.
#pragma once

#include "octet/numerics.h"

namespace octet::numerics {

// Sum of squares in 16 virtual lanes.
template <class F>
float squares16(size_t n, F at) {
  float lane[16] = {};
  for (size_t i = 0; i < n; ++i) lane[i % 16] = std::fma(at(i), at(i), lane[i % 16]);
  for (size_t width = 8; width > 0; width /= 2)
    for (size_t i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}

struct Moments {
  float mean = 0, inverse = 1;
};

template <class F>
Moments layer_moments(size_t n, F at, float epsilon) {
  const auto count = static_cast<float>(n);
  const float mean = sum16(n, at) / count;
  const float variance = squares16(n, [&](size_t i) { return at(i) - mean; }) / count;
  return {mean, 1.0f / std::sqrt(variance + epsilon)};
}

template <class F>
Moments rms_moments(size_t n, F at, float epsilon) {
  return {0.0f, 1.0f / std::sqrt(squares16(n, at) / static_cast<float>(n) + epsilon)};
}

inline float normalise(float x, const Moments& m, float scale) { return ((x - m.mean) * m.inverse) * scale; }
inline float normalise(float x, const Moments& m, float scale, float bias) {
  return std::fma((x - m.mean) * m.inverse, scale, bias);
}

}  // namespace octet::numerics
