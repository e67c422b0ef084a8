#include "kernels/jit/math_emitter.h"

#include <initializer_list>

#include "octet/numerics_functions.h"

namespace octet::kernels {
namespace {

// 2^i for integer lanes i in -126..127, by the exponent field.
void emit_power_of_two(VectorEmitter& e, const Xbyak::Xmm& i) {
  e.vpaddd(i, i, e.constant_bits(127));
  e.vpslld(i, i, 23);
}

// d = d * z + c for each c in turn.
void emit_horner(VectorEmitter& e, const Xbyak::Xmm& d, const Xbyak::Xmm& z, std::initializer_list<float> coefficients) {
  for (const float c : coefficients) e.vfmadd213ps(d, z, e.constant(c));
}

// Within [low, high]; a NaN stays: the second operand wins. `t` is scratch.
void emit_within(VectorEmitter& e, const Xbyak::Xmm& x, float low, float high, const Xbyak::Xmm& t) {
  e.load_constant(t, low);
  e.vmaxps(x, t, x);
  e.load_constant(t, high);
  e.vminps(x, t, x);
}

// n = round(x log2 e), r = x - n ln 2 in two steps.
void emit_reduction(VectorEmitter& e, const Xbyak::Xmm& x, const Xbyak::Xmm& n, const Xbyak::Xmm& r) {
  e.vmulps(n, x, e.constant(1.44269504f));
  e.round(n, n);
  e.vmovaps(r, x);
  e.vfmadd231ps(r, n, e.constant(-0.693359375f));
  e.vfmadd231ps(r, n, e.constant(2.12194440e-4f));
}

// From n, whole: two powers of two whose product is 2^n, both normal.
void emit_power_factors(VectorEmitter& e, const Xbyak::Xmm& n, const Xbyak::Xmm& half) {
  e.vcvtps2dq(n, n);
  e.vpsrad(half, n, 1);
  e.vpsubd(n, n, half);
  emit_power_of_two(e, half);
  emit_power_of_two(e, n);
}

}  // namespace

// t0 = n, t1 = r then i / 2, t2 = p.
void emit_exp(VectorEmitter& e, int xi, int i0, int i1, int i2) {
  const auto x = e.v(xi), t0 = e.v(i0), t1 = e.v(i1), t2 = e.v(i2);
  emit_within(e, x, -104.0f, 89.0f, t0);
  emit_reduction(e, x, t0, t1);
  e.load_constant(t2, 1.3888889e-3f);
  emit_horner(e, t2, t1, {8.3333333e-3f, 4.1666668e-2f, 1.6666667e-1f, 0.5f, 1.0f, 1.0f});
  emit_power_factors(e, t0, t1);
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

// t0 = x^2, t1 = P then Q.
void emit_erf(VectorEmitter& e, int xi, int i0, int i1) {
  const auto x = e.v(xi), z = e.v(i0), t = e.v(i1);
  emit_within(e, x, -3.9f, 3.9f, t);
  e.vmulps(z, x, x);
  e.load_constant(t, 2.0664982e-6f);
  emit_horner(e, t, z, {2.8506143e-4f, 3.7382722e-3f, 5.2667852e-2f, 1.8966497e-1f, 1.1283791f});
  e.vmulps(x, x, t);
  e.load_constant(t, 3.8270242e-5f);
  emit_horner(e, t, z, {1.15736e-3f, 1.4914127e-2f, 1.13818206e-1f, 5.01419e-1f, 1.0f});
  e.vdivps(x, x, t);
  emit_within(e, x, -1.0f, 1.0f, t);
}

// a = |x|, then a - 11/32 n; n = its number at 1.5 * 2^23, then the number itself.
void emit_gelu(VectorEmitter& e, std::span<const GeluRegisters> vectors) {
  using Reg = const Xbyak::Xmm&;
  const auto each = [&](auto stage) {
    for (const GeluRegisters& r : vectors) stage(e.v(r.x), e.v(r.a), e.v(r.n), e.v(r.g));
  };
  const auto look_up = [&](const GeluRegisters& r, int d, size_t power) {
    e.look_up(e.v(d), e.v(r.n), std::span<const float, 16>(numerics::kGelu[power]), e.v(r.upper), e.v(r.t));
  };
  each([&](Reg x, Reg a, Reg, Reg) { e.bit_and(a, x, e.constant_bits(0x7fffffffu)); });
  each([&](Reg, Reg a, Reg, Reg g) {
    e.load_constant(g, 5.3125f);
    e.vminps(a, g, a);
  });
  each([&](Reg, Reg a, Reg n, Reg) {
    e.load_constant(n, 32.0f / 11.0f);
    e.vfmadd213ps(n, a, e.constant(12582912.0f));
  });
  each([&](Reg, Reg, Reg n, Reg g) { e.vsubps(g, n, e.constant(12582912.0f)); });
  each([&](Reg, Reg a, Reg, Reg g) { e.vfnmadd231ps(a, g, e.constant(11.0f / 32.0f)); });
  if (!e.zmm())
    for (const GeluRegisters& r : vectors) e.vpslld(e.v(r.upper), e.v(r.n), 28);
  for (const GeluRegisters& r : vectors) look_up(r, r.g, 4);
  for (const size_t power : {size_t{3}, size_t{2}, size_t{1}, size_t{0}})
    for (const GeluRegisters& r : vectors) {
      look_up(r, r.c, power);
      e.vfmadd213ps(e.v(r.g), e.v(r.a), e.v(r.c));
    }
  each([&](Reg x, Reg a, Reg, Reg g) {
    e.zero(a.getIdx());
    e.vmaxps(x, a, x);
    e.vsubps(x, x, g);
  });
}

void emit_gelu_tanh(VectorEmitter& e, int xi, int t0, int t1, int t2, int keep) {
  const auto x = e.v(xi), slope = e.v(t0), square = e.v(t1);
  e.vmovaps(e.v(keep), x);
  e.vmulps(square, x, x);
  e.load_constant(slope, 0.071354814f);
  e.vfmadd213ps(slope, square, e.constant(1.5957691f));
  e.vmulps(x, x, slope);
  emit_sigmoid(e, xi, t0, t1, t2);
  e.vmulps(x, e.v(keep), x);
}

// t0 = n, t1 = r then n / 2, t2 = q.
void emit_expm1(VectorEmitter& e, int xi, int i0, int i1, int i2) {
  const auto x = e.v(xi), t0 = e.v(i0), t1 = e.v(i1), t2 = e.v(i2);
  emit_within(e, x, -104.0f, 0.0f, t0);
  emit_reduction(e, x, t0, t1);
  e.load_constant(t2, 1.3888889e-3f);
  emit_horner(e, t2, t1, {8.3333333e-3f, 4.1666668e-2f, 1.6666667e-1f, 0.5f, 1.0f});
  e.vmulps(x, t2, t1);
  emit_power_factors(e, t0, t1);
  e.vmulps(t1, t1, t0);
  e.vsubps(t0, t1, e.constant(1.0f));
  e.vfmadd213ps(x, t1, t0);
}

void emit_softplus(VectorEmitter& e, int xi, int i0, int i1, int i2, int keep) {
  const auto x = e.v(xi), s = e.v(i0), z = e.v(i1), p = e.v(i2);
  e.vmovaps(e.v(keep), x);
  e.bit_or(x, x, e.constant_bits(0x80000000u));
  emit_exp(e, xi, i0, i1, i2);
  e.vaddps(s, x, e.constant(2.0f));
  e.vdivps(s, x, s);
  e.vmulps(z, s, s);
  e.load_constant(p, 1.0f / 13.0f);
  emit_horner(e, p, z, {1.0f / 11.0f, 1.0f / 9.0f, 1.0f / 7.0f, 1.0f / 5.0f, 1.0f / 3.0f});
  e.vaddps(s, s, s);
  e.vmulps(z, z, s);
  e.vfmadd213ps(z, p, s);
  e.zero(xi);
  e.vmaxps(x, x, e.v(keep));
  e.vaddps(x, x, z);
}

void emit_mish(VectorEmitter& e, int xi, int i0, int i1, int i2, int keep) {
  const auto x = e.v(xi), t = e.v(i0);
  e.vmovaps(e.v(keep), x);
  e.load_constant(t, 20.0f);
  e.vminps(x, t, x);
  emit_exp(e, xi, i0, i1, i2);
  e.vaddps(t, x, e.constant(2.0f));
  e.vmulps(x, x, t);
  e.vaddps(t, x, e.constant(2.0f));
  e.vdivps(x, x, t);
  e.vmulps(x, e.v(keep), x);
}

}  // namespace octet::kernels
