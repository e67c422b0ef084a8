// Softmax over contiguous rows of f32.
//
//   per row:  m = max of x                       v8..v11 partial maxima, v13 -inf, v12 m
//             y = exp(x - m), lane sums          v0..v3 data, v4..v6 scratch, v8 and v9 the 16 virtual lanes
//             y = y / sum                        v12 sum
//
// The 16 lanes of numerics::sum16 are one zmm, or the ymm pair v8 (lanes 0-7), v9 (8-15): even vectors of a row go to v8 and
// odd ones to v9. A single vector swaps the pair after it, so that v8 always takes the next one; the halving does not mind.
// v15 tail mask. Loop nest: run_loop.h, three times emit_columns inside emit_rows.
#include <limits>

#include "kernels/jit/math_emitter.h"
#include "kernels/jit/run_loop.h"

namespace octet::kernels {
namespace {

constexpr int kAcc = 8, kValue = 12, kMinusInf = 13, kScratch = 4;

void emit_max(VectorEmitter& e) {
  for (int k = 0; k < 4; ++k) e.vmovaps(e.v(kAcc + k), e.v(kMinusInf));
  emit_columns(e, 4, [&](int vectors, bool tail) {
    for (int k = 0; k < vectors; ++k) {
      if (tail)
        e.load_tail_or(e.v(k), run_element(e, run::kA, 4, k), e.v(kMinusInf));
      else
        load_f32(e, k, run::kA, k, false);
      e.vmaxps(e.v(kAcc + k), e.v(k), e.v(kAcc + k));  // NaN keeps the running maximum
    }
  });
  for (int k = 1; k < 4; ++k) e.vmaxps(e.v(kAcc), e.v(kAcc), e.v(kAcc + k));
  e.reduce(kAcc, kScratch, [&](const auto& d, const auto& a, const auto& b) { e.vmaxps(d, a, b); });
  e.vbroadcastss(e.v(kValue), e.x(kAcc));
}

void emit_exponentials(VectorEmitter& e) {
  const int accumulators = 16 / e.lanes();
  for (int k = 0; k < accumulators; ++k) e.zero(kAcc + k);
  emit_columns(e, 2, [&](int vectors, bool tail) {
    for (int k = 0; k < vectors; ++k) {
      load_f32(e, k, run::kA, k, tail);
      e.vsubps(e.v(k), e.v(k), e.v(kValue));
      emit_exp(e, k, kScratch, kScratch + 1, kScratch + 2);
      if (tail) e.clear_beyond_tail(e.v(k));
      const auto acc = e.v(kAcc + k % accumulators);
      e.vaddps(acc, acc, e.v(k));
    }
    store_f32(e, vectors, tail);
    if (vectors == 1 && accumulators == 2) {
      e.vmovaps(e.v(kScratch), e.v(kAcc));
      e.vmovaps(e.v(kAcc), e.v(kAcc + 1));
      e.vmovaps(e.v(kAcc + 1), e.v(kScratch));
    }
  });
  if (accumulators == 2) e.vaddps(e.v(kAcc), e.v(kAcc), e.v(kAcc + 1));
  e.reduce(kAcc, kScratch, [&](const auto& d, const auto& a, const auto& b) { e.vaddps(d, a, b); });
  e.vbroadcastss(e.v(kValue), e.x(kAcc));
}

void emit_division(VectorEmitter& e) {
  emit_columns(e, 4, [&](int vectors, bool tail) {
    for (int k = 0; k < vectors; ++k) {
      load_f32(e, k, run::kY, k, tail);
      e.vdivps(e.v(k), e.v(k), e.v(kValue));
    }
    store_f32(e, vectors, tail);
  });
}

void generate(VectorEmitter& e) {
  e.load_constant(e.v(kMinusInf), -std::numeric_limits<float>::infinity());
  emit_rows(e, [&] {
    emit_max(e);
    emit_exponentials(e);
    emit_division(e);
  });
  emit_return(e);
}

class Softmax final : public Kernel {
 public:
  Softmax(const Isa& isa, const SoftmaxProblem& problem)
      : name_("softmax " + std::string(isa.name)),
        problem_(problem),
        code_(vector_code(isa, CodeKey("softmax"), generate)) {}

  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const WorkRange rows = split_work(problem_.rows, part, parts);
    if (rows.size() == 0 || problem_.length == 0) return;
    RunArgs call{};
    call.a = static_cast<const float*>(args.a) + rows.begin * problem_.length;
    call.y = static_cast<float*>(args.y) + rows.begin * problem_.length;
    call.rows = rows.size();
    call.length = problem_.length;
    call.a_stride = call.y_stride = problem_.length * 4;
    code_->entry<void (*)(RunArgs*)>()(&call);
  }
  std::string name() const override { return name_; }

 private:
  std::string name_;
  SoftmaxProblem problem_;
  std::shared_ptr<const Code> code_;
};

class ReferenceSoftmax final : public Kernel {
 public:
  explicit ReferenceSoftmax(const SoftmaxProblem& problem) : problem_(problem) {}
  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const WorkRange rows = split_work(problem_.rows, part, parts);
    softmax_reference({rows.size(), problem_.length}, {static_cast<const float*>(args.a) + rows.begin * problem_.length,
                                                       nullptr, static_cast<float*>(args.y) + rows.begin * problem_.length});
  }
  std::string name() const override { return "softmax reference"; }

 private:
  SoftmaxProblem problem_;
};

}  // namespace

KernelPtr make_softmax(const Isa& isa, const SoftmaxProblem& problem) {
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceSoftmax>(problem);
  return std::make_unique<Softmax>(isa, problem);
}

}  // namespace octet::kernels
