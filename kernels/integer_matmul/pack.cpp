// Both operands of integer_matmul.h, packed.
//
// Left, bytes:   v0 data | v1 sum | v2 scratch | v6 ones | v7 flip
// Left, words:   v0 data | v7 flip | v8 zero points
// Right:         v0..v3 four rows of a panel | v5 sums of its columns | v6 ones | v7 flip | v8 zero points
#include <cstddef>

#include "kernels/integer_matmul/generators.h"
#include "kernels/jit/vector_emitter.h"

namespace octet::kernels::integer_matmul {
namespace {

constexpr int kSum = 5, kOnes = 6, kFlip = 7, kZeroPoints = 8;

// rsi a | rdx to | r8 rows left | r9 sums | rcx vectors left | r10 r11 along the row | rax mask
void emit_left_bytes(VectorEmitter& e) {
  constexpr int kData = 0, kRowSum = 1, kScratch = 2;
  const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
  e.mov(e.rsi, field(offsetof(PackLeftArgs, a)));
  e.mov(e.rdx, field(offsetof(PackLeftArgs, to)));
  e.mov(e.r8, field(offsetof(PackLeftArgs, rows)));
  e.mov(e.r9, field(offsetof(PackLeftArgs, sums)));
  e.mov(e.rax, field(offsetof(PackLeftArgs, mask)));
  e.vpbroadcastd(e.v(kFlip), e.ptr[e.rdi + offsetof(PackLeftArgs, flip)]);
  e.vmovups(e.v(kOnes), e.constant_bits(0x01010101));
  Xbyak::Label row, next, last;
  e.L(row);
  e.mov(e.r10, e.rsi);
  e.mov(e.r11, e.rdx);
  e.mov(e.rcx, field(offsetof(PackLeftArgs, vectors)));
  e.zero(kRowSum);
  e.test(e.rcx, e.rcx);
  e.jz(last);
  e.L(next);
  e.bit_xor(e.v(kData), e.v(kFlip), e.ptr[e.r10]);
  e.store(e.r11, e.v(kData));
  e.dot_u8s8(e.v(kRowSum), e.v(kData), e.v(kOnes));
  e.add(e.r10, imm(e.vector_bytes()));
  e.add(e.r11, imm(e.vector_bytes()));
  e.dec(e.rcx);
  e.jnz(next);
  e.L(last);
  e.bit_xor(e.v(kData), e.v(kFlip), e.ptr[e.r10]);
  e.bit_and(e.v(kData), e.v(kData), e.ptr[e.rax]);
  e.store(e.r11, e.v(kData));
  e.dot_u8s8(e.v(kRowSum), e.v(kData), e.v(kOnes));
  e.reduce(kRowSum, kScratch, [&](const Xbyak::Xmm& d, const Xbyak::Xmm& a, const Xbyak::Xmm& b) { e.vpaddd(d, a, b); });
  e.vmovd(e.dword[e.r9], e.x(kRowSum));
  e.add(e.r9, 4);
  e.add(e.rsi, field(offsetof(PackLeftArgs, a_row)));
  e.add(e.rdx, field(offsetof(PackLeftArgs, to_row)));
  e.dec(e.r8);
  e.jnz(row, Xbyak::CodeGenerator::T_NEAR);
  e.vzeroupper();
  e.ret();
}

void emit_left_words(VectorEmitter& e) {
  constexpr int kData = 0;
  const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
  e.mov(e.rsi, field(offsetof(PackLeftArgs, a)));
  e.mov(e.rdx, field(offsetof(PackLeftArgs, to)));
  e.mov(e.r8, field(offsetof(PackLeftArgs, rows)));
  e.vpbroadcastd(e.v(kFlip), e.ptr[e.rdi + offsetof(PackLeftArgs, flip)]);
  e.vpbroadcastd(e.v(kZeroPoints), e.ptr[e.rdi + offsetof(PackLeftArgs, zero_points)]);
  Xbyak::Label row, next;
  e.L(row);
  e.mov(e.r10, e.rsi);
  e.mov(e.r11, e.rdx);
  e.mov(e.rcx, field(offsetof(PackLeftArgs, vectors)));
  e.L(next);
  e.vpmovzxbw(e.v(kData), e.ptr[e.r10]);
  e.bit_xor(e.v(kData), e.v(kData), e.v(kFlip));
  e.vpsubw(e.v(kData), e.v(kData), e.v(kZeroPoints));
  e.store(e.r11, e.v(kData));
  e.add(e.r10, imm(e.vector_bytes() / 2));
  e.add(e.r11, imm(e.vector_bytes()));
  e.dec(e.rcx);
  e.jnz(next);
  e.add(e.rsi, field(offsetof(PackLeftArgs, a_row)));
  e.add(e.rdx, field(offsetof(PackLeftArgs, to_row)));
  e.dec(e.r8);
  e.jnz(row);
  e.vzeroupper();
  e.ret();
}

// r8..r11 four rows, rax bytes between rows | rdx to | rcx quads left | rsi sums | rbx panels left, r12 b, r13 panel
void emit_right(VectorEmitter& e, int group) {
  const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
  const Xbyak::Reg64 rows[] = {e.r8, e.r9, e.r10, e.r11};
  for (const Xbyak::Reg64& r : {e.rbx, e.r12, e.r13}) e.push(r);
  e.mov(e.r12, field(offsetof(PackRightArgs, b)));
  e.mov(e.r13, field(offsetof(PackRightArgs, to)));
  e.mov(e.rax, field(offsetof(PackRightArgs, b_row)));
  e.mov(e.rbx, field(offsetof(PackRightArgs, panels)));
  e.mov(e.rsi, field(offsetof(PackRightArgs, sums)));
  e.vpbroadcastd(e.v(kFlip), e.ptr[e.rdi + offsetof(PackRightArgs, flip)]);
  if (group == 2) e.vpbroadcastd(e.v(kZeroPoints), e.ptr[e.rdi + offsetof(PackRightArgs, zero_points)]);
  if (group == 4) e.vmovups(e.v(kOnes), e.constant_bits(0x01010101));
  Xbyak::Label panel, next;
  e.L(panel);
  e.mov(rows[0], e.r12);
  for (int i = 1; i < 4; ++i) e.lea(rows[i], e.ptr[rows[i - 1] + e.rax]);
  e.mov(e.rdx, e.r13);
  e.mov(e.rcx, field(offsetof(PackRightArgs, quads)));
  if (group == 4) e.load(e.v(kSum), e.rsi);
  e.L(next);
  for (int i = 0; i < 4; ++i) e.load_u8(e.v(i), rows[i]);
  if (group == 4) {
    e.join_lanes(0, 4);
    e.bit_xor(e.v(0), e.v(0), e.v(kFlip));
    e.store(e.rdx, e.v(0));
    e.dot_u8s8(e.v(kSum), e.v(kOnes), e.v(0));
    e.add(e.rdx, imm(e.vector_bytes()));
  } else {
    for (const int pair : {0, 2}) {
      e.join_lanes(pair, 2);
      e.bit_xor(e.v(pair), e.v(pair), e.v(kFlip));
      e.vpsubw(e.v(pair), e.v(pair), e.v(kZeroPoints));
      e.store(e.rdx + disp(pair / 2 * e.vector_bytes()), e.v(pair));
    }
    e.add(e.rdx, imm(2 * e.vector_bytes()));
  }
  for (const Xbyak::Reg64& r : rows) e.lea(r, e.ptr[r + e.rax * 4]);
  e.dec(e.rcx);
  e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
  if (group == 4) e.store(e.rsi, e.v(kSum));
  e.add(e.rsi, imm(e.vector_bytes()));
  e.add(e.r12, imm(e.lanes()));
  e.add(e.r13, field(offsetof(PackRightArgs, panel_bytes)));
  e.dec(e.rbx);
  e.jnz(panel, Xbyak::CodeGenerator::T_NEAR);
  for (const Xbyak::Reg64& r : {e.r13, e.r12, e.rbx}) e.pop(r);
  e.vzeroupper();
  e.ret();
}

}  // namespace

std::shared_ptr<const Code> pack_left_code(const Isa& isa, int group) {
  return vector_code(isa, CodeKey("integer matmul left").add(group),
                     [&](VectorEmitter& e) { group == 4 ? emit_left_bytes(e) : emit_left_words(e); });
}

std::shared_ptr<const Code> pack_right_code(const Isa& isa, int group) {
  return vector_code(isa, CodeKey("integer matmul right").add(group), [&](VectorEmitter& e) { emit_right(e, group); });
}

}  // namespace octet::kernels::integer_matmul
