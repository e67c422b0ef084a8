// Quantization of a float32 tensor by its own range, to u8: DynamicQuantizeLinear and the operators that begin with it.
#pragma once

#include "graph/tensor.h"
#include "octet/numerics.h"

namespace octet::graph::ops {

struct DynamicallyQuantized {
  Tensor integers;  // u8
  float scale = 1;
  int32_t zero_point = 0;
};

// A NaN does not count for the range.
inline DynamicallyQuantized quantize_dynamically(const Tensor& x) {
  const float* v = x.as<float>();
  float lo = 0, hi = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    lo = v[i] < lo ? v[i] : lo;
    hi = v[i] > hi ? v[i] : hi;
  }
  const float width = (hi - lo) / 255.0f;
  DynamicallyQuantized q{Tensor(DType::u8, x.shape()), width > 0.0f ? width : 1.0f, 0};
  q.zero_point = numerics::quantize_scaled(0.0f - lo / q.scale, 0, 0, 255);
  auto* y = q.integers.mutable_as<uint8_t>();
  for (int64_t i = 0; i < x.size(); ++i)
    y[i] = static_cast<uint8_t>(numerics::quantize(v[i], q.scale, q.zero_point, 0, 255));
  return q;
}

}  // namespace octet::graph::ops
