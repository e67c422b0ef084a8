// Means over whole images become GlobalAveragePool, and Reshapes whose result is known get a constant shape.
//
//   ReduceMean(x) over height and width of rank 4     →  GlobalAveragePool(x)  [→ Squeeze when keepdims = 0]
//   AveragePool(x) whose window is the whole image    →  GlobalAveragePool(x)
//   Reshape(x, Concat(Gather(Shape(x), 0), -1))       →  Reshape(x, [-1, 1280]) when inference finds [N,1280]
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

bool all_are(const std::vector<int64_t>& list, int64_t value) {
  return std::all_of(list.begin(), list.end(), [&](int64_t v) { return v == value; });
}

bool is_whole_image_mean(const Node& node) {
  if (node.op_name() != "ReduceMean" || !is_rank(node.input(0), 4)) return false;
  const Value* axes = node.input(1);
  if (!axes || !axes->is_constant()) return false;
  std::vector<int64_t> list = axes->constant().to_s64();
  for (int64_t& a : list) a = a < 0 ? a + 4 : a;
  std::sort(list.begin(), list.end());
  return list == std::vector<int64_t>{2, 3};
}

bool is_whole_image_pool(const Node& node) {
  if (node.op_name() != "AveragePool" || !is_rank(node.input(0), 4) || node.attr("auto_pad", "NOTSET") != "NOTSET")
    return false;
  const std::vector<int64_t> kernel = node.ints("kernel_shape");
  return kernel.size() == 2 && kernel[0] == known_dim(node.input(0), 2) && kernel[1] == known_dim(node.input(0), 3) &&
         all_are(node.ints("pads"), 0) && all_are(node.ints("dilations"), 1);
}

void make_global_pool(Graph& graph, Node* node) {
  Node* pool = graph.add_node("GlobalAveragePool", {node->input(0)}, 1, node->name(), node);
  infer_types(graph, *pool);
  Value* result = pool->output();
  if (node->op_name() == "ReduceMean" && node->attr("keepdims", int64_t{1}) == 0) {
    Value* axes = graph.add_constant(Tensor::of_s64({2, 3}));
    Node* squeeze = graph.add_node("Squeeze", {result, axes}, 1, node->name() + "/squeeze", node);
    infer_types(graph, *squeeze);
    result = squeeze->output();
  }
  substitute(graph, node->output(), result);
}

}  // namespace

int normalise_pools(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (!is_whole_image_mean(*node) && !is_whole_image_pool(*node)) continue;
    make_global_pool(graph, node);
    ++changes;
  }
  return changes;
}

int fix_reshapes(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (node->op_name() != "Reshape" || node->input(1)->is_constant() || !node->output()->type().ranked()) continue;
    std::vector<int64_t> shape;
    for (const Dim& d : *node->output()->type().dims) shape.push_back(d.known() ? d.value : -1);
    // A zero would mean "copy" beside a -1.
    if (std::count(shape.begin(), shape.end(), -1) > 1 || std::count(shape.begin(), shape.end(), 0) > 0) continue;
    Value* old = node->input(1);
    graph.set_input(node, 1, graph.add_constant(Tensor::of_s64(shape)));
    node->erase_attr("allowzero");
    if (old->producer()) erase_dead(graph, old->producer());
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
