// The passes by name; pass.cpp puts them in order.
#pragma once

#include "graph/ir.h"

namespace octet::graph {

int fold_constants(Graph& graph);
int fold_dequantized(Graph& graph);
int dead_code(Graph& graph);
int merge_duplicates(Graph& graph);
int remove_identity(Graph& graph);

}  // namespace octet::graph
