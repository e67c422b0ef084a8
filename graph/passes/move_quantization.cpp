// Moves Q and DQ through transparent operators, so that these run on bytes and a product finds its DQ next to it.
//
//   push_dequantize   T(DQ(q), …)   →  DQ(T(q, …))       all data inputs DQs of equal parameters
//   pull_quantize     Q(T(x, …))    →  T(Q(x), …)        every consumer of T is a Q of equal parameters
//                     DQ(Q(x))      →  octet.FakeQuantize(x)  of 16 bits, which nothing computes with: moved by no one
//   requantize        Q(DQ(q))      →  q, or octet.Table(q) when the parameters differ
//
// Clamps that map quanta to quanta (Relu, and Clip with bounds on the grid) are pushed through as tables.
// push_dequantize_weights does the first for constants only, scales per channel included, before products look for weights.
// Declined: data inputs of different parameters (until a Q behind them says which to take), a Pad value that is no quantum.
#include <algorithm>
#include <array>

#include "graph/eval.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/transparent.h"
#include "octet/numerics.h"

namespace octet::graph {

namespace {

// Parameters behind T, when they are those in front of it, moved along with their axis.
std::optional<QuantParams> params_behind(const Node& node, QuantParams p) {
  if (p.per_tensor()) return p;
  if (node.op_name() != "Transpose") return std::nullopt;
  const std::vector<int64_t> perm = node.ints("perm");
  if (perm.empty()) {
    p.axis = node.input(0)->type().rank() - 1 - p.axis;
    return p;
  }
  p.axis = static_cast<int>(std::find(perm.begin(), perm.end(), p.axis) - perm.begin());
  return p;
}

// The parameters that all data inputs share as outputs of DQs.
std::optional<QuantParams> params_in_front(const Node& node) {
  std::optional<QuantParams> shared;
  DType dtype = DType::undefined;
  for (const size_t i : data_inputs(node)) {
    const std::optional<Dequantize> dq = as_dequantize(node.input(i));
    if (!dq || size_of(dq->source->dtype()) != 1) return std::nullopt;
    if (shared && (*shared != dq->params || dtype != dq->source->dtype())) return std::nullopt;
    shared = dq->params;
    dtype = dq->source->dtype();
  }
  return shared;
}

bool all_constant(const Node& node) {
  const std::vector<size_t> data = data_inputs(node);
  return std::all_of(data.begin(), data.end(),
                     [&](size_t i) { return as_dequantize(node.input(i))->source->is_constant(); });
}

Node* node_behind(const Graph& graph, const Node* node) {
  const auto& order = graph.nodes();
  auto at = std::find_if(order.begin(), order.end(), [&](const auto& n) { return n.get() == node; });
  ++at;
  return at == order.end() ? nullptr : at->get();
}

bool push(Graph& graph, Node* node) {
  const std::optional<QuantParams> params = params_in_front(*node);
  const std::optional<QuantParams> behind = params ? params_behind(*node, *params) : std::nullopt;
  if (!behind) return false;
  const DType dtype = as_dequantize(node->input(0))->source->dtype();
  const std::vector<Value*> outputs = data_outputs(*node);
  if (const int s = scalar_input(*node); s >= 0) {
    const std::optional<int32_t> quantum = scalar_as_quantum(*node, *params, dtype);
    const Value* v = node->input(static_cast<size_t>(s));
    const float wanted = v ? scalar_constant(v).value_or(0.0f) : 0.0f;
    if (!quantum || numerics::dequantize(*quantum, params->scale[0], params->zero_point[0]) != wanted) {
      node->why = "its padding value is no quantum of its input";
      return false;
    }
    graph.set_input(node, static_cast<size_t>(s), zero_point_constant(graph, dtype, {*quantum}));
  }
  for (const size_t i : data_inputs(*node)) {
    Node* dq = node->input(i)->producer();
    graph.set_input(node, i, dq->input(0));
    erase_dead(graph, dq);
  }
  for (Value* v : outputs) {
    const std::string name = v->name();
    v->set_type(Type{dtype, v->type().dims, std::make_shared<const QuantParams>(*behind)});
    if (v->uses().empty() && !graph.is_output(v)) continue;
    graph.rename(v, name + "/quantized");
    Value* real = insert_dequantize(graph, v, *behind, node_behind(graph, node));
    Node* dq = real->producer();
    graph.replace_uses(v, real);
    graph.set_input(dq, 0, v);
    graph.rename(real, name);
  }
  infer_types(graph, *node);
  return true;
}

// Whether only Qs of these parameters follow: then what made the value may take the clamp in (quantize_elementwise).
bool is_quantized_again(const Graph& graph, const Value* v, const QuantParams& params) {
  const auto same = [&](const Use& u) {
    const std::optional<Quantize> q = as_u8_quantize(u.node);
    return q && q->params == params;
  };
  return !graph.is_output(v) && std::all_of(v->uses().begin(), v->uses().end(), same);
}

// A clamp whose image of every quantum is a quantum, as a table.
bool push_clamp(Graph& graph, Node* node) {
  if (node->op().quant != QuantRole::clamp) return false;
  const std::optional<Dequantize> dq = as_u8_dequantize(node->input(0));
  if (!dq || dq->source->is_constant() || is_quantized_again(graph, node->output(), dq->params)) return false;
  std::vector<Tensor> in(node->inputs().size());
  for (size_t i = 1; i < in.size(); ++i) {
    if (node->input(i) && !node->input(i)->is_constant()) return false;
    if (node->input(i)) in[i] = node->input(i)->constant();
  }
  const float scale = dq->params.scale[0];
  const int32_t zero = dq->params.zero_point[0];
  std::vector<float> reals;
  for (int i = 0; i < 256; ++i) reals.push_back(numerics::dequantize(i, scale, zero));
  in[0] = Tensor::of<float>(DType::f32, {256}, reals);
  const Tensor out = evaluate(*node, in)[0];
  std::vector<uint8_t> table;
  for (int i = 0; i < 256; ++i) {
    const float v = out.as<float>()[i];
    const int32_t quantum = numerics::quantize(v, scale, zero, 0, 255);
    if (numerics::dequantize(quantum, scale, zero) != v) return false;
    table.push_back(static_cast<uint8_t>(quantum));
  }
  Value* y = insert_table(graph, dq->source, Tensor::of<uint8_t>(DType::u8, {256}, table), dq->source->type().quant, node,
                          node->name());
  substitute(graph, node->output(), insert_dequantize(graph, y, dq->params, node));
  return true;
}

struct Target {
  QuantParams params;
  DType dtype;
};

// What the Qs behind all data outputs agree on; nothing when something else consumes them.
std::optional<Target> agreed_target(const Graph& graph, const Node& node) {
  std::optional<Target> target;
  for (const Value* v : data_outputs(node)) {
    if (graph.is_output(v)) return std::nullopt;
    for (const Use& u : v->uses()) {
      const std::optional<Quantize> q = u.index == 0 ? as_quantize(u.node) : std::nullopt;
      if (!q || !q->params.per_tensor() || size_of(q->dtype) != 1) return std::nullopt;
      if (target && (target->params != q->params || target->dtype != q->dtype)) return std::nullopt;
      target = Target{q->params, q->dtype};
    }
  }
  return target;
}

bool pull(Graph& graph, Node* node) {
  if (!is_transparent(*node) || node->input(0)->dtype() != DType::f32) return false;
  const std::optional<Target> target = agreed_target(graph, *node);
  if (!target) return false;
  const std::optional<int32_t> quantum = scalar_as_quantum(*node, target->params, target->dtype);
  if (!quantum) return false;
  const std::vector<Value*> outputs = data_outputs(*node);
  if (const int s = scalar_input(*node); s >= 0)
    graph.set_input(node, static_cast<size_t>(s), zero_point_constant(graph, target->dtype, {*quantum}));
  for (const size_t i : data_inputs(*node)) {
    Value* x = node->input(i);
    const std::string name = x->producer() ? x->producer()->name() : x->name();
    graph.set_input(node, i, insert_quantize(graph, x, target->params, target->dtype, node, name + "/quantize"));
  }
  for (Value* v : outputs) {
    v->set_type(Type{target->dtype, v->type().dims, std::make_shared<const QuantParams>(target->params)});
    const std::vector<Use> uses = v->uses();
    for (const Use& u : uses) {
      const std::string name = u.node->output()->name();
      graph.replace_uses(u.node->output(), v);
      graph.erase(u.node);
      graph.rename(v, name);
    }
  }
  infer_types(graph, *node);
  return true;
}

}  // namespace

int push_dequantize_weights(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list())
    if (is_transparent(*node) && params_in_front(*node) && all_constant(*node)) changes += push(graph, node) ? 1 : 0;
  return changes;
}

namespace {

// A DQ of what a Q of the same parameters made, 16 bits a tensor: 16-bit activations stay in float.
bool fake_quantize(Graph& graph, Node* node) {
  const std::optional<Dequantize> dq = node->outputs().size() == 1 ? as_dequantize(node->output()) : std::nullopt;
  const std::optional<Quantize> q = dq ? as_quantize(dq->source->producer()) : std::nullopt;
  if (!q || size_of(q->dtype) != 2 || !q->params.per_tensor() || q->params != dq->params) return false;
  const bool is_signed = q->dtype == DType::s16;
  Node* fake = graph.add_node("octet.FakeQuantize", {q->source}, 1, node->name(), node);
  fake->set_attr("scale", q->params.scale[0]);
  fake->set_attr("zero_point", int64_t{q->params.zero_point[0]});
  fake->set_attr("least", int64_t{is_signed ? -32768 : 0});
  fake->set_attr("most", int64_t{is_signed ? 32767 : 65535});
  infer_types(graph, *fake);
  substitute(graph, node->output(), fake->output());
  return true;
}

}  // namespace

int push_dequantize(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) changes += fake_quantize(graph, node) ? 1 : 0;
  for (Node* node : graph.node_list()) {
    const bool pushed = is_transparent(*node) ? push(graph, node) : push_clamp(graph, node);
    changes += pushed ? 1 : 0;
  }
  return changes;
}

int pull_quantize(Graph& graph) {
  int changes = 0;
  const std::vector<Node*> order = graph.node_list();
  for (auto it = order.rbegin(); it != order.rend(); ++it) changes += pull(graph, *it) ? 1 : 0;
  return changes;
}

int requantize(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    const std::optional<Quantize> q = as_u8_quantize(node);
    const std::optional<Dequantize> dq = q ? as_u8_dequantize(q->source) : std::nullopt;
    if (!dq) continue;
    ++changes;
    if (q->params == dq->params) {
      graph.replace_uses(node->output(), dq->source);
      erase_dead(graph, node);
      continue;
    }
    std::vector<uint8_t> table;
    for (int i = 0; i < 256; ++i) {
      const float real = numerics::dequantize(i, dq->params.scale[0], dq->params.zero_point[0]);
      table.push_back(static_cast<uint8_t>(numerics::quantize(real, q->params.scale[0], q->params.zero_point[0], 0, 255)));
    }
    Value* y = insert_table(graph, dq->source, Tensor::of<uint8_t>(DType::u8, {256}, table), node->output()->type().quant,
                            node, node->name());
    substitute(graph, node->output(), y);
  }
  return changes;
}

}  // namespace octet::graph
