// Normative functions of one float beyond those of numerics.h, again formulas and not libm's, so that every ISA gives the
// same bits. Bounds are against the exact value, over all floats; NaN gives NaN.
//
//   erf        x * P(x^2) / Q(x^2) on [-3.9, 3.9], coefficients fitted by tools/fit_erf.py, held within [-1, 1]; 5e-7
//   gelu       max(x, 0) - g(a), a = |x|, g(a) = a/2 * erfc(a / sqrt 2) by 16 polynomials of degree 4
//              around multiples of 11/32 (tools/fit_gelu.py): no division, which takes vectors longer than all the rest; 3e-7 * max(1, |x|)
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

// Coefficients of a - 11/32 n, lowest power first, for n = 0..15.
inline constexpr float kGelu[5][16] = {
    {0.0f, 0.12564652f, 0.16904515f, 0.15593718f, 0.11627787f, 0.07361399f, 0.040383913f, 0.019391041f, 0.008194347f,
     0.003057304f, 0.0010090965f, 2.950188e-04f, 7.646425e-05f, 1.7579727e-05f, 3.586651e-06f, 6.4955776e-07f},
    {0.5f, 0.23625322f, 0.029345917f, -0.090521075f, -0.12857577f, -0.11372017f, -0.07850219f, -0.04502638f, -0.022027992f,
     -0.009315931f, -0.0034322971f, -0.0011070437f, -3.136015e-04f, -7.820129e-05f, -1.7194547e-05f, -3.337695e-06f},
    {-0.39894715f, -0.3538322f, -0.24053723f, -0.1097704f, -0.008481335f, 0.0434493f, 0.05359163f, 0.041806836f,
     0.025292497f, 0.012609104f, 0.0053202584f, 0.001927282f, 6.04592e-04f, 1.6516847e-04f, 3.944856e-05f, 8.260356e-06f},
    {1.2267349e-04f, 0.08297192f, 0.12644012f, 0.1177595f, 0.07488152f, 0.027564751f, -0.003828789f, -0.015638279f,
     -0.014786168f, -0.009581274f, -0.0048856363f, -0.002057984f, -7.330285e-04f, -2.2372075e-04f, -5.899567e-05f,
     -1.35180835e-05f},
    {0.065647915f, 0.04960615f, 0.012064599f, -0.022271156f, -0.036250222f, -0.030055556f, -0.0152661875f, -0.0028652705f,
     0.00305251f, 0.0039421017f, 0.0027510147f, 0.0014231415f, 5.919425e-04f, 2.0492425e-04f, 6.0141963e-05f,
     1.51314625e-05f}};

inline float gelu(float x) {
  const float a = at_most(5.3125f, std::fabs(x));  // g vanishes from here on to within the bound
  const float n_at_2p23 = std::fma(a, 32.0f / 11.0f, 12582912.0f),
              n = n_at_2p23 - 12582912.0f;  // 1.5 * 2^23: n = round(a * 32/11)
  const uint32_t i = std::bit_cast<uint32_t>(n_at_2p23) % 16;
  const float r = std::fma(-n, 11.0f / 32.0f, a);
  float g = kGelu[4][i];
  for (const int k : {3, 2, 1, 0}) g = std::fma(g, r, kGelu[k][i]);
  return at_least(0.0f, x) - g;
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
