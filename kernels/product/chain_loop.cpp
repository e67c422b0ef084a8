// The sum of a panel in natural order: one vpdpbusd (integers) or one FMA (floats) a k-group, row and vector. An output's sum
// is one chain in the order of groups.
//
//   acc 0 .. rows*vectors-1 | weights: `vectors` registers | broadcasts of x: the rest
//   ymm 6x2: 12 + 2 + 2        zmm 14x2: 28 + 2 + 2, 28x1: 28 + 1 + 3, 6x4: 24 + 4 + 4
//
//   for group (4 at a time, then one by one):  weights to registers;  for row:  broadcast x;  for vector:  acc += x . w
#include <algorithm>
#include <cassert>
#include <cstddef>

#include "kernels/product/kernel.h"
#include "kernels/product/registers.h"

namespace octet::kernels {
namespace {

using namespace product_registers;

void emit_group(Assembler& as, const ProductKernelSpec& spec, int unrolled) {
  const int rows = static_cast<int>(spec.rows.size()), bytes = as.vector_bytes();
  const int weights = rows * spec.vectors, broadcast = weights + spec.vectors;
  const int broadcasts = std::min(4, as.isa().vector_count - broadcast);
  assert(broadcasts > 0);
  const Reg64 offset = kOffset[unrolled];
  as.movsxd(offset, as.dword[kOffsets + static_cast<size_t>(4 * unrolled)]);
  for (int vector = 0; vector < spec.vectors; ++vector)
    as.vmovups(as.v(weights + vector), as.at(kWeights, (unrolled * spec.vectors + vector) * bytes));
  for (int row = 0; row < rows; ++row) {
    const Xbyak::Xmm x = as.v(broadcast + row % broadcasts);
    const Xbyak::Address from = as.at(kX, offset, spec.rows[static_cast<size_t>(row)].a);
    if (spec.kind == ProductKind::fma)
      as.vbroadcastss(x, from);
    else
      as.vpbroadcastd(x, from);
    for (int vector = 0; vector < spec.vectors; ++vector) {
      const Xbyak::Xmm acc = as.v(row * spec.vectors + vector);
      if (spec.kind == ProductKind::fma)
        as.vfmadd231ps(acc, x, as.v(weights + vector));
      else
        as.dot_u8s8(acc, x, as.v(weights + vector));
    }
  }
}

}  // namespace

void emit_chain(Assembler& as, const ProductKernelSpec& spec) {
  constexpr int kUnroll = 4;
  const auto advance = [&](int groups) {
    as.add(kWeights, static_cast<uint32_t>(groups * spec.vectors * as.vector_bytes()));
    as.add(kOffsets, static_cast<uint32_t>(4 * groups));
  };
  Xbyak::Label four, tail, one, end;
  as.mov(kLeft.cvt32(), as.at(kRuns, offsetof(BinRun, count)));
  as.sub(kLeft.cvt32(), kUnroll);
  as.jl(tail, Xbyak::CodeGenerator::T_NEAR);
  as.align(32);
  as.L(four);
  for (int u = 0; u < kUnroll; ++u) emit_group(as, spec, u);
  advance(kUnroll);
  as.sub(kLeft.cvt32(), kUnroll);
  as.jge(four, Xbyak::CodeGenerator::T_NEAR);
  as.L(tail);
  as.add(kLeft.cvt32(), kUnroll);
  as.jz(end, Xbyak::CodeGenerator::T_NEAR);
  as.L(one);
  emit_group(as, spec, 0);
  advance(1);
  as.dec(kLeft.cvt32());
  as.jnz(one, Xbyak::CodeGenerator::T_NEAR);
  as.L(end);
}

}  // namespace octet::kernels
