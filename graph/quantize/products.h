// Products that can be quantized, and what octet computes together with them.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "graph/quantize/plan.h"

namespace octet::graph {

// Conv, Gemm or MatMul with constant float weights, in the form prepare_for_quantization leaves; otherwise the reason in
// `why`.
bool is_quantizable_product(const Node& node, std::string& why);
int weight_axis(const Node& product);

// Fills in `end` and `residual` of the products, given in topological order; `absorbed` are the nodes on the way.
//
//   product → [Add of a bias] → [Add of a residual, fused style] → [activation] → end
//
// Later products choose first: where both operands of an Add are products, the later one takes the sum, as fuse_epilogue
// does.
void find_ends(const Graph& graph, QuantStyle style, std::vector<QuantizedProduct>& products,
               std::unordered_set<const Node*>& absorbed);

}  // namespace octet::graph
