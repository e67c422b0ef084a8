#include "graph/quantize/dialects.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "graph/op_def.h"
#include "graph/passes/attention_pattern.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/qlinear_forms.h"
#include "graph/passes/transparent.h"
#include "graph/passes/weights.h"
#include "graph/quantize/parameters.h"
#include "graph/quantize/products.h"
#include "octet/numerics.h"

namespace octet::graph {

namespace {

int32_t lowest(DType dtype) { return dtype == DType::s8 ? -128 : 0; }
int32_t highest(DType dtype) { return dtype == DType::s8 ? 127 : 255; }
bool is_byte(DType dtype) { return dtype == DType::s8 || dtype == DType::u8; }

// --- s8 ------------------------------------------------------------------------------------------------------------------

Tensor flipped(const Tensor& t) {
  Tensor s(DType::s8, t.shape());
  for (size_t i = 0; i < t.bytes(); ++i) s.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(t.as<uint8_t>()[i] ^ 128);
  return s;
}

void shift_zero_point(Graph& graph, Node* node, QuantParams params) {
  for (int32_t& z : params.zero_point) z -= 128;
  graph.set_input(node, 2, zero_point_constant(graph, DType::s8, params.zero_point));
}

// --- QLinear -------------------------------------------------------------------------------------------------------------

// What is quantized, without the clamp in front of Q, and that clamp in quanta.
struct Clamped {
  Value* real;
  int32_t lo, hi;
};

Clamped before_clamp(const Graph& graph, const Quantize& q) {
  Clamped c{q.source, lowest(q.dtype), highest(q.dtype)};
  Node* node = q.source->producer();
  if (!node || node->op().quant != QuantRole::clamp || !graph.single_use(q.source)) return c;
  const auto quantum = [&](float v) {
    return numerics::quantize(v, q.params.scale[0], q.params.zero_point[0], lowest(q.dtype), highest(q.dtype));
  };
  if (node->inputs().size() == 1) return {node->input(0), quantum(0.0f), c.hi};
  Clamped inside{node->input(0), c.lo, c.hi};
  for (const size_t i : {size_t{1}, size_t{2}}) {
    if (!node->input(i)) continue;
    const std::optional<float> bound = scalar_constant(node->input(i));
    if (!bound) return c;
    (i == 1 ? inside.lo : inside.hi) = quantum(*bound);
  }
  return inside;
}

const QLinearForm* form_of(const Node& node) {
  const auto form = std::find_if(std::begin(kQLinearForms), std::end(kQLinearForms),
                                 [&](const QLinearForm& f) { return f.plain == node.op_name(); });
  return form == std::end(kQLinearForms) ? nullptr : form;
}

Value* zero_point_of(Graph& graph, const Dequantize& dq) {
  Value* given = dq.node->input(2);
  return given ? given : zero_point_constant(graph, dq.source->dtype(), dq.params.zero_point);
}

bool is_bias_of(const Dequantize& bias, const Dequantize& x, const Dequantize& w) {
  if (bias.source->dtype() != DType::s32) return false;
  for (size_t i = 0; i < bias.params.scale.size(); ++i) {
    const float wanted = x.params.scale[0] * w.params.scale[w.params.scale.size() == 1 ? 0 : i];
    if (std::fabs(bias.params.scale[i] - wanted) > 1e-5f * wanted || bias.params.zero_point[i] != 0) return false;
  }
  return true;
}

struct Operands {
  std::vector<Dequantize> list;
  std::optional<Dequantize> bias;
};

std::optional<Operands> read_operands(const QLinearForm& form, const Node& node, const Quantize& q) {
  Operands found;
  const size_t count = form.operands == kNoInput ? node.inputs().size() : static_cast<size_t>(form.operands);
  for (size_t i = 0; i < count; ++i) {
    const std::optional<Dequantize> dq = as_dequantize(node.input(i));
    if (!dq || !is_byte(dq->source->dtype())) return std::nullopt;
    const bool weights = form.product && i == 1;
    if (weights ? !dq->source->is_constant() : !dq->params.per_tensor() || dq->source->dtype() != q.dtype)
      return std::nullopt;
    found.list.push_back(*dq);
  }
  if (!form.product || node.inputs().size() <= count || !node.input(count)) return found;
  found.bias = as_dequantize(node.input(count));
  if (!found.bias || !is_bias_of(*found.bias, found.list[0], found.list[1])) return std::nullopt;
  return found;
}

Value* write(Graph& graph, const QLinearForm& form, const Node& node, const Operands& operands, const Quantize& q) {
  std::vector<Value*> inputs(static_cast<size_t>(form.first));
  for (const Dequantize& o : operands.list)
    inputs.insert(inputs.end(), {o.source, o.node->input(1), zero_point_of(graph, o)});
  const auto y = static_cast<size_t>(form.y_scale);
  if (inputs.size() < y + 2) inputs.resize(y + 2);
  inputs[y] = q.node->input(1);
  inputs[y + 1] = q.node->input(2) ? q.node->input(2) : zero_point_constant(graph, q.dtype, q.params.zero_point);
  if (operands.bias) {
    const auto at = static_cast<size_t>(form.bias);
    if (inputs.size() <= at) inputs.resize(at + 1);
    inputs[at] = operands.bias->source;
  }
  const OpDef* op = find_op(form.qlinear);
  Node* fused = graph.add_node(*op, std::move(inputs), 1, node.name(), q.node);
  for (const AttrSchema& schema : op->attrs)
    if (const Attribute* a = node.find_attr(schema.name)) fused->set_attr(std::string(schema.name), *a);
  if (form.plain == "Softmax") {
    fused->set_attr("axis", node.attr("axis", int64_t{-1}));
    fused->set_attr("opset", int64_t{13});  // along one axis
  }
  infer_types(graph, *fused);
  return fused->output();
}

bool plain_gemm(const Node& node) {
  return node.attr("alpha", 1.0f) == 1.0f && node.attr("beta", 1.0f) == 1.0f && node.attr("transA", int64_t{0}) == 0;
}

// y stands for q's integers, clamped unless the range of the type does that anyway.
void finish(Graph& graph, Value* y, const Clamped& clamped, const Quantize& q, const std::string& name) {
  if (clamped.lo != lowest(q.dtype) || clamped.hi != highest(q.dtype))
    y = insert_node(
        graph, "Clip",
        {y, zero_point_constant(graph, q.dtype, {clamped.lo}), zero_point_constant(graph, q.dtype, {clamped.hi})}, name,
        q.node);
  substitute(graph, q.node->output(), y);
}

bool make_qlinear(Graph& graph, const Quantize& q) {
  const Clamped clamped = before_clamp(graph, q);
  const Value* real = clamped.real;
  const Node* node = real->producer();
  const QLinearForm* form = node ? form_of(*node) : nullptr;
  if (!form || !graph.single_use(real) || (form->plain == "Gemm" && !plain_gemm(*node))) return false;
  const std::optional<Operands> operands = read_operands(*form, *node, q);
  if (!operands) return false;
  finish(graph, write(graph, *form, *node, *operands, q), clamped, q, node->name() + "/clamp");
  return true;
}

// Q([clamp](Add(MatMul(DQ x, DQ w), DQ bias))) as rows of a matrix: Reshape, QGemm, Reshape.
bool make_rows(Graph& graph, const Quantize& q) {
  const Clamped clamped = before_clamp(graph, q);
  const Value* real = clamped.real;
  const Node* add = real->producer();
  if (!add || add->op_name() != "Add" || !graph.single_use(real) || !real->type().ranked()) return false;
  const Node* product = add->input(0)->producer();
  if (!product || product->op_name() != "MatMul" || !graph.single_use(add->input(0))) return false;
  const QLinearForm& form = *form_of(*product);
  std::optional<Operands> operands = read_operands(form, *product, q);
  const std::optional<Dequantize> bias = as_dequantize(add->input(1));
  if (!operands || !bias || !is_bias_of(*bias, operands->list[0], operands->list[1])) return false;
  const auto weight_rank = operands->list[1].source->type().rank();
  std::vector<int64_t> shape;
  for (const Dim& d : *real->type().dims) shape.push_back(d.known() ? d.value : -1);
  if (weight_rank != 2 || std::count(shape.begin(), shape.end(), -1) > 1) return false;

  const int64_t k = known_dim(operands->list[1].source, 0);
  const std::string& name = product->name();
  operands->bias = bias;
  operands->list[0].source = insert_node(
      graph, "Reshape", {operands->list[0].source, graph.add_constant(Tensor::of_s64({-1, k}))}, name + "/rows", q.node);
  const QLinearForm& gemm = *std::find_if(std::begin(kQLinearForms), std::end(kQLinearForms),
                                          [](const QLinearForm& f) { return f.plain == "Gemm"; });
  Value* y = write(graph, gemm, *product, *operands, q);
  y = insert_node(graph, "Reshape", {y, graph.add_constant(Tensor::of_s64(shape))}, name + "/back", q.node);
  finish(graph, y, clamped, q, name + "/clamp");
  return true;
}

// Q(T(DQ x, DQ y, …)) of equal parameters, all of T's outputs quantized: T on the integers. The Qs are left to `dead`.
bool move_integers(Graph& graph, Node* node, std::vector<Node*>& dead) {
  if (!is_transparent(*node) || scalar_input(*node) >= 0 || node->input(0)->dtype() != DType::f32) return false;
  std::optional<Quantize> q;
  for (const Value* v : data_outputs(*node)) {
    if (graph.is_output(v) || v->uses().empty()) return false;
    for (const Use& u : v->uses()) {
      const std::optional<Quantize> next = u.index == 0 ? as_quantize(u.node) : std::nullopt;
      if (!next || (q && (q->params != next->params || q->dtype != next->dtype))) return false;
      q = next;
    }
  }
  for (const size_t i : data_inputs(*node)) {
    const std::optional<Dequantize> dq = as_dequantize(node->input(i));
    if (!dq || dq->params != q->params || dq->source->dtype() != q->dtype || !is_byte(q->dtype)) return false;
  }
  const std::vector<Value*> outputs = data_outputs(*node);
  for (const size_t i : data_inputs(*node)) graph.set_input(node, i, node->input(i)->producer()->input(0));
  for (Value* v : outputs) {
    v->set_type(Type{q->dtype, v->type().dims, nullptr});
    const std::vector<Use> uses = v->uses();
    for (const Use& u : uses) {
      graph.replace_uses(u.node->output(), v);
      dead.push_back(u.node);
    }
  }
  infer_types(graph, *node);
  return true;
}

// --- dynamic -------------------------------------------------------------------------------------------------------------

struct RunTime {
  Value *integers, *scale, *zero_point;
};

RunTime quantize_at_run_time(Graph& graph, Value* x, Node* before, std::map<const Value*, RunTime>& done) {
  if (const auto it = done.find(x); it != done.end()) return it->second;
  Node* node = graph.add_node("DynamicQuantizeLinear", {x}, 3, x->name() + "_quantize", before);
  infer_types(graph, *node);
  return done[x] = {node->output(0), node->output(1), node->output(2)};
}

// Whether what is computed on the way from v's source to the operand serves this attention alone.
bool serves_only(const Graph& graph, const AttentionPattern& p, const HeadsView& v) {
  std::vector<const Node*> own{p.first, p.last};
  for (const HeadsView* view : {&p.q, &p.k, &p.v}) own.insert(own.end(), view->way.begin(), view->way.end());
  const auto is_own = [&](const Use& u) { return std::find(own.begin(), own.end(), u.node) != own.end(); };
  return std::all_of(v.way.begin(), v.way.end(), [&](const Node* node) {
    return std::all_of(node->outputs().begin(), node->outputs().end(), [&](const Value* y) {
      return !graph.is_output(y) && std::all_of(y->uses().begin(), y->uses().end(), is_own);
    });
  });
}

// Queries, keys and values behind DequantizeLinears of what DynamicQuantizeLinear made of them, where products left them.
// Softmax and its products stay as they are: octet.Attention rounds probabilities by the largest of each query, which no
// ONNX operator says.
std::string make_attention_dynamic(Graph& graph, const AttentionPattern& p, std::map<const Value*, RunTime>& done) {
  for (const HeadsView* v : {&p.q, &p.k, &p.v}) {
    if (v->quantized || v->source->dtype() != DType::f32) return "its operands are no floats";
    if (v != &p.q && comes_from_outside(v->source)) return "its keys and values come from outside, as a cache does";
    if (!serves_only(graph, p, *v)) return "parts of it are wanted elsewhere too";
  }
  std::map<const Value*, Value*> real;
  const auto dequantized = [&](Value* source, Node* before) {
    if (const auto it = real.find(source); it != real.end()) return it->second;
    const RunTime x = quantize_at_run_time(graph, source, before, done);
    return real[source] = insert_node(graph, "DequantizeLinear", {x.integers, x.scale, x.zero_point},
                                      source->name() + "_dequantize", before);
  };
  const auto quantize = [&](const HeadsView& v, Node* user) {
    Node* next = v.way.empty() ? user : v.way.front();
    for (size_t i = 0; i < next->inputs().size(); ++i)
      if (next->input(i) == v.source) graph.set_input(next, i, dequantized(v.source, next));
  };
  quantize(p.q, p.first ? p.first : p.last);
  quantize(p.k, p.first ? p.first : p.last);
  quantize(p.v, p.last);
  return {};
}

// A constant of `values`, along axis 1 of a convolution's result or the last of a matrix product's.
Value* along_channels(Graph& graph, const std::vector<float>& values, bool conv, size_t rank, const std::string& name) {
  Shape shape{static_cast<int64_t>(values.size())};
  if (conv) {
    shape.assign(rank, 1);
    shape[1] = static_cast<int64_t>(values.size());
  }
  return graph.add_constant(Tensor::of<float>(DType::f32, shape, values), name);
}

void make_dynamic(Graph& graph, Node* node, std::map<const Value*, RunTime>& done) {
  const bool conv = node->op_name() == "Conv";
  const Value *w = node->input(1), *bias = node->input(2);
  const std::string& name = node->name();
  const int axis = weight_axis(*node);
  const WeightParams params = quantize_weights(w->constant(), axis, {}, 1.0f);
  Weights weights{params.integers, std::nullopt, w->name() + "_quantized"};
  if (!conv && axis == 0) weights = transposed(weights);
  const RunTime x = quantize_at_run_time(graph, node->input(0), node, done);
  Value* w8 = graph.add_constant(weights.values, weights.name);
  Node* integer =
      graph.add_node(conv ? "ConvInteger" : "MatMulInteger", {x.integers, w8, x.zero_point}, 1, name + "_integer", node);
  if (conv)
    for (const auto& [key, value] : node->attrs()) integer->set_attr(key, value);
  infer_types(graph, *integer);
  const size_t rank = w->constant().shape().size();
  Node* cast = graph.add_node("Cast", {integer->output()}, 1, name + "_cast", node);
  cast->set_attr("to", int64_t{1});  // TensorProto.FLOAT
  infer_types(graph, *cast);
  Value* scale = insert_node(graph, "Mul", {x.scale, along_channels(graph, params.scale, conv, rank, w->name() + "_scale")},
                             name + "_scale", node);
  Value* y = insert_node(graph, "Mul", {cast->output(), scale}, bias ? name + "_scaled" : name, node);
  if (bias) {
    Value* b = along_channels(graph, bias->constant().to_f32(), conv, rank, bias->name());
    y = insert_node(graph, "Add", {y, b}, name, node);
  }
  substitute(graph, node->output(), y);
}

}  // namespace

void to_signed_activations(Graph& graph) {
  for (Node* node : graph.node_list()) {
    if (const std::optional<Quantize> q = as_quantize(node); q && q->dtype == DType::u8) {
      shift_zero_point(graph, node, q->params);
      node->output()->set_type(Type{DType::s8, node->output()->type().dims, nullptr});
      continue;
    }
    if (node->op().quant != QuantRole::dequantize) continue;
    const std::optional<Dequantize> dq = as_dequantize(node->output());
    if (!dq || !node->input(2) || node->input(2)->dtype() != DType::u8) continue;
    if (dq->source->is_constant())
      graph.set_input(node, 0, graph.add_constant(flipped(dq->source->constant()), dq->source->name()));
    shift_zero_point(graph, node, dq->params);
  }
  graph.drop_unused_constants();
  infer_types(graph);
}

void to_qlinear(Graph& graph) {
  infer_types(graph);
  std::vector<Node*> dead;
  for (Node* node : graph.node_list()) move_integers(graph, node, dead);
  for (Node* node : dead) graph.erase(node);
  for (Node* node : graph.node_list()) {
    const std::optional<Quantize> q = as_quantize(node);
    if (q && q->params.per_tensor() && is_byte(q->dtype)) make_qlinear(graph, *q) || make_rows(graph, *q);
  }
  dead_code(graph);
  infer_types(graph);
}

std::unique_ptr<Graph> quantize_dynamic(const Graph& graph) {
  std::unique_ptr<Graph> copy = graph.clone();
  std::map<const Value*, RunTime> done;
  std::string refusal;
  for (Node* node : copy->node_list()) {
    std::string why;
    if (const auto attention = match_attention(*copy, node, why)) {
      node->why = make_attention_dynamic(*copy, *attention, done);
      continue;
    }
    why.clear();
    if (is_quantizable_product(*node, why))
      make_dynamic(*copy, node, done);
    else if (!why.empty() && refusal.empty())
      refusal = copy->file + ": node '" + node->name() + "' (" + std::string(node->op_name()) +
                "): cannot be quantized, like every product of the graph: " + why;
  }
  if (done.empty() && !refusal.empty()) throw Error(ErrorCode::unsupported, refusal);
  copy->sort();
  copy->drop_unused_constants();
  infer_types(*copy);
  return copy;
}

}  // namespace octet::graph
