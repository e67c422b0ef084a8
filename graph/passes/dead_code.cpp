// Removes what no output depends on, and merges nodes that compute the same.
//
//   a = Shape(x), b = Shape(x)   →   a for both
//
// Merging needs the same operator, inputs (constants by content) and attributes; random operators are left apart.
#include <algorithm>
#include <cstring>
#include <map>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

int dead_code(Graph& graph) {
  std::vector<Node*> order = graph.node_list();
  int changes = 0;
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    const auto unused = [&](const Value* v) { return v->uses().empty() && !graph.is_output(v); };
    if (!std::all_of((*it)->outputs().begin(), (*it)->outputs().end(), unused)) continue;
    graph.erase(*it);
    ++changes;
  }
  graph.drop_unused_constants();
  return changes;
}

namespace {

constexpr size_t kCompareBytes = 4096;  // larger constants are equal only when they are the same value

bool same_tensor(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  if (a.dtype() == DType::string) return a.strings() == b.strings();
  return a.as<std::byte>() == b.as<std::byte>() ||
         (a.bytes() <= kCompareBytes && std::memcmp(a.as<std::byte>(), b.as<std::byte>(), a.bytes()) == 0);
}

bool same_value(const Value* a, const Value* b) {
  if (a == b) return true;
  if (!a || !b || !a->is_constant() || !b->is_constant()) return false;
  if (a->type().quantized() != b->type().quantized()) return false;
  if (a->quant() && *a->quant() != *b->quant()) return false;
  return same_tensor(a->constant(), b->constant());
}

bool same_attribute(const Attribute& a, const Attribute& b) {
  if (a.index() != b.index()) return false;
  if (const auto* t = std::get_if<Tensor>(&a)) return same_tensor(*t, std::get<Tensor>(b));
  return std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, Tensor>)
          return false;
        else
          return v == std::get<T>(b);
      },
      a);
}

bool same_node(const Node& a, const Node& b) {
  if (&a.op() != &b.op() || a.inputs().size() != b.inputs().size() || a.outputs().size() != b.outputs().size()) return false;
  if (a.attrs().size() != b.attrs().size()) return false;
  for (size_t i = 0; i < a.inputs().size(); ++i)
    if (!same_value(a.input(i), b.input(i))) return false;
  for (size_t i = 0; i < a.outputs().size(); ++i) {
    const Type &s = a.output(i)->type(), &t = b.output(i)->type();
    if (s.dtype != t.dtype || s.quantized() != t.quantized() || (s.quant && *s.quant != *t.quant)) return false;
  }
  return std::equal(a.attrs().begin(), a.attrs().end(), b.attrs().begin(),
                    [](const auto& x, const auto& y) { return x.first == y.first && same_attribute(x.second, y.second); });
}

}  // namespace

int merge_duplicates(Graph& graph) {
  // Candidates share an operator and a first input that is no constant.
  std::map<std::pair<const OpDef*, const Value*>, std::vector<Node*>> seen;
  int changes = 0;
  for (Node* node : graph.node_list()) {
    const Value* first = node->input(0);
    if (!first || first->is_constant() || node->op_name().starts_with("Random") || node->op_name() == "Bernoulli") continue;
    std::vector<Node*>& candidates = seen[{&node->op(), first}];
    const auto twin = std::find_if(candidates.begin(), candidates.end(), [&](Node* n) { return same_node(*n, *node); });
    if (twin == candidates.end()) {
      candidates.push_back(node);
      continue;
    }
    for (size_t i = 0; i < node->outputs().size(); ++i) graph.replace_uses(node->output(i), (*twin)->output(i));
    graph.erase(node);
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
