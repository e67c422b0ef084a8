// Every kernel that is not a product. Each is a plan-time object made for one ISA and one problem; run() executes part
// `part` of `parts` of the work and is noexcept. Each family has its scalar reference (`*_reference`) beside it, which is
// what `Isa reference` runs and what the tests compare against, bit for bit. Formulas: octet/numerics.h.
//
// make_* never fails for the element types named in its comment (they fall to the reference loop only for IsaId::reference).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernels/isa.h"
#include "kernels/layout.h"
#include "octet/types.h"

namespace octet::kernels {

// A bound kernel over up to three inputs; unused pointers are null.
struct KernelArgs {
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void run(const KernelArgs& args, int part, int parts) const noexcept = 0;
  virtual std::string name() const = 0;
};
using KernelPtr = std::unique_ptr<Kernel>;

// --- pooling, channels-last images -----------------------------------------------------------------------------------
enum class PoolKind : uint8_t { max, average };
struct PoolProblem {
  PoolKind kind = PoolKind::max;
  DType dtype = DType::f32;  // f32 or u8, input and output alike
  int64_t n = 1, c = 1, ih = 1, iw = 1, oh = 1, ow = 1;
  int64_t kh = 1, kw = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, pad_top = 0, pad_left = 0;
  int64_t pad_bottom = 0, pad_right = 0;
  bool count_include_pad =
      false;  // average: divide by kh*kw, or (as ONNX with ceil_mode) by the part inside the padded image
  ImageLayout x, y;
  // u8 average: y = quantize_scaled(float(sum - count * zx) * ((sx / sy) / float(count)), zy, 0, 255).
  // f32 average: the sum over the window in row-major order, divided by float(count). Windows are clipped to the image.
  float x_scale = 1, y_scale = 1;
  int32_t x_zero_point = 0, y_zero_point = 0;
};
KernelPtr make_pool(const Isa& isa, const PoolProblem& problem);
void pool_reference(const PoolProblem& problem, const KernelArgs& args);

// --- element-wise ----------------------------------------------------------------------------------------------------
// A tensor walked as `rows` runs of `length` elements; strides in elements. b may be broadcast: along the run (b_inner ==
// 0), over rows (b_outer == 0), both. a's and y's runs are contiguous.
enum class BinaryKind : uint8_t { add, sub, mul, div, max, min };
struct BinaryProblem {
  BinaryKind kind = BinaryKind::add;
  DType dtype = DType::f32;  // f32: all kinds. u8: add, sub, mul with the quantization below
  int64_t rows = 1, length = 1;
  int64_t a_outer = 0, b_outer = 0, y_outer = 0;
  int64_t b_inner = 1;   // 0 or 1
  bool swapped = false;  // computes b op a
  bool relu = false;     // f32: max(v, 0) after it; u8: use lo
  // u8 add/sub: v = fma(float(a - za), sa / sy, ±(float(b - zb) * (sb / sy)));  mul: v = float((a - za) * (b - zb)) * ((sa *
  // sb) / sy); (swapped: the roles of a and b in the formula are exchanged) then quantize_scaled(v, zy, 0, 255) clamped to
  // [lo, hi].
  float a_scale = 1, b_scale = 1, y_scale = 1;
  int32_t a_zero_point = 0, b_zero_point = 0, y_zero_point = 0;
  int32_t lo = 0, hi = 255;
};
KernelPtr make_binary(const Isa& isa, const BinaryProblem& problem);
void binary_reference(const BinaryProblem& problem, const KernelArgs& args);

enum class UnaryKind : uint8_t {
  relu,
  clip,
  leaky_relu,
  hard_sigmoid,
  hard_swish,
  sigmoid,
  silu,
  tanh,
  exp,
  neg,
  abs,
  sqrt,
  reciprocal,
  erf,
  gelu,
  gelu_tanh,
  elu,
  softplus,
  mish,
};
// f32, contiguous. clip: [alpha, beta]. leaky_relu: alpha. hard_sigmoid: max(0, min(1, fma(alpha, x, beta))).
// hard_swish: x * max(0, min(1, fma(1/6, x, 0.5))). silu: x * sigmoid(alpha * x). sqrt, reciprocal: IEEE
// (1.0f / x). elu: alpha. From erf on: octet/numerics_functions.h.
struct UnaryProblem {
  UnaryKind kind = UnaryKind::relu;
  int64_t count = 0;
  float alpha = 0, beta = 0;
  bool keeps_range = false;  // b points at two floats that the least and the greatest result widen; a NaN is none
};
KernelPtr make_unary(const Isa& isa, const UnaryProblem& problem);
void unary_reference(const UnaryProblem& problem, const KernelArgs& args);

// y[i] = table[x[i]], u8. `rows` runs of `length` with strides in bytes.
struct TableProblem {
  std::array<uint8_t, 256> table{};
  int64_t rows = 1, length = 0, x_outer = 0, y_outer = 0;
};
KernelPtr make_table(const Isa& isa, const TableProblem& problem);

// --- quantize, dequantize ----------------------------------------------------------------------------------------------
// f32 -> u8 by numerics::quantize (a true division), or u8 -> f32 by numerics::dequantize; per tensor. `rows` runs of
// `length`, strides in elements of the respective type.
struct QuantizeProblem {
  int64_t rows = 1, length = 0, x_outer = 0, y_outer = 0;
  float scale = 1;
  int32_t zero_point = 0;
};
KernelPtr make_quantize(const Isa& isa, const QuantizeProblem& problem);
KernelPtr make_dequantize(const Isa& isa, const QuantizeProblem& problem);
void quantize_reference(const QuantizeProblem& problem, const KernelArgs& args);
void dequantize_reference(const QuantizeProblem& problem, const KernelArgs& args);

// QuantizeLinear of colour images, planes of float32 without gaps, to channels-last pixels of three u8: the quantization and
// the change of layout at once. Rows of 64 pixels at least.
struct QuantizePixelsProblem {
  int64_t n = 1, h = 1, w = 64;
  ImageLayout y;  // pixel: 3
  float scale = 1;
  int32_t zero_point = 0;
};
inline constexpr int64_t kLeastPixelRow = 64;
KernelPtr make_quantize_pixels(const Isa& isa, const QuantizePixelsProblem& problem);
void quantize_pixels_reference(const QuantizePixelsProblem& problem, const KernelArgs& args);

// DynamicQuantizeLinear, two phases with a barrier between: `min_max` writes this part's {min, max} (0 included) to
// scratch[2 * part]; `apply` combines the `parts` pairs, derives scale and zero point as ONNX says, and quantizes its part.
class DynamicQuantize {
 public:
  virtual ~DynamicQuantize() = default;
  virtual void min_max(const float* x, float* scratch, int part, int parts) const noexcept = 0;
  // Every part writes its bytes of y; part 0 writes scale and zero_point.
  virtual void apply(const float* x, const float* scratch, uint8_t* y, float* scale, uint8_t* zero_point, int part,
                     int parts) const noexcept = 0;
};
struct DynamicQuantizeProblem {
  int64_t rows = 1, length = 0, x_outer = 0, y_outer = 0;  // as QuantizeProblem
};
std::unique_ptr<DynamicQuantize> make_dynamic_quantize(const Isa& isa, const DynamicQuantizeProblem& problem);

// --- softmax -----------------------------------------------------------------------------------------------------------
// Rows of f32, contiguous: m = max; e = numerics::exp(x - m); y = e / sum16(e).
struct SoftmaxProblem {
  int64_t rows = 1, length = 1;
};
KernelPtr make_softmax(const Isa& isa, const SoftmaxProblem& problem);
void softmax_reference(const SoftmaxProblem& problem, const KernelArgs& args);

// --- moving ------------------------------------------------------------------------------------------------------------
// Copies images between any two stride sets; 1- or 4-byte elements (8 and 2 as well, through the scalar loop).
// `from`/`to` give the strides of w, h, n as ImageLayout; channel strides apart, in bytes: size_of(element) when
// channels-last.
struct CopyProblem {
  int64_t element = 4;
  int64_t n = 1, c = 1, h = 1, w = 1;
  ImageLayout from, to;
  int64_t from_channel = 4, to_channel = 4;
};
KernelPtr make_copy(const Isa& isa, const CopyProblem& problem);
void copy_reference(const CopyProblem& problem, const KernelArgs& args);

// y[.., j * 2 + i] = (i == 0 ? a : b)[.., j]: the channels of two channels-last images by turns. Elements of 1 or 4 bytes; c
// channels in each of a and b.
struct InterleaveProblem {
  int64_t element = 1;
  int64_t n = 1, c = 1, h = 1, w = 1;
  ImageLayout a, b, y;
};
KernelPtr make_interleave(const Isa& isa, const InterleaveProblem& problem);
void interleave_reference(const InterleaveProblem& problem, const KernelArgs& args);

// Fills the halo of a channels-last image: `top/left/bottom/right` pixels around it, `c` elements each, with `value`.
void fill_halo(void* data, const ImageLayout& layout, int64_t n, int64_t h, int64_t w, int64_t pixel_bytes, int top,
               int left, int bottom, int right, uint32_t value, int64_t element) noexcept;

}  // namespace octet::kernels
