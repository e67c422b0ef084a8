// ConvTranspose by constant weights becomes octet.ConvTranspose: output channels first, everything explicit.
//
//   ConvTranspose(x, w[C, M/g, kh, kw], b) {auto_pad, output_shape}
//                                   → octet.ConvTranspose(x, w[M, C/g, kh, kw], b) {strides, pads, dilations, group,
//                                   output_padding}
//   ConvTranspose of a rank-3 x     → Unsqueeze, octet.ConvTranspose with H = 1, Squeeze
//
// Weights may be float32 or integers behind a DQ. Declined, each with its sentence: other element types, weights or biases
// that change at run time, three spatial axes, scales along the input channels, an output_shape that depends on an unknown
// size.
#include <algorithm>
#include <cstring>

#include "graph/passes/conv_attributes.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/weights.h"

namespace octet::graph {

namespace {

struct Geometry {
  std::vector<int64_t> strides, dilations, pads, extra;  // extra: output_padding
};

// Sizes follow ONNX: out = (in - 1) * stride + output_padding + extent - pads, or are given and the padding follows.
std::string read_geometry(const Node& node, const Shape& kernel, Geometry& g) {
  const size_t spatial = kernel.size();
  g.strides = ints_or(node, "strides", spatial, 1);
  g.dilations = ints_or(node, "dilations", spatial, 1);
  g.pads = ints_or(node, "pads", 2 * spatial, 0);
  g.extra = ints_or(node, "output_padding", spatial, 0);
  const std::string rule = node.attr("auto_pad", "NOTSET");
  const std::vector<int64_t> wanted = node.ints("output_shape");
  const bool same = rule == "SAME_UPPER" || rule == "SAME_LOWER";
  if (rule == "VALID") g.pads.assign(2 * spatial, 0);
  if (wanted.empty() && !same) return {};
  for (size_t i = 0; i < spatial; ++i) {
    const int64_t in = known_dim(node.input(0), static_cast<int>(i) + 2);
    if (in < 0) return "its padding depends on an unknown size";
    const int64_t full = (in - 1) * g.strides[i] + g.extra[i] + (kernel[i] - 1) * g.dilations[i] + 1;
    const int64_t out = wanted.empty() ? in * g.strides[i] : wanted[i];
    const int64_t total = std::max<int64_t>(0, full - out), small = total / 2;
    g.pads[i] = rule == "SAME_UPPER" ? small : total - small;
    g.pads[spatial + i] = total - g.pads[i];
    g.extra[i] += out - (full - total);
  }
  return {};
}

// [C, M / g, kernel...] as [M, C / g, kernel...], scales with it.
std::optional<Weights> outputs_first(const Weights& w, int64_t groups) {
  const Tensor& t = w.values;
  const Shape& s = t.shape();
  const int64_t inputs = s[0] / groups, outputs = s[1];
  const auto taps = static_cast<size_t>(t.size() / (s[0] * s[1])), bytes = taps * size_of(t.dtype());
  Shape shape = s;
  shape[0] = outputs * groups;
  shape[1] = inputs;
  Weights result{Tensor(t.dtype(), shape), w.params, w.name};
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t o = 0; o < outputs; ++o)
      for (int64_t c = 0; c < inputs; ++c) {
        const auto from = static_cast<size_t>((g * inputs + c) * outputs + o),
                   to = static_cast<size_t>((g * outputs + o) * inputs + c);
        std::memcpy(result.values.mutable_as<std::byte>() + to * bytes, t.as<std::byte>() + from * bytes, bytes);
      }
  if (!w.params || w.params->per_tensor()) return result;
  if (w.params->axis != 1) return std::nullopt;
  QuantParams params = *w.params;
  params.axis = 0;
  params.scale.clear();
  params.zero_point.clear();
  for (int64_t g = 0; g < groups; ++g) {
    params.scale.insert(params.scale.end(), w.params->scale.begin(), w.params->scale.end());
    params.zero_point.insert(params.zero_point.end(), w.params->zero_point.begin(), w.params->zero_point.end());
  }
  result.params = std::move(params);
  return result;
}

std::string normalise(Graph& graph, Node* node) {
  Value* x = node->input(0);
  const std::optional<Weights> read = read_weights(node->input(1));
  if (!read) return "its weights are not float32 constants, nor integers behind a DequantizeLinear";
  const size_t rank = read->values.shape().size();
  if (x->dtype() != DType::f32) return "it computes in " + std::string(octet::to_string(x->dtype()));
  if (rank != 4 && rank != 3)
    return "it is a transposed convolution over " + std::to_string(rank - 2) + " axes; expected 1 or 2";
  if (!is_rank(x, static_cast<int>(rank))) return "the rank of its input is not known";
  const int64_t groups = node->attr("group", int64_t{1});
  std::optional<Weights> w = outputs_first(*read, groups);
  if (!w) return "the scales of its weights run along axis " + std::to_string(read->params->axis);
  std::optional<Weights> bias;
  if (node->input(2)) {
    bias = read_weights(node->input(2));
    if (!bias || bias->values.size() != w->values.shape()[0]) return "its bias is not constant";
  }
  Geometry g;
  const Shape& s = w->values.shape();
  if (std::string why = read_geometry(*node, {s.begin() + 2, s.end()}, g); !why.empty()) return why;

  Value* axis = nullptr;
  if (rank == 3) {
    w = reshaped(*w, {s[0], s[1], 1, s[2]});
    g = {{1, g.strides[0]}, {1, g.dilations[0]}, {0, g.pads[0], 0, g.pads[1]}, {0, g.extra[0]}};
    axis = graph.add_constant(Tensor::of_s64({2}));
    Node* widen = graph.add_node("Unsqueeze", {x, axis}, 1, node->name() + "/rows", node);
    infer_types(graph, *widen);
    x = widen->output();
  }
  Node* conv = graph.add_node("octet.ConvTranspose", {x, write_weights(graph, *w, node)}, 1, node->name(), node);
  if (bias) graph.set_input(conv, kBias, write_weights(graph, *bias, conv));
  conv->set_attr("strides", g.strides);
  conv->set_attr("pads", g.pads);
  conv->set_attr("dilations", g.dilations);
  conv->set_attr("output_padding", g.extra);
  conv->set_attr("group", groups);
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

}  // namespace

int normalise_transposed(Graph& graph) {
  return rewrite_or_say_why(graph, [&](Node* node) -> std::optional<std::string> {
    if (node->op_name() != "ConvTranspose") return std::nullopt;
    return normalise(graph, node);
  });
}

}  // namespace octet::graph
