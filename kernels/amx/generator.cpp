// Loop nest:
//
//   for block in blocks:
//     C[m][n] = 0
//     for k step:                                  16 rows or channels a tile, 64 bytes of K
//       C[m][n] += A[m](x[m] + step) . B[n](weights + n * panel_bytes)
//     sums = C                                     [m][n][16 rows][16 channels] int32, 4 KiB, stays in L1
//     for tile in m, row in 16:
//       if the row is stored: epilogue of its n * 16 channels -> y + row.y
//
// tiles    0..m*n-1 C | the side with fewer tiles, all of it | the other side, rotating through the rest
//          1x4: C 0-3, A 4, B 5 6 7    2x2: C 0-3, A 4 5, B 6 7    4x1: C 0-3, B 4, A 5 6 7
// vectors  0..n-1 the channels of a row | the epilogue's temporaries
// rdi args   rsi block   rax r8 r9 r10 x of the tiles   rbx rbp r11 r12 panels, each at its k step   rcx step list
// r13 row_bytes   r14 64   r15 end of the step list   rdx temporary
// epilogue:  rax row of y   r8 row of residual   r9 y   r10 residual   rbx sums   rbp rows   r11 params   r12 constants
//            rcx rows left   edx scratch
#include "kernels/amx/generator.h"

#include <algorithm>
#include <cstddef>

#include "kernels/jit/assembler.h"

namespace octet::kernels::amx {
namespace {

using Xbyak::Label;
using Xbyak::Reg64;
using Xbyak::Tmm;

class Generator : public Assembler {
 public:
  Generator(const Isa& isa, const BlockSpec& spec) : Assembler(isa), spec_(spec) {
    using namespace Xbyak::util;
    const Reg64 saved[] = {rbx, rbp, r12, r13, r14, r15};
    for (const Reg64& r : saved) push(r);
    mov(rsi, arg(offsetof(BlockArgs, block)));
    Label next;
    align(32);
    L(next);
    products();
    epilogue();
    add(rsi, sizeof(Block));
    cmp(rsi, arg(offsetof(BlockArgs, block_end)));
    jne(next, T_NEAR);
    for (size_t i = std::size(saved); i-- > 0;) pop(saved[i]);
    vzeroupper();
    ret();
  }

 private:
  Xbyak::Address arg(size_t offset) { return ptr[rdi + offset]; }
  Xbyak::Address field(size_t offset) { return ptr[rsi + offset]; }
  Tmm sum(int i, int j) const { return Tmm(i * spec_.n + j); }
  Reg64 x(int i) const { return std::array{rax, r8, r9, r10}[static_cast<size_t>(i)]; }
  Reg64 panel(int j) const { return std::array{rbx, rbp, r11, r12}[static_cast<size_t>(j)]; }

  void products() {
    const int m = spec_.m, n = spec_.n;
    for (int i = 0; i < m; ++i) {
      mov(x(i), arg(offsetof(BlockArgs, x)));
      add(x(i), field(offsetof(Block, x) + static_cast<size_t>(i) * 8));
    }
    mov(panel(0), arg(offsetof(BlockArgs, weights)));
    add(panel(0), field(offsetof(Block, weights)));
    mov(rdx, arg(offsetof(BlockArgs, panel_bytes)));
    for (int j = 1; j < n; ++j) lea(panel(j), ptr[panel(j - 1) + rdx]);
    mov(rcx, arg(offsetof(BlockArgs, steps)));
    mov(r15, arg(offsetof(BlockArgs, steps_end)));
    mov(r13, arg(offsetof(BlockArgs, row_bytes)));
    mov(r14d, 64);
    for (int i = 0; i < m * n; ++i) tilezero(Tmm(i));

    Label next;
    align(32);
    L(next);
    // The fewer side stays for the step; tiles of the other rotate, so that a load need not wait for the last product.
    const bool keep_x = m <= n;
    const int kept = keep_x ? m : n, others = keep_x ? n : m;
    const int first_kept = m * n, first_other = first_kept + kept, spare = 8 - first_other;
    for (int i = 0; i < kept; ++i) load(keep_x, first_kept + i, i);
    for (int j = 0; j < others; ++j) {
      const int other = first_other + j % spare;
      load(!keep_x, other, j);
      for (int i = 0; i < kept; ++i) {
        if (keep_x)
          tdpbusd(sum(i, j), Tmm(first_kept + i), Tmm(other));
        else
          tdpbusd(sum(j, i), Tmm(other), Tmm(first_kept + i));
      }
    }
    for (int j = 0; j < n; ++j) add(panel(j), static_cast<uint32_t>(kTileBytes));
    add(rcx, 8);
    cmp(rcx, r15);
    jne(next, T_NEAR);
  }

  void load(bool from_x, int tile, int index) {
    if (from_x) {
      mov(rdx, ptr[rcx]);
      add(rdx, x(index));
    }
    const Xbyak::Address from = from_x ? ptr[rdx + r13] : ptr[panel(index) + r14];
    if (from_x == spec_.stream_x)
      tileloaddt1(Tmm(tile), from);
    else
      tileloadd(Tmm(tile), from);
  }

  void epilogue() {
    const Reg64 y_row = rax, residual_row = r8, y = r9, residual = r10, sums = rbx, rows = rbp, left = rcx;
    const bool has_residual = spec_.epilogue.residual != ResidualKind::none;
    mov(sums, arg(offsetof(BlockArgs, sums)));
    for (int i = 0; i < spec_.m * spec_.n; ++i) tilestored(ptr[sums + r14 + static_cast<size_t>(i * kTileBytes)], Tmm(i));
    mov(y, arg(offsetof(BlockArgs, y)));
    add(y, field(offsetof(Block, y)));
    if (has_residual) {
      mov(residual, arg(offsetof(BlockArgs, residual)));
      add(residual, field(offsetof(Block, residual)));
    }
    mov(rows, arg(offsetof(BlockArgs, rows)));
    add(rows, field(offsetof(Block, rows)));
    mov(r11, arg(offsetof(BlockArgs, params)));
    add(r11, field(offsetof(Block, params)));
    mov(r12, arg(offsetof(BlockArgs, constants)));

    std::vector<EpilogueCell> cells;
    for (int j = 0; j < spec_.n; ++j)
      cells.push_back({.reg = j,
                       .column = 16 * j,
                       .valid = j + 1 == spec_.n ? spec_.columns : 16,
                       .y = {y_row, 0},
                       .residual = {residual_row, 0}});
    EpilogueRegisters registers{.params = r11, .constants = r12, .scratch = edx, .temps = {}, .opmask = 1};
    for (int i = spec_.n; i < isa().vector_count; ++i) registers.temps.push_back(i);

    for (int i = 0; i < spec_.m; ++i) {
      Label next, skip;
      mov(ecx, kTileRows);
      align(16);
      L(next);
      mov(y_row, ptr[rows + offsetof(TileRow, y)]);
      test(y_row, y_row);
      js(skip, T_NEAR);
      add(y_row, y);
      if (has_residual) {
        mov(residual_row, ptr[rows + offsetof(TileRow, residual)]);
        add(residual_row, residual);
      }
      for (int j = 0; j < spec_.n; ++j) vmovups(v(j), ptr[sums + static_cast<size_t>(j * kTileBytes)]);
      emit_epilogue(*this, spec_.epilogue, registers, cells);
      L(skip);
      add(sums, 64);
      add(rows, sizeof(TileRow));
      dec(left);
      jnz(next, T_NEAR);
      if (i + 1 < spec_.m && spec_.n > 1) add(sums, static_cast<uint32_t>((spec_.n - 1) * kTileBytes));
    }
  }

  const BlockSpec spec_;
};

}  // namespace

std::shared_ptr<const Code> block_kernel(const Isa& isa, const BlockSpec& spec) {
  CodeKey key("amx");
  key.add(isa.id).add(spec.m).add(spec.n).add(spec.columns).add(spec.stream_x);
  add_to_key(key, spec.epilogue);
  return cached_code(key, [&] { return std::make_unique<Generator>(isa, spec); });
}

}  // namespace octet::kernels::amx
