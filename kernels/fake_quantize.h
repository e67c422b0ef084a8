// Quantization to more than 8 bits and back, in float32: what a model that quantizes activations to 16 bits asks of values
// whose products stay in float.
//
//   y = float(q - zero_point) * scale,   q = round(x / scale) + zero_point, saturated to least .. most
//
// The zero point cancels out but for the bounds, so nothing is narrowed on the way. A NaN becomes the least.
#pragma once

#include "kernels/ops.h"

namespace octet::kernels {

// `rows` runs of `length`, strides in elements; within 24 bits.
struct FakeQuantizeProblem {
  int64_t rows = 1, length = 0, x_outer = 0, y_outer = 0;
  float scale = 1;
  int32_t zero_point = 0, least = 0, most = 65535;
};
KernelPtr make_fake_quantize(const Isa& isa, const FakeQuantizeProblem& problem);
void fake_quantize_reference(const FakeQuantizeProblem& problem, const KernelArgs& args);

}  // namespace octet::kernels
