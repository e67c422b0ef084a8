// The channels of two images by turns: what a channel shuffle of two groups is.
//
//   a0 a1 a2 a3 ..   ┐  vpunpckl, vpunpckh of 16 bytes each   ┌  a0 b0 a1 b1 ..
//   b0 b1 b2 b3 ..   ┘                                        └  .. a15 b15
//
// rsi a, rdx b, rcx y, r8 pixels left; r9, r10, r11 bytes to the next pixel of each. The pixel is unrolled when it is short;
// its last 16 bytes are taken once more from its end when they do not come out even. Fewer than 16 go one by one.
#include <cassert>
#include <cstddef>

#include "kernels/jit/vector_emitter.h"
#include "kernels/ops.h"
#include "kernels/partition.h"

namespace octet::kernels {
namespace {

struct Call {
  const void *a, *b;
  void* y;
  int64_t pixels, a_pixel, b_pixel, y_pixel;
};

constexpr int kBytes = 16;         // of one operand a step
constexpr int64_t kUnrolled = 16;  // steps of a pixel that are written out

class Emitter {
 public:
  Emitter(VectorEmitter& e, int element, int64_t bytes) : e_(e), element_(element), bytes_(bytes) {}

  void emit() {
    const auto field = [&](size_t at) { return e_.ptr[e_.rdi + at]; };
    Xbyak::Label pixel;
    e_.mov(a_, field(offsetof(Call, a)));
    e_.mov(b_, field(offsetof(Call, b)));
    e_.mov(y_, field(offsetof(Call, y)));
    e_.mov(e_.r8, field(offsetof(Call, pixels)));
    e_.mov(e_.r9, field(offsetof(Call, a_pixel)));
    e_.mov(e_.r10, field(offsetof(Call, b_pixel)));
    e_.mov(e_.r11, field(offsetof(Call, y_pixel)));
    e_.L(pixel);
    if (bytes_ < kBytes)
      one_by_one();
    else if (bytes_ / kBytes <= kUnrolled)
      for (int64_t at = 0; at < bytes_; at += kBytes) step(std::min(at, bytes_ - kBytes));
    else
      loop();
    e_.add(a_, e_.r9);
    e_.add(b_, e_.r10);
    e_.add(y_, e_.r11);
    e_.dec(e_.r8);
    e_.jnz(pixel);
    e_.ret();
  }

 private:
  void unpack() {
    if (element_ == 1) {
      e_.vpunpcklbw(e_.xmm2, e_.xmm0, e_.xmm1);
      e_.vpunpckhbw(e_.xmm3, e_.xmm0, e_.xmm1);
    } else {
      e_.vpunpckldq(e_.xmm2, e_.xmm0, e_.xmm1);
      e_.vpunpckhdq(e_.xmm3, e_.xmm0, e_.xmm1);
    }
  }

  void step(int64_t at) {
    e_.vmovdqu(e_.xmm0, e_.at(a_, at));
    e_.vmovdqu(e_.xmm1, e_.at(b_, at));
    unpack();
    e_.vmovdqu(e_.at(y_, 2 * at), e_.xmm2);
    e_.vmovdqu(e_.at(y_, 2 * at + kBytes), e_.xmm3);
  }

  void loop() {
    Xbyak::Label next;
    e_.xor_(e_.eax, e_.eax);
    e_.L(next);
    e_.vmovdqu(e_.xmm0, e_.ptr[a_ + e_.rax]);
    e_.vmovdqu(e_.xmm1, e_.ptr[b_ + e_.rax]);
    unpack();
    e_.vmovdqu(e_.ptr[y_ + e_.rax * 2], e_.xmm2);
    e_.vmovdqu(e_.ptr[y_ + e_.rax * 2 + kBytes], e_.xmm3);
    e_.add(e_.rax, kBytes);
    e_.cmp(e_.rax, static_cast<uint32_t>(bytes_ / kBytes * kBytes));
    e_.jb(next);
    if (bytes_ % kBytes != 0) step(bytes_ - kBytes);
  }

  void one_by_one() {
    for (int64_t at = 0; at < bytes_; at += element_)
      for (const auto& [from, turn] : {std::pair{a_, 0}, std::pair{b_, 1}}) {
        if (element_ == 1) {
          e_.movzx(e_.eax, e_.byte[from + static_cast<size_t>(at)]);
          e_.mov(e_.byte[y_ + static_cast<size_t>(2 * at + turn)], e_.al);
        } else {
          e_.mov(e_.eax, e_.at(from, at));
          e_.mov(e_.at(y_, 2 * at + 4 * turn), e_.eax);
        }
      }
  }

  VectorEmitter& e_;
  const int element_;
  const int64_t bytes_;
  const Xbyak::Reg64 a_ = Xbyak::util::rsi, b_ = Xbyak::util::rdx, y_ = Xbyak::util::rcx;
};

class Interleave final : public Kernel {
 public:
  Interleave(const Isa& isa, const InterleaveProblem& problem)
      : problem_(problem), name_("interleave " + std::string(isa.name)) {
    const int64_t bytes = problem.c * problem.element;
    code_ = vector_code(isa, CodeKey("interleave").add(problem.element).add(bytes),
                        [&](VectorEmitter& e) { Emitter(e, static_cast<int>(problem.element), bytes).emit(); });
  }

  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const InterleaveProblem& p = problem_;
    const WorkRange rows = split_work(p.n * p.h, part, parts);
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      const auto at = [&](const ImageLayout& l) { return r / p.h * l.image + r % p.h * l.row; };
      const Call call{static_cast<const std::byte*>(args.a) + at(p.a),
                      static_cast<const std::byte*>(args.b) + at(p.b),
                      static_cast<std::byte*>(args.y) + at(p.y),
                      p.w,
                      p.a.pixel,
                      p.b.pixel,
                      p.y.pixel};
      code_->entry<void (*)(const Call*)>()(&call);
    }
  }
  std::string name() const override { return name_; }

 private:
  const InterleaveProblem problem_;
  const std::string name_;
  std::shared_ptr<const Code> code_;
};

class ReferenceInterleave final : public Kernel {
 public:
  explicit ReferenceInterleave(const InterleaveProblem& problem) : problem_(problem) {}
  void run(const KernelArgs& args, int part, int) const noexcept override {
    if (part == 0) interleave_reference(problem_, args);
  }
  std::string name() const override { return "interleave reference"; }

 private:
  const InterleaveProblem problem_;
};

}  // namespace

KernelPtr make_interleave(const Isa& isa, const InterleaveProblem& problem) {
  assert(problem.element == 1 || problem.element == 4);
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceInterleave>(problem);
  return std::make_unique<Interleave>(isa, problem);
}

}  // namespace octet::kernels
