// QuantizeLinear and the turn to channels-last of colour images in one pass.
//
//   plane 0   a0 a1 a2 …                       pixels   a0 b0 c0 a1 b1 c1 …
//   plane 1   b0 b1 b2 …    ─ quantize, pack ─▶
//   plane 2   c0 c1 c2 …
//
//   for each block of 4 * lanes pixels, the last one moved back to end with the row:
//     for plane: four vectors of quotients, packed to one of u8, in order
//     for third of the pixels' bytes: a shuffle of each plane within 128 bits; every 128 bits are 16 pixels, stored one by
//     one
//
//   rdi args  rsi x  r8 y  r9 bytes from plane to plane  rcx blocks left  r10 pixels of the last block  r11 shuffles
//   v0..v6, v8, v10, v12..v14 as in quantize_emitter.h | v7, v9, v11 the planes | v15 the order that undoes the packs
#include <array>
#include <cassert>

#include "kernels/jit/quantize_emitter.h"
#include "kernels/reference/reference.h"

namespace octet::kernels {
namespace {

using namespace quantize_registers;

constexpr int kPlanes[] = {7, 9, 11}, kOrder = 15, kChannels = 3;

class PixelsGenerator {
 public:
  PixelsGenerator(VectorEmitter& emitter, Quotient quotient) : e(emitter), quotient_(quotient) {}

  // RunArgs: a, y, length pixels of one row, a_stride from plane to plane.
  void generate() {
    Xbyak::Label shuffles, next, done;
    emit_quantize_constants(e);
    e.vmovups(e.v(kOrder), e.pack_order());
    e.mov(run::kA, e.ptr[run::kArgs + offsetof(RunArgs, a)]);
    e.mov(run::kY, e.ptr[run::kArgs + offsetof(RunArgs, y)]);
    e.mov(e.r9, e.ptr[run::kArgs + offsetof(RunArgs, a_stride)]);
    e.mov(e.rcx, e.ptr[run::kArgs + offsetof(RunArgs, length)]);
    e.mov(e.r10, e.rcx);
    e.lea(e.r11, e.ptr[e.rip + shuffles]);
    e.and_(e.r10, static_cast<uint32_t>(pixels() - 1));
    e.shr(e.rcx, pixels() == 64 ? 6 : 5);
    e.L(next);
    block();
    e.add(run::kA, static_cast<uint32_t>(4 * pixels()));
    e.add(run::kY, static_cast<uint32_t>(kChannels * pixels()));
    e.dec(e.rcx);
    e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
    e.test(e.r10, e.r10);
    e.jz(done, Xbyak::CodeGenerator::T_NEAR);
    e.sub(e.r10, static_cast<uint32_t>(pixels()));
    e.lea(run::kA, e.ptr[run::kA + e.r10 * 4]);
    e.lea(e.r10, e.ptr[e.r10 + e.r10 * 2]);
    e.add(run::kY, e.r10);
    block();
    e.L(done);
    e.vzeroupper();
    e.ret();
    e.align(64);
    e.L(shuffles);
    for (int third = 0; third < kChannels; ++third)
      for (int channel = 0; channel < kChannels; ++channel)
        for (int i = 0; i < e.vector_bytes(); ++i) {
          const int byte = 16 * third + i % 16;
          e.db(byte % kChannels == channel ? static_cast<uint8_t>(byte / kChannels) : uint8_t{0x80});
        }
  }

 private:
  int pixels() const { return 4 * e.lanes(); }

  void block() {
    for (int channel = 0; channel < kChannels; ++channel) {
      for (int k = 0; k < 4; ++k) {
        const Xbyak::RegExp plane = channel == 0 ? Xbyak::RegExp(run::kA) : run::kA + e.r9 * channel;
        e.vmovups(e.v(k), e.ptr[plane + disp(k * e.vector_bytes())]);
        emit_quotient(e, quotient_, k, true);
      }
      for (const int k : {0, 2}) {
        e.vpackssdw(e.v(k), e.v(k), e.v(k + 1));
        e.vpaddsw(e.v(k), e.v(k), e.v(kZeroWords));
      }
      e.vpackuswb(e.v(0), e.v(0), e.v(2));
      e.vpermd(e.wide(kPlanes[channel]), e.wide(kOrder), e.v(0));
    }
    for (int third = 0; third < kChannels; ++third) {
      const auto d = e.v(third), part = e.v(4);
      for (int channel = 0; channel < kChannels; ++channel) {
        const auto shuffle = e.ptr[e.r11 + disp((third * kChannels + channel) * e.vector_bytes())];
        e.vpshufb(channel == 0 ? d : part, e.v(kPlanes[channel]), shuffle);
        if (channel > 0) e.bit_or(d, d, part);
      }
    }
    for (int sixteen = 0; sixteen < e.vector_bytes() / 16; ++sixteen)
      for (int third = 0; third < kChannels; ++third) {
        const auto to = e.ptr[run::kY + disp(16 * (sixteen * kChannels + third))];
        if (sixteen == 0)
          e.vmovups(to, e.x(third));
        else if (e.zmm())
          e.vextracti32x4(to, Xbyak::Zmm(third), static_cast<uint8_t>(sixteen));
        else
          e.vextracti128(to, e.y(third), static_cast<uint8_t>(sixteen));
      }
  }

  VectorEmitter& e;
  const Quotient quotient_;
};

class QuantizePixels final : public Kernel {
 public:
  QuantizePixels(const Isa& isa, const QuantizePixelsProblem& problem)
      : p_(problem), name_("quantize to pixels " + std::string(isa.name)) {
    const Quotient quotient = quotient_by(problem.scale);
    code_ = vector_code(isa, CodeKey("quantize pixels").add(quotient),
                        [=](VectorEmitter& e) { PixelsGenerator(e, quotient).generate(); });
    set_quantize_params(args_.param, problem.scale, problem.zero_point);
    args_.length = problem.w;
    args_.a_stride = problem.h * problem.w * 4;
  }

  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const WorkRange rows = split_work(p_.n * p_.h, part, parts);
    RunArgs call = args_;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const int64_t image = i / p_.h, row = i % p_.h;
      call.a = static_cast<const float*>(args.a) + (image * kChannels * p_.h + row) * p_.w;
      call.y = static_cast<uint8_t*>(args.y) + image * p_.y.image + row * p_.y.row;
      code_->entry<void (*)(RunArgs*)>()(&call);
    }
  }
  std::string name() const override { return name_; }

 private:
  const QuantizePixelsProblem p_;
  const std::string name_;
  RunArgs args_{};
  std::shared_ptr<const Code> code_;
};

class ReferencePixels final : public Kernel {
 public:
  explicit ReferencePixels(const QuantizePixelsProblem& problem) : p_(problem) {}
  void run(const KernelArgs& args, int part, int) const noexcept override {
    if (part == 0) quantize_pixels_reference(p_, args);
  }
  std::string name() const override { return "quantize to pixels reference"; }

 private:
  const QuantizePixelsProblem p_;
};

}  // namespace

KernelPtr make_quantize_pixels(const Isa& isa, const QuantizePixelsProblem& problem) {
  assert(problem.w >= kLeastPixelRow && problem.y.pixel == kChannels);
  if (isa.id == IsaId::reference) return std::make_unique<ReferencePixels>(problem);
  return std::make_unique<QuantizePixels>(isa, problem);
}

}  // namespace octet::kernels
