// Weight-only products of many rows on AMX: 16 rows of x by one panel, the sums of weight_only.h by tiles.
//
// A panel's weights become s8, less their zero points, once for all rows of x of a group: they are tiles as they lie, a row
// of one being four k of 16 columns. Digits of x lie tile by tile, each block padded with zeros to whole tiles of 64 k,
// where whatever weights follow count nothing.
//
//   rsi digits | rdx weights | r11 64, bytes between rows of tiles | r8 scales | rcx units | r9 sums | rax tiles left
//
//   tmm0..2, 3..5 sums of each digit, of even and odd blocks | tmm6 a digit | tmm7 weights
//
//   zmm0..15 y [row] | zmm16..21 sums | zmm22 scale | zmm23, 24 256 and 65536
//
//   for block:
//     sums = 0;  for 64 k of the block, digit: sums[digit] += digit . weights
//     for row: y[row] = fma((sums of the block two before, joined) * unit[row], scale, y[row])
//     sums of the block before -> memory
//   y + bias -> memory; the last panel's columns through a mask
//
// Sums wait a block in a tile, which is stored the faster the longer ago its last product began, and one in memory: what a
// tile store wrote cannot be loaded until it has left the core's store buffer. A call takes some blocks of k: their digits
// stay in L1 while the panels go by, and y waits in memory.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/jit/vector_emitter.h"

namespace octet::kernels {

inline constexpr int kTileRows = 16, kTileK = 64;

struct WeightOnlyTileCall {
  const int8_t* x;  // [block][tile of 64 k][digit][16 rows][64]
  const int8_t* b;  // [k / 4][16][4], a tile more behind the last
  const std::byte* scale;
  const float* units;  // [block][16]
  const float* bias;   // a panel's
  float* y;
  int32_t* sums;                // [2][3][16][16], 64-byte aligned
  int64_t y_row, scale_stride;  // bytes
  int64_t blocks, tiles;        // a block; `blocks` is counted down
  int64_t columns;              // of the last panel; unused when it is whole
};
using WeightOnlyTileFunction = void (*)(WeightOnlyTileCall*);

struct WeightOnlyTileForm {
  bool resume = false;  // y holds what the blocks before gave
  int rows = 16;        // 1..16 that are stored
  int64_t block = 32;   // of k, a multiple of 4
  bool bias = false, tail = false;
};
std::shared_ptr<const Code> weight_only_tile_code(const Isa& isa, const WeightOnlyTileForm& form);

// The s8 weights of a block of a panel, `k` of 16 columns, from dwords as weight_only.h has them; `zero` is one a column, or
// null for 2^(bits - 1). Of 8 bits only the latter.
void unpack_block(const std::byte* dwords, int64_t k, int bits, const std::byte* zero, int8_t* to);

}  // namespace octet::kernels
