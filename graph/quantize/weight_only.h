// Weight-only quantization: activations stay float32, weights take 4 or 8 bits in blocks of K.
#pragma once

#include "graph/ir.h"

namespace octet::graph {

struct WeightOnlyOptions {
  int bits = 4;        // 4 or 8
  int64_t block = 32;  // a power of two from 16
};

// The copy of a graph that prepare_for_quantization left in which every Gemm and MatMul by constant weights is a
// com.microsoft.MatMulNBits without zero points. A block's scale makes its weight of largest magnitude the lowest field: 4
// bits reach from -8 to 7 times it. Throws Error invalid_argument for other options, unsupported when there is no such
// product.
std::unique_ptr<Graph> quantize_weights(const Graph& graph, const WeightOnlyOptions& options);

}  // namespace octet::graph
