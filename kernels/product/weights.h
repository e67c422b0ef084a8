// Packed weights of the product family: panels, and programs of k-groups.
//
// A *k-group* is what one broadcast of x feeds: 4 neighbouring bytes (integers) or one float. Its place is (kernel row,
// kernel column, channel), so it does not depend on the image; make_conv turns places into byte offsets from a row's base
// pixel, and with that a convolution of any kernel, stride and dilation, a 1x1 and a GEMM are one kernel walking a list of
// offsets.
//
//      x row  ──base──▶ ┄┄┄[g0]┄┄[g1]┄┄┄┄┄[g2]┄┄        offsets in order of use
//      b      [vectors of g0][vectors of g1][vectors …   a panel of `vectors` registers of columns, in order of use
//
// When channels are not a multiple of 4, groups of a kernel row may run across pixels (a 7x7 kernel over 3 channels is 7
// runs of 21 bytes, 42 groups instead of 98), which needs pixels that touch; such weights are packed in both forms, and the
// layout decides. Bytes behind the end of a run meet zero weights.
//
// Weights outside s8 (u8 less a zero point, [-255, 255]) are a sum of s8 planes: w = w1 + w2 + w3; planes after the first
// have groups only where something remains.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/packed_weights.h"
#include "kernels/product/bins.h"

namespace octet::kernels {

enum class ProductKind : uint8_t {
  bins,   // u8 x s8, vpmaddubsw under a proof (bins.h)
  dot,    // u8 x s8, vpdpbusd
  fma,    // float
  words,  // u8 x s8, vpmaddwd of weights widened when they are read: one or two rows without VNNI (words_loop.cpp)
};

struct KGroup {
  int32_t ky = 0, kx = 0, channel = 0;
};

struct Program {
  std::vector<uint32_t> groups;  // indices into ProductForm::groups, in order of use
  std::vector<BinRun> runs;      // ended by kEndOfRuns; dot and fma: one run, its count the number of groups
};

struct Panel {
  int64_t group = 0;    // of the convolution
  int64_t channel = 0;  // first output channel, counted over all groups
  int columns = 0;      // valid ones
  int vectors = 1;
  size_t program = 0;
  size_t b_offset = 0;  // bytes into ProductForm::b
};

struct ProductForm {
  bool needs_touching_pixels = false;
  std::vector<KGroup> groups;
  std::vector<Program> programs;
  std::vector<Panel> panels;
  std::vector<int32_t> bias;  // facts.bias plus what the bins' XOR mode owes; empty for fma
  AlignedBuffer b;
  size_t b_bytes = 0;  // used
};

struct ProductWeights {
  ProductKind kind = ProductKind::fma;
  std::vector<ProductForm> forms;  // the first whose condition holds is used; the last has none
};

std::shared_ptr<const PackedWeights> pack_product(const Isa& isa, const ConvShape& shape, const ConvWeights& weights);

// Whether the product has so few rows that weights are packed as words.
bool takes_words(const Isa& isa, const ConvShape& shape);

// Output rows that a block of `vectors` columns of registers leaves room for.
int max_block_rows(const Isa& isa, ProductKind kind, int vectors);

}  // namespace octet::kernels
