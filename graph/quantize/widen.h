// Half-precision graphs, made float32 so that they can be quantized.
#pragma once

#include "graph/ir.h"

namespace octet::graph {

// float16 and bfloat16 constants become float32, and so does everything computed; inputs and outputs keep their types behind
// a Cast. Returns whether there was anything to do.
bool widen_to_float32(Graph& graph);

}  // namespace octet::graph
