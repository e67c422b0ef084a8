// BatchNormalization after a product goes into its weights; elsewhere it becomes a depthwise 1x1 convolution, which takes an
// activation in, quantizes and fuses like any other, or, where x is no image, a multiplication and an addition.
//
//   BatchNormalization(octet.Conv(x, w, b))  →  octet.Conv(x, w·g, (b - mean)·g + B)      g = scale / sqrt(var + epsilon)
//   BatchNormalization(x[N,C,H,W])           →  octet.Conv(x, g[C,1,1,1], B - mean·g) {group = C}
//   BatchNormalization(x)                    →  Add(Mul(x, g), B - mean·g)
//
// Also after octet.Gemm and ConvTranspose. Declined: parameters that are not constant, training mode, an input of unknown
// rank.
#include <cmath>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/weights.h"

namespace octet::graph {

namespace {

struct Affine {
  std::vector<float> factor, shift;
};

std::optional<Affine> read_batch_norm(const Node& node) {
  for (size_t i = 1; i <= 4; ++i)
    if (!node.input(i) || !node.input(i)->is_constant()) return std::nullopt;
  const auto at = [&](size_t input, size_t i) { return node.input(input)->constant().at_f64(static_cast<int64_t>(i)); };
  const double epsilon = static_cast<double>(node.attr("epsilon", 1e-5f));
  const auto n = static_cast<size_t>(node.input(1)->constant().size());
  Affine a;
  for (size_t i = 0; i < n; ++i) {
    const double g = at(1, i) / std::sqrt(at(4, i) + epsilon);
    a.factor.push_back(static_cast<float>(g));
    a.shift.push_back(static_cast<float>(at(2, i) - at(3, i) * g));
  }
  return a;
}

std::string fold(Graph& graph, Node* node) {
  Value* x = node->input(0);
  if (node->attr("training_mode", int64_t{0}) != 0) return "it is in training mode";
  for (size_t i = 1; i < node->outputs().size(); ++i)
    if (!node->output(i)->uses().empty()) return "its running statistics are used";
  if (x->dtype() != DType::f32) return "it computes in " + std::string(octet::to_string(x->dtype()));
  const std::optional<Affine> a = read_batch_norm(*node);
  if (!a) return "its parameters are not constant";
  Node* product = x->producer();
  std::string why;
  if (product && graph.single_use(x)) {
    const OutputChannels channels = output_channels(*product);
    const bool plain = !product->has_attr("act") && !product->input(kResidual);
    if (plain && channels.axis == 1 && channels.count == static_cast<int64_t>(a->factor.size()) &&
        apply_affine(graph, product, a->factor, a->shift, why)) {
      substitute(graph, node->output(), x);
      return {};
    }
  }
  if (!x->type().ranked() || x->type().rank() < 2) return "the rank of its input is not known";
  if (x->type().rank() == 4) {
    const auto c = static_cast<int64_t>(a->factor.size());
    Value* w = graph.add_constant(Tensor::of<float>(DType::f32, {c, 1, 1, 1}, a->factor), node->name() + "/factor");
    Value* b = graph.add_constant(Tensor::of<float>(DType::f32, {c}, a->shift), node->name() + "/shift");
    Node* conv = graph.add_node("octet.Conv", {x, w, b}, 1, node->name(), node);
    conv->set_attr("strides", std::vector<int64_t>{1, 1});
    conv->set_attr("pads", std::vector<int64_t>(4, 0));
    conv->set_attr("dilations", std::vector<int64_t>{1, 1});
    conv->set_attr("group", c);
    conv->output()->set_type(Type{DType::f32, std::nullopt, nullptr});
    infer_types(graph, *conv);
    substitute(graph, node->output(), conv->output());
    return {};
  }
  Shape shape(static_cast<size_t>(x->type().rank()), 1);
  shape[1] = static_cast<int64_t>(a->factor.size());
  Value* factor = graph.add_constant(Tensor::of<float>(DType::f32, shape, a->factor), node->name() + "/factor");
  Value* shift = graph.add_constant(Tensor::of<float>(DType::f32, shape, a->shift), node->name() + "/shift");
  Node* mul = graph.add_node("Mul", {x, factor}, 1, node->name() + "/mul", node);
  infer_types(graph, *mul);
  Node* add = graph.add_node("Add", {mul->output(), shift}, 1, node->name(), node);
  infer_types(graph, *add);
  add->why = why;
  substitute(graph, node->output(), add->output());
  return {};
}

}  // namespace

int fold_batch_norm(Graph& graph) {
  return rewrite_or_say_why(graph, [&](Node* node) -> std::optional<std::string> {
    if (node->op_name() != "BatchNormalization") return std::nullopt;
    return fold(graph, node);
  });
}

}  // namespace octet::graph
