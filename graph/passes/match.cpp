#include "graph/passes/match.h"

#include <algorithm>
#include <cassert>
#include <unordered_set>

namespace octet::graph {

namespace {

// Scale and zero point of a Q or DQ node whose integers are `integers`.
std::optional<QuantParams> constant_params(const Node& node, const Value& integers) {
  const Value *scale = node.input(1), *zero = node.input(2);
  if (!scale || !scale->is_constant() || scale->dtype() != DType::f32) return std::nullopt;
  if (zero && !zero->is_constant()) return std::nullopt;
  if (node.attr("block_size", int64_t{0}) != 0 || scale->constant().shape().size() > 1) return std::nullopt;
  QuantParams p;
  p.scale = scale->constant().to_f32();
  if (p.scale.size() > 1) {
    if (!integers.type().ranked()) return std::nullopt;
    const auto axis = static_cast<int>(node.attr("axis", int64_t{1}));
    p.axis = axis < 0 ? axis + integers.type().rank() : axis;
  }
  p.zero_point.assign(p.scale.size(), 0);
  if (zero) {
    const std::vector<int64_t> z = zero->constant().to_s64();
    for (size_t i = 0; i < p.scale.size(); ++i) p.zero_point[i] = static_cast<int32_t>(z[z.size() == 1 ? 0 : i]);
  }
  for (const float s : p.scale)
    if (!(s > 0)) return std::nullopt;
  return p;
}

}  // namespace

std::optional<Dequantize> as_dequantize(const Value* value) {
  if (!value || !value->producer() || value->producer()->op().quant != QuantRole::dequantize) return std::nullopt;
  Node* node = value->producer();
  if (value->dtype() != DType::f32) return std::nullopt;
  std::optional<QuantParams> p = constant_params(*node, *node->input(0));
  if (!p) return std::nullopt;
  return Dequantize{node, node->input(0), std::move(*p)};
}

std::optional<Dequantize> as_u8_dequantize(const Value* value) {
  std::optional<Dequantize> dq = as_dequantize(value);
  if (!dq || dq->source->dtype() != DType::u8 || !dq->params.per_tensor()) return std::nullopt;
  return dq;
}

std::optional<Quantize> as_quantize(const Node* node) {
  if (!node || node->op().quant != QuantRole::quantize || node->outputs().size() != 1) return std::nullopt;
  if (node->input(0)->dtype() != DType::f32) return std::nullopt;
  std::optional<QuantParams> p = constant_params(*node, *node->output());
  if (!p) return std::nullopt;
  return Quantize{const_cast<Node*>(node), node->input(0), std::move(*p), node->output()->dtype()};
}

std::optional<Quantize> as_u8_quantize(const Node* node) {
  std::optional<Quantize> q = as_quantize(node);
  if (!q || q->dtype != DType::u8 || !q->params.per_tensor()) return std::nullopt;
  return q;
}

Node* sole_consumer(const Graph& graph, const Value* value) {
  return graph.single_use(value) ? value->uses()[0].node : nullptr;
}

bool is_product(const Node* node) {
  return node && node->op().quant == QuantRole::product && node->op_name().starts_with("octet.");
}

int64_t known_dim(const Value* value, int axis) {
  if (!value->type().ranked()) return -1;
  const int rank = value->type().rank();
  const int i = axis < 0 ? axis + rank : axis;
  return i >= 0 && i < rank ? (*value->type().dims)[static_cast<size_t>(i)].value : -1;
}

bool same_shape(const Value* a, const Value* b) {
  return a->type().ranked() && b->type().ranked() && *a->type().dims == *b->type().dims;
}

bool is_rank(const Value* value, int rank) { return value->type().ranked() && value->type().rank() == rank; }

std::optional<float> scalar_constant(const Value* value) {
  if (!value || !value->is_constant() || value->constant().size() != 1 || value->dtype() == DType::string)
    return std::nullopt;
  return static_cast<float>(value->constant().at_f64(0));
}

std::optional<std::vector<float>> per_channel_constant(const Value* value, int rank, int axis, int64_t size) {
  if (!value->is_constant() || value->dtype() != DType::f32 || size < 0) return std::nullopt;
  const Tensor& t = value->constant();
  const int own = static_cast<int>(t.shape().size());
  if (own > rank) return std::nullopt;
  if (t.size() == 1) return std::vector<float>(static_cast<size_t>(size), t.as<float>()[0]);
  const int position = axis - (rank - own);
  if (position < 0 || t.size() != size || t.shape()[static_cast<size_t>(position)] != size) return std::nullopt;
  return t.to_f32();
}

int input_index(const OpDef& op, std::string_view name) {
  for (size_t i = 0; i < op.inputs.size(); ++i)
    if (op.inputs[i].name == name) return static_cast<int>(i);
  return -1;
}

void erase_dead(Graph& graph, Node* node) {
  const auto unused = [&](const Value* v) { return v->uses().empty() && !graph.is_output(v); };
  // A producer may be reached along several ways, and be gone by the second.
  std::vector<Node*> work{node};
  std::unordered_set<const Node*> erased;
  while (!work.empty()) {
    Node* next = work.back();
    work.pop_back();
    if (erased.contains(next) || !std::all_of(next->outputs().begin(), next->outputs().end(), unused)) continue;
    for (const Value* v : next->inputs())
      if (v && v->producer()) work.push_back(v->producer());
    erased.insert(next);
    graph.erase(next);
  }
}

void substitute(Graph& graph, Value* from, Value* to) {
  const std::string name = from->name();
  Node* producer = from->producer();
  graph.replace_uses(from, to);
  if (producer) {
    const size_t outputs = producer->outputs().size();
    if (outputs == 1 && to->producer()) graph.rename(from, name + "/folded");
    erase_dead(graph, producer);
    if (outputs == 1 && to->producer()) graph.rename(to, name);
  }
}

Value* scale_constant(Graph& graph, const std::vector<float>& scale) {
  Shape shape;
  if (scale.size() > 1) shape = {static_cast<int64_t>(scale.size())};
  return graph.add_constant(Tensor::of<float>(DType::f32, shape, scale));
}

Value* zero_point_constant(Graph& graph, DType dtype, const std::vector<int32_t>& zero_point) {
  Shape shape;
  if (zero_point.size() > 1) shape = {static_cast<int64_t>(zero_point.size())};
  if (dtype == DType::s32) return graph.add_constant(Tensor::of<int32_t>(dtype, shape, zero_point));
  assert(dtype == DType::u8 || dtype == DType::s8);
  std::vector<uint8_t> bytes;
  for (const int32_t z : zero_point) bytes.push_back(static_cast<uint8_t>(z));
  return graph.add_constant(Tensor::of<uint8_t>(dtype, shape, bytes));
}

Value* quantized_constant(Graph& graph, Tensor tensor, const QuantParams& params, const std::string& name) {
  Value* v = graph.add_constant(std::move(tensor), name);
  Type type = v->type();
  type.quant = std::make_shared<const QuantParams>(params);
  v->set_type(std::move(type));
  return v;
}

Value* insert_node(Graph& graph, std::string_view op, std::vector<Value*> inputs, std::string name, Node* before) {
  Node* node = graph.add_node(op, std::move(inputs), 1, std::move(name), before);
  infer_types(graph, *node);
  return node->output();
}

Value* insert_dequantize(Graph& graph, Value* source, const QuantParams& params, Node* before, std::string name) {
  Value* zero = zero_point_constant(graph, source->dtype(), params.zero_point);
  Node* node =
      graph.add_node("DequantizeLinear", {source, scale_constant(graph, params.scale), zero}, 1, std::move(name), before);
  if (!params.per_tensor()) node->set_attr("axis", int64_t{params.axis});
  infer_types(graph, *node);
  return node->output();
}

Value* insert_quantize(Graph& graph, Value* source, const QuantParams& params, DType dtype, Node* before, std::string name) {
  Value* zero = zero_point_constant(graph, dtype, params.zero_point);
  Node* node =
      graph.add_node("QuantizeLinear", {source, scale_constant(graph, params.scale), zero}, 1, std::move(name), before);
  if (!params.per_tensor()) node->set_attr("axis", int64_t{params.axis});
  infer_types(graph, *node);
  Type type = node->output()->type();
  type.quant = std::make_shared<const QuantParams>(params);
  node->output()->set_type(std::move(type));
  return node->output();
}

int rewrite_each(Graph& graph, const std::function<bool(Node*)>& rewrite) {
  int changes = 0;
  const auto rewrite_one = [&] {
    const std::vector<Node*> nodes = graph.node_list();
    return std::any_of(nodes.begin(), nodes.end(), rewrite);
  };
  while (rewrite_one()) ++changes;
  return changes;
}

int rewrite_or_say_why(Graph& graph, const std::function<std::optional<std::string>(Node*)>& rewrite) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    std::optional<std::string> declined = rewrite(node);
    if (!declined) continue;
    if (declined->empty())
      ++changes;
    else
      node->why = std::move(*declined);
  }
  return changes;
}

Value* insert_table(Graph& graph, Value* x, Tensor table, std::shared_ptr<const QuantParams> y_quant, Node* before,
                    std::string name) {
  assert(table.size() == 256);
  const DType dtype = table.dtype();
  Node* node = graph.add_node("octet.Table", {x, graph.add_constant(std::move(table))}, 1, std::move(name), before);
  node->output()->set_type(Type{dtype, x->type().dims, std::move(y_quant)});
  infer_types(graph, *node);
  return node->output();
}

}  // namespace octet::graph
