// A block of activations as integers and a power of two, three signed bytes each (weight_only.h).
#pragma once

#include <cstdint>

namespace octet::kernels {

struct DigitBlock {
  int32_t sum[3] = {0, 0, 0};  // of the digits over the block
  float unit = 0;              // 2^(E - 22); 0 for a block of zeros, NaN for one that is not finite
};

// Digits of x[0, count), then zeros up to `padded`, a multiple of 4: [padded / 4][3][4] bytes.
DigitBlock to_digits(const float* x, int64_t count, int64_t padded, int8_t* digits);

}  // namespace octet::kernels
