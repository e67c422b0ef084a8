// Arithmetic with constants per output channel, after a product, goes into its weights and bias.
//
//   Add(octet.Conv(x, w, b), c[1,C,1,1])  →  octet.Conv(x, w, b + c)
//   Add(p, DQ(c : int32[C]))              →  octet.Gemm(x, w, DQ(c))       when it has no bias yet
//   Sub(p, c), Sub(c, p), Mul(p, c), Div(p, c) likewise; chains of them one by one; octet.Gemm over its last axis;
//   ConvTranspose
//
// Declined: the product's value is used elsewhere, the constant varies over other axes, or a factor meets integer weights.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/weights.h"

namespace octet::graph {

namespace {

// y = x * factor + shift for the constant c on side 0 or 1 of the operator; nothing when it is not affine in the other side.
struct Affine {
  std::vector<float> factor, shift;
};
std::optional<Affine> as_affine(std::string_view op, const std::vector<float>& c, int side) {
  const std::vector<float> zero(c.size(), 0.0f);
  if (op == "Add") return Affine{{}, c};
  if (op == "Mul") return Affine{c, zero};
  if (op == "Sub" && side == 0) return Affine{std::vector<float>(c.size(), -1.0f), c};
  if (op == "Sub") {
    Affine a{{}, c};
    for (float& v : a.shift) v = -v;
    return a;
  }
  if (op == "Div" && side == 1) {
    Affine a{c, zero};
    for (float& v : a.factor) v = 1.0f / v;
    return a;
  }
  return std::nullopt;
}

bool fold(Graph& graph, Node* node) {
  if (node->inputs().size() != 2 || node->outputs().size() != 1 || node->has_attr("act")) return false;
  for (const int side : {0, 1}) {
    const Value* c = node->input(static_cast<size_t>(side));
    Value* y = node->input(static_cast<size_t>(1 - side));
    if (!c || !y || !c->is_constant() || y->is_constant() || c->dtype() != DType::f32) continue;
    Node* product = y->producer();
    if (!product || y->dtype() != DType::f32 || product->has_attr("act") || product->input(kResidual)) continue;
    const OutputChannels channels = output_channels(*product);
    if (channels.count < 0 || !y->type().ranked()) continue;
    const auto values = per_channel_constant(c, y->type().rank(), channels.axis, channels.count);
    if (!values) continue;
    const std::optional<Affine> a = as_affine(node->op_name(), *values, side);
    if (!a) continue;
    if (!graph.single_use(y)) {
      node->why = "the product before it is used elsewhere";
      continue;
    }
    if (!apply_affine(graph, product, a->factor, a->shift, node->why)) continue;
    substitute(graph, node->output(), y);
    return true;
  }
  return false;
}

// A quantized bias keeps its integers.
bool take_integer_bias(Graph& graph, Node* node) {
  if (node->op_name() != "Add" || node->has_attr("act")) return false;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    Value *y = node->input(1 - side), *c = node->input(side);
    Node* product = y->producer();
    if (!is_product(product) || product->op_name() != "octet.Gemm" || product->has_attr("act")) continue;
    if (product->input(kBias) || product->input(kResidual) || !graph.single_use(y)) continue;
    const std::optional<Dequantize> bias = as_dequantize(c);
    if (!bias || !bias->source->is_constant() || bias->source->dtype() != DType::s32) continue;
    if (bias->source->constant().shape() != Shape{output_channels(*product).count}) continue;
    graph.set_input(product, kBias, c);
    graph.move_before(product, node);  // behind the bias
    substitute(graph, node->output(), y);
    return true;
  }
  return false;
}

}  // namespace

int fold_scale_bias(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) changes += fold(graph, node) || take_integer_bias(graph, node) ? 1 : 0;
  return changes;
}

}  // namespace octet::graph
