// The AMX kernel: blocks of m x n tiles over a list of descriptors. Its loop nest and register map open generator.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/amx/blocking.h"
#include "kernels/isa.h"
#include "kernels/jit/cache.h"
#include "kernels/jit/epilogue_emitter.h"

namespace octet::kernels::amx {

inline constexpr int kMaxTiles = 4;
// Of K: tiles of so few products begin at the bias, which then is one addition less for each of their rows. Where there are
// more products, the loads hold up more than that.
inline constexpr size_t kMostStepsFromBias = 2;

// In bytes from the bases in BlockArgs, but for `prefetch`.
struct Block {
  int64_t x[kMaxTiles];       // first row of each tile
  int64_t weights;            // first panel
  int64_t params;             // its record
  int64_t y, residual;        // its first channel in a pixel
  int64_t rows;               // the block's TileRows
  int64_t partial;            // its tiles between parts of K: [m][n][16 rows][16 channels] int32
  const std::byte* prefetch;  // BlockSpec::prefetch_lines cache lines from here
};

struct BlockArgs {
  const Block* block;
  const Block* block_end;  // not equal to block
  const Block* idle;       // a block whose rows are stored nowhere: what came before the first
  const void* x;
  const void* weights;
  void* y;
  const void* residual;
  const TileRow* rows;
  const ChannelParams* params;
  const EpilogueConstants* constants;
  void* partials;
  void* sums;   // kSumBytes: int32 tiles on their way to the epilogue
  void* trash;  // kTrashBytes that take the rows stored nowhere
};
inline constexpr int64_t kSumBytes = 2 * kMaxTiles * kTileBytes, kTrashBytes = kTileRows * 64;
using BlockFunction = void (*)(const BlockArgs*);

struct BlockSpec {
  int m = 1, n = 1;  // tiles, panels
  int columns = 16;  // valid channels of the last panel
  // The panels are whole pixels of u8, and the rows of a tile lie one behind the other in y and residual: no lane is empty,
  // and stores are whole lines. `params` are then dense_vectors() records (dense.h) in turn, as if the pixels' channels went
  // on and on.
  bool dense = false;
  Stream stream = Stream::x;
  bool resident = false;       // m = 1, one k step: all blocks have the weights of the first, which stay in tiles
  EpilogueForm epilogue;       // with add_int_bias
  std::vector<int32_t> steps;  // from the first row of a tile to each k step, bytes; not empty
  int64_t panel_bytes = 0;     // distance of panels in weights
  // K in parts: sums go on from what the part before left at Block::partial, or are left there, without an epilogue.
  bool loads_partial = false, stores_partial = false;
  int64_t row_bytes = 64;  // distance of x rows
  int prefetch_lines = 0;  // fetched into the second-level cache, spread over the products
};
std::shared_ptr<const Code> block_kernel(const Isa& isa, const BlockSpec& spec);

}  // namespace octet::kernels::amx
