#include "kernels/matmul.h"

#include <cmath>

namespace octet::kernels {

void matmul_reference(const MatmulProblem& p, const KernelArgs& args) {
  auto* y = static_cast<float*>(args.y);
  for (const auto& [a_at, b_at] : p.batch) {
    const float *a = static_cast<const float*>(args.a) + a_at, *b = static_cast<const float*>(args.b) + b_at;
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        float sum = 0;
        for (int64_t l = 0; l < p.k; ++l) sum = std::fma(a[i * p.k + l], b[p.b_transposed ? j * p.k + l : l * p.n + j], sum);
        *y++ = sum;
      }
  }
}

}  // namespace octet::kernels
