// The float passes of graph/passes, which speak of octet.Conv, octet.ConvTranspose and octet.Gemm, and the way back to ONNX
// operators.
#include <algorithm>

#include "graph/op_def.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/quantize/quantize.h"

namespace octet::graph {

namespace {

void check_is_float(const Graph& graph) {
  for (const auto& node : graph.nodes()) {
    const QuantRole role = node->op().quant;
    const bool weights = role == QuantRole::dequantize && node->input(0)->is_constant();
    if ((role != QuantRole::quantize && role != QuantRole::dequantize) || weights) continue;
    throw Error(ErrorCode::invalid_argument, graph.file + ": node '" + node->name() + "' (" + std::string(node->op_name()) +
                                                 "): the graph is quantized already; expected a float graph");
  }
}

Value* finish(Graph& graph, Node* node) {
  infer_types(graph, *node);
  return node->output();
}

void restore_conv(Graph& graph, Node* node) {
  Node* conv = graph.add_node("Conv", {node->input(kX), node->input(kW), node->input(kBias)}, 1, node->name(), node);
  const Shape& w = node->input(kW)->constant().shape();
  for (const char* key : {"strides", "pads", "dilations", "group"})
    if (const Attribute* a = node->find_attr(key)) conv->set_attr(key, *a);
  conv->set_attr("kernel_shape", std::vector<int64_t>(w.begin() + 2, w.end()));
  substitute(graph, node->output(), finish(graph, conv));
}

// Weights as ONNX has them: [C, M / g, kernel...].
Tensor inputs_first(const Tensor& w, int64_t groups) {
  const Shape& s = w.shape();
  const int64_t inputs = s[1], outputs = s[0] / groups, taps = w.size() / (s[0] * s[1]);
  Tensor t(DType::f32, {inputs * groups, outputs, s[2], s[3]});
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t o = 0; o < outputs; ++o)
      for (int64_t c = 0; c < inputs; ++c)
        std::copy_n(w.as<float>() + ((g * outputs + o) * inputs + c) * taps, taps,
                    t.mutable_as<float>() + ((g * inputs + c) * outputs + o) * taps);
  return t;
}

void restore_transposed(Graph& graph, Node* node) {
  const Value* w = node->input(kW);
  Value* turned =
      graph.add_constant(inputs_first(w->constant(), node->attr("group", int64_t{1})), w->name() + "_inputs_first");
  Node* conv = graph.add_node("ConvTranspose", {node->input(kX), turned, node->input(kBias)}, 1, node->name(), node);
  for (const char* key : {"strides", "pads", "dilations", "group", "output_padding"})
    if (const Attribute* a = node->find_attr(key)) conv->set_attr(key, *a);
  const Shape& s = w->constant().shape();
  conv->set_attr("kernel_shape", std::vector<int64_t>(s.begin() + 2, s.end()));
  substitute(graph, node->output(), finish(graph, conv));
}

Tensor transposed(const Tensor& w) {
  const int64_t rows = w.shape()[0], columns = w.shape()[1];
  Tensor t(DType::f32, {columns, rows});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) t.mutable_as<float>()[c * rows + r] = w.as<float>()[r * columns + c];
  return t;
}

void restore_gemm(Graph& graph, Node* node) {
  Value *x = node->input(kX), *w = node->input(kW), *bias = node->input(kBias);
  if (is_rank(x, 2)) {
    Node* gemm = graph.add_node("Gemm", {x, w, bias}, 1, node->name(), node);
    gemm->set_attr("transB", int64_t{1});
    substitute(graph, node->output(), finish(graph, gemm));
    return;
  }
  Value* columns = graph.add_constant(transposed(w->constant()), w->name() + "_transposed");
  Value* y = finish(graph, graph.add_node("MatMul", {x, columns}, 1, node->name(), node));
  if (bias) y = finish(graph, graph.add_node("Add", {y, bias}, 1, node->name() + "/bias", node));
  substitute(graph, node->output(), y);
}

void restore_products(Graph& graph) {
  for (Node* node : graph.node_list()) {
    if (node->op_name() == "octet.Conv")
      restore_conv(graph, node);
    else if (node->op_name() == "octet.ConvTranspose")
      restore_transposed(graph, node);
    else if (node->op_name() == "octet.Gemm")
      restore_gemm(graph, node);
  }
}

constexpr int (*kPasses[])(Graph&) = {
    promote_half,     fold_constants, fix_reshapes,       remove_identity,      merge_duplicates, dead_code,
    fold_dequantized, fold_constants, normalise_products, normalise_transposed, normalise_pools,  fold_batch_norm,
    fold_scale_bias,  fold_pad,       remove_identity,    merge_duplicates,     dead_code};

}  // namespace

void prepare_for_quantization(Graph& graph) {
  check_is_float(graph);
  infer_types(graph);
  for (const auto pass : kPasses)
    if (pass(graph) > 0) infer_types(graph);
  restore_products(graph);
  graph.drop_unused_constants();
  infer_types(graph);
  for (const auto& node : graph.nodes()) node->why.clear();
}

}  // namespace octet::graph
