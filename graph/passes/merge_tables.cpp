// Tables in a row are one table, and a table of the identity is none.
//
//   octet.Table(octet.Table(x, t), u)  →  octet.Table(x, u∘t)
//   Add(x, octet.Table(x, t)) : u8     →  octet.Table(x, …)       Sub, Mul likewise: x·sigmoid(x) with Q/DQ in between
//
// Exact: every entry is what the nodes would give. The identity only goes when its parameters say nothing new.
#include <array>

#include "graph/eval.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

struct Table {
  Node* node;
  Value* x;
  const uint8_t* entries;
};

std::optional<Table> as_table(const Value* v) {
  if (!v || !v->producer() || v->producer()->op_name() != "octet.Table") return std::nullopt;
  Node* node = v->producer();
  if (!node->input(1)->is_constant()) return std::nullopt;
  return Table{node, node->input(0), node->input(1)->constant().as<uint8_t>()};
}

Tensor ramp() {
  std::array<uint8_t, 256> bytes{};
  for (size_t i = 0; i < 256; ++i) bytes[i] = static_cast<uint8_t>(i);
  return Tensor::of<uint8_t>(DType::u8, {256}, {bytes.begin(), bytes.end()});
}

bool is_identity(const Table& t) {
  for (int i = 0; i < 256; ++i)
    if (t.entries[i] != i) return false;
  const QuantParams *in = t.x->quant(), *out = t.node->output()->quant();
  return t.x->dtype() == t.node->output()->dtype() && (in == out || (in && out && *in == *out));
}

bool compose(Graph& graph, Node* node) {
  const std::optional<Table> outer = as_table(node->output());
  if (!outer) return false;
  if (is_identity(*outer)) {
    graph.replace_uses(node->output(), outer->x);
    erase_dead(graph, node);
    return true;
  }
  const std::optional<Table> inner = as_table(outer->x);
  if (!inner) return false;
  std::vector<uint8_t> entries;
  for (int i = 0; i < 256; ++i) entries.push_back(outer->entries[inner->entries[i]]);
  graph.set_input(node, 1, graph.add_constant(Tensor::of<uint8_t>(node->output()->dtype(), {256}, entries)));
  graph.set_input(node, 0, inner->x);
  erase_dead(graph, inner->node);
  return true;
}

bool same_source(Graph& graph, Node* node) {
  if (node->op().quant != QuantRole::binary || node->inputs().size() != 2 || !node->output()->quant()) return false;
  Value *a = node->input(0), *b = node->input(1);
  const std::optional<Table> left = as_table(a), right = as_table(b);
  const auto derives = [](const Value* v, const std::optional<Table>& t, const Value* x) {
    return v == x || (t && t->x == x);
  };
  Value* x = nullptr;
  for (Value* candidate : {a, b, left ? left->x : nullptr})
    if (candidate && derives(a, left, candidate) && derives(b, right, candidate)) x = candidate;
  if (!x || x->is_constant() || x->dtype() != DType::u8 || !x->quant()) return false;
  const auto entries = [&](const Value* v, const std::optional<Table>& t) {
    return v == x ? ramp() : t->node->input(1)->constant();
  };
  const std::vector<Tensor> in{entries(a, left), entries(b, right)};
  const Tensor out = evaluate(*node, in)[0];
  Value* y = insert_table(graph, x, out, node->output()->type().quant, node, node->name());
  substitute(graph, node->output(), y);
  return true;
}

}  // namespace

int merge_tables(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) changes += compose(graph, node) || same_source(graph, node) ? 1 : 0;
  return changes;
}

}  // namespace octet::graph
