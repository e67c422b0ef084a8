// Scalar evaluation: a node, or a whole graph, through its operators' own `eval`.
//
// This is the specification at work. Constant folding evaluates nodes with it, the reference ISA runs graphs with it, and
// the tests of every pass compare a graph before and after with it. It runs with denormals flushed to zero and rounding to
// nearest even, as inference does (octet/numerics.h), whatever the caller's floating-point state is, and restores that
// state.
//
// Tensors are dense and plain whatever the values' layout says: a layout is a matter of memory, not of meaning.
#pragma once

#include <span>
#include <vector>

#include "graph/ir.h"
#include "graph/op_def.h"
#include "graph/tensor.h"

namespace octet::graph {

// The node's outputs for these inputs (as many as the node has; undefined where an optional one is absent).
// Throws Error unsupported when the operator has no scalar form.
// `run`: how subgraphs are run; null: by run_reference.
std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor> inputs, const EvalContext::RunGraph* run = nullptr);

// The graph's outputs, in order, for its inputs, in order. Throws Error invalid_argument when an input does not fit its
// type.
std::vector<Tensor> run_reference(const Graph& graph, std::span<const Tensor> inputs);

}  // namespace octet::graph
