// How an AMX product is cut: which output pixels make a tile of 16 rows, and in which order tiles meet weight panels. Pure
// functions of shapes and layouts.
//
// A *tile* of the left side is 16 rows of 64 bytes at one constant distance in memory. Where the rows of x come from:
//
//   flat    stride 1, a row pitch of whole pixels: output pixel (y, x) reads x at position y * pitch + x and what the taps
//           add, so 16 neighbouring positions are a tile wherever rows end. Positions beyond the width are junk: computed,
//           not stored
//   rows    16 outputs of one row, stride_w pixels apart
//   copied  anything else (narrow strided images, a few rows of a matrix): 16 outputs, whatever they are, copied first
//
// The last tile of a run of positions is moved back so that it ends with the last output: nothing beyond the last tap is
// read. Rows it shares with its neighbour are junk in one of the two, so each output is stored once.
//
// A block multiplies `m` tiles by `n` panels (16 output channels each), m * n <= 4 accumulators:
//   1x4   one 64-byte epilogue row a pixel; right for few k steps (64 bytes of K each), where the epilogue costs more
//   2x2   the fewest tile loads a product; right for many k steps
//   4x1   one panel
// Panels are taken in chunks: for each chunk, for each row of blocks, for each block of the chunk. A chunk as wide as a
// block keeps its weights in L1 and streams x; a chunk of all panels keeps x in L1 and streams the weights. The streamed
// side is loaded by TILELOADDT1, which spares the other side's place in L1.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/conv.h"

namespace octet::kernels::amx {

inline constexpr int kTileRows = 16;
inline constexpr int64_t kTileBytes = 1024;

enum class RowSource : uint8_t { flat, rows, copied };

// Where one row of a tile is stored, from pixel (0, 0) of image 0; y < 0: nowhere.
struct TileRow {
  int64_t y = -1, residual = 0;
};

struct Tiling {
  RowSource source = RowSource::flat;
  int64_t row_bytes = 0;  // distance of the rows of a tile; 64 when copied
  // Bytes from pixel (0, 0) of image 0 to the window of the tile's first row; empty when copied.
  std::vector<int64_t> x;
  std::vector<int64_t> copied;  // 16 a tile: the same for each row; rows past the last repeat it
  std::vector<TileRow> rows;    // 16 a tile
  int64_t tiles() const { return static_cast<int64_t>(rows.size()) / kTileRows; }
};
// `panels` weighs copying, which is paid once for all of them.
Tiling make_tiling(const ConvProblem& problem, int64_t panels);

struct Blocking {
  int m = 1, n = 4;
  int64_t chunk = 4;     // panels
  bool stream_x = true;  // TILELOADDT1 for x, else for the weights
  bool operator==(const Blocking&) const = default;
};
Blocking choose_blocking(int64_t tiles, int64_t panels, int64_t k_steps, bool copied);

}  // namespace octet::kernels::amx
