// Arithmetic of two tensors, f32 or u8 with quantization, the second possibly broadcast.
//
// Registers, f32: v0..v3 a and result, v4..v7 b, v12 the row's b when it is one element, v14 zero, v15 tail mask.
// Registers, u8:  v0..v3 a and result, v4..v7 b; v7 the row's b when it is one element; v8 za, v9 zb, v10 ca, v11 cb, v12
// low, v13 high, v14 zy, v15 tail mask, where ca and cb are the multipliers of a and b with the sign of a subtraction
// inside. Loop nest: run_loop.h.
//
// A gate is a product with a b that is the same for all rows (squeeze and excitation: one factor a channel). Columns are the
// outer loop there, so that b is made float once:
//
//   for 4 vectors of columns, then 1, then the tail:  v4..v7 b - zb
//     for each row:  a, y move by their strides    rbx rows left; v9 zy as words, v11 scratch of the packs
#include <algorithm>
#include <cassert>
#include <cstddef>

#include "kernels/jit/run_loop.h"

namespace octet::kernels {
namespace {

struct BinaryForm {
  BinaryKind kind;
  bool b_is_scalar, swapped, relu;
};

void generate_f32(VectorEmitter& e, const BinaryForm& form) {
  constexpr int kScalar = 12, kZero = 14;
  e.zero(kZero);
  const auto per_row = [&] {
    if (form.b_is_scalar) e.broadcast(e.v(kScalar), e.ptr[run::kB]);
  };
  emit_rows(e, [&] {
    per_row();
    emit_columns(e, 4, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k) {
        load_f32(e, k, run::kA, k, tail);
        if (!form.b_is_scalar) load_f32(e, 4 + k, run::kB, k, tail);
      }
      for (int k = 0; k < vectors; ++k) {
        const auto d = e.v(k), a = d, b = e.v(form.b_is_scalar ? kScalar : 4 + k);
        const auto first = form.swapped ? b : a, second = form.swapped ? a : b;
        switch (form.kind) {
          case BinaryKind::add: e.vaddps(d, first, second); break;
          case BinaryKind::sub: e.vsubps(d, first, second); break;
          case BinaryKind::mul: e.vmulps(d, first, second); break;
          case BinaryKind::div: e.vdivps(d, first, second); break;
          case BinaryKind::max: e.vmaxps(d, first, second); break;
          case BinaryKind::min: e.vminps(d, first, second); break;
        }
        if (form.relu) e.vmaxps(d, e.v(kZero), d);
      }
      store_f32(e, vectors, tail);
    });
  });
  emit_return(e);
}

void generate_u8(VectorEmitter& e, const BinaryForm& form) {
  constexpr int kScalar = 7, kZeroA = 8, kZeroB = 9, kScaleA = 10, kScaleB = 11, kLow = 12, kHigh = 13, kZeroY = 14;
  for (int i = 0; i < 7; ++i) emit_param(e, kZeroA + i, i);
  const bool product = form.kind == BinaryKind::mul;
  const bool b_last = !product && !form.swapped;  // b is the term that is multiplied and rounded by itself
  const auto to_float = [&](int d, int zero_point) {
    e.vpsubd(e.v(d), e.v(d), e.v(zero_point));
    e.vcvtdq2ps(e.v(d), e.v(d));
  };
  const auto per_row = [&] {
    if (!form.b_is_scalar) return;
    e.movzx(run::kScratch0.cvt32(), e.byte[run::kB]);
    e.vmovd(VectorEmitter::x(kScalar), run::kScratch0.cvt32());
    e.vpbroadcastd(e.v(kScalar), VectorEmitter::x(kScalar));
    to_float(kScalar, kZeroB);
    if (b_last) e.vmulps(e.v(kScalar), e.v(kScalar), e.v(kScaleB));
  };
  emit_rows(e, [&] {
    per_row();
    emit_columns(e, 4, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k) {
        load_u8(e, k, run::kA, k, tail);
        to_float(k, kZeroA);
        if (form.b_is_scalar) continue;
        load_u8(e, 4 + k, run::kB, k, tail);
        to_float(4 + k, kZeroB);
        if (b_last) e.vmulps(e.v(4 + k), e.v(4 + k), e.v(kScaleB));
      }
      for (int k = 0; k < vectors; ++k) {
        const auto a = e.v(k), b = e.v(form.b_is_scalar ? kScalar : 4 + k);
        if (product) {
          e.vmulps(a, a, b);  // exact: below 2^24
          e.vmulps(a, a, e.v(kScaleA));
        } else if (b_last) {
          e.vfmadd213ps(a, e.v(kScaleA), b);
        } else {
          e.vmulps(a, a, e.v(kScaleA));
          e.vfmadd231ps(a, b, e.v(kScaleB));
        }
        e.vmaxps(a, a, e.v(kLow));
        e.vminps(a, a, e.v(kHigh));
        e.vcvtps2dq(a, a);
        e.vpaddd(a, a, e.v(kZeroY));
      }
      store_u8(e, vectors, tail, 4);
    });
  });
  emit_return(e);
}

// `saturates`: no product leaves the int32 range, and nothing but 0 and 255 bounds it, so that packs are all the clamp there
// need be.
void generate_gate(VectorEmitter& e, bool saturates) {
  constexpr int kGate = 4, kZeroA = 8, kZeroB = 9, kZeroWords = 9, kScaleA = 10, kScratch = 11, kLow = 12, kHigh = 13,
                kZeroY = 14;
  const Xbyak::Reg64 rows = e.rbx;
  const auto field = [&](size_t at) { return e.qword[run::kArgs + disp(static_cast<int64_t>(at))]; };
  e.push(rows);
  for (int i : {0, 2, 4, 5, 6}) emit_param(e, kZeroA + i, i);
  e.mov(run::kB, field(offsetof(RunArgs, b)));
  e.mov(run::kLength, field(offsetof(RunArgs, length)));
  emit_columns(e, 4, [&](int vectors, bool tail) {
    emit_param(e, kZeroB, 1);
    for (int k = 0; k < vectors; ++k) {
      load_u8(e, kGate + k, run::kB, k, tail);
      e.vpsubd(e.v(kGate + k), e.v(kGate + k), e.v(kZeroB));
      e.vcvtdq2ps(e.v(kGate + k), e.v(kGate + k));
    }
    const bool packs = saturates && vectors == 4;
    if (packs) e.vpackssdw(e.v(kZeroWords), e.v(kZeroY), e.v(kZeroY));
    e.mov(run::kA, field(offsetof(RunArgs, a)));
    e.mov(run::kY, field(offsetof(RunArgs, y)));
    e.mov(rows, field(offsetof(RunArgs, rows)));
    Xbyak::Label row;
    e.L(row);
    const auto each = [&](auto stage) {
      for (int k = 0; k < vectors; ++k) stage(e.v(k), k);
    };
    each([&](const auto&, int k) { load_u8(e, k, run::kA, k, tail); });
    each([&](const auto& a, int) { e.vpsubd(a, a, e.v(kZeroA)); });
    each([&](const auto& a, int) { e.vcvtdq2ps(a, a); });
    each([&](const auto& a, int k) { e.vmulps(a, a, e.v(kGate + k)); });  // exact: below 2^24
    each([&](const auto& a, int) { e.vmulps(a, a, e.v(kScaleA)); });
    if (!packs) {
      each([&](const auto& a, int) { e.vmaxps(a, a, e.v(kLow)); });
      each([&](const auto& a, int) { e.vminps(a, a, e.v(kHigh)); });
    }
    each([&](const auto& a, int) { e.vcvtps2dq(a, a); });
    if (packs) {
      store_u8_saturated(e, run_element(e, run::kY, 1, 0), e.v(kZeroWords), kScratch);
    } else {
      each([&](const auto& a, int) { e.vpaddd(a, a, e.v(kZeroY)); });
      store_u8(e, vectors, tail, kScratch);
    }
    e.add(run::kA, field(offsetof(RunArgs, a_stride)));
    e.add(run::kY, field(offsetof(RunArgs, y_stride)));
    e.dec(rows);
    e.jnz(row, Xbyak::CodeGenerator::T_NEAR);
  });
  e.pop(rows);
  emit_return(e);
}

}  // namespace

KernelPtr make_binary(const Isa& isa, const BinaryProblem& problem) {
  assert(problem.dtype == DType::f32 || problem.dtype == DType::u8);
  assert(problem.dtype == DType::f32 || problem.kind == BinaryKind::add || problem.kind == BinaryKind::sub ||
         problem.kind == BinaryKind::mul);
  assert(problem.b_inner == 0 || problem.b_inner == 1);
  const int bytes = static_cast<int>(size_of(problem.dtype));
  RunShape shape;
  shape.rows = problem.rows;
  shape.length = problem.length;
  shape.a_bytes = shape.y_bytes = bytes;
  shape.b_bytes = problem.b_inner ? bytes : 0;
  shape.a_stride = problem.a_outer * bytes;
  shape.b_stride = problem.b_outer * bytes;
  shape.y_stride = problem.y_outer * bytes;
  const std::string name = std::string(problem.dtype == DType::u8 ? "binary u8 " : "binary f32 ") + std::string(isa.name);
  if (isa.id == IsaId::reference)
    return std::make_unique<ReferenceRuns<BinaryProblem>>(name, problem, shape, binary_reference);

  const bool quantized = problem.dtype == DType::u8;
  const bool gate = quantized && problem.kind == BinaryKind::mul && problem.b_inner == 1 && problem.b_outer == 0;
  const float product_scale = (problem.a_scale * problem.b_scale) / problem.y_scale;
  const bool saturates = problem.lo <= 0 && problem.hi >= 255 && product_scale < 0x1p14f;  // 255 * 255 of it are below 2^30
  const BinaryForm form{problem.kind, problem.b_inner == 0, problem.swapped, problem.relu && !quantized};
  CodeKey key(quantized ? "binary u8" : "binary f32");
  key.add(form.kind).add(form.b_is_scalar).add(form.swapped).add(form.relu).add(gate).add(gate && saturates);
  auto code = vector_code(isa, key, [&](VectorEmitter& e) {
    if (gate)
      generate_gate(e, saturates);
    else
      quantized ? generate_u8(e, form) : generate_f32(e, form);
  });
  if (!quantized) return std::make_unique<RunKernel>(name, shape, std::initializer_list<RunParam>{}, std::move(code));

  float ca = problem.a_scale / problem.y_scale, cb = problem.b_scale / problem.y_scale;
  if (problem.kind == BinaryKind::sub) (problem.swapped ? ca : cb) *= -1.0f;
  if (problem.kind == BinaryKind::mul) ca = product_scale;
  const int32_t zy = problem.y_zero_point;
  const auto low = static_cast<float>(std::max(problem.lo, 0) - zy),
             high = static_cast<float>(std::min(problem.hi, 255) - zy);
  return std::make_unique<RunKernel>(name, shape,
                                     std::initializer_list<RunParam>{{.i = problem.a_zero_point},
                                                                     {.i = problem.b_zero_point},
                                                                     {.f = ca},
                                                                     {.f = cb},
                                                                     {.f = low},
                                                                     {.f = high},
                                                                     {.i = zy}},
                                     std::move(code));
}

}  // namespace octet::kernels
