#include "kernels/norm.h"

#include "kernels/reference/reference.h"
#include "octet/numerics_norm.h"

namespace octet::kernels {

void norm_reference(const NormProblem& problem, const NormArgs& args) {
  const auto n = static_cast<size_t>(problem.length);
  const auto element = [](const NormOperand& operand, const void* data, size_t i) {
    return operand.quantized ? numerics::dequantize(static_cast<const uint8_t*>(data)[i], operand.scale, operand.zero_point)
                             : static_cast<const float*>(data)[i];
  };
  for (size_t r = 0; r < static_cast<size_t>(problem.rows); ++r) {
    const auto v = [&](size_t i) {
      const float x = element(problem.x, args.x, r * n + i);
      return problem.adds ? x + element(problem.residual, args.residual, r * n + i) : x;
    };
    const numerics::Moments moments =
        problem.centred ? numerics::layer_moments(n, v, problem.epsilon) : numerics::rms_moments(n, v, problem.epsilon);
    for (size_t i = 0; i < n; ++i) {
      const float x = v(i);
      const float y = problem.biased ? numerics::normalise(x, moments, args.scale[i], args.bias[i])
                                     : numerics::normalise(x, moments, args.scale[i]);
      if (problem.gives_sum) args.sum[r * n + i] = x;
      if (problem.gives_q)
        args.q[r * n + i] = static_cast<uint8_t>(numerics::quantize(y, problem.q_scale, problem.q_zero_point, 0, 255));
      if (problem.gives_y) args.y[r * n + i] = y;
      if (!problem.keeps_range) continue;
      args.range[0] = running_min(y, args.range[0]);
      args.range[1] = running_max(y, args.range[1]);
    }
  }
}

}  // namespace octet::kernels
