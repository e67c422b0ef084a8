#include <cassert>

#include "graph/op_def.h"

namespace octet::graph {

namespace {

// What the operator says, completed by what was known before: quantization parameters are given by passes, not by operators,
// and a declared size stands where the operator cannot tell.
Type refine(Type fresh, const Type& before) {
  if (!fresh.quant && before.quant && before.dtype == fresh.dtype) fresh.quant = before.quant;
  if (!fresh.ranked()) {
    if (before.dtype == fresh.dtype || before.dtype == DType::undefined) fresh.dims = before.dims;
    return fresh;
  }
  if (!before.ranked() || before.rank() != fresh.rank()) return fresh;
  for (size_t i = 0; i < fresh.dims->size(); ++i) {
    Dim& d = (*fresh.dims)[i];
    if (!d.known() && d.symbol.empty()) d = (*before.dims)[i];
  }
  return fresh;
}

std::string place(const Graph& graph, const Node& node) {
  return graph.file + ": node '" + node.name() + "' (" + std::string(node.op_name()) + "): ";
}

void check_arity(const Graph& graph, const Node& node) {
  const OpDef& op = node.op();
  const bool variadic = !op.inputs.empty() && op.inputs.back().variadic;
  if (!variadic && node.inputs().size() > op.inputs.size())
    throw Error(ErrorCode::invalid_model, place(graph, node) + "has " + std::to_string(node.inputs().size()) +
                                              " inputs; expected at most " + std::to_string(op.inputs.size()));
  for (size_t i = 0; i < op.inputs.size(); ++i)
    if (!op.inputs[i].optional && !node.input(i))
      throw Error(ErrorCode::invalid_model,
                  place(graph, node) + "input '" + std::string(op.inputs[i].name) + "' is missing; expected a value");
  for (size_t i = 0; i < node.inputs().size() && !op.any_kind; ++i)
    if (node.input(i) && !node.input(i)->type().is_tensor())
      throw Error(ErrorCode::invalid_model, place(graph, node) + "input " + std::to_string(i) + " is " +
                                                to_string(node.input(i)->type()) + "; expected a tensor");
}

std::string describe(TypeSet types) {
  if (types == kFloats) return "a float type";
  if (types == kIntegers) return "an integer type";
  if (types == kNumbers) return "a number type";
  if (types == kSigned) return "a signed type";
  std::string names;
  for (auto t = static_cast<uint8_t>(DType::undefined); t <= static_cast<uint8_t>(DType::u2); ++t)
    if (types.contains(static_cast<DType>(t)))
      names += (names.empty() ? "" : " or ") + std::string(octet::to_string(static_cast<DType>(t)));
  return names;
}

void check_types(const Graph& graph, const Node& node) {
  const OpDef& op = node.op();
  const Value* data = node.input(static_cast<size_t>(op.typed));
  if (!data || data->dtype() == DType::undefined || data->type().quantized() || op.types.contains(data->dtype())) return;
  throw Error(ErrorCode::unsupported, place(graph, node) + "input " + std::to_string(op.typed) + " has element type " +
                                          std::string(octet::to_string(data->dtype())) + "; expected " + describe(op.types));
}

}  // namespace

const Type& InferContext::type(size_t i) const {
  assert(has(i));
  return node_.input(i)->type();
}

const Tensor* InferContext::constant(size_t i) const {
  const Value* v = node_.input(i);
  return v && v->is_constant() ? &v->constant() : nullptr;
}

void InferContext::set(size_t output, Type type) {
  if (Value* v = node_.output(output)) v->set_type(refine(std::move(type), v->type()));
}

void InferContext::set(size_t output, DType dtype, std::vector<Dim> dims) {
  set(output, Type{dtype, std::move(dims), nullptr});
}

void InferContext::set_unranked(size_t output, DType dtype) { set(output, Type{dtype, std::nullopt, nullptr}); }

void InferContext::fail(const std::string& message) const {
  throw Error(ErrorCode::invalid_model, place(graph_, node_) + message);
}

void infer_types(Graph& graph, Node& node) {
  check_arity(graph, node);
  check_types(graph, node);
  InferContext context(graph, node);
  if (node.op().infer) node.op().infer(context);
}

void forget_dims(Graph& graph) {
  for (const auto& node : graph.nodes()) {
    for (Value* v : node->outputs()) {
      Type type = v->type();
      type.dims.reset();
      v->set_type(std::move(type));
    }
    for (Graph* inner : node->subgraphs()) forget_dims(*inner);
  }
}

void infer_types(Graph& graph) {
  for (const auto& node : graph.nodes()) infer_types(graph, *node);
}

}  // namespace octet::graph
