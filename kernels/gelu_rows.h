// GELU behind a product whose float output is quantized at run time: on rows that the product has just stored, a piece of
// the output that is still in the cache.
//
//   for piece of the output (kPieceBytes):  product -> y;  y = gelu(y), which widens the range
//
// It is no stage of the emitted epilogue: its multiplications would hold up the products (amx/schedule.h), and the vectors
// of a unit are too few to hide its chain. All of the output at once, as an operator of its own, would read again what has
// left the cache: 128x3072 outputs, a BERT's, are 1.5 MiB, and took 497 us with their product, 460 in pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/conv.h"
#include "kernels/jit/cache.h"

namespace octet::kernels {

class GeluRows {
 public:
  static constexpr int64_t kPieceBytes = 128 * 1024;

  // Does nothing, and is false, where the epilogue has another activation.
  GeluRows(const Isa& isa, const Epilogue& epilogue);
  explicit operator bool() const { return code_ != nullptr; }
  // `rows` of `columns` float32, `pitch` bytes apart. `range` is that of ConvArgs.
  void operator()(void* y, int64_t rows, int64_t columns, int64_t pitch, float* range) const noexcept;

  // What is left of a problem for the kernels: no activation, and the range is not theirs.
  static ConvProblem without(ConvProblem problem);

 private:
  std::shared_ptr<const Code> code_;
  bool keeps_range_ = false;
};

}  // namespace octet::kernels
