#include "kernels/jit/math_emitter.h"

namespace octet::kernels {
namespace {

// 2^i for integer lanes i in -126..127, by the exponent field.
void emit_power_of_two(VectorEmitter& e, const Xbyak::Xmm& i) {
  e.vpaddd(i, i, e.constant_bits(127));
  e.vpslld(i, i, 23);
}

}  // namespace

// t0 = n, t1 = r then i / 2, t2 = p.
void emit_exp(VectorEmitter& e, int xi, int i0, int i1, int i2) {
  const auto x = e.v(xi), t0 = e.v(i0), t1 = e.v(i1), t2 = e.v(i2);
  e.load_constant(t0, -104.0f);
  e.vmaxps(x, t0, x);  // the second operand wins with a NaN
  e.load_constant(t0, 89.0f);
  e.vminps(x, t0, x);
  e.vmulps(t0, x, e.constant(1.44269504f));
  e.round(t0, t0);
  e.vmovaps(t1, x);
  e.vfmadd231ps(t1, t0, e.constant(-0.693359375f));
  e.vfmadd231ps(t1, t0, e.constant(2.12194440e-4f));
  e.load_constant(t2, 1.3888889e-3f);
  for (float coefficient : {8.3333333e-3f, 4.1666668e-2f, 1.6666667e-1f, 0.5f, 1.0f, 1.0f})
    e.vfmadd213ps(t2, t1, e.constant(coefficient));
  e.vcvtps2dq(t0, t0);
  e.vpsrad(t1, t0, 1);
  e.vpsubd(t0, t0, t1);
  emit_power_of_two(e, t1);
  emit_power_of_two(e, t0);
  e.vmulps(t2, t2, t1);
  e.vmulps(x, t2, t0);
}

void emit_sigmoid(VectorEmitter& e, int xi, int t0, int t1, int t2) {
  const auto x = e.v(xi), t = e.v(t0);
  e.bit_xor(x, x, e.constant_bits(0x80000000u));
  emit_exp(e, xi, t0, t1, t2);
  e.load_constant(t, 1.0f);
  e.vaddps(x, t, x);
  e.vdivps(x, t, x);
}

void emit_tanh(VectorEmitter& e, int xi, int t0, int t1, int t2, int t3) {
  const auto x = e.v(xi), t = e.v(t0), sign = e.v(t3);
  e.bit_and(sign, x, e.constant_bits(0x80000000u));
  e.bit_and(x, x, e.constant_bits(0x7fffffffu));
  e.vmulps(x, x, e.constant(-2.0f));
  emit_exp(e, xi, t0, t1, t2);
  e.load_constant(t, 1.0f);
  e.vaddps(e.v(t1), t, x);
  e.vsubps(x, t, x);
  e.vdivps(x, x, e.v(t1));
  e.bit_and(x, x, e.constant_bits(0x7fffffffu));
  e.bit_or(x, x, sign);
}

}  // namespace octet::kernels
