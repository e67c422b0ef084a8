#include <limits>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"
#include "octet/numerics.h"

namespace octet::kernels {

void softmax_reference(const SoftmaxProblem& problem, const KernelArgs& args) {
  const auto n = static_cast<size_t>(problem.length);
  for (int64_t r = 0; r < problem.rows; ++r) {
    const float* x = static_cast<const float*>(args.a) + r * problem.length;
    float* y = static_cast<float*>(args.y) + r * problem.length;
    float m = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < n; ++i) m = running_max(x[i], m);
    for (size_t i = 0; i < n; ++i) y[i] = numerics::exp(x[i] - m);
    const float sum = numerics::sum16(n, [&](size_t i) { return y[i]; });
    for (size_t i = 0; i < n; ++i) y[i] = y[i] / sum;
  }
}

}  // namespace octet::kernels
