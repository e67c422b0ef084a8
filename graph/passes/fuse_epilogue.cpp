// What follows a product and can be done before its result is stored.
//
//   Relu | Clip | LeakyRelu (p)     →  p {act}
//   Gelu(p)                         →  p {act}                  by its erf, octet.Gemm of run-time scales: others make it a table
//   Add(p, r)                       →  p with residual r            r of the same shape; DQ(q:u8) gives q itself
//   Q(p)                            →  p : u8                       integer products of static scales
//
// p is the octet.Conv or octet.Gemm, its value used nowhere else. In that order (sum, bias, residual, activation, rounding),
// whatever of it there is: an Add behind an activation is left alone. Where both sides of an Add are products, the later one
// takes it, so that the other is done by then. p moves to the place of the node it takes in.
// The Q decides the type last, so that the arithmetic of a fused node is the one of octet/numerics.h in one piece.
#include <limits>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

// The product whose float32 value this is, not used elsewhere.
Node* open_product(const Graph& graph, const Value* v) {
  if (!v || v->dtype() != DType::f32 || !is_product(v->producer()) || !graph.single_use(v)) return nullptr;
  return v->producer();
}

bool is_integer(const Node& product) { return product.input(kX)->dtype() != DType::f32; }

void take(Graph& graph, Node* product, Node* tail) {
  graph.move_before(product, tail);
  Value* y = product->output();
  const Type type = tail->output()->type();
  substitute(graph, tail->output(), y);
  y->set_type(type);
}

bool fuse_activation(Graph& graph, Node* node) {
  const std::string_view op = node->op_name();
  const bool gelu = op == "Gelu" && node->attr("approximate", "none") == "none";
  if (op != "Relu" && op != "Clip" && op != "LeakyRelu" && !gelu) return false;
  Node* product = open_product(graph, node->input(0));
  if (gelu && (!product || product->op_name() != "octet.Gemm" || !product->input(kXScale))) return false;
  if (!product || product->has_attr("act")) {
    if (is_product(node->input(0)->producer())) node->why = "the product before it is used elsewhere or has an activation";
    return false;
  }
  if (gelu) product->set_attr("act", std::string("gelu"));
  if (op == "Relu") product->set_attr("act", std::string("relu"));
  if (op == "LeakyRelu") {
    product->set_attr("act", std::string("leaky_relu"));
    product->set_attr("alpha", node->attr("alpha", 0.01f));
  }
  if (op == "Clip") {
    const auto bound = [&](size_t i, float absent) { return node->input(i) ? scalar_constant(node->input(i)) : absent; };
    const std::optional<float> lo = bound(1, std::numeric_limits<float>::lowest()),
                               hi = bound(2, std::numeric_limits<float>::max());
    if (!lo || !hi) {
      node->why = "its bounds change at run time";
      return false;
    }
    product->set_attr("act", std::string("clip"));
    product->set_attr("act_min", *lo);
    product->set_attr("act_max", *hi);
  }
  take(graph, product, node);
  return true;
}

// The product that may take `other` as its residual.
Node* residual_taker(const Graph& graph, const Value* v, const Value* other) {
  Node* product = open_product(graph, v);
  if (!product || product->has_attr("act") || product->input(kResidual) || other->is_constant()) return nullptr;
  return same_shape(v, other) && v != other && other->dtype() == DType::f32 ? product : nullptr;
}

bool fuse_residual_add(Graph& graph, Node* node) {
  if (node->op_name() != "Add" || node->output()->dtype() != DType::f32) return false;
  Value *a = node->input(0), *b = node->input(1);
  Node *left = residual_taker(graph, a, b), *right = residual_taker(graph, b, a);
  if (!left && !right) {
    if (is_product(a->producer()) || is_product(b->producer()))
      node->why = "the product before it is used elsewhere, or the other operand has another shape";
    return false;
  }
  Node* product = !left ? right : !right ? left : graph.comes_before(left, right) ? right : left;
  Value* other = product == left ? b : a;
  if (is_integer(*product))
    if (const auto dq = as_u8_dequantize(other); dq && !dq->source->is_constant()) {
      graph.set_input(product, kResidual, dq->source);
      take(graph, product, node);
      return true;
    }
  graph.set_input(product, kResidual, other);
  take(graph, product, node);
  return true;
}

bool fuse_quantize(Graph& graph, Node* node) {
  const std::optional<Quantize> q = as_u8_quantize(node);
  if (!q || !is_product(q->source->producer())) return false;
  Node* product = q->source->producer();
  if (!is_integer(*product)) {
    node->why = "the product before it computes in float32";
    return false;
  }
  if (const Value* r = product->input(kResidual); r && r->dtype() == DType::f32) {
    node->why = "the product before it adds a float32 value that is not quantized";
    return false;
  }
  if (product->input(kXScale)) {
    node->why = "the product before it is quantized at run time";
    return false;
  }
  if (!open_product(graph, q->source)) {
    product->why = "its float32 result is used besides the QuantizeLinear";
    return false;
  }
  take(graph, product, node);
  product->why.clear();
  return true;
}

}  // namespace

int fuse_epilogue(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list())
    if (fuse_activation(graph, node) || fuse_residual_add(graph, node) || fuse_quantize(graph, node)) ++changes;
  return changes;
}

}  // namespace octet::graph
