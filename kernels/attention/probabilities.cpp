// Scores to probabilities, row by row, twice over the row: its maximum, then 255 times the exponential of the distance to
// it.
//
//   v0..v3 data | v4..v7 scratch | v8..v11 maxima, then v8 the sum | v12 the maximum or shift | v13 exponent or score factor
//   v14 a constant of the mask | v15 zero or ones; zmm: v16..v19 the cubic's coefficients (ymm: from memory)
//   rsi scores  rdx p  rcx mask  r8 rows  r9 sums  rax place in the row  r10 limits, then what to keep
//
// A last chunk that the keys do not fill is read through `limit` and `keep`; with a mask its rows are padded with -inf
// instead.
#include <cstddef>
#include <limits>

#include "kernels/attention/generators.h"
#include "kernels/jit/vector_emitter.h"

namespace octet::kernels::attention {
namespace {

using Xbyak::Operand;
using Xbyak::Xmm;

constexpr int kScratch = 4, kMost = 8, kShift = 12, kFactor = 13, kLog = 14, kOther = 15, kCubic = 16;

class ProbabilityEmitter {
 public:
  ProbabilityEmitter(VectorEmitter& emitter, const Form& form, bool masked) : e(emitter), form_(form), masked_(masked) {}

  void run() {
    e.mov(e.rsi, field(offsetof(ProbabilityArgs, scores)));
    e.mov(e.rdx, field(offsetof(ProbabilityArgs, p)));
    e.mov(e.r9, field(offsetof(ProbabilityArgs, sums)));
    e.mov(e.r8, field(offsetof(ProbabilityArgs, rows)));
    if (masked_) e.mov(e.rcx, field(offsetof(ProbabilityArgs, mask)));
    e.broadcast(e.v(kFactor),
                e.ptr[e.rdi + (masked_ ? offsetof(ProbabilityArgs, score) : offsetof(ProbabilityArgs, exponent))]);
    if (masked_) e.load_constant(e.v(kLog), numerics::kLog2E);
    if (form_.group == 4)
      e.zero(kOther);
    else
      e.vmovups(e.v(kOther), e.constant_bits(0x00010001));
    if (e.zmm())
      for (int i = 0; i < 4; ++i) e.load_constant(e.v(kCubic + i), numerics::kPowerCubic[i]);
    Xbyak::Label next;
    e.L(next);
    maximum();
    exponentials();
    e.add(e.rsi, field(offsetof(ProbabilityArgs, score_row)));
    e.add(e.rdx, field(offsetof(ProbabilityArgs, p_row)));
    if (masked_) e.add(e.rcx, field(offsetof(ProbabilityArgs, mask_row)));
    e.add(e.r9, 4);
    e.dec(e.r8);
    e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
    e.vzeroupper();
    e.ret();
  }

 private:
  Xbyak::Address field(size_t at) const { return e.qword[e.rdi + at]; }
  Xbyak::Address score(int i) const { return e.ptr[e.rsi + e.rax + disp(i * e.vector_bytes())]; }
  int vectors() const { return form_.chunk_vectors; }

  // body(whole) for every whole chunk, and for the last one that is not.
  template <class F>
  void chunks(size_t partial, const F& body) {
    const auto bytes = static_cast<uint32_t>(vectors() * e.vector_bytes());
    Xbyak::Label next, last, done;
    e.xor_(e.eax, e.eax);
    e.cmp(e.rax, field(offsetof(ProbabilityArgs, chunk_bytes)));
    e.je(last, Xbyak::CodeGenerator::T_NEAR);
    e.align(32);
    e.L(next);
    body(true);
    e.add(e.rax, bytes);
    e.cmp(e.rax, field(offsetof(ProbabilityArgs, chunk_bytes)));
    e.jb(next, Xbyak::CodeGenerator::T_NEAR);
    e.L(last);
    if (!masked_) {
      e.mov(e.r10, field(partial));
      e.test(e.r10, e.r10);
      e.jz(done, Xbyak::CodeGenerator::T_NEAR);
      body(false);
    }
    e.L(done);
  }

  void maximum() {
    constexpr float kMinusInf = -std::numeric_limits<float>::infinity();
    for (int i = 0; i < vectors(); ++i)
      e.vmovups(e.v(kMost + i), masked_ ? e.constant(kMinusInf) : e.constant_bits(0x80000000u));
    chunks(offsetof(ProbabilityArgs, limit), [&](bool whole) {
      for (int i = 0; i < vectors(); ++i) {
        const Xmm x = e.v(i), most = e.v(kMost + i);
        if (masked_) {
          e.vcvtdq2ps(x, score(i));
          e.vfmadd213ps(x, e.v(kFactor), e.ptr[e.rcx + e.rax + disp(i * e.vector_bytes())]);
          e.vmovups(score(i), x);
          e.vmaxps(most, x, most);  // NaN keeps the running maximum
        } else if (whole) {
          e.vpmaxsd(most, most, score(i));
        } else {
          e.vmovups(x, e.ptr[e.r10 + disp(i * e.vector_bytes())]);
          e.vpminsd(x, x, score(i));
          e.vpmaxsd(most, most, x);
        }
      }
    });
    const auto greater = [&](const Xmm& d, const Xmm& a, const Xmm& b) { masked_ ? e.vmaxps(d, a, b) : e.vpmaxsd(d, a, b); };
    for (int i = 1; i < vectors(); ++i) greater(e.v(kMost), e.v(kMost), e.v(kMost + i));
    e.reduce(kMost, kScratch, greater);
    e.vbroadcastss(e.v(kScratch), e.x(kMost));
    if (masked_) {
      e.vmovaps(e.v(kShift), e.v(kScratch));
    } else {
      e.vcvtdq2ps(e.v(kScratch), e.v(kScratch));
      e.load_constant(e.v(kShift), numerics::kLog2Of255);
      e.vfnmadd231ps(e.v(kShift), e.v(kScratch), e.v(kFactor));
    }
  }

  void exponentials() {
    e.zero(kMost);
    e.mov(e.r11, e.rdx);
    chunks(offsetof(ProbabilityArgs, keep), [&](bool whole) {
      for (int i = 0; i < vectors(); ++i) {
        const Xmm t = e.v(i);
        if (masked_) {
          e.vmovups(t, score(i));
          e.vsubps(t, t, e.v(kShift));
          e.vfmadd213ps(t, e.v(kLog), e.constant(numerics::kLog2Of255));
        } else {
          e.vcvtdq2ps(t, score(i));
          e.vfmadd213ps(t, e.v(kFactor), e.v(kShift));
        }
        power_of_two(i, kScratch + i % 2 * 2);
        e.vcvtps2dq(t, t);
        if (!whole) e.bit_and(t, t, e.ptr[e.r10 + disp(i * e.vector_bytes())]);
      }
      narrow();
      e.add(e.r11, imm(e.vector_bytes()));
    });
    e.reduce(kMost, kScratch, [&](const Xmm& d, const Xmm& a, const Xmm& b) { e.vpaddd(d, a, b); });
    e.vmovd(e.ptr[e.r9], e.x(kMost));
  }

  // v(i) = 2^v(i), the cubic on its fraction. What lies below kLeastPower, and NaN, must come to 0: on a zmm vscalefps and
  // the conversion see to the former, and narrowing to u8 to the latter, which the conversion makes the least integer.
  void power_of_two(int i, int scratch) {
    const Xmm t = e.v(i), f = e.v(scratch), p = e.v(scratch + 1);
    const bool narrows_to_0 = e.zmm() && (!masked_ || form_.group == 4);
    if (!narrows_to_0) e.vmaxps(t, t, e.constant(numerics::kLeastPower));
    constexpr uint8_t kFloor = 1 | 8;
    if (e.zmm()) {
      e.vreduceps(f, t, kFloor);
      e.vmovaps(p, e.v(kCubic));
      for (int k = 1; k < 4; ++k) e.vfmadd213ps(p, f, e.v(kCubic + k));
      e.vscalefps(t, p, t);
      return;
    }
    e.vroundps(p, t, kFloor);
    e.vsubps(f, t, p);
    e.vcvtps2dq(t, p);
    e.vpslld(t, t, 23);
    e.vmovups(p, e.constant(numerics::kPowerCubic[0]));
    for (int k = 1; k < 4; ++k) e.vfmadd213ps(p, f, e.constant(numerics::kPowerCubic[k]));
    e.vpaddd(t, t, p);
  }

  // The chunk's vectors to one of P, and to the sum.
  void narrow() {
    const Xmm p = e.v(0), part = e.v(kScratch);
    e.vpackssdw(p, p, e.v(1));
    if (form_.group == 4) {
      e.vpackssdw(e.v(2), e.v(2), e.v(3));
      e.vpackuswb(p, p, e.v(2));
      e.vpsadbw(part, p, e.v(kOther));
    } else {
      e.vpminsw(p, p, e.constant_bits(0x00ff00ff));
      e.vpmaddwd(part, p, e.v(kOther));
    }
    e.store(e.r11, p);
    e.vpaddd(e.v(kMost), e.v(kMost), part);
  }

  VectorEmitter& e;
  const Form& form_;
  const bool masked_;
};

}  // namespace

std::shared_ptr<const Code> probability_code(const Isa& isa, const Form& form, bool masked) {
  return vector_code(isa, CodeKey("attention probabilities").add(form.group).add(masked),
                     [&](VectorEmitter& e) { ProbabilityEmitter(e, form, masked).run(); });
}

}  // namespace octet::kernels::attention
