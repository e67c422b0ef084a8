// A block of activations as integers and a power of two, three signed bytes each (weight_only.h).
#pragma once

#include <cstdint>

namespace octet::kernels {

struct DigitBlock {
  int32_t sum[3] = {0, 0, 0};  // of the digits over the block
  float unit = 0;              // 2^(E - 22); 0 for a block of zeros, NaN for one that is not finite
};

// Where the digits of a block go: four k of digit p lie p * `plane` bytes in, and `step` bytes behind the four k before, or
// `tile` bytes behind the 64 k before.
struct DigitLayout {
  int64_t step = 12, plane = 4, tile = 192;  // [k / 4][3][4]
};

// Digits of x[0, count), then zeros up to `padded`, a multiple of 4.
DigitBlock to_digits(const float* x, int64_t count, int64_t padded, int8_t* digits, DigitLayout layout = {});

}  // namespace octet::kernels
