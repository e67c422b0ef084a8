#include <cmath>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"
#include "octet/numerics_functions.h"

namespace octet::kernels {
namespace {

float binary_f32(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::add: return a + b;
    case BinaryKind::sub: return a - b;
    case BinaryKind::mul: return a * b;
    case BinaryKind::div: return a / b;
    case BinaryKind::max: return numerics::larger(a, b);
    case BinaryKind::min: return numerics::smaller(a, b);
  }
  return 0;
}

struct QuantizedOperand {
  int32_t centred;  // q - zero point
  float scale;
};

uint8_t binary_u8(const BinaryProblem& problem, QuantizedOperand a, QuantizedOperand b) {
  float v;
  if (problem.kind == BinaryKind::mul) {
    v = static_cast<float>(a.centred * b.centred) * ((a.scale * b.scale) / problem.y_scale);
  } else {
    const float second = static_cast<float>(b.centred) * (b.scale / problem.y_scale);
    v = std::fma(static_cast<float>(a.centred), a.scale / problem.y_scale,
                 problem.kind == BinaryKind::sub ? -second : second);
  }
  const int32_t q = numerics::quantize_scaled(v, problem.y_zero_point, 0, 255);
  return static_cast<uint8_t>(numerics::saturate(q, problem.lo, problem.hi));
}

float clamp_unit(float v) { return numerics::at_least(0.0f, numerics::at_most(1.0f, v)); }

float unary(const UnaryProblem& problem, float x) {
  switch (problem.kind) {
    case UnaryKind::relu: return numerics::at_least(0.0f, x);
    case UnaryKind::clip: return numerics::at_most(problem.beta, numerics::at_least(problem.alpha, x));
    case UnaryKind::leaky_relu: return x < 0.0f ? x * problem.alpha : x;
    case UnaryKind::hard_sigmoid: return clamp_unit(std::fma(problem.alpha, x, problem.beta));
    case UnaryKind::hard_swish: return x * clamp_unit(std::fma(1.0f / 6.0f, x, 0.5f));
    case UnaryKind::sigmoid: return numerics::sigmoid(x);
    case UnaryKind::silu: return x * numerics::sigmoid(problem.alpha * x);
    case UnaryKind::tanh: return numerics::tanh(x);
    case UnaryKind::exp: return numerics::exp(x);
    case UnaryKind::neg: return -x;
    case UnaryKind::abs: return std::fabs(x);
    case UnaryKind::sqrt: return std::sqrt(x);
    case UnaryKind::reciprocal: return 1.0f / x;
    case UnaryKind::erf: return numerics::erf(x);
    case UnaryKind::gelu: return numerics::gelu(x);
    case UnaryKind::gelu_tanh: return numerics::gelu_tanh(x);
    case UnaryKind::elu: return numerics::elu(x, problem.alpha);
    case UnaryKind::softplus: return numerics::softplus(x);
    case UnaryKind::mish: return numerics::mish(x);
  }
  return 0;
}

}  // namespace

void binary_reference(const BinaryProblem& problem, const KernelArgs& args) {
  for (int64_t r = 0; r < problem.rows; ++r)
    for (int64_t i = 0; i < problem.length; ++i) {
      const int64_t ai = r * problem.a_outer + i, bi = r * problem.b_outer + i * problem.b_inner,
                    yi = r * problem.y_outer + i;
      if (problem.dtype == DType::f32) {
        const float a = static_cast<const float*>(args.a)[ai], b = static_cast<const float*>(args.b)[bi];
        const float v = problem.swapped ? binary_f32(problem.kind, b, a) : binary_f32(problem.kind, a, b);
        static_cast<float*>(args.y)[yi] = problem.relu ? numerics::at_least(0.0f, v) : v;
      } else {
        const QuantizedOperand a{static_cast<const uint8_t*>(args.a)[ai] - problem.a_zero_point, problem.a_scale};
        const QuantizedOperand b{static_cast<const uint8_t*>(args.b)[bi] - problem.b_zero_point, problem.b_scale};
        static_cast<uint8_t*>(args.y)[yi] = problem.swapped ? binary_u8(problem, b, a) : binary_u8(problem, a, b);
      }
    }
}

void unary_reference(const UnaryProblem& problem, const KernelArgs& args) {
  auto* range = static_cast<float*>(const_cast<void*>(args.b));
  for (int64_t i = 0; i < problem.count; ++i) {
    const float y = static_cast<float*>(args.y)[i] = unary(problem, static_cast<const float*>(args.a)[i]);
    if (!problem.keeps_range) continue;
    range[0] = running_min(y, range[0]);
    range[1] = running_max(y, range[1]);
  }
}

void table_reference(const TableProblem& problem, const KernelArgs& args) {
  for (int64_t r = 0; r < problem.rows; ++r) {
    const uint8_t* x = static_cast<const uint8_t*>(args.a) + r * problem.x_outer;
    uint8_t* y = static_cast<uint8_t*>(args.y) + r * problem.y_outer;
    for (int64_t i = 0; i < problem.length; ++i) y[i] = problem.table[x[i]];
  }
}

}  // namespace octet::kernels
