// The generated micro-kernel of weight_only.h: some rows of x by one panel.
//
//   rsi digits of x, rdx bytes between its rows (r10: three times that) | r8 weights | rcx what a block of x owes, r11 bytes
//   between its rows | r9 blocks left | rax rounds left in the block | rdi args
//   v0.. int32 sums [set][row][digit] | y [row] | vpmaddubsw: int16 sums [row][digit] | dwords | a field of each byte | an
//   element of x | vpmaddubsw: ones
//
//   for block:
//     sums = what x owes the common zero point, or 0
//     for round of up to 8 dword vectors:
//       for half (4 bits): w = the half's 4 bits of each byte;  for row, digit: sums += w . digits of x
//     y[row] = fma((sums [less zero * digits' sums], joined) * unit, scale, y[row])
//   y + bias -> memory; the last panel's columns through a mask
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/jit/vector_emitter.h"
#include "kernels/weight_only/digits.h"

namespace octet::kernels {

struct WeightOnlyCall {
  const int8_t* x;
  const DigitBlock* owed;  // a block; its sums are negative, and without zero points in the weights times the common one
  const std::byte* b;
  const float* bias;  // a panel's, padded
  float* y;
  int64_t x_row, owed_row, y_row;  // bytes between rows
  int64_t blocks, rounds;
  int64_t columns;  // of the last panel; unused when it is whole
};
using WeightOnlyFunction = void (*)(const WeightOnlyCall*);

struct WeightOnlyForm {
  int rows = 1, bits = 4;
  int groups = 1;          // dword vectors a round
  bool one_round = false;  // a block; `rounds` is 1 then
  bool zeros = false;      // the weights hold zero points
  bool bias = false, tail = false;
};
std::shared_ptr<const Code> weight_only_code(const Isa& isa, const WeightOnlyForm& form);
int weight_only_rows(const Isa& isa);  // at most so many

}  // namespace octet::kernels
