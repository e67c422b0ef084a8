// The normative arithmetic of octet, in scalar form: what every kernel on every ISA must reproduce bit for bit.
//
// Integer products are exact int32 sums. Requantization converts the sum to float (round to nearest even), multiplies by one
// float scale, rounds half to even, adds the zero point and saturates. Multipliers of a fused node are formed in float in
// the order (sx * sw) / sy. A residual add inside a fused node is fma(float(acc), s, float(r - zr) * (sr / sy)): one
// rounding of the product on the residual's side, then one fused multiply-add.
//
// Float products are one FMA chain an output, starting at +0, over kernel row, kernel column, channel (or k), the bias added
// after it. Reductions over one axis use 16 virtual lanes (element i goes to lane i % 16) combined by halving: 16, 8, 4,
// 2, 1. exp, sigmoid and tanh are the formulas below, not libm's, so that they are the same on every machine.
//
// All of this runs with the rounding mode at nearest-even and with denormals flushed to zero (see engine/fp_state.h).
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace octet::numerics {

inline int32_t saturate(int32_t v, int32_t lo, int32_t hi) { return v < lo ? lo : v > hi ? hi : v; }

// The larger and the smaller of two, as vmaxps a, a, b and vminps a, a, b give them when denormals are flushed: b when
// either is NaN or both are zero, a denormal becomes a zero of its sign. Written out, since a compiler may or may not make
// such an instruction of a comparison. For integers, the plain maximum and minimum.
template <class T>
T flush_denormal(T v) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fabs(v) < std::numeric_limits<T>::min() ? std::copysign(T{0}, v) : v;
  else
    return v;
}
template <class T>
T larger(T a, T b) {
  return flush_denormal(a > b ? a : b);
}
template <class T>
T smaller(T a, T b) {
  return flush_denormal(a < b ? a : b);
}

// Bounds: NaN and the sign of zero stay.
inline float at_least(float bound, float v) { return larger(bound, v); }
inline float at_most(float bound, float v) { return smaller(bound, v); }

// float -> int32, half to even; out of range and NaN give INT32_MIN, as cvtps2dq does.
inline int32_t round_to_int(float v) {
  if (!(v >= -2147483648.0f && v < 2147483648.0f)) return INT32_MIN;
  return static_cast<int32_t>(std::nearbyint(v));
}

// Rounds a scaled value and adds the zero point: v is clamped to [lo - zp, hi - zp] first, so that it can never overflow.
inline int32_t quantize_scaled(float v, int32_t zero_point, int32_t lo, int32_t hi) {
  const float low = static_cast<float>(lo - zero_point);
  const float high = static_cast<float>(hi - zero_point);
  v = v > low ? v : low;  // vmaxps v, v, low: NaN becomes low
  v = v < high ? v : high;
  return round_to_int(v) + zero_point;
}

// QuantizeLinear: saturate(round(x / scale) + zero_point), with a true division.
inline int32_t quantize(float x, float scale, int32_t zero_point, int32_t lo, int32_t hi) {
  return quantize_scaled(x / scale, zero_point, lo, hi);
}

// DequantizeLinear.
inline float dequantize(int32_t q, float scale, int32_t zero_point) { return static_cast<float>(q - zero_point) * scale; }

// QLinearConv and its kind: exact sum `acc` (bias and zero-point correction included), multiplier (sx * sw) / sy.
inline int32_t requantize(int32_t acc, float multiplier, int32_t zero_point, int32_t lo, int32_t hi) {
  return quantize_scaled(static_cast<float>(acc) * multiplier, zero_point, lo, hi);
}

// exp with relative error below 2e-7. n = round(x * log2 e); r = x - n ln 2 in two steps; Taylor-like minimax polynomial of
// degree 6 by FMA; 2^n applied in two factors so that neither leaves the normal range. Below -87.3 the result is 0 after the
// flush of denormals; above 88.7 it is +inf; NaN passes through.
inline float exp(float x) {
  constexpr float kLo = -104.0f, kHi = 89.0f;
  x = kLo > x ? kLo : x;
  x = kHi < x ? kHi : x;
  const float n = std::nearbyint(x * 1.44269504f);
  float r = std::fma(n, -0.693359375f, x);
  r = std::fma(n, 2.12194440e-4f, r);
  float p = 1.3888889e-3f;
  p = std::fma(p, r, 8.3333333e-3f);
  p = std::fma(p, r, 4.1666668e-2f);
  p = std::fma(p, r, 1.6666667e-1f);
  p = std::fma(p, r, 0.5f);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  const int32_t i = std::isnan(n) ? 0 : static_cast<int32_t>(n);
  const int32_t half = i >> 1;
  const float a = std::bit_cast<float>((half + 127) << 23);
  const float b = std::bit_cast<float>((i - half + 127) << 23);
  return (p * a) * b;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + numerics::exp(-x)); }

// (1 - e) / (1 + e) with e = exp(-2|x|), the sign put back; absolute error below 2e-7.
inline float tanh(float x) {
  const float e = numerics::exp(-2.0f * std::fabs(x));
  return std::copysign((1.0f - e) / (1.0f + e), x);
}

// Sum in 16 virtual lanes. `at(i)` gives element i of n.
template <class F>
float sum16(size_t n, F at) {
  float lane[16] = {};
  for (size_t i = 0; i < n; ++i) lane[i % 16] += at(i);
  for (size_t width = 8; width > 0; width /= 2)
    for (size_t i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}

}  // namespace octet::numerics
