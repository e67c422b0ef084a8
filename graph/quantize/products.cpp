#include "graph/quantize/products.h"

#include "graph/op_def.h"
#include "graph/passes/match.h"
#include "graph/quantize/parameters.h"

namespace octet::graph {

namespace {

int64_t depth_of(const Node& node) {
  const Tensor& w = node.input(1)->constant();
  return w.size() / w.shape()[static_cast<size_t>(weight_axis(node))];
}

bool is_bias_add(const Node& product, const Node& add) {
  if (product.op_name() != "MatMul" || add.op_name() != "Add") return false;
  const Value* other = add.input(add.input(0) == product.output() ? 1 : 0);
  const int64_t n = product.input(1)->constant().shape()[1];
  return other->is_constant() && other->dtype() == DType::f32 && other->constant().shape() == Shape{n};
}

Value* other_operand(const Node& add, const Value* v) { return add.input(add.input(0) == v ? 1 : 0); }

bool is_residual_add(const Node& add, const Value* v) {
  if (add.op_name() != "Add") return false;
  const Value* other = other_operand(add, v);
  return other != v && !other->is_constant() && other->dtype() == DType::f32 && same_shape(other, v);
}

// LeakyRelu is no clamp, but the epilogue of a product has it all the same.
bool is_activation(const Node& node, QuantStyle style) {
  const bool leaky = style == QuantStyle::fused && node.op_name() == "LeakyRelu";
  if (node.op().quant != QuantRole::clamp && !leaky) return false;
  for (size_t i = 1; i < node.inputs().size(); ++i)
    if (node.input(i) && !scalar_constant(node.input(i))) return false;
  return true;
}

}  // namespace

int weight_axis(const Node& product) {
  if (product.op_name() == "Conv") return 0;
  return product.op_name() == "Gemm" && product.attr("transB", int64_t{0}) != 0 ? 0 : 1;
}

bool is_quantizable_product(const Node& node, std::string& why) {
  const std::string_view op = node.op_name();
  if (node.op().quant != QuantRole::product) return false;
  if (op != "Conv" && op != "ConvTranspose" && op != "Gemm" && op != "MatMul") {
    why = "expected Conv, ConvTranspose, Gemm or MatMul";
    return false;
  }
  const Value *x = node.input(0), *w = node.input(1), *bias = node.input(2);
  if (x->dtype() != DType::f32) {
    why = "it computes in " + std::string(octet::to_string(x->dtype())) + ", expected float32";
    return false;
  }
  if (!w->is_constant() || x->is_constant()) {
    why = "it multiplies two values that change at run time; only constant weights are quantized";
    return false;
  }
  const size_t rank = w->constant().shape().size();
  const bool image = op == "Conv" || op == "ConvTranspose";
  if (image ? rank != 3 && rank != 4 && !(rank == 5 && op == "Conv") : rank != 2) {
    why = "its weights have " + std::to_string(rank) + " dimensions";
    return false;
  }
  if (op == "ConvTranspose" && node.attr("group", int64_t{1}) != 1) {
    why = "it has groups, and a file cannot hold a scale for each of its output channels";
    return false;
  }
  if (op == "Gemm" &&
      (node.attr("transA", int64_t{0}) != 0 || node.attr("alpha", 1.0f) != 1 || node.attr("beta", 1.0f) != 1)) {
    why = "it has transA, alpha or beta";
    return false;
  }
  const int64_t channels = w->constant().shape()[static_cast<size_t>(weight_axis(node))];
  if (channels == 0 || w->constant().size() == 0) {
    why = "its weights are empty";
    return false;
  }
  if (bias && (!bias->is_constant() || bias->constant().size() != channels)) {
    why = "its bias is not one constant an output channel";
    return false;
  }
  if (!sum_fits(depth_of(node))) {
    why = "it sums " + std::to_string(depth_of(node)) + " products, which may leave 32 bits";
    return false;
  }
  return true;
}

void find_ends(const Graph& graph, QuantStyle style, std::vector<QuantizedProduct>& products,
               std::unordered_set<const Node*>& absorbed) {
  for (auto p = products.rbegin(); p != products.rend(); ++p) {
    Value* v = p->node->output();
    const auto next = [&]() -> Node* {
      Node* n = sole_consumer(graph, v);
      return n && !absorbed.contains(n) ? n : nullptr;
    };
    const auto take = [&](Node* n) {
      absorbed.insert(n);
      v = n->output();
    };
    if (p->node->input(2)) p->bias = {p->node, 2};
    if (Node* n = next(); n && is_bias_add(*p->node, *n)) {
      p->bias = {n, n->input(0) == v ? 1 : 0};
      take(n);
    }
    if (Node* n = next(); n && style == QuantStyle::fused && is_residual_add(*n, v)) {
      p->residual = other_operand(*n, v);
      take(n);
    }
    if (Node* n = next(); n && n->input(0) == v && is_activation(*n, style)) take(n);
    p->end = v;
  }
}

}  // namespace octet::graph
