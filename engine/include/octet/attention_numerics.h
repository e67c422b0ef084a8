// The normative arithmetic of attention (octet.Attention), in scalar form; on quantized operands first.
//
// For one query of one head against T keys, all sums of integers exact:
//
//   a[j] = sum over d of (q - zq) * (k[j] - 128)       zk drops out of a softmax: it adds the same to every score of a query
//   p[j] = probability_quantum(t[j])                   u8, 255 times the exponential of the distance to the row's maximum
//   o    = sum over j of p[j] * (v[j] - zv)
//   y    = float(o) * (value / float(max(sum of p, 1)))  → float, or rounded as QuantizeLinear rounds
//
// with factors formed in this order:  score = (sq * sk) * scale,  exponent = score * log2(e),  value = sv, or sv / sy for
// u8.
//
//   no mask   t = fma(float(a), exponent, fma(-float(max a), exponent, log2 255))
//   mask      x = fma(float(a), score, mask),  m = max x,  t = fma(x - m, log2 e, log2 255)
//
// A mask is added as the float graph adds it: where it swallows every score of a query (lowest()), all keys weigh alike;
// where it is -inf for all, or NaN, no key has weight and the result is zero. Causal attention is a mask of 0 and -inf. A
// mask of zeros may differ from none by the rounding of x.
//
// The maximum is that of the whole row; probabilities are integers, and so is their sum. So no order of evaluation shows.
//
// 2^t is a cubic on the fraction of t: relative error 1e-4, a fortieth of a quantum at 255. Steps below half a quantum are
// what the rounding of p costs: 35 dB or so.
#pragma once

#include <cstdint>

#include "octet/numerics.h"

namespace octet::numerics {

inline constexpr float kLog2E = 1.44269504f, kLog2Of255 = 7.99435344f;
// Least t: 2^t is far below half a quantum, and its exponent far from the edge.
inline constexpr float kLeastPower = -64.0f;
inline constexpr float kPowerCubic[4] = {0.07944154f, 0.22449434f, 0.69606564f, 0.99992528f};

inline int32_t probability_quantum(float t) {
  t = t > kLeastPower ? t : kLeastPower;  // NaN: no weight
  const float whole = std::floor(t), f = t - whole;
  float p = std::fma(f, kPowerCubic[0], kPowerCubic[1]);
  p = std::fma(p, f, kPowerCubic[2]);
  p = std::fma(p, f, kPowerCubic[3]);
  return saturate(round_to_int(std::ldexp(p, static_cast<int>(whole))), 0, 255);
}

struct AttentionFactors {
  float score = 1, exponent = 1, value = 1;
};
inline AttentionFactors attention_factors(float q_scale, float k_scale, float v_scale, float scale, float y_scale) {
  const float score = (q_scale * k_scale) * scale;
  return {score, score * kLog2E, v_scale / y_scale};  // y_scale 1: a float result
}
// Beyond it the rounding of t could carry p out of 16 bits, which kernels pack through; 2^24 bounds the scores of heads up
// to 256.
inline constexpr float kMostExponentFactor = 4.0f;

// Scales that come at run time may be any. From here on a step of one in a sum already takes a probability to 0, so that
// more makes no difference; t stays below 2^5.
inline constexpr float kSteepestExponentFactor = 16.0f;
inline AttentionFactors attention_factors_at_run(float q_scale, float k_scale, float v_scale, float scale) {
  AttentionFactors f = attention_factors(q_scale, k_scale, v_scale, scale, 1.0f);
  f.exponent = f.exponent < kSteepestExponentFactor ? f.exponent : kSteepestExponentFactor;
  return f;
}

// p[0..keys) from the exact scores a, and their sum. `mask` may be null.
inline int32_t attention_probabilities(const int32_t* a, const float* mask, int64_t keys, const AttentionFactors& factors,
                                       uint8_t* p) {
  const auto masked = [&](int64_t j) { return std::fma(static_cast<float>(a[j]), factors.score, mask[j]); };
  int32_t most = INT32_MIN;
  float m = -INFINITY;
  for (int64_t j = 0; j < keys; ++j) {
    most = most > a[j] ? most : a[j];
    if (!mask) continue;
    const float x = masked(j);
    m = x > m ? x : m;
  }
  const float shift = std::fma(-static_cast<float>(most), factors.exponent, kLog2Of255);
  int32_t sum = 0;
  for (int64_t j = 0; j < keys; ++j) {
    const float t =
        mask ? std::fma(masked(j) - m, kLog2E, kLog2Of255) : std::fma(static_cast<float>(a[j]), factors.exponent, shift);
    const int32_t quantum = probability_quantum(t);
    p[j] = static_cast<uint8_t>(quantum);
    sum += quantum;
  }
  return sum;
}

// What the exact sum of an output is multiplied by.
inline float attention_output_factor(const AttentionFactors& factors, int32_t sum) {
  return factors.value / static_cast<float>(sum > 1 ? sum : 1);
}

// Of attention on f32: scaled and masked scores to probabilities, as Softmax has them. A query that may attend to nothing
// (all -inf) gets zeros.
inline void attention_softmax(float* x, int64_t keys) {
  constexpr float kLeastSum = 0x1p-100f;  // any other sum is 1 at least
  float m = -INFINITY;
  for (int64_t j = 0; j < keys; ++j) m = x[j] > m ? x[j] : m;
  if (m == -INFINITY) m = 0;
  for (int64_t j = 0; j < keys; ++j) x[j] = numerics::exp(x[j] - m);
  const float sum = sum16(static_cast<size_t>(keys), [&](size_t j) { return x[j]; });
  for (int64_t j = 0; j < keys; ++j) x[j] = x[j] / (kLeastSum > sum ? kLeastSum : sum);
}

}  // namespace octet::numerics
