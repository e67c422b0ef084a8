#include "kernels/integer_matmul.h"

#include "octet/numerics.h"

namespace octet::kernels {

void integer_matmul_reference(const IntegerMatmulProblem& p, const IntegerMatmulArgs& args) {
  const auto element = [](const void* base, DType dtype, int64_t at) {
    return dtype == DType::s8 ? int32_t{static_cast<const int8_t*>(base)[at]}
                              : int32_t{static_cast<const uint8_t*>(base)[at]};
  };
  int64_t out = 0;
  for (const auto& [a, b] : p.batch)
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j, ++out) {
        int32_t sum = 0;
        for (int64_t l = 0; l < p.k; ++l)
          sum += (element(args.a, p.a, a + i * p.k + l) - args.a_zero_point) *
                 (element(args.b, p.b, b + l * p.n + j) - args.b_zero_point);
        const float scaled = static_cast<float>(sum) * args.scale;
        if (p.y == DType::s32)
          static_cast<int32_t*>(args.y)[out] = sum;
        else if (p.y == DType::f32)
          static_cast<float*>(args.y)[out] = scaled;
        else if (p.y == DType::s8)
          static_cast<int8_t*>(args.y)[out] =
              static_cast<int8_t>(numerics::quantize_scaled(scaled, args.y_zero_point, -128, 127));
        else
          static_cast<uint8_t*>(args.y)[out] =
              static_cast<uint8_t>(numerics::quantize_scaled(scaled, args.y_zero_point, 0, 255));
      }
}

}  // namespace octet::kernels
