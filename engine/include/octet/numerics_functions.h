// Normative functions of one float beyond those of numerics.h, again formulas and not libm's, so that every ISA gives the
// same bits. Bounds are against the exact value, over all floats; NaN gives NaN.
//
//   erf        x * P(x^2) / Q(x^2) on [-3.9, 3.9], coefficients fitted by tools/fit_erf.py, held within [-1, 1]; 5e-7
//   gelu       x/2 + x/2 * erf(x / sqrt 2); 5e-7 * max(1, |x|)
//   gelu_tanh  x * sigmoid(2u), u = sqrt(2/pi) * (x + 0.044715 x^3), which is x/2 * (1 + tanh u); 5e-7 * max(1, |x|)
//   expm1      of x <= 0 (above: 0) as exp, with e^r - 1 = r * q(r) and 2^n - 1 apart, so that elu keeps its digits near 0;
//              5e-7 relative
//   softplus   max(x, 0) + log1p(exp(-|x|)), log1p(t) = 2 artanh(t / (2 + t)) by its series; 3e-7 * max(1, |x|)
//   mish       x * n / (n + 2), n = e * (e + 2), e = exp(min(x, 20)), which is x * tanh(softplus x); 5e-7 * max(1, |x|)
#pragma once

#include <initializer_list>

#include "octet/numerics.h"

namespace octet::numerics {

inline float erf(float x) {
  constexpr float kEnd = 3.9f;  // from here on 1 is the nearest float to within the bound
  x = at_most(kEnd, at_least(-kEnd, x));
  const float z = x * x;
  float p = 2.0664982e-6f;
  for (const float c : {2.8506143e-4f, 3.7382722e-3f, 5.2667852e-2f, 1.8966497e-1f, 1.1283791f}) p = std::fma(p, z, c);
  float q = 3.8270242e-5f;
  for (const float c : {1.15736e-3f, 1.4914127e-2f, 1.13818206e-1f, 5.01419e-1f, 1.0f}) q = std::fma(q, z, c);
  return at_most(1.0f, at_least(-1.0f, (x * p) / q));
}

inline float gelu(float x) {
  const float half = 0.5f * x;
  return std::fma(half, numerics::erf(x * 0.70710678f), half);
}

inline float gelu_tanh(float x) {
  const float slope = std::fma(x * x, 0.071354814f, 1.5957691f);  // 2 sqrt(2/pi) * (0.044715 x^2 + 1)
  return x * numerics::sigmoid(x * slope);
}

inline float expm1(float x) {
  x = at_most(0.0f, at_least(-104.0f, x));
  const float n = std::nearbyint(x * 1.44269504f);
  float r = std::fma(n, -0.693359375f, x);
  r = std::fma(n, 2.12194440e-4f, r);
  float q = 1.3888889e-3f;
  for (const float c : {8.3333333e-3f, 4.1666668e-2f, 1.6666667e-1f, 0.5f, 1.0f}) q = std::fma(q, r, c);
  const int32_t i = std::isnan(n) ? 0 : static_cast<int32_t>(n);
  const int32_t half = i >> 1;
  const float power = std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((i - half + 127) << 23);
  return std::fma(power, q * r, power - 1.0f);
}

inline float elu(float x, float alpha) { return x < 0.0f ? alpha * numerics::expm1(x) : x; }

inline float softplus(float x) {
  const float t = numerics::exp(-std::fabs(x));
  const float s = t / (2.0f + t), z = s * s;
  float p = 1.0f / 13.0f;
  for (const float c : {1.0f / 11.0f, 1.0f / 9.0f, 1.0f / 7.0f, 1.0f / 5.0f, 1.0f / 3.0f}) p = std::fma(p, z, c);
  const float twice = s + s;
  return at_least(0.0f, x) + std::fma(twice * z, p, twice);
}

inline float mish(float x) {
  const float e = numerics::exp(at_most(20.0f, x));
  const float n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}

}  // namespace octet::numerics
