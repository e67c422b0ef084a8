#include "kernels/jit/quantize_emitter.h"

namespace octet::kernels {

using namespace quantize_registers;

void set_quantize_params(RunParam* param, float scale, int32_t zero_point) {
  param[0].f = scale;
  param[1].f = static_cast<float>(0 - zero_point);
  param[2].f = static_cast<float>(255 - zero_point);
  param[3].i = zero_point;
  param[4].f = 1.0f / scale;
}

void emit_quantize_constants(VectorEmitter& e) {
  for (int i = 0; i < kQuantizeParams; ++i) emit_param(e, kScale + i, i);
  e.load_constant(e.v(kLeast), -1e9f);
  e.load_constant(e.v(kMost), 1e9f);
  e.vpackssdw(e.v(kZeroWords), e.v(kZeroPoint), e.v(kZeroPoint));
}

void emit_quotient(VectorEmitter& e, Quotient quotient, int k, bool packs) {
  const auto d = e.v(k), q = e.v(kQuotient);
  if (quotient == Quotient::divide) {
    e.vdivps(d, d, e.v(kScale));
  } else {
    e.vmulps(q, d, e.v(kReciprocal));
    if (quotient == Quotient::multiply) {
      e.vmaxps(q, q, e.v(kLeast));
      e.vminps(q, q, e.v(kMost));
    }
    e.vfnmadd231ps(d, q, e.v(kScale));
    e.vfmadd213ps(d, e.v(kReciprocal), q);
  }
  if (!packs) e.vmaxps(d, d, e.v(kLow));
  if (!packs || quotient != Quotient::multiply_in_range) e.vminps(d, e.v(kHigh), d);  // a NaN passes: the second source
  e.vcvtps2dq(d, d);
  if (!packs) e.vpaddd(d, d, e.v(kZeroPoint));
}

}  // namespace octet::kernels
