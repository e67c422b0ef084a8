// Unary functions of f32.
//
// Registers: v0..v3 data, v4..v9 scratch (zmm: v16..v31 of vectors together), v10, v11 range, v12 alpha, v13 beta, v14 zero,
// v15 tail mask. Loop nest: run_loop.h.
#include <array>
#include <vector>

#include "kernels/gelu_rows.h"
#include "kernels/jit/math_emitter.h"
#include "kernels/jit/run_loop.h"

namespace octet::kernels {
namespace {

constexpr int kT0 = 5, kT1 = 6, kT2 = 7, kT3 = 8, kT4 = 9, kT5 = 4, kAlpha = 12, kBeta = 13, kZero = 14;

// The bound comes first: of the two sources the second is what a NaN on either side gives.
void emit_clamp_unit(VectorEmitter& e, const Xbyak::Xmm& x) {
  e.load_constant(e.v(kT1), 1.0f);
  e.vminps(x, e.v(kT1), x);
  e.vmaxps(x, e.v(kZero), x);
}

void emit_function(VectorEmitter& e, UnaryKind kind, int xi) {
  const auto x = e.v(xi), t = e.v(kT0), keep = e.v(kT4), alpha = e.v(kAlpha), beta = e.v(kBeta), zero = e.v(kZero);
  switch (kind) {
    case UnaryKind::relu: e.vmaxps(x, zero, x); break;
    case UnaryKind::clip:
      e.vmaxps(x, alpha, x);
      e.vminps(x, beta, x);
      break;
    case UnaryKind::leaky_relu:
      e.vmulps(t, x, alpha);
      e.select_less(x, x, zero, t, x, e.v(kT1));
      break;
    case UnaryKind::hard_sigmoid:
      e.vfmadd213ps(x, alpha, beta);
      emit_clamp_unit(e, x);
      break;
    case UnaryKind::hard_swish:
      e.load_constant(t, 0.5f);
      e.vfmadd231ps(t, x, e.constant(1.0f / 6.0f));
      emit_clamp_unit(e, t);
      e.vmulps(x, x, t);
      break;
    case UnaryKind::sigmoid: emit_sigmoid(e, xi, kT0, kT1, kT2); break;
    case UnaryKind::silu:
      e.vmovaps(keep, x);
      e.vmulps(x, alpha, x);
      emit_sigmoid(e, xi, kT0, kT1, kT2);
      e.vmulps(x, keep, x);
      break;
    case UnaryKind::tanh: emit_tanh(e, xi, kT0, kT1, kT2, kT3); break;
    case UnaryKind::exp: emit_exp(e, xi, kT0, kT1, kT2); break;
    case UnaryKind::neg: e.bit_xor(x, x, e.constant_bits(0x80000000u)); break;
    case UnaryKind::abs: e.bit_and(x, x, e.constant_bits(0x7fffffffu)); break;
    case UnaryKind::sqrt: e.vsqrtps(x, x); break;
    case UnaryKind::reciprocal:
      e.load_constant(t, 1.0f);
      e.vdivps(x, t, x);
      break;
    case UnaryKind::erf: emit_erf(e, xi, kT0, kT1); break;
    case UnaryKind::gelu: emit_gelu(e, std::array{GeluRegisters{xi, kT0, kT1, kT2, kT3, kT4, kT5}}); break;
    case UnaryKind::gelu_tanh: emit_gelu_tanh(e, xi, kT0, kT1, kT2, kT4); break;
    case UnaryKind::elu:
      e.vmovaps(keep, x);
      emit_expm1(e, xi, kT0, kT1, kT2);
      e.vmulps(x, alpha, x);
      e.select_less(x, keep, zero, x, keep, e.v(kT1));
      break;
    case UnaryKind::softplus: emit_softplus(e, xi, kT0, kT1, kT2, kT4); break;
    case UnaryKind::mish: emit_mish(e, xi, kT0, kT1, kT2, kT4); break;
  }
}

// Functions that gain from several vectors at once, where there are registers for them.
bool emit_together(VectorEmitter& e, UnaryKind kind, int vectors) {
  if (kind != UnaryKind::gelu || !e.zmm()) return false;
  std::vector<GeluRegisters> all;
  for (int k = 0; k < vectors; ++k) all.push_back({k, 16 + k, 20 + k, 24 + k, 28 + k});
  emit_gelu(e, all);
  return true;
}

// The range lies where a second operand would.
void generate(VectorEmitter& e, UnaryKind kind, bool keeps_range) {
  constexpr RangeVectors kRange{10, 11};
  emit_param(e, kAlpha, 0);
  emit_param(e, kBeta, 1);
  e.zero(kZero);
  if (keeps_range) begin_range(e, kRange);
  emit_rows(e, [&] {
    emit_columns(e, 4, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k) load_f32(e, k, run::kA, k, tail);
      if (!emit_together(e, kind, vectors))
        for (int k = 0; k < vectors; ++k) emit_function(e, kind, k);
      if (keeps_range) widen_range(e, kRange, vectors, tail);
      store_f32(e, vectors, tail);
    });
  });
  if (keeps_range) end_range(e, kRange, run::kB, kT0);
  emit_return(e);
}

std::shared_ptr<const Code> unary_code(const Isa& isa, UnaryKind kind, bool keeps_range) {
  return vector_code(isa, CodeKey("unary").add(kind).add(keeps_range),
                     [=](VectorEmitter& e) { generate(e, kind, keeps_range); });
}

class ReferenceUnary final : public Kernel {
 public:
  explicit ReferenceUnary(const UnaryProblem& problem) : problem_(problem) {}
  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const WorkRange mine = split_work(problem_.count, part, parts);
    UnaryProblem part_problem = problem_;
    part_problem.count = mine.size();
    unary_reference(part_problem,
                    {static_cast<const float*>(args.a) + mine.begin, args.b, static_cast<float*>(args.y) + mine.begin});
  }
  std::string name() const override { return "unary reference"; }

 private:
  UnaryProblem problem_;
};

}  // namespace

KernelPtr make_unary(const Isa& isa, const UnaryProblem& problem) {
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceUnary>(problem);
  RunShape shape;
  shape.length = problem.count;
  shape.a_bytes = shape.y_bytes = 4;
  return std::make_unique<RunKernel>("unary " + std::string(isa.name), shape,
                                     std::initializer_list<RunParam>{{.f = problem.alpha}, {.f = problem.beta}},
                                     unary_code(isa, problem.kind, problem.keeps_range));
}

GeluRows::GeluRows(const Isa& isa, const Epilogue& epilogue) : keeps_range_(epilogue.keeps_range) {
  if (epilogue.act == ActKind::gelu) code_ = unary_code(isa, UnaryKind::gelu, keeps_range_);
}

void GeluRows::operator()(void* y, int64_t rows, int64_t columns, int64_t pitch, float* range) const noexcept {
  if (rows <= 0 || columns <= 0) return;
  float unasked[2] = {};
  RunArgs call{};
  call.a = call.y = y;
  call.b = range ? range : unasked;
  call.rows = rows;
  call.length = columns;
  call.a_stride = call.y_stride = pitch;
  code_->entry<void (*)(RunArgs*)>()(&call);
}

ConvProblem GeluRows::without(ConvProblem problem) {
  if (problem.epilogue.act != ActKind::gelu) return problem;
  problem.epilogue.act = ActKind::none;
  problem.epilogue.keeps_range = false;
  return problem;
}

}  // namespace octet::kernels
