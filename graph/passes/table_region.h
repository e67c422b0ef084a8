// A region of element-wise nodes that is a function of one u8 value: 256 entries say all about it.
//
//   q ─ DQ ─┬─ Sigmoid ─┐
//           └───────────Mul ─ Q ─ y        →   y = octet.Table(q)
//
// The region ends in a Q and reaches back through element-wise nodes, Qs, DQs and tables whose other operands are constants
// of one element, to DQs of a single value. Everything inside is used inside. The table is found by running the nodes' own
// evals on the 256 reals that the quanta stand for.
#pragma once

#include <optional>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

struct TableRegion {
  Value* source = nullptr;   // u8, quantized
  QuantParams params;        // of the source
  std::vector<Node*> nodes;  // in order, from behind the DQs to the one in front of the Q
};

// The region that ends in this u8 Q; nothing when its value depends on more than one 8-bit value, or on none.
std::optional<TableRegion> find_table_region(const Graph& graph, const Node* quantize);
Tensor table_of(const TableRegion& region, const Node* quantize);

}  // namespace octet::graph
