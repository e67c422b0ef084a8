#include "graph/quantize/widen.h"

namespace octet::graph {

namespace {

// TensorProto.DataType, as the attributes `to` and `dtype` say it.
constexpr int64_t kFloat = 1, kFloat16 = 10, kBfloat16 = 16;

bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

Tensor widened(const Tensor& t) { return Tensor::of<float>(DType::f32, t.shape(), t.to_f32()); }

Value* cast(Graph& graph, Value* v, int64_t to, Node* before) {
  Node* node = graph.add_node("Cast", {v}, 1, {}, before);
  node->set_attr("to", to);
  infer_types(graph, *node);
  return node->output();
}

void widen_attributes(Node& node) {
  const auto attrs = node.attrs();
  for (const auto& [key, value] : attrs) {
    if (const auto* t = std::get_if<Tensor>(&value); t && is_half(t->dtype())) node.set_attr(key, widened(*t));
    const auto* i = std::get_if<int64_t>(&value);
    if (i && (key == "to" || key == "dtype") && (*i == kFloat16 || *i == kBfloat16)) node.set_attr(key, kFloat);
  }
}

}  // namespace

bool widen_to_float32(Graph& graph) {
  infer_types(graph);
  bool any = false;
  std::vector<DType> output_types;
  for (const Value* v : graph.outputs()) output_types.push_back(v->dtype());
  const std::vector<Node*> nodes = graph.node_list();
  for (Node* node : nodes) {
    for (Value* v : node->inputs())
      if (v && v->is_constant() && is_half(v->dtype())) {
        graph.set_constant(v, widened(v->constant()));
        any = true;
      }
    widen_attributes(*node);
    for (Value* v : node->outputs()) {
      any = any || is_half(v->dtype());
      if (is_half(v->dtype())) v->set_type({DType::f32, v->type().dims, nullptr});
    }
  }
  for (Value* v : graph.inputs()) {
    if (!is_half(v->dtype()) || nodes.empty()) continue;
    const std::vector<Use> uses = v->uses();
    Value* wide = cast(graph, v, kFloat, nodes.front());
    for (const Use& u : uses) graph.set_input(u.node, static_cast<size_t>(u.index), wide);
    any = true;
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    Value* v = graph.outputs()[i];
    if (!is_half(output_types[i]) || !v->producer()) continue;
    graph.set_output(i, cast(graph, v, output_types[i] == DType::f16 ? kFloat16 : kBfloat16, nullptr));
  }
  if (any) infer_types(graph);
  return any;
}

}  // namespace octet::graph
