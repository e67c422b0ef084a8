// The passes by name; pass.cpp puts them in order.
#pragma once

#include "graph/ir.h"

namespace octet::graph {

int promote_half(Graph& graph);
int fold_constants(Graph& graph);
int fold_dequantized(Graph& graph);
int dead_code(Graph& graph);
int merge_duplicates(Graph& graph);
int control_flow(Graph& graph);
int square(Graph& graph);
int weight_only(Graph& graph);
int remove_identity(Graph& graph);
int fix_reshapes(Graph& graph);
int fuse_activations(Graph& graph);
int fuse_normalisations(Graph& graph);
int normalise_products(Graph& graph);
int normalise_transposed(Graph& graph);
int normalise_pools(Graph& graph);
int fold_batch_norm(Graph& graph);
int fold_scale_bias(Graph& graph);
int fold_pad(Graph& graph);
int expand_qlinear(Graph& graph);
int expand_dynamic(Graph& graph);
int canonical_quantization(Graph& graph);
int normalise_dynamic(Graph& graph);
int push_dequantize_weights(Graph& graph);
int push_dequantize(Graph& graph);
int pull_quantize(Graph& graph);
int requantize(Graph& graph);
int quantize_products(Graph& graph);
int quantize_matmuls(Graph& graph);
int join_past(Graph& graph);
int fuse_attention(Graph& graph);
int fuse_epilogue(Graph& graph);
int quantize_elementwise(Graph& graph);
int flatten_depth(Graph& graph);
int fuse_shuffle(Graph& graph);
int fuse_residual(Graph& graph);
int merge_tables(Graph& graph);
int fuse_norms(Graph& graph);
int fuse_transposed_operand(Graph& graph);
int explain(Graph& graph);

}  // namespace octet::graph
