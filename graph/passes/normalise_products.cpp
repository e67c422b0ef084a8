// Conv, Gemm and MatMul by constant weights become octet.Conv and octet.Gemm: output channels first, everything explicit.
//
//   Conv(x, w, b) {auto_pad}         → octet.Conv(x, w, b) {strides, pads, dilations, group}
//   Conv of a rank-3 x               → Unsqueeze, octet.Conv with H = 1, Squeeze
//   Gemm(a, b, c) {alpha, beta, …}   → octet.Gemm(a, alpha·b as [N,K], beta·c as [N])    [→ Add(c) when c is no bias]
//   MatMul(a, b[K,N])                → octet.Gemm(a, bᵀ)
//
// Weights may be float32 or integers behind a DQ. Declined, each with its sentence: other element types, weights or biases
// that change at run time, paddings that depend on an unknown size or are negative. A convolution over three axes stays one
// until flatten_depth.
#include <algorithm>

#include "graph/passes/conv_attributes.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/weights.h"

namespace octet::graph {

namespace {

std::optional<Weights> read_bias(const Value* value, int64_t channels) {
  std::optional<Weights> b = read_weights(value);
  if (!b || b->values.size() != channels) return std::nullopt;
  return b;
}

std::string normalise_conv(Graph& graph, Node* node) {
  const Value* x = node->input(0);
  std::optional<Weights> w = read_weights(node->input(1));
  if (!w) return "its weights are not float32 constants, nor integers behind a DequantizeLinear";
  const size_t rank = w->values.shape().size();
  if (x->dtype() != DType::f32) return "it computes in " + std::string(octet::to_string(x->dtype()));
  if (rank < 3 || rank > 5) return "it is a convolution over " + std::to_string(rank - 2) + " axes; expected 1, 2 or 3";
  if (!is_rank(x, static_cast<int>(rank))) return "the rank of its input is not known";
  std::optional<Weights> bias;
  if (node->input(2)) {
    bias = read_bias(node->input(2), w->values.shape()[0]);
    if (!bias) return "its bias is not constant";
  }
  Shape kernel(w->values.shape().begin() + 2, w->values.shape().end());
  std::optional<std::vector<int64_t>> pads = explicit_pads(*node, kernel);
  if (!pads) return "its automatic padding depends on an unknown size";
  if (std::any_of(pads->begin(), pads->end(), [](int64_t p) { return p < 0; })) return "a padding is negative";
  std::vector<int64_t> strides = ints_or(*node, "strides", rank - 2, 1),
                       dilations = ints_or(*node, "dilations", rank - 2, 1);

  Value* input = node->input(0);
  Value* axis = nullptr;
  if (rank == 3) {
    const Shape& s = w->values.shape();
    w = reshaped(*w, {s[0], s[1], 1, s[2]});
    strides.insert(strides.begin(), 1);
    dilations.insert(dilations.begin(), 1);
    pads = {0, (*pads)[0], 0, (*pads)[1]};
    axis = graph.add_constant(Tensor::of_s64({2}));
    Node* widen = graph.add_node("Unsqueeze", {input, axis}, 1, node->name() + "/rows", node);
    infer_types(graph, *widen);
    input = widen->output();
  }
  Node* conv = graph.add_node("octet.Conv", {input, write_weights(graph, *w, node)}, 1, node->name(), node);
  if (bias) graph.set_input(conv, kBias, write_weights(graph, *bias, conv));
  conv->set_attr("strides", strides);
  conv->set_attr("pads", *pads);
  conv->set_attr("dilations", dilations);
  conv->set_attr("group", node->attr("group", int64_t{1}));
  conv->output()->set_type(Type{DType::f32, std::nullopt, nullptr});
  infer_types(graph, *conv);
  Value* result = conv->output();
  if (rank == 3) {
    Node* narrow = graph.add_node("Squeeze", {result, axis}, 1, node->name() + "/row", node);
    infer_types(graph, *narrow);
    result = narrow->output();
  }
  substitute(graph, node->output(), result);
  return {};
}

// Multiplies float weights, or the scales of integer ones.
bool scale_weights(Weights& w, float factor) {
  if (factor == 1.0f) return true;
  if (w.params) {
    if (!(factor > 0)) return false;
    for (float& s : w.params->scale) s *= factor;
    return true;
  }
  Tensor scaled(DType::f32, w.values.shape());
  for (size_t i = 0; i < static_cast<size_t>(scaled.size()); ++i)
    scaled.mutable_as<float>()[i] = w.values.as<float>()[i] * factor;
  w.values = std::move(scaled);
  return true;
}

// c as a bias [N]: absent when it is not constant or varies over rows.
std::optional<Weights> gemm_bias(const Value* c, int64_t n) {
  std::optional<Weights> bias = read_weights(c);
  if (!bias) return std::nullopt;
  if (!bias->params) {
    const std::optional<std::vector<float>> flat = per_channel_constant(c, 2, 1, n);
    if (!flat) return std::nullopt;
    return Weights{Tensor::of<float>(DType::f32, {n}, *flat), std::nullopt, bias->name};
  }
  const Shape& s = bias->values.shape();
  if (bias->values.size() != n || s.empty() || s.back() != n) return std::nullopt;
  return reshaped(*bias, {n});
}

std::string make_gemm(Graph& graph, Node* node, Value* a, const Weights& w, std::optional<Weights> bias, Value* addend) {
  Node* gemm = graph.add_node("octet.Gemm", {a, write_weights(graph, w, node)}, 1, node->name(), node);
  if (bias) graph.set_input(gemm, kBias, write_weights(graph, *bias, gemm));
  gemm->output()->set_type(Type{DType::f32, std::nullopt, nullptr});
  infer_types(graph, *gemm);
  Value* result = gemm->output();
  if (addend) {
    Node* add = graph.add_node("Add", {result, addend}, 1, node->name() + "/addend", node);
    infer_types(graph, *add);
    result = add->output();
  }
  substitute(graph, node->output(), result);
  return {};
}

std::string normalise_gemm(Graph& graph, Node* node) {
  Value* a = node->input(0);
  Value* c = node->input(2);
  std::optional<Weights> w = read_weights(node->input(1));
  if (!w || w->values.shape().size() != 2) return "its B is not a float32 constant, nor integers behind a DequantizeLinear";
  if (a->dtype() != DType::f32) return "it computes in " + std::string(octet::to_string(a->dtype()));
  if (node->attr("transB", int64_t{0}) == 0) w = transposed(*w);
  if (!scale_weights(*w, node->attr("alpha", 1.0f))) return "a negative alpha cannot go into the scales of integer weights";
  const float beta = node->attr("beta", 1.0f);
  std::optional<Weights> bias;
  if (c && beta != 0.0f) {
    bias = gemm_bias(c, w->values.shape()[0]);
    if (bias && !scale_weights(*bias, beta)) return "a negative beta cannot go into the scale of an integer bias";
    if (!bias && beta != 1.0f) return "its C is no constant bias and beta is not 1";
  }
  if (node->attr("transA", int64_t{0}) != 0) {
    Node* transpose = graph.add_node("Transpose", {a}, 1, node->name() + "/transA", node);
    transpose->set_attr("perm", std::vector<int64_t>{1, 0});
    infer_types(graph, *transpose);
    a = transpose->output();
  }
  return make_gemm(graph, node, a, *w, bias, c && beta != 0.0f && !bias ? c : nullptr);
}

std::string normalise_matmul(Graph& graph, Node* node) {
  Value* a = node->input(0);
  const std::optional<Weights> w = read_weights(node->input(1));
  if (!w) return "both its operands change at run time, or B is not float32";
  if (w->values.shape().size() != 2)
    return "its constant B has rank " + std::to_string(w->values.shape().size()) + "; expected 2";
  if (!a->type().ranked() || a->type().rank() < 2) return "its A is not known to be a matrix";
  if (a->dtype() != DType::f32) return "it computes in " + std::string(octet::to_string(a->dtype()));
  return make_gemm(graph, node, a, transposed(*w), std::nullopt, nullptr);
}

}  // namespace

int normalise_products(Graph& graph) {
  return rewrite_or_say_why(graph, [&](Node* node) -> std::optional<std::string> {
    if (node->op_name() == "Conv") return normalise_conv(graph, node);
    if (node->op_name() == "Gemm") return normalise_gemm(graph, node);
    if (node->op_name() == "MatMul") return normalise_matmul(graph, node);
    return std::nullopt;
  });
}

}  // namespace octet::graph
