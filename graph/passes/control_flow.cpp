// What a node with subgraphs captures, and conditions that are known.
//
//   If(true){A}{B}                        →   the nodes of A
//   Loop(… | c) {… c …}, c constant       →   Loop(…) {… c …}: a constant of the body, where folding and packing see it
//   Loop(… | x) {… no x …}                →   Loop(…)
//
// An If often asks for a shape ("is this dimension 1?"), so most of them go once shapes are known.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

bool inline_if(Graph& graph, Node* node) {
  if (node->op_name() != "If") return false;
  const Value* condition = node->input(0);
  if (!condition->is_constant() || condition->constant().size() != 1) return false;
  const bool yes = condition->constant().at_s64(0) != 0;
  const auto& branch = std::get<std::shared_ptr<Graph>>(*node->find_attr(yes ? "then_branch" : "else_branch"));
  const std::vector<Value*> captures(node->inputs().begin() + 1, node->inputs().end());
  const std::vector<Value*> values = splice(graph, *branch, captures, node);
  for (size_t i = 0; i < node->outputs().size(); ++i) graph.replace_uses(node->output(i), values[i]);
  erase_dead(graph, node);
  return true;
}

// Takes captured constants into the subgraphs and forgets captures that none of them reads.
int settle_captures(Graph& graph, Node* node) {
  int changes = 0;
  auto captures = node->attr("captures", int64_t{0});
  const std::vector<Graph*> bodies = node->subgraphs();
  for (int64_t i = 0; i < captures;) {
    const size_t operand = node->inputs().size() - static_cast<size_t>(captures - i);
    const Value* value = node->input(operand);
    if (value->is_constant())
      for (Graph* body : bodies) {
        Value* inside = body->inputs()[body->inputs().size() - static_cast<size_t>(captures - i)];
        Value* constant = body->add_constant(value->constant());
        constant->set_type(value->type());
        body->replace_uses(inside, constant);
      }
    bool read = false;
    for (Graph* body : bodies) {
      const Value* inside = body->inputs()[body->inputs().size() - static_cast<size_t>(captures - i)];
      read = read || !inside->uses().empty() || body->is_output(inside);
    }
    if (read) {
      ++i;
      continue;
    }
    for (Graph* body : bodies) body->drop_input(body->inputs().size() - static_cast<size_t>(captures - i));
    graph.drop_operand(node, operand);
    node->set_attr("captures", --captures);
    ++changes;
  }
  return changes;
}

}  // namespace

int control_flow(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (node->subgraphs().empty()) continue;
    if (inline_if(graph, node))
      ++changes;
    else
      changes += settle_captures(graph, node);
  }
  graph.drop_unused_constants();
  return changes;
}

}  // namespace octet::graph
