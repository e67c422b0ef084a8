// The dynamic dialect: activations quantized at run time, weights ahead of it.
//
//   x8, sx, zx = DynamicQuantizeLinear(x)
//   Mul(Cast(ConvInteger(x8, w, zx, zw)), Mul(sx, sw))   →   octet.Conv(x8, w:s8 q(sw, zw), , , sx, zx) : float32
//   the same with MatMulInteger                          →   octet.Gemm(x8, wᵀ, …)
//   the same of two that come at run time                →   com.microsoft.MatMulIntegerToFloat(a8, b8, sa, sb, za, zb)
//
// The scales are multiplied in the same order in both, so not a bit changes. A bias and an activation behind it are folded
// by the passes that do so for every product. Declined: convolutions of s8 activations, and those whose weights,
// their zero point or scale are not constant.
#include <algorithm>

#include "graph/passes/conv_attributes.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/weights.h"

namespace octet::graph {

namespace {

bool is_one_element(const Value* v) { return v->type().static_shape() && element_count(v->type().shape()) == 1; }

struct Scales {
  Value* x;  // at run time, one element
  std::vector<float> w;
};

// Mul(sx, sw) with a constant sw of one element or one per output channel.
std::optional<Scales> read_scales(const Value* product, int rank, int axis, int64_t channels) {
  const Node* mul = product->producer();
  if (!mul || mul->op_name() != "Mul") return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Value* w = mul->input(side);
    Value* x = mul->input(1 - side);
    if (!w->is_constant() || x->is_constant() || x->dtype() != DType::f32 || !is_one_element(x)) continue;
    if (const std::optional<float> one = scalar_constant(w)) return Scales{x, {*one}};
    if (const auto each = per_channel_constant(w, rank, axis, channels)) return Scales{x, *each};
  }
  return std::nullopt;
}

struct Candidate {
  Node* integer;  // ConvInteger or MatMulInteger
  Value* scale;
};

std::optional<Candidate> match(const Graph& graph, const Node* mul) {
  if (mul->op_name() != "Mul" || mul->inputs().size() != 2) return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    Node* cast = mul->input(side)->producer();
    if (!cast || cast->op_name() != "Cast" || cast->output()->dtype() != DType::f32 || !graph.single_use(cast->output()))
      continue;
    Node* integer = cast->input(0)->producer();
    if (!integer || !graph.single_use(cast->input(0))) continue;
    if (integer->op_name() != "ConvInteger" && integer->op_name() != "MatMulInteger") continue;
    return Candidate{integer, mul->input(1 - side)};
  }
  return std::nullopt;
}

// A product of two that come at run time, or of weights that are no matrix.
std::string join(Graph& graph, Node* mul, const Candidate& found) {
  Value *a_scale = found.scale, *b_scale = nullptr;
  const Node* node = found.integer;
  if (!is_one_element(a_scale) || a_scale->dtype() != DType::f32 || !node->output()->type().ranked() ||
      a_scale->type().rank() > node->output()->type().rank())
    return "the scale behind it is no single number";
  const Node* product = a_scale->producer();
  const auto is_scale = [](const Value* v) { return v->dtype() == DType::f32 && is_one_element(v); };
  if (product && product->op_name() == "Mul" && is_scale(product->input(0)) && is_scale(product->input(1)))
    a_scale = product->input(0), b_scale = product->input(1);
  else
    b_scale = graph.add_constant(Tensor::scalar(1.0f));
  Value* y =
      insert_node(graph, "com.microsoft.MatMulIntegerToFloat",
                  {node->input(0), node->input(1), a_scale, b_scale, node->input(2), node->input(3)}, node->name(), mul);
  substitute(graph, mul->output(), y);
  return {};
}

std::string rewrite(Graph& graph, Node* mul, const Candidate& found) {
  Node* node = found.integer;
  const bool conv = node->op_name() == "ConvInteger";
  if (!conv && (!node->input(1)->is_constant() || node->input(1)->constant().shape().size() != 2))
    return join(graph, mul, found);
  Value *x = node->input(0), *x_zero = node->input(2), *y = node->output();
  const Value *w = node->input(1), *w_zero = node->input(3);
  if (x->dtype() != DType::u8) return "its activations are not uint8";
  if (!w->is_constant() || (w_zero && !w_zero->is_constant())) return "its weights are not constant";
  const size_t w_rank = w->constant().shape().size();
  if (w_rank != (conv ? 4u : 2u)) return "its weights have rank " + std::to_string(w_rank);
  if (!is_rank(x, conv ? 4 : x->type().ranked() ? std::max(2, x->type().rank()) : 2))
    return "the rank of its input is not known";
  if (x_zero && !is_one_element(x_zero)) return "its input has zero points per row";
  Weights weights{w->constant(), QuantParams{}, w->name()};
  if (!conv) weights = transposed(weights);
  const int64_t channels = weights.values.shape()[0];
  const int rank = y->type().rank();
  const std::optional<Scales> scales = read_scales(found.scale, rank, conv ? 1 : rank - 1, channels);
  if (!scales) return "the scale behind it is no product of a run-time scale and a constant";
  QuantParams& p = *weights.params;
  p.scale = scales->w;
  const std::vector<int64_t> zeros = w_zero ? w_zero->constant().to_s64() : std::vector<int64_t>{0};
  if (zeros.size() > 1 && p.scale.size() == 1) p.scale.assign(zeros.size(), p.scale[0]);
  for (size_t i = 0; i < p.scale.size(); ++i) p.zero_point.push_back(static_cast<int32_t>(zeros[zeros.size() == 1 ? 0 : i]));
  p.axis = p.scale.size() > 1 ? 0 : -1;

  std::optional<std::vector<int64_t>> pads;
  const Shape kernel = conv ? Shape(w->constant().shape().begin() + 2, w->constant().shape().end()) : Shape{};
  if (conv) {
    pads = explicit_pads(*node, kernel);
    if (!pads || std::any_of(pads->begin(), pads->end(), [](int64_t v) { return v < 0; }))
      return "its padding is not known or negative";
  }
  if (!x_zero) x_zero = graph.add_constant(Tensor(DType::u8, {}));
  Value* w8 = signed_weights(graph, weights);
  Node* product =
      graph.add_node(conv ? "octet.Conv" : "octet.Gemm", {x, w8, nullptr, nullptr, scales->x, x_zero}, 1, node->name(), mul);
  if (conv) {
    product->set_attr("strides", ints_or(*node, "strides", 2, 1));
    product->set_attr("pads", *pads);
    product->set_attr("dilations", ints_or(*node, "dilations", 2, 1));
    product->set_attr("group", node->attr("group", int64_t{1}));
  }
  product->output()->set_type(Type{DType::f32, std::nullopt, nullptr});
  infer_types(graph, *product);
  substitute(graph, mul->output(), product->output());
  return {};
}

}  // namespace

int normalise_dynamic(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (node->op_name() == "ConvInteger" || node->op_name() == "MatMulInteger")
      node->why = "no Cast and Mul by its scales behind it";  // gone with the node when there is one
    const std::optional<Candidate> found = match(graph, node);
    if (!found) continue;
    std::string declined = rewrite(graph, node, *found);
    if (declined.empty())
      ++changes;
    else
      found->integer->why = std::move(declined);
  }
  return changes;
}

}  // namespace octet::graph
