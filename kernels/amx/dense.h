// Dense rows of outputs: where the rows of a tile are whole pixels that lie one behind the other, vectors run across pixels,
// so that no lane is empty and stores are whole lines (BlockSpec::dense).
#pragma once

#include <cstdint>

#include "kernels/amx/blocking.h"
#include "kernels/conv.h"

namespace octet::kernels::amx {

// Vectors of dense pixels of so many channels before they repeat; 0 where they would not be faster: 64 channels are a line
// anyway, others need too many registers, do not fill whole lines, or let the rows of a stored tile overlap.
constexpr int dense_vectors(int64_t channels) {
  for (int vectors = 1; vectors <= 3; ++vectors)
    if (channels >= 16 && channels % 4 == 0 && vectors * 16 % channels == 0) return vectors;
  return 0;
}

bool tile_is_dense(const ConvProblem& problem, const Tiling& tiling, int64_t tile);
// Whether blocks of whole pixels may be dense. Only the last tile may be another: a change of kernels costs what a block
// does. Parameters lie in an order of their own then, made with the plan: none may come at run.
bool is_dense(const ConvProblem& problem, const Tiling& tiling);

}  // namespace octet::kernels::amx
