#include "kernels/matmul.h"

#include <cmath>

namespace octet::kernels {

void matmul_reference(const MatmulProblem& p, const KernelArgs& args) {
  auto* y = static_cast<float*>(args.y);
  const int64_t a_row = p.a_row ? p.a_row : p.k, b_row = p.b_row ? p.b_row : p.b_transposed ? p.k : p.n;
  for (const auto& [a_at, b_at] : p.batch) {
    const float *a = static_cast<const float*>(args.a) + a_at, *b = static_cast<const float*>(args.b) + b_at;
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        float sum = 0;
        for (int64_t l = 0; l < p.k; ++l)
          sum = std::fma(a[i * a_row + l * p.a_step], b[p.b_transposed ? j * b_row + l : l * b_row + j], sum);
        *y++ = p.alpha == 1.0f ? sum : sum * p.alpha;
      }
  }
}

}  // namespace octet::kernels
