// The fused products of the dynamic dialect become the ONNX operators that the passes behind this one know.
//
//   DynamicQuantizeMatMul(a, B, sb, zb, bias)
//       →  Add(Mul(Cast(MatMulInteger(a8, B, za, zb)), Mul(sa, sb)), bias)      a8, sa, za = DynamicQuantizeLinear(a)
//   MatMulIntegerToFloat(a8, B, sa, sb, za, zb, bias)
//       →  the same                                                             sa at run time
//       →  Add(MatMul(DQ(a8, sa, za), DQ(B, sb, zb)), bias)                     sa constant
//
// Declined: weights, their scale or zero point that change at run time.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

bool constant_or_absent(const Value* v) { return !v || v->is_constant(); }

struct Product {
  Value *a, *a_scale, *a_zero;  // integers
  Value *b, *b_scale, *b_zero, *bias;
};

Value* dynamic_product(Graph& graph, const Product& p, Node* node) {
  Value* sum = insert_node(graph, "MatMulInteger", {p.a, p.b, p.a_zero, p.b_zero}, node->name(), node);
  Value* scale = insert_node(graph, "Mul", {p.a_scale, p.b_scale}, node->name() + "/scale", node);
  Node* cast = graph.add_node("Cast", {sum}, 1, node->name() + "/cast", node);
  cast->set_attr("to", int64_t{1});  // TensorProto.FLOAT
  infer_types(graph, *cast);
  return insert_node(graph, "Mul", {cast->output(), scale}, node->name() + "/scaled", node);
}

Value* static_product(Graph& graph, const Product& p, Node* node) {
  const auto params = [&](const Value* scale, const Value* zero, int axis) {
    QuantParams q;
    q.scale = scale->constant().to_f32();
    q.axis = q.scale.size() > 1 ? axis : -1;
    const std::vector<int64_t> z = zero ? zero->constant().to_s64() : std::vector<int64_t>{0};
    for (size_t i = 0; i < q.scale.size(); ++i) q.zero_point.push_back(static_cast<int32_t>(z[z.size() == 1 ? 0 : i]));
    return q;
  };
  Value* a = insert_dequantize(graph, p.a, params(p.a_scale, p.a_zero, 0), node);
  Value* b = insert_dequantize(graph, p.b, params(p.b_scale, p.b_zero, p.b->type().rank() - 1), node);
  return insert_node(graph, "MatMul", {a, b}, node->name(), node);
}

std::string expand(Graph& graph, Node* node) {
  const bool quantizes = node->op_name() == "com.microsoft.DynamicQuantizeMatMul";
  Product p{};
  if (quantizes)
    p = {nullptr, nullptr, nullptr, node->input(1), node->input(2), node->input(3), node->input(4)};
  else
    p = {node->input(0), node->input(2), node->input(4), node->input(1), node->input(3), node->input(5), node->input(6)};
  if (!p.b->is_constant() || !p.b_scale->is_constant() || !constant_or_absent(p.b_zero))
    return "its weights change at run time";
  if (p.b->constant().shape().size() != 2) return "its weights have another rank than 2";
  const auto size = [](const Value* v) { return v ? v->constant().size() : 1; };
  if (size(p.b_zero) > size(p.b_scale)) return "it has a zero point per column under one scale";
  if (quantizes) {
    Node* dynamic = graph.add_node("DynamicQuantizeLinear", {node->input(0)}, 3, node->name() + "/quantize", node);
    infer_types(graph, *dynamic);
    p.a = dynamic->output(0), p.a_scale = dynamic->output(1), p.a_zero = dynamic->output(2);
  }
  const bool known = p.a_scale->is_constant() && p.a_scale->constant().size() == 1 && constant_or_absent(p.a_zero) &&
                     size(p.a_zero) == 1 && p.a_scale->constant().as<float>()[0] > 0;
  Value* y = known ? static_product(graph, p, node) : dynamic_product(graph, p, node);
  if (p.bias) y = insert_node(graph, "Add", {y, p.bias}, node->name() + "/bias", node);
  substitute(graph, node->output(), y);
  return {};
}

}  // namespace

int expand_dynamic(Graph& graph) {
  return rewrite_or_say_why(graph, [&](Node* node) -> std::optional<std::string> {
    if (node->op_name() != "com.microsoft.DynamicQuantizeMatMul" && node->op_name() != "com.microsoft.MatMulIntegerToFloat")
      return std::nullopt;
    return expand(graph, node);
  });
}

}  // namespace octet::graph
