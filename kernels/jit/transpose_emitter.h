// A strip (all source lines of some columns) of a matrix transposition, elements of 4 or 1 bytes, in tiles held in
// registers.
//
// The source has `a_count` lines (at most 8) whose elements are contiguous; the destination has one line an element column
// b, each of a_count contiguous elements:
//
//      source                 b →                        destination      a →
//      line a0   . . . . . . . . . . . . . .             line b0   . . . .
//      line a1   . . . . . . . . . . . . . .     →       line b1   . . . .
//           …    |- tile_width -|                             …
//
//   for each block of a_count source lines
//     for each full tile                       rsi x, rdx y, rcx tiles left, rax y stride; r8 r9 r10 r11: 1, 3, 5, 7 source
//     strides
//       a_count loads, interleave (unpck), tile_width stores; x += tile_width elements, y += tile_width lines
//     the rest of the strip: `rest` columns, loaded and stored to the byte
//
// Tiles are 8 x 8 for 4-byte elements (ymm) and 8 x 16 for bytes (xmm) on every ISA: the work is loads and stores, and wider
// registers would only add shuffles. When the destination lines touch (dense) and a_count is no power of two, a line is
// stored with one move that spills into the next, which is written after it; never past the tile.
#pragma once

#include "kernels/jit/vector_emitter.h"

namespace octet::kernels {

inline constexpr int kTransposeLines = 8;
constexpr int transpose_tile_width(int element) { return element == 4 ? 8 : 16; }

struct TransposeCall {
  const void* x;  // x and y advance by a block of lines as the blocks are done
  void* y;
  int64_t x_stride, y_stride;  // bytes between source lines, destination lines
  int64_t blocks;
  int64_t tiles;
  int64_t with_rest;  // 1: also the rest
};

struct TransposeForm {
  int element;  // 4 or 1
  int a_count;  // 1..8
  int rest;     // 0..tile_width - 1 columns
  bool dense;
};

void emit_transpose(VectorEmitter& e, const TransposeForm& form);

}  // namespace octet::kernels
