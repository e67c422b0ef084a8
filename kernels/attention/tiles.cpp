// The integer products of attention on tiles: 16 rows.
//
// Scores: tiles 0, 1 sums of two panels of 16 keys | 2, 3 K | 4..7 Q, all of it (heads of up to 256)
// Outputs: tiles 0..3 sums of four panels of 16 columns | 4 P | 6, 7 V by turns; for each 64 keys P is loaded once
#include <cstddef>

#include "kernels/attention/generators.h"
#include "kernels/jit/assembler.h"

namespace octet::kernels::attention {
namespace {

using Xbyak::Tmm;
using namespace Xbyak::util;

constexpr int64_t kTileBytes = 1024;

// rsi a, r8 its row | rdx b, rcx panel bytes | rbx c, r9 its row | r10 start, r11 0 | rax panels left, r12 64
void emit_scores(Assembler& as, const Form& form) {
  const auto field = [&](size_t at) { return as.qword[rdi + at]; };
  const auto tiles = static_cast<int>(form.depth / 64);
  as.push(rbx);
  as.push(r12);
  as.mov(rsi, field(offsetof(DotArgs, a)));
  as.mov(r8, field(offsetof(DotArgs, a_row)));
  as.mov(rdx, field(offsetof(DotArgs, b)));
  as.mov(rbx, field(offsetof(DotArgs, c)));
  as.mov(r9, field(offsetof(DotArgs, c_row)));
  as.mov(r10, field(offsetof(DotArgs, start)));
  as.mov(rax, field(offsetof(DotArgs, panels)));
  as.xor_(r11d, r11d);
  as.mov(r12d, 64);
  for (int t = 0; t < tiles; ++t) as.tileloadd(Tmm(4 + t), as.ptr[rsi + r8 + static_cast<size_t>(64 * t)]);
  Xbyak::Label next;
  as.L(next);
  for (int j = 0; j < 2; ++j) as.tileloadd(Tmm(j), as.ptr[r10 + r11 + static_cast<size_t>(64 * j)]);
  for (int t = 0; t < tiles; ++t)
    for (int j = 0; j < 2; ++j) {
      as.tileloadd(Tmm(2 + j), as.ptr[rdx + r12 + static_cast<size_t>(j * form.key_panel_bytes() + t * kTileBytes)]);
      as.tdpbusd(Tmm(j), Tmm(4 + t), Tmm(2 + j));
    }
  for (int j = 0; j < 2; ++j) as.tilestored(as.ptr[rbx + r9 + static_cast<size_t>(64 * j)], Tmm(j));
  as.add(rdx, static_cast<uint32_t>(2 * form.key_panel_bytes()));
  as.add(r10, 128);
  as.add(rbx, 128);
  as.sub(rax, 2);
  as.jnz(next, Xbyak::CodeGenerator::T_NEAR);
  as.pop(r12);
  as.pop(rbx);
  as.ret();
}

// rsi a, r8 its row | r10 r11 b and b + 2 panels, rcx panel bytes | rdx c, r9 its row | rax tiles of keys left, r12 64
void emit_outputs(Assembler& as, const Form& form) {
  const auto field = [&](size_t at) { return as.qword[rdi + at]; };
  as.push(r12);
  as.push(r13);
  as.mov(r8, field(offsetof(DotArgs, a_row)));
  as.mov(rcx, field(offsetof(DotArgs, panel_bytes)));
  as.mov(rdx, field(offsetof(DotArgs, c)));
  as.mov(r9, field(offsetof(DotArgs, c_row)));
  as.mov(r13, field(offsetof(DotArgs, b)));
  as.mov(r12d, 64);
  for (int64_t first = 0; first < form.value_panels; first += 4) {
    const auto count = static_cast<int>(std::min<int64_t>(4, form.value_panels - first));
    as.mov(rsi, field(offsetof(DotArgs, a)));
    as.mov(rax, field(offsetof(DotArgs, steps)));
    as.mov(r10, r13);
    as.lea(r11, as.ptr[r13 + rcx * 2]);
    for (int j = 0; j < count; ++j) as.tilezero(Tmm(j));
    Xbyak::Label next;
    as.L(next);
    as.tileloadd(Tmm(4), as.ptr[rsi + r8]);
    for (int j = 0; j < count; ++j) {
      const Xbyak::Reg64& base = j < 2 ? r10 : r11;
      // A tile's address takes an index, which is the row here: odd panels go by a pointer of their own.
      if (j % 2 == 1) as.add(base, rcx);
      as.tileloadd(Tmm(6 + j % 2), as.ptr[base + r12]);
      if (j % 2 == 1) as.sub(base, rcx);
      as.tdpbusd(Tmm(j), Tmm(4), Tmm(6 + j % 2));
    }
    as.add(rsi, 64);
    as.add(r10, static_cast<uint32_t>(kTileBytes));
    as.add(r11, static_cast<uint32_t>(kTileBytes));
    as.sub(rax, 16);
    as.jnz(next, Xbyak::CodeGenerator::T_NEAR);
    for (int j = 0; j < count; ++j) as.tilestored(as.ptr[rdx + r9 + static_cast<size_t>(64 * j)], Tmm(j));
    as.add(rdx, 256);
    as.lea(r13, as.ptr[r13 + rcx * 4]);
  }
  as.pop(r13);
  as.pop(r12);
  as.ret();
}

}  // namespace

std::shared_ptr<const Code> tile_scores_code(const Isa& isa, const Form& form) {
  return cached_code(CodeKey("attention tile scores").add(form.depth), [&] {
    auto as = std::make_unique<Assembler>(isa);
    emit_scores(*as, form);
    return as;
  });
}

std::shared_ptr<const Code> tile_outputs_code(const Isa& isa, const Form& form) {
  return cached_code(CodeKey("attention tile outputs").add(form.value_panels), [&] {
    auto as = std::make_unique<Assembler>(isa);
    emit_outputs(*as, form);
    return as;
  });
}

}  // namespace octet::kernels::attention
