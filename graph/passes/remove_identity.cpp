// Nodes whose output is their input, element for element and in the same shape, go.
//
//   Identity(x), Dropout(x), Cast(x) to x's type, Transpose(x) by [0,1,2…], Reshape(x) to x's own shape, Pad by zeros,
//   Slice of everything, Concat and Sum of one, Expand to the same shape        →   x
//   Transpose(Transpose(x)) → Transpose(x), Reshape(Reshape(x)) → Reshape(x)
//
// Reshape, Squeeze, Unsqueeze and Flatten all keep row-major order, so two in a row are one Reshape, once the shape is
// known.
#include <algorithm>
#include <numeric>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

bool all_equal(const std::vector<int64_t>& list, int64_t value) {
  return std::all_of(list.begin(), list.end(), [&](int64_t v) { return v == value; });
}

bool constant_ints_are(const Value* v, int64_t value) {
  return v && v->is_constant() && all_equal(v->constant().to_s64(), value);
}

bool is_ramp(const std::vector<int64_t>& perm) {
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return !perm.empty();
}

// Reshape, Squeeze, Unsqueeze, Flatten: row-major order stays, so equal shapes are enough.
bool keeps_row_major(const Node& node) {
  const std::string_view op = node.op_name();
  return op == "Reshape" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten";
}

bool inactive_dropout(const Node& node) {
  const Value* training = node.input(2);
  if (training && !(training->is_constant() && training->constant().at_s64(0) == 0)) return false;
  return node.outputs().size() == 1 || node.output(1)->uses().empty();
}

bool is_identity(const Graph& graph, const Node& node) {
  const std::string_view op = node.op_name();
  const Value *x = node.input(0), *y = node.output();
  if (!x || !y) return false;
  if (op == "Identity") return true;
  if (op == "Dropout") return inactive_dropout(node) && (node.outputs().size() == 1 || !graph.is_output(node.output(1)));
  if (op == "Concat" || op == "Sum" || op == "Max" || op == "Min") return node.inputs().size() == 1;
  if (op == "Cast") return x->dtype() == y->dtype() && x->dtype() != DType::undefined;
  if (op == "Transpose") return is_ramp(node.ints("perm"));
  if (op == "Pad") return constant_ints_are(node.input(1), 0);
  if (!same_shape(x, y) || x->dtype() != y->dtype()) return false;
  if (keeps_row_major(node) || op == "Expand" || op == "Tile") return true;
  // A slice as large as its input took everything, in order unless a step is negative.
  return op == "Slice" && (!node.input(4) || constant_ints_are(node.input(4), 1));
}

// The second of two nodes that compose; true when rewritten.
bool merge_into_producer(Graph& graph, Node* node) {
  if (!node->input(0)) return false;
  Node* before = node->input(0)->producer();
  if (!before) return false;
  if (keeps_row_major(*node) && keeps_row_major(*before) && node->output()->type().static_shape()) {
    // Both keep row-major order: one Reshape to the final shape.
    const Shape shape = node->output()->type().shape();
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return false;
    Node* merged =
        graph.add_node("Reshape", {before->input(0), graph.add_constant(Tensor::of_s64(shape))}, 1, node->name(), node);
    merged->output()->set_type(node->output()->type());
    substitute(graph, node->output(), merged->output());
    return true;
  }
  if (node->op_name() == "Transpose" && before->op_name() == "Transpose") {
    const std::vector<int64_t> outer = node->ints("perm"), inner = before->ints("perm");
    if (outer.empty() || inner.size() != outer.size()) return false;
    std::vector<int64_t> perm;
    for (const int64_t p : outer) perm.push_back(inner[static_cast<size_t>(p)]);
    graph.set_input(node, 0, before->input(0));
    node->set_attr("perm", perm);
    erase_dead(graph, before);
    return true;
  }
  return false;
}

}  // namespace

int remove_identity(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (merge_into_producer(graph, node)) {
      ++changes;
      continue;
    }
    if (!is_identity(graph, *node)) continue;
    graph.replace_uses(node->output(), node->input(0));
    erase_dead(graph, node);
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
