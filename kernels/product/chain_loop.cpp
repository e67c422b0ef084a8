// The sum of a panel in natural order: one vpdpbusd (integers) or one FMA (floats) a k-group, row and vector. A float sum is
// one chain in the order of groups. Integers may be added in any order: blocks too small to hide the latency of vpdpbusd
// behind each other keep up to 4 sets of accumulators, which take groups in turn and are added at the end.
//
//   acc 0 .. sets*rows*vectors-1 | weights: `vectors` registers (one row: memory operands) | broadcasts of x: the rest
//   ymm 6x2: 12 + 2 + 2        zmm 14x2: 28 + 2 + 2, 28x1: 28 + 1 + 3, 6x4: 24 + 4 + 4, 1x4: 16 + 4
//
//   for group (4 at a time, then one by one):  weights to registers;  for row:  broadcast x;  for vector:  acc += x . w
#include <algorithm>
#include <cassert>
#include <cstddef>

#include "kernels/prefetch.h"
#include "kernels/product/kernel.h"
#include "kernels/product/registers.h"

namespace octet::kernels {
namespace {

using namespace product_registers;

// Sets of accumulators: as many chains as two vpdpbusd a cycle of latency 5 need, where registers allow.
int chain_sets(const Isa& isa, const ProductKernelSpec& spec) {
  if (spec.kind == ProductKind::fma) return 1;
  constexpr int kChains = 10;
  const int block = static_cast<int>(spec.rows.size()) * spec.vectors;
  int sets = 1;
  while (sets < kUnroll && sets * block < kChains && 2 * sets * block + spec.vectors + 1 <= isa.vector_count) sets *= 2;
  return sets;
}

void emit_group(Assembler& as, const ProductKernelSpec& spec, int unrolled) {
  const int rows = static_cast<int>(spec.rows.size()), bytes = as.vector_bytes();
  const int sets = chain_sets(as.isa(), spec), weights = sets * rows * spec.vectors;
  const bool from_memory = rows == 1 && spec.kind == ProductKind::dot;
  const int broadcast = weights + (from_memory ? 0 : spec.vectors);
  const int broadcasts = std::min(4, as.isa().vector_count - broadcast);
  assert(broadcasts > 0);
  const Reg64 offset = kOffset[unrolled];
  const auto weight = [&](int vector) { return as.at(kWeights, (unrolled * spec.vectors + vector) * bytes); };
  as.movsxd(offset, as.dword[kOffsets + static_cast<size_t>(4 * unrolled)]);
  for (int vector = 0; vector < spec.vectors && !from_memory; ++vector) as.vmovups(as.v(weights + vector), weight(vector));
  for (int at = 0; spec.streams && at < spec.vectors * bytes; at += 64)
    as.prefetcht0(as.at(kWeights, static_cast<int64_t>(kStreamAhead) + unrolled * spec.vectors * bytes + at));
  for (int row = 0; row < rows; ++row) {
    const Xbyak::Xmm x = as.v(broadcast + (rows == 1 ? unrolled : row) % broadcasts);
    const Xbyak::Address from = as.at(kX, offset, spec.rows[static_cast<size_t>(row)].a);
    if (spec.kind == ProductKind::fma)
      as.vbroadcastss(x, from);
    else
      as.vpbroadcastd(x, from);
    for (int vector = 0; vector < spec.vectors; ++vector) {
      const Xbyak::Xmm acc = as.v((unrolled % sets * rows + row) * spec.vectors + vector);
      if (spec.kind == ProductKind::fma)
        as.vfmadd231ps(acc, x, as.v(weights + vector));
      else if (from_memory)
        as.dot_u8s8(acc, x, weight(vector));
      else
        as.dot_u8s8(acc, x, as.v(weights + vector));
    }
  }
}

}  // namespace

void emit_chain(Assembler& as, const ProductKernelSpec& spec) {
  const int block = static_cast<int>(spec.rows.size()) * spec.vectors;
  int sets = chain_sets(as.isa(), spec);
  for (int i = block; i < sets * block; ++i) as.zero(i);
  const auto advance = [&](int groups) {
    as.add(kWeights, static_cast<uint32_t>(groups * spec.vectors * as.vector_bytes()));
    as.add(kOffsets, static_cast<uint32_t>(4 * groups));
  };
  Xbyak::Label four, tail, one, end;
  as.mov(kLeft.cvt32(), as.at(kRuns, offsetof(BinRun, count)));
  const auto prefetch = static_cast<int64_t>(offsetof(ProductArgs, prefetch));
  if (spec.prefetch_lines > 0) as.mov(kPrefetch, as.at(kArgs, prefetch));
  as.sub(kLeft.cvt32(), kUnroll);
  as.jl(tail, Xbyak::CodeGenerator::T_NEAR);
  as.align(32);
  as.L(four);
  for (int u = 0; u < kUnroll; ++u) emit_group(as, spec, u);
  for (int line = 0; line < spec.prefetch_lines; ++line) as.prefetcht1(as.at(kPrefetch, 64 * line));
  if (spec.prefetch_lines > 0) as.add(kPrefetch, static_cast<uint32_t>(64 * spec.prefetch_lines));
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
  if (spec.prefetch_lines > 0) as.mov(as.at(kArgs, prefetch), kPrefetch);
  for (; sets > 1; sets /= 2)
    for (int i = 0; i < sets / 2 * block; ++i) as.vpaddd(as.v(i), as.v(i), as.v(i + sets / 2 * block));
}

}  // namespace octet::kernels
