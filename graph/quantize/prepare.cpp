// The float passes of graph/passes, which speak of octet.Conv and octet.Gemm, and the way back to ONNX operators.

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
    else if (node->op_name() == "octet.Gemm")
      restore_gemm(graph, node);
  }
}

constexpr int (*kPasses[])(Graph&) = {promote_half, fold_constants, fix_reshapes,    remove_identity, merge_duplicates,
                                      dead_code,      fold_dequantized, fold_constants, normalise_products,
                                      normalise_pools, fold_batch_norm, fold_scale_bias, fold_pad,
                                      remove_identity, merge_duplicates, dead_code};

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
