// The float formats of at most 8 bits, one element a byte in memory.
//
//                 sign exponent mantissa bias   largest    without infinity, NaN is
//   float8e4m3fn    1     4        3       7      448      all ones
//   float8e4m3fnuz  1     4        3       8      240      the code of -0, which it has not
//   float8e5m2      1     5        2      15    57344      as in IEEE 754, infinity too
//   float8e5m2fnuz  1     5        2      16    57344      the code of -0
//   float4e2m1      1     2        1       1        6      none (becomes -0)
//   float8e8m0      0     8        0     127    2^127      255
#pragma once

#include <cstdint>

#include "octet/types.h"

namespace octet::graph {

enum class PowerRounding : uint8_t { up, down, nearest };  // to float8e8m0, which holds powers of two

bool is_narrow_float(DType dtype);
float narrow_to_float(DType dtype, uint8_t code);
// To nearest, half to even. What is too large becomes the largest with `saturate` (infinity too); else infinity where the
// format has one, NaN where it has that, and the largest again in float4e2m1.
uint8_t float_to_narrow(DType dtype, float value, bool saturate = true, PowerRounding rounding = PowerRounding::up);

}  // namespace octet::graph
