// The operator-oriented dialect becomes Q/DQ, which the passes behind this one fold into the same nodes.
//
//   QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)  →  Q(Conv(DQ(x), DQ(w), DQ(b)), ys, yz)      scale of b: xs·ws
//   QLinearAdd(a, as, az, b, bs, bz, ys, yz)      →  Q(Add(DQ(a), DQ(b)), ys, yz)
//   QLinearConcat(ys, yz, a, as, az, …)           →  Q(Concat(DQ(a), …), ys, yz)
//   Reshape(QGemm(Reshape(x), …, b))              →  Q(Add(MatMul(DQ(x), DQ(w)), DQ(b)), ys, yz)   the rows of x, flattened
//   for it
//
// qlinear_forms.h says where each operator keeps what. Products need constant weights, since only those are folded back into
// integer products with the operator's own arithmetic; others keep their operator, as do nodes whose parameters are not
// constant or whose reals float32 cannot hold. A channels-last pooling keeps its operator as well.
#include <algorithm>
#include <iterator>
#include <limits>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/qlinear_forms.h"
#include "graph/passes/weights.h"

namespace octet::graph {

namespace {

struct Operand {
  Value* value;
  QuantParams params;
};

std::optional<QuantParams> read_params(const Value* scale, const Value* zero, int axis) {
  if (!scale || !scale->is_constant() || scale->dtype() != DType::f32 || (zero && !zero->is_constant())) return std::nullopt;
  QuantParams p;
  p.scale = scale->constant().to_f32();
  if (p.scale.size() > 1) p.axis = axis;
  const std::vector<int64_t> z = zero ? zero->constant().to_s64() : std::vector<int64_t>{0};
  if (z.size() != 1 && p.scale.size() == 1) {  // a zero point per channel under one scale
    p.scale.assign(z.size(), p.scale[0]);
    p.axis = axis;
  }
  for (size_t i = 0; i < p.scale.size(); ++i) {
    p.zero_point.push_back(static_cast<int32_t>(z[z.size() == 1 ? 0 : i]));
    if (!(p.scale[i] > 0)) return std::nullopt;
  }
  return p;
}

// Masks of the lowest float32 are quantized like this: between DQ and Q, 0 times what overflowed is no number.
bool reals_are_finite(const QuantParams& p) {
  constexpr float kMostScale = std::numeric_limits<float>::max() / 256;
  return std::all_of(p.scale.begin(), p.scale.end(), [](float scale) { return scale < kMostScale; });
}

// The axis that scales of operand `i` run over.
int scale_axis(const QLinearForm& form, const Node& node, int i) {
  if (i == 0 || !form.product || form.plain == "Conv") return 0;
  if (form.plain == "Gemm") return node.attr("transB", int64_t{0}) != 0 ? 0 : 1;
  return node.input(3)->type().ranked() ? node.input(3)->type().rank() - 1 : 1;
}

QuantParams bias_params(const Node& node, const QuantParams& x, const QuantParams& w) {
  QuantParams p;
  for (const float s : w.scale) p.scale.push_back(x.scale[0] * s * node.attr("alpha", 1.0f));
  p.zero_point.assign(p.scale.size(), 0);
  if (p.scale.size() > 1) p.axis = 0;
  return p;
}

bool is_last_axis(const Node& node) {
  const int64_t axis = node.attr("axis", int64_t{-1});
  return axis == -1 || is_rank(node.input(0), static_cast<int>(axis) + 1);
}

// A QGemm over the flattened rows of `x`, whose shape `back` gives to the result again.
struct Rows {
  Value* x;
  Node* back;
};

std::optional<Rows> flattened_rows(const Graph& graph, const Node& gemm) {
  const Node* flat = gemm.input(0)->producer();
  Node* back = sole_consumer(graph, gemm.output());
  if (gemm.op_name() != "com.microsoft.QGemm" || !flat || flat->op_name() != "Reshape" || !back ||
      back->op_name() != "Reshape")
    return std::nullopt;
  if (gemm.attr("alpha", 1.0f) != 1.0f || gemm.attr("transA", int64_t{0}) != 0 || !gemm.input(7)) return std::nullopt;
  Value* x = flat->input(0);
  const Value* y = back->output();
  if (!x->type().ranked() || !y->type().ranked() || x->type().rank() != y->type().rank() || x->type().rank() < 2)
    return std::nullopt;
  const std::vector<Dim>&from = *x->type().dims, &to = *y->type().dims;
  if (!std::equal(from.begin(), from.end() - 1, to.begin(), to.end() - 1)) return std::nullopt;
  if (known_dim(x, -1) < 0 || known_dim(x, -1) != known_dim(gemm.input(0), 1)) return std::nullopt;
  if (known_dim(y, -1) < 0 || known_dim(y, -1) != known_dim(gemm.output(), 1)) return std::nullopt;
  return Rows{x, back};
}

// The product over rows as it stood before they were flattened; without the rounding behind it.
Value* matmul_of_rows(Graph& graph, Node* gemm, const Rows& rows, const QuantParams& x, const QuantParams& w) {
  Weights weights{gemm->input(3)->constant(), w, gemm->input(3)->name()};
  if (gemm->attr("transB", int64_t{0}) != 0) weights = transposed(weights);
  Value* product = insert_node(
      graph, "MatMul", {insert_dequantize(graph, rows.x, x, gemm), write_weights(graph, weights, gemm)}, gemm->name(), gemm);
  Value* bias = gemm->input(6);
  if (!bias) return product;
  Value* real = insert_dequantize(graph, bias, bias_params(*gemm, x, w), gemm);
  return insert_node(graph, "Add", {product, real}, gemm->name() + "/bias", gemm);
}

// Nodes behind `node` that nothing reads any more are left to `dead`.
std::string expand(Graph& graph, Node* node, const QLinearForm& form, std::vector<Node*>& dead) {
  const size_t given = node->inputs().size();
  const size_t count =
      form.operands == kNoInput ? (given - static_cast<size_t>(form.first)) / 3 : static_cast<size_t>(form.operands);
  std::vector<Operand> operands;
  for (size_t i = 0; i < count; ++i) {
    const size_t at = static_cast<size_t>(form.first) + 3 * i;
    const auto p = read_params(node->input(at + 1), node->input(at + 2), scale_axis(form, *node, static_cast<int>(i)));
    if (!p) return "scale or zero point of operand " + std::to_string(i) + " is not constant";
    if (!reals_are_finite(*p)) return "the scale of operand " + std::to_string(i) + " makes reals that float32 cannot hold";
    operands.push_back({node->input(at), *p});
  }
  if (!operands[0].params.per_tensor()) return "its first operand has scales per channel";
  if (form.product && !operands[1].value->is_constant()) return "its weights change at run time";
  if (node->attr("channels_last", int64_t{0}) != 0) return "its images lie channels-last in the model";
  if (form.plain == "Softmax" && node->attr("opset", int64_t{13}) < 13 && !is_last_axis(*node))
    return "it runs over several axes at once, as before opset 13";
  Value* bias = form.bias == kNoInput ? nullptr : node->input(static_cast<size_t>(form.bias));
  if (bias && !bias->is_constant()) return "its bias is not constant";
  const auto y = static_cast<size_t>(form.y_scale);
  const bool float_output = !node->input(y);
  std::optional<QuantParams> y_params;
  if (!float_output) {
    y_params = read_params(node->input(y), node->input(y + 1), 0);
    if (!y_params || !y_params->per_tensor()) return "scale or zero point of its output is not one constant";
  }

  if (const std::optional<Rows> rows = flattened_rows(graph, *node)) {
    Value* sum = matmul_of_rows(graph, node, *rows, operands[0].params, operands[1].params);
    Value* result = insert_quantize(graph, sum, *y_params, node->output()->dtype(), node, node->name() + "/quantize");
    Value* replaced = rows->back->output();
    const std::string name = replaced->name();
    graph.replace_uses(replaced, result);
    graph.rename(replaced, name + "/folded");
    graph.rename(result, name);
    dead.push_back(rows->back);
    return {};
  }
  std::vector<Value*> inputs;
  for (const Operand& o : operands) inputs.push_back(insert_dequantize(graph, o.value, o.params, node));
  if (bias)
    inputs.push_back(insert_dequantize(graph, bias, bias_params(*node, operands[0].params, operands[1].params), node));
  const OpDef* op = find_op(form.plain);
  Node* plain = graph.add_node(*op, inputs, 1, node->name(), node);
  for (const AttrSchema& schema : op->attrs)
    if (const Attribute* a = node->find_attr(schema.name)) plain->set_attr(std::string(schema.name), *a);
  infer_types(graph, *plain);
  Value* result = plain->output();
  if (!float_output)
    result = insert_quantize(graph, result, *y_params, node->output()->dtype(), node, node->name() + "/quantize");
  substitute(graph, node->output(), result);
  return {};
}

}  // namespace

int expand_qlinear(Graph& graph) {
  std::vector<Node*> dead;
  const int changes = rewrite_or_say_why(graph, [&](Node* node) -> std::optional<std::string> {
    const auto form = std::find_if(std::begin(kQLinearForms), std::end(kQLinearForms),
                                   [&](const QLinearForm& f) { return f.qlinear == node->op_name(); });
    if (form == std::end(kQLinearForms)) return std::nullopt;
    return expand(graph, node, *form, dead);
  });
  for (Node* node : dead) erase_dead(graph, node);
  return changes;
}

}  // namespace octet::graph
