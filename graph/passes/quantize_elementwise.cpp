// What computes between DQ and Q, and is no product, computes on quanta.
//
//   Q(Relu(DQ(q)))            → the product or Add that made q, with that activation, when the parameters are the same
//   Q(f(DQ(q)))               → octet.Table(q)                f any element-wise expression of q alone
//   Q([Relu](Add(DQ a, DQ b)))→ Add(a, b) {act} : u8          Sub, Mul likewise; one side may be a constant behind a DQ
//   Q(AveragePool(DQ(q)))     → AveragePool(q) : u8           and GlobalAveragePool
//   Q(Resize(DQ(q)))          → Resize(q) : u8                linear, of the same parameters
//
// An operand of Add that an integer product has just made is put first: fused into that product (fuse_residual), the sum is
// then the same to the bit. Declined, with the operand that was not quantized named: everything else between DQ and Q.
#include <algorithm>
#include <limits>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/table_region.h"
#include "graph/passes/transparent.h"
#include "graph/passes/weights.h"

namespace octet::graph {

namespace {

struct Activation {
  std::string kind;
  float min = std::numeric_limits<float>::lowest(), max = std::numeric_limits<float>::max();
};

std::optional<Activation> read_clamp(const Node* node) {
  if (!node || node->op().quant != QuantRole::clamp) return std::nullopt;
  if (node->inputs().size() == 1 && node->op_name() == "Relu") return Activation{"relu"};
  Activation a{"clip"};
  for (const size_t i : {size_t{1}, size_t{2}}) {
    if (!node->input(i)) continue;
    const std::optional<float> bound = scalar_constant(node->input(i));
    if (!bound) return std::nullopt;
    (i == 1 ? a.min : a.max) = *bound;
  }
  return a;
}

void set_activation(Node* node, const Activation& a) {
  node->set_attr("act", a.kind);
  if (a.kind != "clip") return;
  node->set_attr("act_min", a.min);
  node->set_attr("act_max", a.max);
}

// node : float32 → Q becomes node : u8.
void take_quantize(Graph& graph, Node* node, Node* q) {
  const Type type = q->output()->type();
  graph.move_before(node, q);
  Value* y = node->output();
  substitute(graph, q->output(), y);
  y->set_type(type);
  infer_types(graph, *node);
}

bool fuse_clamp(Graph& graph, Node* q) {
  const std::optional<Quantize> quantize = as_u8_quantize(q);
  const std::optional<Activation> act = read_clamp(quantize->source->producer());
  if (!act || !graph.single_use(quantize->source)) return false;
  const std::optional<Dequantize> dq = as_u8_dequantize(quantize->source->producer()->input(0));
  if (!dq || dq->params != quantize->params || !graph.single_use(dq->node->output()) || !graph.single_use(dq->source))
    return false;
  Node* maker = dq->source->producer();
  const bool binary = maker && maker->op().quant == QuantRole::binary && maker->output()->quant();
  if ((!is_product(maker) && !binary) || maker->has_attr("act")) return false;
  set_activation(maker, *act);
  take_quantize(graph, maker, q);
  return true;
}

bool make_table(Graph& graph, Node* q) {
  const std::optional<TableRegion> region = find_table_region(graph, q);
  if (!region) return false;
  Value* y =
      insert_table(graph, region->source, table_of(*region, q), q->output()->type().quant, q, region->nodes.back()->name());
  substitute(graph, q->output(), y);
  return true;
}

// A u8 quantized value for an operand: the source of its DQ, or a constant behind one.
Value* quantized_operand(Graph& graph, const Value* v) {
  const std::optional<Dequantize> dq = as_dequantize(v);
  if (!dq || !dq->params.per_tensor()) return nullptr;
  if (!dq->source->is_constant()) return dq->source->dtype() == DType::u8 ? dq->source : nullptr;
  const Tensor& t = dq->source->constant();
  if (dq->source->dtype() == DType::u8) return quantized_constant(graph, t, dq->params, dq->source->name());
  if (dq->source->dtype() != DType::s8) return nullptr;
  Tensor flipped(DType::u8, t.shape());
  for (size_t i = 0; i < t.bytes(); ++i) flipped.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(t.as<uint8_t>()[i] ^ 128);
  QuantParams p = dq->params;
  p.zero_point[0] += 128;
  return quantized_constant(graph, std::move(flipped), p, dq->source->name());
}

bool quantizable(const Value* v) {
  const std::optional<Dequantize> dq = as_dequantize(v);
  if (!dq || !dq->params.per_tensor()) return false;
  return dq->source->dtype() == DType::u8 || (dq->source->dtype() == DType::s8 && dq->source->is_constant());
}

// Position in the order when the value comes from an integer product that may take the sum in; -1 otherwise.
int64_t taker_position(const Graph& graph, const Value* operand) {
  const std::optional<Dequantize> dq = as_dequantize(operand);
  if (!dq || !is_product(dq->source->producer()) || !graph.single_use(dq->source) || !graph.single_use(operand)) return -1;
  const Node* product = dq->source->producer();
  if (product->input(kResidual)) return -1;
  int64_t position = 0;
  for (const auto& n : graph.nodes()) {
    if (n.get() == product) return position;
    ++position;
  }
  return -1;
}

bool make_binary(Graph& graph, Node* q) {
  Node* node = q->input(0)->producer();
  if (!node) return false;
  const std::optional<Activation> act = read_clamp(node);
  Node* clamp = act ? node : nullptr;
  if (clamp) node = clamp->input(0)->producer();
  if (!node || node->op().quant != QuantRole::binary || node->inputs().size() != 2 || node->has_attr("act")) return false;
  if (!graph.single_use(node->output()) || (clamp && !graph.single_use(clamp->output()))) {
    node->why = "its float32 result is used besides the QuantizeLinear";
    return false;
  }
  for (const Value* v : node->inputs())
    if (!quantizable(v)) {
      node->why = "its operand " + v->name() + " is not quantized";
      return false;
    }
  Value *a = node->input(0), *b = node->input(1);
  if (node->op_name() == "Add" && taker_position(graph, b) > taker_position(graph, a)) std::swap(a, b);
  Value *qa = quantized_operand(graph, a), *qb = quantized_operand(graph, b);
  Node* sum = graph.add_node(node->op(), {qa, qb}, 1, node->name(), q);
  for (const auto& [key, value] : node->attrs()) sum->set_attr(key, value);
  if (act) set_activation(sum, *act);
  sum->output()->set_type(q->output()->type());
  infer_types(graph, *sum);
  substitute(graph, q->output(), sum->output());
  return true;
}

bool make_average(Graph& graph, Node* q) {
  Node* node = q->input(0)->producer();
  if (!node || node->op().quant != QuantRole::average) return false;
  const std::optional<Dequantize> dq = as_u8_dequantize(node->input(0));
  if (!dq || dq->source->is_constant()) {
    node->why = "its input is not quantized";
    return false;
  }
  if (!graph.single_use(node->output())) {
    node->why = "its float32 result is used besides the QuantizeLinear";
    return false;
  }
  graph.set_input(node, 0, dq->source);
  erase_dead(graph, dq->node);
  node->output()->set_type(Type{DType::u8, node->output()->type().dims, nullptr});
  take_quantize(graph, node, q);
  node->why.clear();
  return true;
}

bool make_interpolation(Graph& graph, Node* q) {
  Node* node = q->input(0)->producer();
  if (!node || !interpolates(*node)) return false;
  const std::optional<Dequantize> dq = as_u8_dequantize(node->input(0));
  if (!dq || dq->source->is_constant() || dq->params != as_u8_quantize(q)->params || !graph.single_use(node->output())) {
    node->why = "its input and its only result are not quantized alike";
    return false;
  }
  graph.set_input(node, 0, dq->source);
  erase_dead(graph, dq->node);
  node->output()->set_type(Type{DType::u8, node->output()->type().dims, nullptr});
  take_quantize(graph, node, q);
  node->why.clear();
  return true;
}

bool computes(const Node& node) {
  const QuantRole r = node.op().quant;
  return r == QuantRole::unary || r == QuantRole::clamp || r == QuantRole::binary || r == QuantRole::average;
}

void explain(const Graph& graph, Node* node) {
  if (!computes(*node) || !node->why.empty() || node->output()->dtype() != DType::f32) return;
  const bool quantized_in = std::any_of(node->inputs().begin(), node->inputs().end(),
                                        [](const Value* v) { return v && as_dequantize(v).has_value(); });
  bool quantized_out = !node->output()->uses().empty() && !graph.is_output(node->output());
  for (const Use& u : node->output()->uses()) quantized_out = quantized_out && as_quantize(u.node).has_value();
  node->why = !quantized_in    ? "its input is not quantized"
              : !quantized_out ? "no QuantizeLinear follows it"
                               : "it is no function of one 8-bit value";
}

}  // namespace

int quantize_elementwise(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (!as_u8_quantize(node)) continue;
    if (fuse_clamp(graph, node) || make_table(graph, node) || make_binary(graph, node) || make_average(graph, node) ||
        make_interpolation(graph, node))
      ++changes;
  }
  for (const auto& node : graph.nodes()) explain(graph, node.get());
  return changes;
}

}  // namespace octet::graph
