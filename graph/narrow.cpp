#include "graph/narrow.h"

#include <cassert>
#include <cmath>
#include <limits>

namespace octet::graph {

namespace {

struct Format {
  int mantissa, bias;
  uint8_t sign;      // the sign's bit
  uint8_t largest;   // code of the largest number
  uint8_t nan;       // 0: none
  uint8_t infinity;  // 0: none
  bool minus_zero;
};

Format format_of(DType dtype) {
  switch (dtype) {
    case DType::f8e4m3fn: return {3, 7, 0x80, 0x7e, 0x7f, 0, true};
    case DType::f8e4m3fnuz: return {3, 8, 0x80, 0x7f, 0x80, 0, false};
    case DType::f8e5m2: return {2, 15, 0x80, 0x7b, 0x7f, 0x7c, true};
    case DType::f8e5m2fnuz: return {2, 16, 0x80, 0x7f, 0x80, 0, false};
    case DType::f4e2m1: return {1, 1, 0x08, 0x07, 0, 0, true};
    default: assert(false && "not a narrow float"); return {};
  }
}

// Of a code without sign, infinity or NaN.
float magnitude(const Format& f, int code) {
  const int exponent = code >> f.mantissa, mantissa = code & ((1 << f.mantissa) - 1);
  if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), 1 - f.bias - f.mantissa);
  return std::ldexp(static_cast<float>(mantissa + (1 << f.mantissa)), exponent - f.bias - f.mantissa);
}

uint8_t power_of_two(float value, bool saturate, PowerRounding rounding) {
  constexpr uint8_t kNan = 255;
  if (std::isnan(value)) return kNan;
  value = std::fabs(value);
  if (std::isinf(value)) return saturate ? 254 : kNan;
  if (value == 0) return saturate ? 0 : kNan;
  int exponent = 0;
  const float fraction = 2 * std::frexp(value, &exponent);  // in [1, 2)
  --exponent;
  const bool up = rounding == PowerRounding::up ? fraction > 1 : rounding == PowerRounding::nearest && fraction >= 1.5f;
  const int code = exponent + (up ? 1 : 0) + 127;
  if (code < 0) return saturate ? 0 : kNan;
  if (code > 254) return saturate ? 254 : kNan;
  return static_cast<uint8_t>(code);
}

}  // namespace

bool is_narrow_float(DType dtype) {
  switch (dtype) {
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0:
    case DType::f4e2m1: return true;
    default: return false;
  }
}

float narrow_to_float(DType dtype, uint8_t code) {
  if (dtype == DType::f8e8m0) return code == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, code - 127);
  const Format f = format_of(dtype);
  const auto unsigned_code = static_cast<uint8_t>(code & (f.sign - 1));
  const bool negative = (code & f.sign) != 0;
  if (!f.minus_zero && code == f.nan) return std::numeric_limits<float>::quiet_NaN();
  float value = magnitude(f, unsigned_code);
  if (unsigned_code > f.largest)
    value = f.infinity && unsigned_code == f.infinity ? std::numeric_limits<float>::infinity()
                                                      : std::numeric_limits<float>::quiet_NaN();
  return negative ? -value : value;
}

uint8_t float_to_narrow(DType dtype, float value, bool saturate, PowerRounding rounding) {
  if (dtype == DType::f8e8m0) return power_of_two(value, saturate, rounding);
  const Format f = format_of(dtype);
  const uint8_t sign = std::signbit(value) ? f.sign : 0;
  if (std::isnan(value)) return f.nan == 0 ? f.sign : f.minus_zero ? static_cast<uint8_t>(f.nan | sign) : f.nan;
  const float size = std::fabs(value);
  // The last code not above, by halving; its neighbour when that is nearer.
  int low = 0, high = f.largest + 1;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (magnitude(f, middle) <= size ? low : high) = middle;
  }
  const float below = magnitude(f, low), above = magnitude(f, low + 1);
  int code = low;
  if (size - below > above - size || (size - below == above - size && low % 2 != 0)) ++code;
  if (code > f.largest) {
    code = f.largest;
    if (!saturate && f.infinity) code = f.infinity;
    if (!saturate && !f.infinity && f.nan) return f.minus_zero ? static_cast<uint8_t>(f.nan | sign) : f.nan;
  }
  if (code == 0 && !f.minus_zero) return 0;
  return static_cast<uint8_t>(code | sign);
}

}  // namespace octet::graph
