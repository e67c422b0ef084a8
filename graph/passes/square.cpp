// Pow(x, 2) → Mul(x, x), which has a kernel. The bits are the same: a square of float32 is exact in the double in which Pow
// computes.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

int square(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (node->op_name() != "Pow" || node->input(0)->dtype() != DType::f32 || node->output()->type().quantized()) continue;
    const Value* exponent = node->input(1);
    if (!exponent->is_constant() || exponent->constant().size() != 1 || exponent->constant().at_f64(0) != 2.0) continue;
    if (exponent->type().rank() > (node->input(0)->type().ranked() ? node->input(0)->type().rank() : 0))
      continue;  // adds axes
    Node* product = graph.add_node("Mul", {node->input(0), node->input(0)}, 1, node->name(), node);
    infer_types(graph, *product);
    substitute(graph, node->output(), product->output());
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
