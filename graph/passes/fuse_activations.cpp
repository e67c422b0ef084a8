// Activations that exporters spell out become the operator they are.
//
//   Mul(x, Sigmoid(x))                              →  Swish(x)
//   Div(Clip(Add(x, 3), 0, 6), 6)                   →  HardSigmoid(x) {1/6, 0.5}         Mul by 1/6 likewise
//   Mul(x, HardSigmoid(x) {1/6, 0.5})               →  HardSwish(x)
//   Div(Mul(x, Clip(Add(x, 3), 0, 6)), 6)           →  HardSwish(x)                      Mul by 1/6 likewise
//
// float32 only, every value in between used once. The first and third change no bit; the others differ in the last.
#include <array>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

constexpr float kSixth = 1.0f / 6.0f;

// The operands of a binary node in both orders.
std::array<std::pair<Value*, Value*>, 2> both_ways(const Node& node) {
  return {{{node.input(0), node.input(1)}, {node.input(1), node.input(0)}}};
}

Node* inner(const Graph& graph, const Value* v, std::string_view op) {
  if (!v || !v->producer() || !graph.single_use(v) || v->producer()->op_name() != op) return nullptr;
  return v->producer();
}

// x in Clip(Add(x, 3), 0, 6)
Value* relu6_of_shifted(const Graph& graph, const Value* v) {
  const Node* clip = inner(graph, v, "Clip");
  if (!clip || scalar_constant(clip->input(1)) != 0.0f || scalar_constant(clip->input(2)) != 6.0f) return nullptr;
  const Node* add = inner(graph, clip->input(0), "Add");
  if (!add) return nullptr;
  for (const auto& [x, three] : both_ways(*add))
    if (scalar_constant(three) == 3.0f && same_shape(x, v)) return x;
  return nullptr;
}

// v in v / 6
Value* sixth_of(const Node& node) {
  if (node.op_name() == "Div" && scalar_constant(node.input(1)) == 6.0f) return node.input(0);
  if (node.op_name() != "Mul") return nullptr;
  for (const auto& [v, factor] : both_ways(node))
    if (scalar_constant(factor) == kSixth) return v;
  return nullptr;
}

bool is_sixth_sigmoid(const Node* node) {
  return node && node->attr("alpha", 0.2f) == kSixth && node->attr("beta", 0.5f) == 0.5f;
}

struct Found {
  std::string_view op;
  Value* x;
};

std::optional<Found> find(const Graph& graph, const Node& node) {
  if (node.op_name() == "Mul")
    for (const auto& [x, gate] : both_ways(node)) {
      if (const Node* s = inner(graph, gate, "Sigmoid"); s && s->input(0) == x) return Found{"Swish", x};
      if (const Node* h = inner(graph, gate, "HardSigmoid"); is_sixth_sigmoid(h) && h->input(0) == x) return Found{"HardSwish", x};
    }
  const Value* v = sixth_of(node);
  if (!v || !same_shape(v, node.output())) return std::nullopt;
  if (Value* x = relu6_of_shifted(graph, v)) return Found{"HardSigmoid", x};
  if (const Node* mul = inner(graph, v, "Mul"))
    for (const auto& [x, gate] : both_ways(*mul))
      if (relu6_of_shifted(graph, gate) == x) return Found{"HardSwish", x};
  return std::nullopt;
}

}  // namespace

int fuse_activations(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (node->inputs().size() != 2 || node->outputs().size() != 1 || node->output()->dtype() != DType::f32) continue;
    const std::optional<Found> found = find(graph, *node);
    if (!found) continue;
    Node* activation = graph.add_node(found->op, {found->x}, 1, node->name(), node);
    if (found->op == "HardSigmoid") {
      activation->set_attr("alpha", kSixth);
      activation->set_attr("beta", 0.5f);
    }
    infer_types(graph, *activation);
    substitute(graph, node->output(), activation->output());
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
