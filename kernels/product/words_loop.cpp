// The sum of a panel for one or two rows on an ISA without vpdpbusd: weights widened to int16 as they are read, so that
// memory holds every weight once, in its order of use, and nothing else. vpmaddwd of int16 by int16 is exact whatever the
// weights are.
//
//   acc 0 .. rows*vectors-1 | low and high sums of each: 2*rows*vectors | weights 2 | x: rows | two rows: a product
//
//   memory, a k-group of a vector of columns (ymm):  [c0 c1 c4 c5] x 4 k  [c2 c3 c6 c7] x 4 k
//   x: k-groups of four u8 widened to int16 (product_conv.cpp), row by row
//
//   for group (4 at a time, then one by one):
//     for row: x[row] = its 4 words, broadcast;  for vector: low += maddwd(x, words(first half)), high += maddwd(x,
//     words(second))
//   acc += even dwords of (low, high) + odd dwords: the columns are in order then
//
// A group takes six operations a vector and row, the two that widen shared by the rows: 16 bytes a cycle of a ymm core,
// where bins (bins.h) are bound by what they read: offsets, and the constants of XOR mode.
#include <cassert>
#include <cstddef>

#include "kernels/prefetch.h"
#include "kernels/product/kernel.h"
#include "kernels/product/registers.h"

namespace octet::kernels {
namespace {

using namespace product_registers;

class WordsLoop {
 public:
  WordsLoop(Assembler& as, const ProductKernelSpec& spec)
      : as_(as), rows_(static_cast<int>(spec.rows.size())), vectors_(spec.vectors), spec_(spec) {
    assert((rows_ == 1 ? x(0) : spare()) < as.isa().vector_count);
  }

  void emit() {
    Xbyak::Label four, tail, one, end;
    for (int i = 0; i < 2 * rows_ * vectors_; ++i) as_.zero(sum(0, 0, 0) + i);
    as_.mov(kLeft.cvt32(), as_.at(kRuns, offsetof(BinRun, count)));
    as_.sub(kLeft.cvt32(), kUnroll);
    as_.jl(tail, Xbyak::CodeGenerator::T_NEAR);
    as_.align(32);
    as_.L(four);
    for (int u = 0; u < kUnroll; ++u) group(u);
    advance(kUnroll);
    as_.sub(kLeft.cvt32(), kUnroll);
    as_.jge(four, Xbyak::CodeGenerator::T_NEAR);
    as_.L(tail);
    as_.add(kLeft.cvt32(), kUnroll);
    as_.jz(end, Xbyak::CodeGenerator::T_NEAR);
    as_.L(one);
    group(0);
    advance(1);
    as_.dec(kLeft.cvt32());
    as_.jnz(one, Xbyak::CodeGenerator::T_NEAR);
    as_.L(end);
    join();
  }

 private:
  int sum(int row, int vector, int half) const { return rows_ * vectors_ + 2 * (row * vectors_ + vector) + half; }
  int weight(int half) const { return 3 * rows_ * vectors_ + half; }
  int x(int row) const { return weight(2) + row; }

  void group(int unrolled) {
    const int half_bytes = as_.vector_bytes() / 2, group_bytes = vectors_ * as_.vector_bytes();
    for (int at = unrolled * group_bytes; spec_.streams && at < (unrolled + 1) * group_bytes; at += 64)
      if (at % 64 == 0) as_.prefetcht0(as_.at(kWeights, static_cast<int64_t>(kStreamAhead) + at));
    for (int row = 0; row < rows_; ++row)
      as_.vpbroadcastq(as_.v(x(row)), as_.at(kX, spec_.rows[static_cast<size_t>(row)].a + 8 * unrolled));
    for (int vector = 0; vector < vectors_; ++vector)
      for (int half = 0; half < 2; ++half) {
        const int at = ((unrolled * vectors_ + vector) * 2 + half) * half_bytes;
        as_.vpmovsxbw(as_.v(weight(half)), as_.at(kWeights, at));
        for (int row = 0; row < rows_; ++row) {
          const bool last = row == rows_ - 1;  // the weights are not needed any more
          const Xbyak::Xmm product = as_.v(last ? weight(half) : spare());
          as_.vpmaddwd(product, as_.v(x(row)), as_.v(weight(half)));
          as_.vpaddd(as_.v(sum(row, vector, half)), as_.v(sum(row, vector, half)), product);
        }
      }
  }
  // A register for the product of all rows but the last.
  int spare() const { return x(rows_); }

  void advance(int groups) {
    as_.add(kWeights, static_cast<uint32_t>(groups * vectors_ * as_.vector_bytes()));
    as_.add(kX, static_cast<uint32_t>(8 * groups));
  }

  void join() {
    constexpr uint8_t kEven = 0x88, kOdd = 0xdd;
    for (int row = 0; row < rows_; ++row)
      for (int vector = 0; vector < vectors_; ++vector) {
        const Xbyak::Xmm acc = as_.v(row * vectors_ + vector), low = as_.v(sum(row, vector, 0)),
                         high = as_.v(sum(row, vector, 1));
        as_.vshufps(as_.v(weight(0)), low, high, kEven);
        as_.vshufps(as_.v(weight(1)), low, high, kOdd);
        as_.vpaddd(acc, acc, as_.v(weight(0)));
        as_.vpaddd(acc, acc, as_.v(weight(1)));
      }
  }

  Assembler& as_;
  const int rows_, vectors_;
  const ProductKernelSpec& spec_;
};

}  // namespace

void emit_words(Assembler& as, const ProductKernelSpec& spec) { WordsLoop(as, spec).emit(); }

}  // namespace octet::kernels
