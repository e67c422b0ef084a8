#include "kernels/weight_only/digits.h"

#include <emmintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace octet::kernels {
namespace {

// The bits of the largest magnitude, which order as the magnitudes do.
uint32_t largest_bits(const float* x, int64_t count) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  return largest;
}

// Digit 0 of each, and what is left of it: (v - digit) / 256.
__m128i take_digit(__m128i& v) {
  const __m128i digit = _mm_srai_epi32(_mm_slli_epi32(v, 24), 24);
  v = _mm_srai_epi32(_mm_sub_epi32(v, digit), 8);
  return digit;
}

}  // namespace

DigitBlock to_digits(const float* x, int64_t count, int64_t padded, int8_t* digits) {
  DigitBlock block;
  std::memset(digits, 0, static_cast<size_t>(padded) * 3);
  const uint32_t exponent =
      largest_bits(x, count) >> 23;  // of 2^(exponent - 127) <= the largest < twice that: E = exponent - 126
  constexpr uint32_t kNotFinite = 255, kLeast = 22;
  if (exponent == kNotFinite) block.unit = std::numeric_limits<float>::quiet_NaN();
  if (exponent == kNotFinite || exponent <= kLeast) return block;
  block.unit = std::bit_cast<float>((exponent - 21) << 23);
  const __m128 inverse = _mm_set1_ps(std::bit_cast<float>((275 - exponent) << 23));
  __m128i sums[3] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
  for (int64_t i = 0; i < count; i += 4, digits += 12) {
    float four[4] = {0, 0, 0, 0};
    std::memcpy(four, x + i, static_cast<size_t>(std::min<int64_t>(4, count - i)) * 4);
    __m128i v = _mm_cvtps_epi32(_mm_mul_ps(_mm_loadu_ps(four), inverse));
    for (int p = 0; p < 3; ++p) {
      const __m128i digit = take_digit(v);
      sums[p] = _mm_add_epi32(sums[p], digit);
      const int bytes = _mm_cvtsi128_si32(_mm_packs_epi16(_mm_packs_epi32(digit, digit), _mm_setzero_si128()));
      std::memcpy(digits + 4 * p, &bytes, 4);
    }
  }
  for (int p = 0; p < 3; ++p) {
    int32_t lanes[4];
    std::memcpy(lanes, &sums[p], sizeof lanes);
    block.sum[p] = lanes[0] + lanes[1] + lanes[2] + lanes[3];
  }
  return block;
}

}  // namespace octet::kernels
