// The generated micro-kernel of the product family: one register block of output rows x columns, over a list of row blocks.
//
//   for block in blocks:                       a + block.a: the row's base pixel; rows of a block at baked displacements
//     acc[row][vector] = int32 bias or 0
//     for k-group in the panel's program:      offset list and weight vectors, in order of use (weights.h)
//       for row: acc[row] += x[row + offset] . b
//       every kUnroll groups: fetch lines of weights that are used later
//     epilogue(acc) -> y + block.y
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/jit/epilogue_emitter.h"
#include "kernels/product/weights.h"

namespace octet::kernels {

// Byte offsets from the bases of ProductArgs.
struct RowBlock {
  int64_t a = 0, y = 0, residual = 0;
};

struct ProductArgs {
  const uint8_t* a;
  uint8_t* y;
  const uint8_t* residual;
  const RowBlock* block;
  const RowBlock* block_end;  // not equal to block
  const int8_t* b;
  const int32_t* offsets;
  const BinRun* runs;
  const ChannelParams* params;
  const EpilogueConstants* constants;
  const std::byte* prefetch;  // the kernel moves it on
};
using ProductFunction = void (*)(ProductArgs*);

struct ProductKernelSpec {
  ProductKind kind = ProductKind::fma;
  int vectors = 1;
  int columns = 0;             // valid columns
  std::vector<RowBlock> rows;  // displacements within a block
  EpilogueForm epilogue;
  int prefetch_lines = 0;  // fetched into the second-level cache every kUnroll groups, or every bin
  bool streams = false;    // chains, words: weights are fetched kStreamAhead bytes before their use
};
inline constexpr int kUnroll = 4;

std::shared_ptr<const Code> product_kernel(const Isa& isa, const ProductKernelSpec& spec);

// Emitters of the sum; registers as the map in kernel.cpp says.
// A bin of zmm vectors may have eight groups, which leave no register for it.
bool bins_can_prefetch(const Isa& isa);
void emit_bins(Assembler& as, const ProductKernelSpec& spec);
void emit_chain(Assembler& as, const ProductKernelSpec& spec);
void emit_words(Assembler& as, const ProductKernelSpec& spec);

}  // namespace octet::kernels
