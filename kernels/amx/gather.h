// Copies of x that tiles can be loaded from, where x itself does not lie so (RowSource in blocking.h).
//
//   phases   [phase][height][width][channels]     every stride-th row and column; each byte of x at most once
//   copied   [tile][k step][16 rows][64]          windows, k step by k step
//   stacked  [output row][elements][kernel rows]  windows overlap, so every byte is written once a kernel row, not once a
//                                                 position:
//
//              element j      │ row 0: px 2j, 2j+1 │ row 1: px 2j, 2j+1 │ … row 6 │ pad │      7x7, stride 2, 3 channels
//              window of ox   = elements ox .. ox+3, 192 bytes; the next one begins 48 bytes further
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "kernels/amx/blocking.h"
#include "kernels/isa.h"
#include "kernels/jit/cache.h"

namespace octet::kernels::amx {

// Plane rows [begin, end) of image 0 into `planes`; x at pixel (0, 0).
void copy_phases(const ConvProblem& problem, const PhasePlanes& planes, const std::byte* x, int64_t begin, int64_t end,
                 std::byte* to) noexcept;
// The k steps at `offsets` from each of the windows.
void copy_windows(const std::byte* x, std::span<const int64_t> windows, std::span<const int64_t> offsets,
                  std::byte* to) noexcept;

// One output row's stacks; writes up to 64 bytes from its last element on.
struct StackArgs {
  const void* x;  // the first kernel row's first pixel
  int64_t x_row;  // bytes between kernel rows
  void* to;
};
using StackFunction = void (*)(const StackArgs*);
std::shared_ptr<const Code> stack_kernel(const Isa& isa, const Stacks& stacks, int64_t kernel_rows);

// The stacks of output rows [begin, end), counted over all images.
void copy_stacks(StackFunction copy_row, const ConvProblem& problem, const Stacks& stacks, const std::byte* x, int64_t begin,
                 int64_t end, std::byte* to) noexcept;

}  // namespace octet::kernels::amx
