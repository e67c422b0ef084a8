// What happens to a product's sum before it is stored. One ordered list of stages, the same for convolution and GEMM, integer
// and float; its scalar reference is apply_reference in epilogue.cpp, and every generator emits it through emit_epilogue.
//
//   integer sum `acc` (zero points and int32 bias already inside), output channel n:
//     out s32:   acc
//     out f32:   v = float(acc) * scale[n]      (+ bias[n])  (+ residual)                       act      store
//     out u8:    v = float(acc) * scale[n]                                    (+ bias[n])       act      round, + zero_point, saturate
//        with a residual r, one rounding:
//                v = fma(float(acc), scale[n], float(r - r.zero_point) * r.scale) (+ bias[n])   act      round …
//        with a residual r, two roundings (the model has Q/DQ between product and add):
//                c = quantize_scaled(float(acc) * scale[n] (+ bias[n]), mid_zero_point, 0, 255)
//                v = fma(float(c - mid_zero_point), mid_scale, float(r - r.zero_point) * r.scale)  act   round …
//     out u8 of values (y_scale not 0; no residual):
//                v as for f32                                                               act      round v / y_scale, + zero_point, saturate
//   float sum: v = acc (+ bias[n]) (+ residual), act, store f32
//
// The engine forms the multipliers: for u8 output scale[n] = (sx * sw[n]) / sy, bias[n] = b[n] / sy, r.scale = sr / sy,
// mid_scale = sm / sy (and, with two roundings, scale[n] = (sx * sw[n]) / sm, bias[n] = b[n] / sm). For f32 output
// scale[n] = sx * sw[n], r.scale = sr, and a u8 residual adds (r - zr) * sr, rounded, as DequantizeLinear gives it.
// relu and clip on a quantized output are a clamp in quanta [lo, hi], exactly as clamping before the rounding would give.
// On f32 output a clamp is lo > v ? lo : v, then hi < v ? hi : v: a NaN passes. leaky_relu multiplies a negative v by alpha.
// Last of a u8 output comes its table, where there is one: the byte i becomes table[i].
// gelu, of f32 outputs, is octet/numerics_functions.h's; of matrices, no emitted stage (gelu_rows.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "octet/types.h"

namespace octet::kernels {

enum class ResidualKind : uint8_t { none, u8_once, u8_twice, f32 };
enum class ActKind : uint8_t { none, clamp, leaky_relu, gelu };

struct Epilogue {
  DType out = DType::f32;    // f32, u8 or s32
  std::vector<float> scale;  // integer sums: one an output channel (size n); empty for float sums and s32 output
  std::vector<float> bias;   // f32, size n or empty. (int32 biases are given to the packer.)
  ResidualKind residual = ResidualKind::none;
  float residual_scale = 1.0f;
  int32_t residual_zero_point = 0;
  float mid_scale = 1.0f;  // u8_twice
  int32_t mid_zero_point = 0;
  ActKind act = ActKind::none;
  float act_lo = 0, act_hi = 0;  // clamp on f32 output
  float alpha = 0;               // leaky_relu
  int32_t zero_point = 0;        // u8 output
  int32_t lo = 0, hi = 255;      // u8 output: clamp in quanta
  float y_scale = 0;           // u8 output: not 0, v is divided by it, after a clamp as a float or without (largest_x_scale)
  bool keeps_range = false;    // f32 output and values: the least and the greatest v widen ConvArgs::range
  bool range_of_most = false;  // … only the greatest does
  std::vector<uint8_t> table;  // u8 output: 256 bytes or empty

  bool operator==(const Epilogue&) const = default;
};

// Why no kernel computes this combination of stages for a sum of this kind; empty when one does.
std::string unsupported_reason(const Epilogue& epilogue, bool float_sum);

// Whether kernels of this ISA have the table stage: with AVX512_VBMI a table is a few shuffles of 64 outputs; without it
// tables are steps of their own (table.cpp).
bool has_table_stage(const Isa& isa);

// The same with a float32 output: what a u8 output of values rounds.
Epilogue with_values(Epilogue epilogue);

// Up to which ConvArgs::x_scale the magnitudes of a u8 output of values, not clamped before, stay within 2^30 * y_scale; the
// kernels take no more. bound[n] is at least the magnitude of every sum of channel n.
float largest_x_scale(const Epilogue& epilogue, std::span<const int64_t> bound);

// The scalar specification: one sum of output channel n, stored to y as `epilogue.out`. `residual` points at the element that
// belongs to it (ignored without one); x_scale multiplies scale[n] (dynamic quantization).
void apply_reference(const Epilogue& epilogue, int32_t sum, int64_t n, float x_scale, const void* residual, void* y);
void apply_reference(const Epilogue& epilogue, float sum, int64_t n, const void* residual, void* y);

}  // namespace octet::kernels
