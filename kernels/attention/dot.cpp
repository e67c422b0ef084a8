// The products of attention on vectors: up to 12 rows by 2 panels, every sum in a register.
//
//   for each pair of panels (a last one alone):
//     sums = start or 0
//     for step: b0, b1 = panels[step]; for each row: a = 4 bytes of a[row] (f32: one element) in all lanes; sums[row] += a .
//     (b0, b1) c[row] = sums[row]
//
//   rsi r8 r9 r10   a, rows 0, 3, 6, 9; r11 bytes between rows      rdx rcx  the panels       r12 start
//   rax steps left  rbx panels left     r13 c    r14 r15 c's row    rdi args
//   v(row * 2 + j) sums | then b0, b1, a, scratch (16-bit form)
#include <cstddef>
#include <vector>

#include "kernels/attention/generators.h"
#include "kernels/jit/vector_emitter.h"

namespace octet::kernels::attention {
namespace {

using Xbyak::Reg64;

class DotEmitter {
 public:
  DotEmitter(VectorEmitter& emitter, const Form& form, int rows, bool starts)
      : e(emitter), form_(form), rows_(rows), starts_(starts), bases_{e.rsi, e.r8, e.r9, e.r10} {
    bases_.erase(bases_.begin() + (rows + 2) / 3, bases_.end());
  }

  void run() {
    for (const Reg64& r : {e.rbx, e.r12, e.r13, e.r14, e.r15}) e.push(r);
    e.mov(e.rsi, field(offsetof(DotArgs, a)));
    e.mov(e.r11, field(offsetof(DotArgs, a_row)));
    e.lea(e.rax, e.ptr[e.r11 + e.r11 * 2]);
    for (size_t i = 1; i < bases_.size(); ++i) e.lea(bases_[i], e.ptr[bases_[i - 1] + e.rax]);
    e.mov(e.rdx, field(offsetof(DotArgs, b)));
    e.mov(e.r13, field(offsetof(DotArgs, c)));
    e.mov(e.r14, field(offsetof(DotArgs, c_row)));
    e.mov(e.rbx, field(offsetof(DotArgs, panels)));
    if (starts_) e.mov(e.r12, field(offsetof(DotArgs, start)));
    Xbyak::Label pair, single, done;
    e.L(pair);
    e.sub(e.rbx, 2);
    e.jl(single, Xbyak::CodeGenerator::T_NEAR);
    panels(2);
    e.jmp(pair, Xbyak::CodeGenerator::T_NEAR);
    e.L(single);
    e.add(e.rbx, 2);
    e.jz(done, Xbyak::CodeGenerator::T_NEAR);
    panels(1);
    e.L(done);
    for (const Reg64& r : {e.r15, e.r14, e.r13, e.r12, e.rbx}) e.pop(r);
    e.vzeroupper();
    e.ret();
  }

 private:
  static constexpr int kUnroll = 4;

  Xbyak::Address field(size_t at) const { return e.qword[e.rdi + at]; }
  int sum(int row, int j) const { return row * 2 + j; }
  int b(int j) const { return rows_ * 2 + j; }
  int a() const { return rows_ * 2 + 2; }
  int scratch() const { return rows_ * 2 + 3; }

  void panels(int count) {
    const auto bytes = static_cast<uint32_t>(count * e.vector_bytes());
    for (int j = 0; j < count; ++j) {
      if (starts_) e.load(e.v(sum(0, j)), e.r12 + disp(j * e.vector_bytes()));
      for (int row = 0; row < rows_; ++row) {
        if (!starts_)
          e.zero(sum(row, j));
        else if (row > 0)
          e.vmovaps(e.v(sum(row, j)), e.v(sum(0, j)));
      }
    }
    if (starts_) e.add(e.r12, bytes);
    e.mov(e.rcx, field(offsetof(DotArgs, panel_bytes)));
    e.add(e.rcx, e.rdx);
    e.mov(e.rax, field(offsetof(DotArgs, steps)));
    steps(count);
    // Back to the first step of a, on to the next panels.
    e.mov(e.rax, field(offsetof(DotArgs, steps)));
    e.shl(e.rax, 2);
    for (const Reg64& base : bases_) e.sub(base, e.rax);
    e.imul(e.rax, e.rax, e.vector_bytes() / 4);
    e.sub(e.rdx, e.rax);
    for (int j = 0; j < count; ++j) e.add(e.rdx, field(offsetof(DotArgs, panel_bytes)));
    e.mov(e.r15, e.r13);
    for (int row = 0; row < rows_; ++row) {
      for (int j = 0; j < count; ++j) e.store(e.r15 + disp(j * e.vector_bytes()), e.v(sum(row, j)));
      if (row + 1 < rows_) e.add(e.r15, e.r14);
    }
    e.add(e.r13, bytes);
  }

  void steps(int count) {
    Xbyak::Label many, few, none;
    e.sub(e.rax, kUnroll);
    e.jl(few, Xbyak::CodeGenerator::T_NEAR);
    e.align(32);
    e.L(many);
    for (int i = 0; i < kUnroll; ++i) step(count, i);
    advance(kUnroll);
    e.sub(e.rax, kUnroll);
    e.jge(many, Xbyak::CodeGenerator::T_NEAR);
    e.L(few);
    e.add(e.rax, kUnroll);
    e.jz(none, Xbyak::CodeGenerator::T_NEAR);
    Xbyak::Label one;
    e.L(one);
    step(count, 0);
    advance(1);
    e.dec(e.rax);
    e.jnz(one, Xbyak::CodeGenerator::T_NEAR);
    e.L(none);
  }

  void advance(int steps) {
    for (const Reg64& base : bases_) e.add(base, static_cast<uint32_t>(4 * steps));
    e.add(e.rdx, static_cast<uint32_t>(steps * e.vector_bytes()));
    e.add(e.rcx, static_cast<uint32_t>(steps * e.vector_bytes()));
  }

  void step(int count, int at) {
    for (int j = 0; j < count; ++j) e.load(e.v(b(j)), (j == 0 ? e.rdx : e.rcx) + disp(at * e.vector_bytes()));
    for (int row = 0; row < rows_; ++row) {
      const Reg64& base = bases_[static_cast<size_t>(row / 3)];
      const Xbyak::RegExp from = row % 3 == 0 ? Xbyak::RegExp(base) : row % 3 == 1 ? base + e.r11 : base + e.r11 * 2;
      e.vpbroadcastd(e.v(a()), e.ptr[from + disp(4 * at)]);
      for (int j = 0; j < count; ++j) {
        if (form_.group == 1) {
          e.vfmadd231ps(e.v(sum(row, j)), e.v(a()), e.v(b(j)));
        } else if (form_.group == 4) {
          e.dot_u8s8(e.v(sum(row, j)), e.v(a()), e.v(b(j)));
        } else {
          e.vpmaddwd(e.v(scratch()), e.v(a()), e.v(b(j)));
          e.vpaddd(e.v(sum(row, j)), e.v(sum(row, j)), e.v(scratch()));
        }
      }
    }
  }

  VectorEmitter& e;
  const Form& form_;
  const int rows_;
  const bool starts_;
  std::vector<Reg64> bases_;
};

}  // namespace

std::shared_ptr<const Code> dot_code(const Isa& isa, const Form& form, int rows, bool starts) {
  return vector_code(isa, CodeKey("attention dot").add(form.group).add(rows).add(starts),
                     [&](VectorEmitter& e) { DotEmitter(e, form, rows, starts).run(); });
}

}  // namespace octet::kernels::attention
