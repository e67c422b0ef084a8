// How an AMX product is cut: which output pixels make a tile of 16 rows, and in which order tiles meet weight panels. Pure
// functions of shapes and layouts.
//
// A *tile* of the left side is 16 rows of 64 bytes at one constant distance in memory. Where the rows of x come from:
//
//   flat    stride 1, a row pitch of whole pixels: output pixel (y, x) reads x at position y * pitch + x and what the taps
//           add, so 16 neighbouring positions are a tile wherever rows end. Positions beyond the width are junk: computed,
//           not stored
//   rows    16 outputs of one row, stride_w pixels apart
//   phases  strides above 1: x is copied once into stride_h * stride_w planes of every stride-th row and column, in which the
//           convolution is a flat one of stride 1 (gather.h)
//   stacked a few channels: the kernel's rows of an output row are interleaved into stacks, in which a window is contiguous
//           and neighbouring windows overlap (gather.h)
//   copied  anything else (a few rows of a matrix): 16 outputs, whatever they are, copied first
//
// The last tile of a run of positions is moved back so that it ends with the last output: nothing beyond the last tap is
// read. Rows it shares with its neighbour are junk in one of the two, so each output is stored once.
//
// A block multiplies `m` tiles by `n` panels (16 output channels each), m * n <= 4 accumulators:
//   1x4   one 64-byte epilogue row a pixel; right for few k steps (64 bytes of K each), where the epilogue costs more
//   1x3   the same where panels come in threes (24 to 144 channels): no block of a panel or two is left
//   2x2   the fewest tile loads a product; right for many k steps
//   4x1   every weight tile is loaded once for 64 rows: right where few rows meet weights that come from far
// Panels are taken in chunks: for each chunk, for each row of blocks, for each block of the chunk. A chunk as wide as a
// block keeps its weights in L1 and streams x; a chunk of all panels keeps x in L1 and streams the weights. The streamed
// side may be loaded by TILELOADDT1, which spares the other side's place in L1.
//
// Where K is so long that not even a block's rows of x stay in L1 while a chunk's panels pass, K may be taken in parts: within
// a chunk all rows of blocks pass with one part of K, then with the next. Between parts the sums wait in memory as the tiles
// that they are, which costs a store and a load a tile and part.
//
//      chunk of panels:  part 0 of K:  all rows of blocks -> sums      part 1:  sums -> all rows of blocks -> sums     …
//
// Which blocking is best depends on caches more than a formula can say. So a cost model names a few, best first, and the
// plan times them (tune.h).
#pragma once

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/conv.h"

namespace octet::kernels::amx {

inline constexpr int kTileRows = 16;
inline constexpr int64_t kTileBytes = 1024;

enum class RowSource : uint8_t { flat, rows, phases, stacked, copied };

// Where one row of a tile is stored, from pixel (0, 0) of image 0; y < 0: nowhere. Nowhere is so far below that the sum with
// an address is negative too, which saves the kernel a test a row.
struct TileRow {
  static constexpr int64_t kNowhere = std::numeric_limits<int64_t>::min() / 2;
  int64_t y = kNowhere, residual = 0;
};

// One plane a kernel phase in use: plane pixel (i, j) is the padded image's pixel (i * stride_h + phase_h, j * stride_w + phase_w).
struct PhasePlanes {
  int64_t height = 0, width = 0;  // pixels of a plane
  int64_t pixel = 0, plane = 0;   // bytes
  int64_t image = 0;              // bytes of all planes of an image
  std::vector<std::pair<int32_t, int32_t>> phases;
  // Where kernel position (y, x) finds its first pixel, from the planes of an image.
  int64_t at(const ConvShape& s, int64_t ky, int64_t kx) const;
};
PhasePlanes make_phase_planes(const ConvShape& shape);

// One output row's stacks: element j holds, kernel row by kernel row, the stride_w pixels from j * stride_w on.
struct Stacks {
  int64_t piece = 0;     // bytes of a kernel row in an element
  int64_t element = 0;   // bytes of an element
  int64_t elements = 0;  // of an output row
  int64_t row_bytes() const { return (elements * element + kSlack + 63) / 64 * 64; }
};
// Empty (element 0) where pixels are too wide or kernels too high for it.
Stacks make_stacks(const ConvShape& shape);

struct Tiling {
  RowSource source = RowSource::flat;
  int64_t row_bytes = 0;  // distance of the rows of a tile; 64 when copied
  // Bytes from pixel (0, 0) of image 0 (phases: from the planes; stacked: from the output row's stacks) to the window of the
  // tile's first row; empty when copied.
  std::vector<int64_t> x;
  std::vector<int64_t> copied;  // 16 a tile: the same for each row; rows past the last repeat it
  std::vector<TileRow> rows;    // 16 a tile
  int64_t tiles() const { return static_cast<int64_t>(rows.size()) / kTileRows; }
};
// `panels` weighs copying, which is paid once for all of them. How K is packed (pack.h) decides what
// it can be multiplied with: stacks need one form and give no choice, and runs across pixels have no place in phase planes.
enum class PackedK : uint8_t { positions, across_pixels, stacked };
Tiling make_tiling(const ConvProblem& problem, int64_t panels, PackedK k = PackedK::positions);

enum class Stream : uint8_t { none, x, weights };  // which side is loaded by TILELOADDT1

struct Blocking {
  int m = 1, n = 4;
  int64_t chunk = 4;  // panels
  Stream stream = Stream::x;
  int k_parts = 1;
  bool operator==(const Blocking&) const = default;
};

// What there is to be cut.
struct BlockingProblem {
  int64_t tiles = 1, panels = 1, k_steps = 1;
  int64_t x_tile_bytes = 1024;  // of x under a tile: less than its k steps where kernel positions overlap
  bool copied = false;          // rows are copied once a chunk
  bool splits_k = false;        // K may be taken in parts
  bool residual = false;
  bool offset_sum = false;
  bool centred_sum = false;    // timed apart; the cost model makes no difference
  int64_t dense_channels = 0;  // of pixels that blocks of all panels store as lines (BlockSpec::dense), or 0
};
// Of a convolution that is tiled so, with so many panels a group and k steps; what sums are is left to the caller.
BlockingProblem blocking_problem(const ConvProblem& problem, const Tiling& tiling, int64_t panels, int64_t k_steps);

// Part `part` of a blocking's parts of K: from the first of its k steps to the one behind its last.
std::pair<int64_t, int64_t> k_part(int64_t k_steps, const Blocking& blocking, int part);

// Whether the weights of a chunk are a block's, few enough to stay in tiles while all rows pass.
bool weights_are_resident(int64_t k_steps, const Blocking& blocking);

// Cycles of one thread with all operands in the second-level cache: products at 16 a tile, what loads and epilogues add, and bytes
// that come from further away. Fitted to all blockings of ResNet-50's convolutions, timed alone: the first choices take 3 % more
// than the fastest ones, and those are among the first ten.
double estimated_cycles(const BlockingProblem& problem, const Blocking& blocking);
// How much longer it takes in a network, 1 and more. There weights are fetched in order of use (kernels/prefetch.h): the first
// tiles read a wide chunk before all of it is there.
double network_factor(const BlockingProblem& problem, const Blocking& blocking);
// All that make sense, the cheapest in a network first.
std::vector<Blocking> candidate_blockings(const BlockingProblem& problem);

}  // namespace octet::kernels::amx
