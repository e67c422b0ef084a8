// A shuffle of channels, as exporters write it, becomes one operator.
//
//   Reshape[N,g,C/g,H,W], Transpose(0,2,1,3,4), Reshape[N,C,H,W]  →  octet.Interleave(Split(x, g parts))
//   … of Concat(a, b, …) of g equal parts, used nowhere else       →  octet.Interleave(a, b, …)
//
// Declined: sizes that are not known, or other shapes between.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

// The groups of the shuffle that ends in this node; 0 when none does.
int64_t shuffled_groups(const Graph& graph, const Node& last) {
  if (last.op_name() != "Reshape") return 0;
  const Node* turn = last.input(0)->producer();
  if (!turn || turn->op_name() != "Transpose" || turn->ints("perm") != std::vector<int64_t>{0, 2, 1, 3, 4}) return 0;
  const Node* first = turn->input(0)->producer();
  if (!first || first->op_name() != "Reshape" || !graph.single_use(turn->output()) || !graph.single_use(first->output()))
    return 0;
  const Value *x = first->input(0), *split = first->output(), *y = last.output();
  if (!is_rank(x, 4) || !is_rank(split, 5) || !is_rank(y, 4) || !same_shape(x, y)) return 0;
  const int64_t channels = known_dim(x, 1), groups = known_dim(split, 1);
  const auto &from = *x->type().dims, &to = *split->type().dims;
  if (channels < 0 || groups < 2 || groups * known_dim(split, 2) != channels) return 0;
  return from[0] == to[0] && from[2] == to[3] && from[3] == to[4] ? groups : 0;
}

bool equal_parts(const Graph& graph, const Node* concat, int64_t groups) {
  if (!concat || concat->op_name() != "Concat" || !graph.single_use(concat->output())) return false;
  const int64_t axis = concat->attr("axis", int64_t{0});
  if ((axis != 1 && axis != -3) || static_cast<int64_t>(concat->inputs().size()) != groups) return false;
  return std::all_of(concat->inputs().begin(), concat->inputs().end(),
                     [&](const Value* v) { return !v->is_constant() && same_shape(v, concat->input(0)); });
}

void rewrite(Graph& graph, Node* last, int64_t groups) {
  Value* x = last->input(0)->producer()->input(0)->producer()->input(0);
  std::vector<Value*> parts;
  if (equal_parts(graph, x->producer(), groups)) {
    parts = x->producer()->inputs();
  } else {
    Value* sizes =
        graph.add_constant(Tensor::of_s64(std::vector<int64_t>(static_cast<size_t>(groups), known_dim(x, 1) / groups)));
    Node* split = graph.add_node("Split", {x, sizes}, static_cast<size_t>(groups), last->name() + "/groups", last);
    split->set_attr("axis", int64_t{1});
    for (Value* part : split->outputs()) part->set_type(Type{x->dtype(), std::nullopt, x->type().quant});
    infer_types(graph, *split);
    parts = split->outputs();
  }
  Node* y = graph.add_node("octet.Interleave", std::move(parts), 1, last->name(), last);
  y->output()->set_type(last->output()->type());
  infer_types(graph, *y);
  substitute(graph, last->output(), y->output());
}

}  // namespace

int fuse_shuffle(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    const int64_t groups = shuffled_groups(graph, *node);
    if (groups == 0) continue;
    rewrite(graph, node, groups);
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
