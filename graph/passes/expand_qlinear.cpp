// The operator-oriented dialect becomes Q/DQ, which the passes behind this one fold into the same nodes.
//
//   QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)  →  Q(Conv(DQ(x), DQ(w), DQ(b)), ys, yz)      scale of b: xs·ws
//   QLinearAdd(a, as, az, b, bs, bz, ys, yz)      →  Q(Add(DQ(a), DQ(b)), ys, yz)
//   QLinearConcat(ys, yz, a, as, az, …)           →  Q(Concat(DQ(a), …), ys, yz)
//
// qlinear_forms.h says where each operator keeps what. Products need constant weights, since only those are folded back into
// integer products with the operator's own arithmetic; others keep their operator, as do nodes whose parameters are not
// constant. A channels-last pooling keeps its operator as well.
#include <algorithm>
#include <iterator>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/qlinear_forms.h"

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

std::string expand(Graph& graph, Node* node, const QLinearForm& form) {
  const size_t given = node->inputs().size();
  const size_t count =
      form.operands == kNoInput ? (given - static_cast<size_t>(form.first)) / 3 : static_cast<size_t>(form.operands);
  std::vector<Operand> operands;
  for (size_t i = 0; i < count; ++i) {
    const size_t at = static_cast<size_t>(form.first) + 3 * i;
    const auto p = read_params(node->input(at + 1), node->input(at + 2), scale_axis(form, *node, static_cast<int>(i)));
    if (!p) return "scale or zero point of operand " + std::to_string(i) + " is not constant";
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
  int changes = 0;
  for (Node* node : graph.node_list()) {
    const auto form = std::find_if(std::begin(kQLinearForms), std::end(kQLinearForms),
                                   [&](const QLinearForm& f) { return f.qlinear == node->op_name(); });
    if (form == std::end(kQLinearForms)) continue;
    std::string declined = expand(graph, node, *form);
    if (declined.empty())
      ++changes;
    else
      node->why = std::move(declined);
  }
  return changes;
}

}  // namespace octet::graph
