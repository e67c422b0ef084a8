// Scores to probabilities in f32, as Softmax has them: x = score * scale (+ mask), e = exp(x - max x), p = e / sum16(e).
//
//   per chunk of 16, the virtual lanes of numerics::sum16: one zmm, or two ymm that always take the same halves
//   v0 v1 data | v4..v6 scratch | v8 v9 maxima, then sums | v12 the maximum, then the sum | v13 scale | v14 -inf
//   rsi row  rcx its mask  r8 rows  rax place in the row  r10 limits
//
// A query that may attend to nothing has the maximum -inf: it is taken for 0, and the sum for a small number, so that p is
// 0.
#include <cstddef>
#include <limits>

#include "kernels/attention/generators.h"
#include "kernels/jit/math_emitter.h"

namespace octet::kernels::attention {
namespace {

using Xbyak::Xmm;

constexpr int kScratch = 4, kAcc = 8, kRow = 12, kScale = 13, kMinusInf = 14;
constexpr float kLeastSum = 0x1p-100f;

class FloatProbabilityEmitter {
 public:
  FloatProbabilityEmitter(VectorEmitter& emitter, bool masked) : e(emitter), masked_(masked) {}

  void run() {
    e.mov(e.rsi, field(offsetof(FloatProbabilityArgs, scores)));
    e.mov(e.r8, field(offsetof(FloatProbabilityArgs, rows)));
    if (masked_) e.mov(e.rcx, field(offsetof(FloatProbabilityArgs, mask)));
    if (!masked_) e.mov(e.r10, field(offsetof(FloatProbabilityArgs, limit)));
    e.broadcast(e.v(kScale), e.ptr[e.rdi + offsetof(FloatProbabilityArgs, scale)]);
    e.load_constant(e.v(kMinusInf), -std::numeric_limits<float>::infinity());
    Xbyak::Label next;
    e.L(next);
    maximum();
    exponentials();
    division();
    e.add(e.rsi, field(offsetof(FloatProbabilityArgs, row)));
    if (masked_) e.add(e.rcx, field(offsetof(FloatProbabilityArgs, mask_row)));
    e.dec(e.r8);
    e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
    e.vzeroupper();
    e.ret();
  }

 private:
  Xbyak::Address field(size_t at) const { return e.qword[e.rdi + at]; }
  Xbyak::Address element(int i) const { return e.ptr[e.rsi + e.rax + disp(i * e.vector_bytes())]; }
  int vectors() const { return 16 / e.lanes(); }

  template <class F>
  void chunks(const F& body) {
    Xbyak::Label next;
    e.xor_(e.eax, e.eax);
    e.L(next);
    for (int i = 0; i < vectors(); ++i) body(i);
    e.add(e.rax, 64);
    e.cmp(e.rax, field(offsetof(FloatProbabilityArgs, row_bytes)));
    e.jb(next, Xbyak::CodeGenerator::T_NEAR);
  }

  void maximum() {
    for (int i = 0; i < vectors(); ++i) e.vmovaps(e.v(kAcc + i), e.v(kMinusInf));
    if (!masked_) hide_missing_keys();
    chunks([&](int i) {
      const Xmm x = e.v(i), most = e.v(kAcc + i);
      e.vmulps(x, e.v(kScale), element(i));
      if (masked_) e.vaddps(x, x, e.ptr[e.rcx + e.rax + disp(i * e.vector_bytes())]);
      e.vmovups(element(i), x);
      e.vmaxps(most, x, most);  // NaN keeps the running maximum
    });
    const auto greater = [&](const Xmm& d, const Xmm& a, const Xmm& b) { e.vmaxps(d, a, b); };
    if (vectors() == 2) greater(e.v(kAcc), e.v(kAcc), e.v(kAcc + 1));
    e.reduce(kAcc, kScratch, greater);
    e.vbroadcastss(e.v(kRow), e.x(kAcc));
    // -inf for 0: minus infinity is below every number there is.
    e.zero(kScratch);
    e.load_constant(e.v(kScratch + 1), std::numeric_limits<float>::lowest());
    e.select_less(e.v(kRow), e.v(kRow), e.v(kScratch + 1), e.v(kScratch), e.v(kRow), e.v(kScratch + 2));
  }

  // Scores of the last chunk without a key: -inf, since the scale is positive.
  void hide_missing_keys() {
    e.mov(e.rax, field(offsetof(FloatProbabilityArgs, row_bytes)));
    e.sub(e.rax, 64);
    for (int i = 0; i < vectors(); ++i) {
      e.vmovups(e.v(0), element(i));
      e.vmovups(e.v(1), e.ptr[e.r10 + disp(i * e.vector_bytes())]);
      e.vminps(e.v(0), e.v(1), e.v(0));  // the score where it is NaN
      e.vmovups(element(i), e.v(0));
    }
  }

  void exponentials() {
    for (int i = 0; i < vectors(); ++i) e.zero(kAcc + i);
    chunks([&](int i) {
      const Xmm x = e.v(i);
      e.vmovups(x, element(i));
      e.vsubps(x, x, e.v(kRow));
      emit_exp(e, i, kScratch, kScratch + 1, kScratch + 2);
      e.vmovups(element(i), x);
      e.vaddps(e.v(kAcc + i), e.v(kAcc + i), x);
    });
    const auto add = [&](const Xmm& d, const Xmm& a, const Xmm& b) { e.vaddps(d, a, b); };
    if (vectors() == 2) add(e.v(kAcc), e.v(kAcc), e.v(kAcc + 1));
    e.reduce(kAcc, kScratch, add);
    e.vbroadcastss(e.v(kRow), e.x(kAcc));
    e.load_constant(e.v(kScratch), kLeastSum);
    e.vmaxps(e.v(kRow), e.v(kScratch), e.v(kRow));  // NaN stays
  }

  void division() {
    chunks([&](int i) {
      e.vmovups(e.v(i), element(i));
      e.vdivps(e.v(i), e.v(i), e.v(kRow));
      e.vmovups(element(i), e.v(i));
    });
  }

  VectorEmitter& e;
  const bool masked_;
};

}  // namespace

std::shared_ptr<const Code> float_probability_code(const Isa& isa, bool masked) {
  return vector_code(isa, CodeKey("attention float probabilities").add(masked),
                     [&](VectorEmitter& e) { FloatProbabilityEmitter(e, masked).run(); });
}

}  // namespace octet::kernels::attention
