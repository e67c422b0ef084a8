// The generated micro-kernel of weight_only.h: some rows of x by one panel.
//
//   rsi x, rdx bytes between its rows (r10: three times that) | r8 weights | rcx block sums of x, r11 bytes between their
//   rows r9 blocks left | rax rounds left in the block | rdi args v0.. chains [row][4], then y [row], then the dwords, a
//   field of them, and (AVX2) an element of x
//
//   for block:
//     chains = 0
//     for round of up to kMostGroups dword vectors:
//       for half (4 bits), field: w = float(dwords & field's mask);  for row: chain[row][field] += x[row][k] * w
//     y[row] = fma(chains joined, less zero * block sum, scale, y[row])
//   y + bias -> memory; the last panel's columns through a mask
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/jit/vector_emitter.h"

namespace octet::kernels {

struct WeightOnlyCall {
  const float* x;
  const float* sums;
  const std::byte* b;
  const float* bias;  // a panel's, padded
  float* y;
  int64_t x_row, sums_row, y_row;  // bytes between rows
  int64_t blocks, rounds;
  int64_t columns;  // of the last panel; unused when it is whole
};
using WeightOnlyFunction = void (*)(const WeightOnlyCall*);

struct WeightOnlyForm {
  int rows = 1, bits = 4;
  int groups = 1;      // dword vectors a round
  bool zeros = false;  // the weights hold zero points; else 2^(bits - 1)
  bool bias = false, tail = false;
};
std::shared_ptr<const Code> weight_only_code(const Isa& isa, const WeightOnlyForm& form);
int weight_only_rows(const Isa& isa);  // at most so many

// What a k's field is multiplied by where it lies in its dword: field 0, 1, 2, 3 of a half (4 bits) or a dword (8 bits).
constexpr float weight_unit(int bits, int field) {
  if (bits == 8 && field == 3) return 1.0f;  // shifted down, as it would be negative in place
  return static_cast<float>(int64_t{1} << (bits * field));
}

}  // namespace octet::kernels
