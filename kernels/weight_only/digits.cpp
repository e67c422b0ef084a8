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

DigitBlock to_digits(const float* x, int64_t count, int64_t padded, int8_t* digits, DigitLayout layout) {
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
  // Sixteen k at a time, `part` of them there: the last ones are zeros, and those of no four are not stored.
  const auto take = [&](const float* from, int64_t i, int64_t part) {
    __m128i v[4];
    for (int g = 0; g < 4; ++g) v[g] = _mm_cvtps_epi32(_mm_mul_ps(_mm_loadu_ps(from + 4 * g), inverse));
    int8_t* to = digits + i / 64 * layout.tile + i % 64 / 4 * layout.step;
    for (int p = 0; p < 3; ++p, to += layout.plane) {
      __m128i d[4];
      for (int g = 0; g < 4; ++g) sums[p] = _mm_add_epi32(sums[p], d[g] = take_digit(v[g]));
      __m128i bytes = _mm_packs_epi16(_mm_packs_epi32(d[0], d[1]), _mm_packs_epi32(d[2], d[3]));
      if (layout.step == 4 && part == 16) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
        continue;
      }
      for (int64_t g = 0; 4 * g < part; ++g, bytes = _mm_srli_si128(bytes, 4)) {
        const int four = _mm_cvtsi128_si32(bytes);
        std::memcpy(to + g * layout.step, &four, 4);
      }
    }
  };
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) take(x + i, i, 16);
  if (i < count) {
    float rest[16] = {};
    std::memcpy(rest, x + i, static_cast<size_t>(count - i) * 4);
    take(rest, i, count - i);
  }
  for (int p = 0; p < 3; ++p) {
    int32_t lanes[4];
    std::memcpy(lanes, &sums[p], sizeof lanes);
    block.sum[p] = lanes[0] + lanes[1] + lanes[2] + lanes[3];
  }
  return block;
}

}  // namespace octet::kernels
