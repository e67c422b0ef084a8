// A graph in float16 or bfloat16 computes in float32, which is what the kernels have.
//
//   x:f16 → Conv:f16 (w:f16) → y:f16     →     x:f16 → Cast → Conv:f32 (w:f32) → Cast → y:f16
//
// The interface keeps its types. Constants are widened once; what was rounded after every operator is now rounded at the
// end, so results differ from the unoptimised graph by less than it differs from the exact ones. Declined: graphs that have
// sub-graphs, sequences or optionals, whose values are not ours to retype.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

constexpr int64_t kOnnxFloat = 1, kOnnxHalf = 10, kOnnxBfloat = 16;  // TensorProto.DataType

bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

Tensor widened(const Tensor& t) { return Tensor::of<float>(DType::f32, t.shape(), t.to_f32()); }

void widen_attributes(Node* node) {
  std::vector<std::pair<std::string, Attribute>> changed;
  for (const auto& [key, value] : node->attrs()) {
    const auto* code = std::get_if<int64_t>(&value);
    if (code && (key == "to" || key == "dtype" || key == "output_dtype") && (*code == kOnnxHalf || *code == kOnnxBfloat))
      changed.emplace_back(key, kOnnxFloat);
    const auto* tensor = std::get_if<Tensor>(&value);
    if (tensor && is_half(tensor->dtype())) changed.emplace_back(key, widened(*tensor));
  }
  for (auto& [key, value] : changed) node->set_attr(key, std::move(value));
}

Value* insert_cast(Graph& graph, Value* x, DType to, Node* before, const std::string& name) {
  Node* cast = graph.add_node("Cast", {x}, 1, name, before);
  cast->set_attr("to", to == DType::f16 ? kOnnxHalf : to == DType::bf16 ? kOnnxBfloat : kOnnxFloat);
  infer_types(graph, *cast);
  return cast->output();
}

}  // namespace

int promote_half(Graph& graph) {
  for (const auto& node : graph.nodes()) {
    const auto tensor = [](const Value* v) { return !v || v->type().is_tensor(); };
    if (!node->subgraphs().empty() || !std::all_of(node->inputs().begin(), node->inputs().end(), tensor) ||
        !std::all_of(node->outputs().begin(), node->outputs().end(), tensor))
      return 0;
  }

  int changes = 0;
  std::vector<DType> wanted;
  for (const Value* v : graph.outputs()) wanted.push_back(v->dtype());
  const std::vector<Node*> order = graph.node_list();
  for (Node* node : order) {
    widen_attributes(node);
    for (Value* v : node->inputs()) {
      if (!v || !v->is_constant() || !is_half(v->dtype())) continue;
      graph.set_constant(v, widened(v->constant()));
      ++changes;
    }
    for (Value* v : node->outputs()) {
      if (!is_half(v->dtype())) continue;
      Type type = v->type();
      type.dtype = DType::f32;
      v->set_type(std::move(type));
      ++changes;
    }
  }
  for (Value* x : graph.inputs()) {
    if (!is_half(x->dtype()) || (x->uses().empty())) continue;
    const std::vector<Use> uses = x->uses();
    Value* wide = insert_cast(graph, x, DType::f32, graph.nodes().front().get(), x->name() + "/widen");
    for (const Use& u : uses) graph.set_input(u.node, static_cast<size_t>(u.index), wide);
    ++changes;
  }
  if (changes == 0) return 0;
  infer_types(graph);
  for (size_t i = 0; i < wanted.size(); ++i) {
    Value* y = graph.outputs()[i];
    if (y->dtype() != wanted[i]) graph.set_output(i, insert_cast(graph, y, wanted[i], nullptr, y->name() + "/narrow"));
  }
  return changes;
}

}  // namespace octet::graph
