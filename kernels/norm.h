// LayerNormalization and RMSNormalization over rows, with what stands around them in a network:
//
//   x (f32, or u8 dequantized) ─┬─ + ── v ── normalise, · scale, + bias ──┬── y (f32)
//   residual (likewise, or none)┘   └── sum (f32)                         └── q (u8, quantized)
//
// Any of y, q and sum may be wanted. The fused kernel gives the bits that DequantizeLinear, Add, the normalisation and
// QuantizeLinear give one after the other (octet/numerics_norm.h, octet/numerics.h). Rows are contiguous and follow each
// other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/isa.h"

namespace octet::kernels {

struct NormOperand {
  bool quantized = false;  // u8, dequantized by scale and zero point
  float scale = 1;
  int32_t zero_point = 0;
};

struct NormProblem {
  bool centred = true;  // LayerNormalization; else RMSNormalization
  int64_t rows = 1, length = 1;
  float epsilon = 1e-5f;
  NormOperand x, residual;
  bool adds = false;    // there is a residual
  bool biased = false;  // there is a bias
  bool gives_y = true, gives_q = false, gives_sum = false;
  bool keeps_range = false;  // of y, to NormArgs::range; not with q
  float q_scale = 1;
  int32_t q_zero_point = 0;
  bool bounded = false;  // no finite |y| is above 1e8 * q_scale (see norm_is_bounded): nothing to clamp before the rounding
};

// Whether scale and bias (null: none) make it so: no element is further than sqrt(length) deviations from the mean, so that
// |y| <= sqrt(length) * max |scale| + max |bias|. `problem` has length, epsilon and q_scale.
bool norm_is_bounded(const NormProblem& problem, const float* scale, const float* bias);

// Absent operands and results are null. scale and bias hold `length` floats. y may lie where x lies.
struct NormArgs {
  const void* x = nullptr;
  const void* residual = nullptr;
  const float* scale = nullptr;
  const float* bias = nullptr;
  float* y = nullptr;
  uint8_t* q = nullptr;
  float* sum = nullptr;
  void* workspace = nullptr;  // of this part
  float* range = nullptr;     // of this part: {least, greatest}, widened; a NaN is none
};

class Norm {
 public:
  virtual ~Norm() = default;
  virtual void run(const NormArgs& args, int part, int parts) const noexcept = 0;
  virtual std::string name() const = 0;
  virtual size_t workspace_bytes() const = 0;
};

std::unique_ptr<Norm> make_norm(const Isa& isa, const NormProblem& problem);
void norm_reference(const NormProblem& problem, const NormArgs& args);  // takes no workspace

}  // namespace octet::kernels
