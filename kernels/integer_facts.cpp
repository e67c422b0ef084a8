#include <emmintrin.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>

#include "kernels/packed_weights.h"

namespace octet::kernels {
namespace {

struct WeightSums {
  int64_t sum = 0, magnitude = 0;  // of w - zero point
};

// Bytes offset by 128 when `flip` is 0x80; `zero` is offset likewise, in [0, 255].
WeightSums weight_sums(const uint8_t* w, int64_t count, uint8_t flip, uint8_t zero) {
  const __m128i flips = _mm_set1_epi8(static_cast<char>(flip)), zeros = _mm_set1_epi8(static_cast<char>(zero));
  __m128i total = _mm_setzero_si128(), distance = _mm_setzero_si128();
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i v = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + i)), flips);
    total = _mm_add_epi64(total, _mm_sad_epu8(v, _mm_setzero_si128()));
    distance = _mm_add_epi64(distance, _mm_sad_epu8(v, zeros));
  }
  const auto both = [](__m128i v) { return _mm_cvtsi128_si64(v) + _mm_cvtsi128_si64(_mm_srli_si128(v, 8)); };
  WeightSums sums{both(total) - i * zero, both(distance)};
  for (; i < count; ++i) {
    const int32_t value = static_cast<uint8_t>(w[i] ^ flip) - zero;
    sums.sum += value;
    sums.magnitude += std::abs(value);
  }
  return sums;
}

}  // namespace

IntegerFacts integer_facts(const ConvShape& shape, const ConvWeights& weights) {
  assert(weights.dtype == DType::s8 || weights.dtype == DType::u8);
  const IntegerWeightReader reader(shape, weights);
  const size_t oc = static_cast<size_t>(shape.oc);
  IntegerFacts facts{std::vector<int32_t>(oc), std::vector<int32_t>(oc), std::vector<int64_t>(oc)};
  const bool is_signed = weights.dtype == DType::s8;
  for (size_t n = 0; n < oc; ++n) {
    const uint8_t* w = static_cast<const uint8_t*>(weights.data) + static_cast<int64_t>(n) * reader.per_channel();
    const int32_t zero = reader.zero_point(static_cast<int64_t>(n)) + (is_signed ? 128 : 0);
    assert(zero >= 0 && zero <= 255);
    const auto [sum, magnitude] = weight_sums(w, reader.per_channel(), is_signed ? 0x80 : 0, static_cast<uint8_t>(zero));
    const int64_t positive = (magnitude + sum) / 2, negative = (magnitude - sum) / 2;
    const int64_t bias = weights.bias.empty() ? 0 : weights.bias[n];
    const int64_t shift = weights.x_zero_point_at_run ? 0 : -int64_t{weights.x_zero_point} * sum;
    facts.column_sum[n] = static_cast<int32_t>(static_cast<uint32_t>(sum));
    facts.bias[n] = static_cast<int32_t>(static_cast<uint32_t>(bias + shift));
    int64_t bound = std::max(std::abs(bias + shift + 255 * positive), std::abs(bias + shift - 255 * negative));
    if (weights.x_zero_point_at_run) bound = std::abs(bias) + 255 * magnitude;
    facts.bound[n] = std::min(bound, int64_t{1} << 31);
    if (bound > INT32_MAX) facts.bound[n] = int64_t{1} << 31;
  }
  return facts;
}

PackedWeights start_packing(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  PackedWeights packed;
  packed.isa = isa.id;
  packed.shape = packed_shape(shape);
  packed.dtype = weights.dtype == DType::f32 ? DType::f32 : DType::s8;
  packed.x_zero_point_at_run = weights.x_zero_point_at_run;
  if (weights.dtype != DType::f32) packed.facts = integer_facts(shape, weights);
  return packed;
}

}  // namespace octet::kernels
