// The quotient x / scale of QuantizeLinear, saturated, for the kernels that quantize.
//
// It is a true division, correctly rounded, but the divider is an eighth as fast as the multipliers. With r = 1 / scale
// rounded to nearest, Markstein's sequence gives the same bits (Brisebarre, Muller, Raina, "Accelerating correctly rounded
// floating-point division when the divisor is known in advance", 2004):
//
//   q = x * r;  e = fma(-q, scale, x);  q = fma(e, r, q)
//
// as long as nothing underflows or overflows on the way. Scales from 2^-100 to 2^100 see to the first, a clamp of q far
// outside what 8 bits can hold to the second; other scales divide. Under dynamic quantization the scale comes from the
// largest x, so |q| stays below 256 and there is nothing to clamp.
//
// Four vectors are saturated by the packs: what vcvtps2dq cannot hold, too large downwards or NaN, it makes the least int32,
// which is where they belong; only too large upwards is clamped before it.
#pragma once

#include "kernels/jit/run_loop.h"

namespace octet::kernels {

enum class Quotient : uint8_t { divide, multiply, multiply_in_range };

inline Quotient quotient_by(float scale) {
  return may_multiply_by_reciprocal(scale) ? Quotient::multiply : Quotient::divide;
}

// v0..v3 data, v4 scratch of the packs, v5 quotient, v6 zero points as words, v8 scale, v9 low, v10 high, v11 zero point,
// v12 1 / scale, v13, v14 bounds of the quotient. A kernel that only packs has v7, v9, v11 and v15 to itself.
namespace quantize_registers {
inline constexpr int kQuotient = 5, kZeroWords = 6, kScale = 8, kLow = 9, kHigh = 10, kZeroPoint = 11, kReciprocal = 12,
                     kLeast = 13, kMost = 14;
}

// RunArgs::param of these kernels.
inline constexpr int kQuantizeParams = 5;
void set_quantize_params(RunParam* param, float scale, int32_t zero_point);

void emit_quantize_constants(VectorEmitter& e);
// v(k) = its int32 quotient; `packs`: saturated by packs later, otherwise here, with the zero point.
void emit_quotient(VectorEmitter& e, Quotient quotient, int k, bool packs);

}  // namespace octet::kernels
