#include <algorithm>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

#include "graph/op_def.h"

namespace octet::graph {

namespace {

[[noreturn]] void violation(const std::string& message) { throw std::logic_error("graph is inconsistent: " + message); }

std::string label(const Node& node) { return "node '" + node.name() + "' (" + std::string(node.op_name()) + ")"; }

void verify_structure(const Graph& graph) {
  std::unordered_set<const Value*> available(graph.inputs().begin(), graph.inputs().end());
  std::unordered_map<const Value*, size_t> uses;
  for (const auto& node : graph.nodes()) {
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      const Value* v = node->input(i);
      if (!v) continue;
      if (!v->is_constant() && !available.contains(v))
        violation(label(*node) + " reads %" + v->name() + ", which nothing produced before it");
      const auto same = [&](const Use& u) { return u.node == node.get() && u.index == static_cast<int>(i); };
      if (std::count_if(v->uses().begin(), v->uses().end(), same) != 1)
        violation("the use list of %" + v->name() + " does not name input " + std::to_string(i) + " of " + label(*node) +
                  " once");
      ++uses[v];
    }
    for (const Value* v : node->outputs()) {
      if (v->producer() != node.get()) violation("%" + v->name() + " does not name its producer " + label(*node));
      if (v->is_constant()) violation("%" + v->name() + " is both constant and produced by " + label(*node));
      available.insert(v);
    }
  }
  for (const auto& [v, count] : uses)
    if (v->uses().size() != count) violation("%" + v->name() + " lists a use that no node has");
  if (graph.outputs().size() != graph.output_names().size()) violation("outputs and their names differ in number");
  for (const Value* v : graph.outputs())
    if (!v->is_constant() && !available.contains(v)) violation("output %" + v->name() + " is not produced");
}

// AttrKind lists the alternatives of Attribute in their order.
static_assert(std::variant_size_v<Attribute> == static_cast<size_t>(AttrKind::graph) + 1);
bool kind_matches(AttrKind kind, const Attribute& a) { return a.index() == static_cast<size_t>(kind); }

void verify_node(const Node& node) {
  const OpDef& op = node.op();
  const bool variadic = !op.inputs.empty() && op.inputs.back().variadic;
  if (!variadic && node.inputs().size() > op.inputs.size()) violation(label(node) + " has too many inputs");
  for (size_t i = 0; i < op.inputs.size(); ++i)
    if (!op.inputs[i].optional && !node.input(i))
      violation(label(node) + " lacks its input '" + std::string(op.inputs[i].name) + "'");
  const int outputs = static_cast<int>(node.outputs().size());
  if (outputs < op.min_outputs || outputs > op.max_outputs)
    violation(label(node) + " has " + std::to_string(outputs) + " outputs");
  for (const auto& [key, value] : node.attrs()) {
    const auto schema =
        std::find_if(op.attrs.begin(), op.attrs.end(), [&key = key](const AttrSchema& s) { return s.name == key; });
    if (schema == op.attrs.end()) violation(label(node) + " has an attribute '" + key + "' that its operator does not know");
    if (!kind_matches(schema->kind, value)) violation(label(node) + " has attribute '" + key + "' of the wrong kind");
  }
  for (const AttrSchema& s : op.attrs)
    if (s.required && !node.has_attr(s.name)) violation(label(node) + " lacks attribute '" + std::string(s.name) + "'");
}

void verify_quant(const Value& v) {
  const QuantParams* q = v.quant();
  if (!q) return;
  if (q->scale.empty() || q->scale.size() != q->zero_point.size())
    violation("%" + v.name() + " has " + std::to_string(q->scale.size()) + " scales and " +
              std::to_string(q->zero_point.size()) + " zero points");
  if (q->per_tensor() && q->scale.size() != 1) violation("%" + v.name() + " is per tensor with several scales");
  if (v.dtype() != DType::u8 && v.dtype() != DType::s8 && v.dtype() != DType::s32)
    violation("%" + v.name() + " is quantized but holds " + std::string(octet::to_string(v.dtype())));
}

bool compatible(const Type& stored, const Type& inferred) {
  if (stored.kind != inferred.kind) return false;
  if (inferred.dtype != DType::undefined && stored.dtype != inferred.dtype) return false;
  if (!stored.ranked() || !inferred.ranked()) return true;
  if (stored.rank() != inferred.rank()) return false;
  for (size_t i = 0; i < stored.dims->size(); ++i) {
    const Dim &a = (*stored.dims)[i], &b = (*inferred.dims)[i];
    if (a.known() && b.known() && a.value != b.value) return false;
  }
  return true;
}

// Inference on a copy must find what the graph says.
void verify_types(const Graph& graph) {
  const std::unique_ptr<Graph> copy = graph.clone();
  try {
    infer_types(*copy);
  } catch (const Error& error) {
    violation(error.what());
  }
  auto other = copy->nodes().begin();
  for (const auto& node : graph.nodes()) {
    for (size_t i = 0; i < node->outputs().size(); ++i) {
      const Value& v = *node->output(i);
      const Type& inferred = (*other)->output(i)->type();
      if (!compatible(v.type(), inferred))
        violation("%" + v.name() + " of " + label(*node) + " is " + to_string(v.type()) + "; inference finds " +
                  to_string(inferred));
      verify_quant(v);
    }
    for (const Value* v : node->inputs())
      if (v && v->is_constant() && v->type().is_tensor()) {
        if (!compatible(v->type(), Type::known(v->constant().dtype(), v->constant().shape())))
          violation("constant %" + v->name() + " is typed " + to_string(v->type()) + " but holds something else");
        verify_quant(*v);
      }
    ++other;
  }
}

}  // namespace

void verify(const Graph& graph) {
  verify_structure(graph);
  for (const auto& node : graph.nodes()) {
    verify_node(*node);
    for (const Graph* inner : node->subgraphs()) verify(*inner);
  }
  verify_types(graph);
}

}  // namespace octet::graph
