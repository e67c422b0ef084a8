// Brings every Q/DQ model to one form: integers only between a Q (or a graph input) and its DQs, always u8, always typed.
//
//   DQ(T(q))                      → T(DQ(q))           T transparent, on integers: one form for what quantizers write either
//   way T(Q(x))                       → Q(T(x))            when no DQ follows C(q)                          → Q(C(DQ(q))) C
//   a clamp of integers between Q and DQ, its bounds as reals Q:s8 → DQ:s8                  → Q:u8 → DQ:u8       zero point
//   + 128; the same reals s8 input → DQ:s8              → octet.Table(i ^ 128) → DQ:u8 Q:s8 → s8 output              → Q:u8
//   → octet.Table(i ^ 128) → output
//
// Then the integer value of every u8 Q and DQ carries its parameters in its type; where two DQs of one value disagree, a
// table of the identity gives the second a value of its own. Constants (weights) are left alone. Declined: 16- and 4-bit
// integers, activations with scales per channel, parameters that are not constant.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/transparent.h"
#include "octet/numerics.h"

namespace octet::graph {

namespace {

Tensor sign_flip_table(DType dtype) {
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<uint8_t>(i ^ 128));
  return Tensor::of<uint8_t>(dtype, {256}, bytes);
}

Tensor identity_table() {
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<uint8_t>(i));
  return Tensor::of<uint8_t>(DType::u8, {256}, bytes);
}

bool is_byte(const Value* v) { return v->dtype() == DType::s8 || v->dtype() == DType::u8; }

// The DQ parameters that all uses of all data outputs share; nothing when there is another use.
std::optional<QuantParams> shared_params(const Graph& graph, const Node& node) {
  std::optional<QuantParams> shared;
  for (const Value* v : data_outputs(node)) {
    if (graph.is_output(v)) return std::nullopt;
    for (const Use& u : v->uses()) {
      const auto dq = u.index == 0 ? as_dequantize(u.node->output()) : std::nullopt;
      if (!dq || !dq->params.per_tensor() || (shared && *shared != dq->params)) return std::nullopt;
      shared = dq->params;
    }
  }
  return shared;
}

// DQ(T(q)) → T(DQ(q))
bool hoist_dequantize(Graph& graph, Node* node) {
  if (!is_transparent(*node) || !is_byte(node->input(0))) return false;
  const std::optional<QuantParams> params = shared_params(graph, *node);
  if (!params) return false;
  const std::vector<size_t> data = data_inputs(*node);
  for (const size_t i : data)
    if (node->input(i)->is_constant()) return false;
  const std::optional<float> scalar = quantum_as_scalar(*node, *params);
  if (!scalar) return false;
  const std::vector<Value*> outputs = data_outputs(*node);
  if (const int s = scalar_input(*node); s >= 0)
    graph.set_input(node, static_cast<size_t>(s), graph.add_constant(Tensor::scalar(*scalar)));
  for (const size_t i : data) graph.set_input(node, i, insert_dequantize(graph, node->input(i), *params, node));
  for (Value* v : outputs) {
    v->set_type(Type{DType::f32, v->type().dims, nullptr});
    const std::vector<Use> uses = v->uses();
    for (const Use& u : uses) {
      graph.replace_uses(u.node->output(), v);
      graph.erase(u.node);
    }
  }
  return true;
}

// T(Q(x)) → Q(T(x)), for one input and one output
bool sink_quantize(Graph& graph, Node* node) {
  if (!is_transparent(*node) || node->outputs().size() != 1 || data_inputs(*node).size() != 1 || !is_byte(node->input(0)))
    return false;
  const std::optional<Quantize> q = as_quantize(node->input(0)->producer());
  if (!q || !q->params.per_tensor() || !graph.single_use(node->input(0))) return false;
  const std::optional<float> scalar = quantum_as_scalar(*node, q->params);
  if (!scalar) return false;
  if (const int s = scalar_input(*node); s >= 0)
    graph.set_input(node, static_cast<size_t>(s), graph.add_constant(Tensor::scalar(*scalar)));
  Value* y = node->output();
  graph.set_input(node, 0, q->source);
  y->set_type(Type{DType::f32, y->type().dims, nullptr});
  Node* sunk = graph.add_node(q->node->op(), {y, q->node->input(1), q->node->input(2)}, 1, q->node->name());
  for (const auto& [key, value] : q->node->attrs()) sunk->set_attr(key, value);
  graph.erase(q->node);
  // Behind T, in its place: replacing y by the new Q must leave the Q's own input alone.
  const auto& order = graph.nodes();
  const auto at = std::find_if(order.begin(), order.end(), [&](const auto& n) { return n.get() == node; });
  graph.move_before(sunk, std::next(at) == order.end() ? nullptr : std::next(at)->get());
  infer_types(graph, *sunk);
  graph.replace_uses(y, sunk->output());
  graph.set_input(sunk, 0, y);
  return true;
}

// C(q) → Q(C(DQ(q)))
bool raise_clamp(Graph& graph, Node* node) {
  if (node->op().quant != QuantRole::clamp || !is_byte(node->input(0))) return false;
  const std::optional<Quantize> q = as_quantize(node->input(0)->producer());
  const std::optional<QuantParams> params = q ? std::optional(q->params) : shared_params(graph, *node);
  if (!params || !params->per_tensor()) return false;
  const bool relu = node->inputs().size() == 1;
  std::vector<Value*> bounds(2, nullptr);
  for (size_t i = 0; i < 2; ++i) {
    const Value* given = node->input(i + 1);
    if (given && !given->is_constant()) return false;
    if (!given && !(relu && i == 0)) continue;
    const auto quantum = given ? static_cast<int32_t>(given->constant().at_s64(0)) : 0;
    bounds[i] = graph.add_constant(Tensor::scalar(numerics::dequantize(quantum, params->scale[0], params->zero_point[0])));
  }
  Value* x = insert_dequantize(graph, node->input(0), *params, node);
  Node* clip = graph.add_node("Clip", {x, bounds[0], bounds[1]}, 1, node->name(), node);
  infer_types(graph, *clip);
  Value* y = insert_quantize(graph, clip->output(), *params, node->input(0)->dtype(), node, node->name() + "/quantize");
  substitute(graph, node->output(), y);
  return true;
}

QuantParams as_unsigned(QuantParams p) {
  p.zero_point[0] += 128;
  return p;
}

struct Consumers {
  std::vector<Node*> dequantizes;  // per tensor
  std::vector<Use> others;
};

Consumers consumers_of(const Value* v) {
  Consumers c;
  for (const Use& u : v->uses()) {
    const auto dq = u.index == 0 ? as_dequantize(u.node->output()) : std::nullopt;
    if (dq && dq->params.per_tensor())
      c.dequantizes.push_back(u.node);
    else
      c.others.push_back(u);
  }
  return c;
}

void make_unsigned(Graph& graph, Node* dq, Value* source) {
  const QuantParams p = as_unsigned(as_dequantize(dq->output())->params);
  graph.set_input(dq, 0, source);
  graph.set_input(dq, 2, zero_point_constant(graph, DType::u8, p.zero_point));
}

Node* earliest(const Graph& graph, const std::vector<Node*>& nodes) {
  for (const auto& n : graph.nodes())
    if (std::find(nodes.begin(), nodes.end(), n.get()) != nodes.end()) return n.get();
  return nullptr;
}

// The s8 output of a Q becomes u8; whoever wants the s8 bytes gets them through a table.
bool unsign_quantize(Graph& graph, Node* node) {
  const std::optional<Quantize> q = as_quantize(node);
  if (!q || q->dtype != DType::s8 || !q->params.per_tensor()) return false;
  Value* v = node->output();
  const Consumers consumers = consumers_of(v);
  const QuantParams params = as_unsigned(q->params);
  Value* u8 = insert_quantize(graph, q->source, params, DType::u8, node, node->name());
  for (Node* dq : consumers.dequantizes) make_unsigned(graph, dq, u8);
  if (!consumers.others.empty() || graph.is_output(v)) {
    Value* s8 = insert_table(graph, u8, sign_flip_table(DType::s8), nullptr, node, node->name() + "/signed");
    substitute(graph, v, s8);
  } else {
    substitute(graph, v, u8);
  }
  return true;
}

// An s8 value from elsewhere: its DQs read it through a table.
int unsign_value(Graph& graph, Value* v) {
  if (v->dtype() != DType::s8 || v->is_constant()) return 0;
  const Consumers consumers = consumers_of(v);
  if (consumers.dequantizes.empty()) return 0;
  Node* first = earliest(graph, consumers.dequantizes);
  Value* u8 = insert_table(graph, v, sign_flip_table(DType::u8), nullptr, first, v->name() + "/unsigned");
  for (Node* dq : consumers.dequantizes) make_unsigned(graph, dq, u8);
  return 1;
}

void set_quant(Value* v, const QuantParams& params) {
  Type type = v->type();
  type.quant = std::make_shared<const QuantParams>(params);
  v->set_type(std::move(type));
}

// Types say what the integers mean.
int annotate(Graph& graph, Node* node) {
  int changes = 0;
  if (const auto q = as_u8_quantize(node)) {
    if (!node->output()->quant() || *node->output()->quant() != q->params) ++changes;
    set_quant(node->output(), q->params);
  } else if (const auto dq = as_u8_dequantize(node->output()); dq && !dq->source->is_constant()) {
    const QuantParams* known = dq->source->quant();
    if (known && *known == dq->params) return changes;
    ++changes;
    if (!known)
      set_quant(dq->source, dq->params);
    else
      graph.set_input(node, 0,
                      insert_table(graph, dq->source, identity_table(), std::make_shared<const QuantParams>(dq->params),
                                   node, node->name() + "/as"));
  }
  return changes;
}

void explain(Node* node) {
  const bool q = node->op().quant == QuantRole::quantize, dq = node->op().quant == QuantRole::dequantize;
  if (!q && !dq) return;
  const Value* integers = q ? node->output() : node->input(0);
  if (integers->is_constant()) return;
  const bool recognised = q ? as_u8_quantize(node).has_value() : as_u8_dequantize(node->output()).has_value();
  if (recognised || (q && node->outputs().size() != 1)) return;
  if (!is_byte(integers))
    node->why = "it quantizes to " + std::string(octet::to_string(integers->dtype())) + "; expected 8-bit integers";
  else
    node->why = "its scale and zero point are not one constant each";
}

}  // namespace

int canonical_quantization(Graph& graph) {
  int changes = 0;
  const std::vector<Node*> order = graph.node_list();
  for (auto it = order.rbegin(); it != order.rend(); ++it) changes += hoist_dequantize(graph, *it) ? 1 : 0;
  for (Node* node : graph.node_list()) changes += sink_quantize(graph, node) ? 1 : 0;
  for (Node* node : graph.node_list()) changes += raise_clamp(graph, node) ? 1 : 0;
  for (Node* node : graph.node_list()) changes += unsign_quantize(graph, node) ? 1 : 0;
  for (Value* v : graph.inputs()) changes += unsign_value(graph, v);
  for (Node* node : graph.node_list())
    for (Value* v : node->outputs())
      if (node->op_name() != "octet.Table") changes += unsign_value(graph, v);
  for (Node* node : graph.node_list()) {
    changes += annotate(graph, node);
    explain(node);
  }
  return changes;
}

}  // namespace octet::graph
