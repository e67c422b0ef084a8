// Parts of a graph whose shapes are known only at run time.
//
//   boxes, scores (static) ─ NonMaxSuppression ─▶ [?,3] ─ Slice ─ Gather ─ Conv … ─▶ [1,10] ─ Softmax
//                            evaluated             └─────── octet.Region ───────┘           planned
//
// A node is *static* when the shapes of all it reads and gives are known. The others run when the values are there:
//
//   - a node that makes the unknown (its inputs are static, its output is not), that handles a sequence, an optional or
//   strings, or
//     that has subgraphs, is evaluated by itself;
//   - the nodes between those are gathered into regions, graphs of their own. At run time the shapes of a region's inputs
//   are known,
//     and it is compiled for them like any graph, kernels, layouts and all, and kept (PlanCache); what is unknown even then
//     makes regions inside. Static nodes behind a region stay in the outer plan, which is never made anew.
//
// A small region without products is evaluated node by node instead: a plan for every count of boxes that turns up would
// cost more than it saves. Which of the two happens depends on shapes alone, so the bits do not depend on what ran before.
#pragma once

#include <span>

#include "graph/ir.h"
#include "graph/tensor.h"

namespace octet {

// A shape that is known, and a kind that lies in an arena.
bool is_static(const graph::Value* value);
bool is_static(const graph::Node& node);
// Puts the dynamic nodes of the graph into octet.Region nodes where they are gathered; the order stays topological.
void form_regions(graph::Graph& graph);

bool has_products(const graph::Graph& graph);
bool worth_a_plan(bool has_products, std::span<const graph::Tensor> inputs);

}  // namespace octet
