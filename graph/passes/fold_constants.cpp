// op(constants…) → constant, through the operator's own eval.
//
//   Constant, Reshape(w, [4]), Gather(Shape(x), 0) of a known dimension …  →  a constant
//
// Shape and Size count as constant when the dimensions are known, whether or not the tensor is.
// Declined: operators with sub-graphs, sequences and optionals, strings and random ones (no inputs, yet not Constant);
// results above 64 MiB unless they are no larger than their inputs; DequantizeLinear, whose integers are worth keeping until
// products have taken them. What is left of those, `fold_dequantized` evaluates at the end.
#include <algorithm>

#include "graph/eval.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

constexpr size_t kLargeBytes = size_t{64} << 20;

bool reads_only_dimensions(const Node& node) { return node.op_name() == "Shape" || node.op_name() == "Size"; }

bool foldable(const Node& node) {
  if (!node.op().eval || node.outputs().empty()) return false;
  if (!node.subgraphs().empty()) return false;
  const auto tensor = [](const Value* v) { return !v || v->type().is_tensor(); };
  if (!std::all_of(node.inputs().begin(), node.inputs().end(), tensor) ||
      !std::all_of(node.outputs().begin(), node.outputs().end(), tensor))
    return false;
  if (reads_only_dimensions(node)) return node.input(0)->is_constant() || node.input(0)->type().static_shape();
  const auto constant = [](const Value* v) { return !v || v->is_constant(); };
  if (!std::all_of(node.inputs().begin(), node.inputs().end(), constant)) return false;
  return !node.inputs().empty() || node.op_name() == "Constant";
}

bool too_large(const Node& node) {
  size_t in = 0, out = 0;
  for (const Value* v : node.inputs())
    if (v && v->is_constant()) in += v->constant().bytes();
  for (const Value* v : node.outputs())
    if (v->type().static_shape()) out += static_cast<size_t>(element_count(v->type().shape())) * size_of(v->dtype());
  return out > kLargeBytes && out > in;
}

void fold(Graph& graph, Node* node) {
  std::vector<Tensor> in;
  for (const Value* v : node->inputs()) {
    if (!v)
      in.emplace_back();
    else if (v->is_constant())
      in.push_back(v->constant());
    else  // Shape, Size: only the dimensions matter, so no data stands behind them
      in.emplace_back(v->dtype(), v->type().shape(), allocate_bytes(0));
  }
  const std::vector<Tensor> out = evaluate(*node, in);
  for (size_t i = 0; i < out.size(); ++i) {
    Value* old = node->output(i);
    const std::string name = old->name();
    const auto quant = old->type().quant;
    graph.rename(old, name + "/folded");
    Value* constant = graph.add_constant(out[i], name);
    if (quant) {
      Type type = constant->type();
      type.quant = quant;
      constant->set_type(std::move(type));
    }
    graph.replace_uses(old, constant);
  }
  erase_dead(graph, node);
}

int fold_if(Graph& graph, bool dequantize_too) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (node->op().quant == QuantRole::dequantize && !dequantize_too) continue;
    infer_types(graph, *node);
    if (!foldable(*node)) continue;
    if (too_large(*node)) {
      node->why = "constant, but folding it would take more than 64 MiB";
      continue;
    }
    fold(graph, node);
    ++changes;
  }
  graph.drop_unused_constants();
  return changes;
}

}  // namespace

int fold_constants(Graph& graph) { return fold_if(graph, false); }
int fold_dequantized(Graph& graph) { return fold_if(graph, true); }

}  // namespace octet::graph
