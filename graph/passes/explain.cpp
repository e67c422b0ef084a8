// Says why, of every node that computes in float, or stands between float and integers, and that no pass has given a reason
// yet. Changes nothing: the last pass, so that `octet inspect --why` has a sentence for everything.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

bool is_byte(const Value* v) { return v && (v->dtype() == DType::u8 || v->dtype() == DType::s8); }

bool has_integers(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const auto& n) {
    const auto quantized = [](const Value* v) { return is_byte(v) && !v->is_constant(); };
    return std::any_of(n->inputs().begin(), n->inputs().end(), quantized) ||
           std::any_of(n->outputs().begin(), n->outputs().end(), quantized);
  });
}

std::string label(const Node& node) {
  return (node.name().empty() ? node.output()->name() : node.name()) + " (" + std::string(node.op_name()) + ")";
}

// Who wants the float32 values that this DequantizeLinear gives.
std::string wanted_by(const Graph& graph, const Value* v) {
  if (graph.is_output(v)) return "its result is an output of the model";
  return v->uses().empty() ? "nobody reads it" : "its result is read in float32 by " + label(*v->uses()[0].node);
}

std::string reason(const Graph& graph, const Node& node, bool quantized) {
  const QuantRole role = node.op().quant;
  const Value* y = node.output();
  if (role == QuantRole::dequantize) return wanted_by(graph, y);
  if (role == QuantRole::quantize) {
    const Node* before = node.input(0)->producer();
    return before ? "it quantizes what " + label(*before) + " computes in float32"
                  : "it quantizes a float32 input of the model";
  }
  if (is_byte(y) || is_byte(node.input(0))) return {};
  if (y->dtype() != DType::f32) return "it computes in " + std::string(octet::to_string(y->dtype()));
  if (!quantized) return "nothing in the model is quantized";
  const auto dequantized = [](const Value* v) { return v && as_dequantize(v).has_value(); };
  const bool in = std::any_of(node.inputs().begin(), node.inputs().end(), dequantized);
  if (role == QuantRole::none)
    return std::string(node.op_name()) + " has no form on integers" + (in ? "; its operands are dequantized for it" : "");
  return in ? "no QuantizeLinear follows it" : "its input is not quantized";
}

}  // namespace

int explain(Graph& graph) {
  const bool quantized = has_integers(graph);
  for (const auto& node : graph.nodes())
    if (node->why.empty()) node->why = reason(graph, *node, quantized);
  return 0;
}

}  // namespace octet::graph
