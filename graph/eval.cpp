#include "graph/eval.h"

#include <xmmintrin.h>

#include <cassert>
#include <unordered_map>

#include "graph/op_def.h"

namespace octet::graph {

namespace {

// Round to nearest even, flush to zero, denormals are zero, exceptions masked.
class FlushDenormals {
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(0x9fc0); }
  ~FlushDenormals() { _mm_setcsr(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
};

std::string place(const Node& node) { return "node '" + node.name() + "' (" + std::string(node.op_name()) + "): "; }

void check_input(const Graph& graph, const Value& input, const Tensor& tensor) {
  const Type& type = input.type();
  if (!type.is_tensor() || !tensor.is_tensor()) {
    // An optional may be given what it holds.
    const bool holds = type.kind == ValueKind::optional || type.kind == ValueKind::optional_sequence;
    if (holds || (type.kind == tensor.kind())) return;
    throw Error(ErrorCode::invalid_argument, graph.file + ": input '" + input.name() + "' is of kind " +
                                                 std::string(to_string(tensor.kind())) + "; expected " + to_string(type));
  }
  bool fits = tensor.dtype() == type.dtype;
  if (fits && type.ranked()) {
    fits = tensor.shape().size() == type.dims->size();
    for (size_t i = 0; fits && i < type.dims->size(); ++i) {
      const Dim& d = (*type.dims)[i];
      fits = !d.known() || d.value == tensor.shape()[i];
    }
  }
  if (!fits)
    throw Error(ErrorCode::invalid_argument, graph.file + ": input '" + input.name() + "' is " +
                                                 std::string(octet::to_string(tensor.dtype())) +
                                                 octet::to_string(tensor.shape()) + "; expected " + to_string(type));
}

}  // namespace

const Tensor& EvalContext::in(size_t i) const {
  assert(has(i));
  return inputs_[i];
}

void EvalContext::fail(ErrorCode code, const std::string& message) const { throw Error(code, place(node_) + message); }

std::vector<Tensor> EvalContext::run(const Graph& graph, std::span<const Tensor> inputs, size_t changed) const {
  return run_ ? (*run_)(graph, inputs, changed) : run_reference(graph, inputs);
}

std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor> inputs, const EvalContext::RunGraph* run) {
  if (!node.op().eval)
    throw Error(ErrorCode::unsupported, place(node) + "has no scalar form; expected a pass to rewrite it");
  assert(inputs.size() == node.inputs().size());
  for (size_t i = 0; i < inputs.size() && !node.op().any_kind; ++i)
    if (!inputs[i].is_tensor())
      throw Error(ErrorCode::invalid_model, place(node) + "input " + std::to_string(i) + " is of kind " +
                                                std::string(to_string(inputs[i].kind())) + "; expected a tensor");
  const FlushDenormals state;
  std::vector<Tensor> outputs(node.outputs().size());
  EvalContext context(node, inputs, outputs, run);
  node.op().eval(context);
  return outputs;
}

std::vector<Tensor> run_reference(const Graph& graph, std::span<const Tensor> inputs) {
  if (inputs.size() != graph.inputs().size())
    throw Error(ErrorCode::invalid_argument, graph.file + ": " + std::to_string(inputs.size()) + " inputs given; expected " +
                                                 std::to_string(graph.inputs().size()));
  std::unordered_map<const Value*, Tensor> live;
  std::unordered_map<const Value*, size_t> uses_left;
  for (size_t i = 0; i < inputs.size(); ++i) {
    check_input(graph, *graph.inputs()[i], inputs[i]);
    live[graph.inputs()[i]] = inputs[i];
  }
  for (const Value* v : graph.outputs()) ++uses_left[v];
  for (const auto& node : graph.nodes()) {
    std::vector<Tensor> in;
    for (const Value* v : node->inputs()) in.push_back(!v ? Tensor() : v->is_constant() ? v->constant() : live.at(v));
    std::vector<Tensor> out;
    try {
      out = evaluate(*node, in);
    } catch (const Error& error) {
      throw Error(error.code(), graph.file + ": " + error.what());
    }
    in.clear();
    for (size_t i = 0; i < out.size(); ++i) {
      const Value* v = node->output(i);
      uses_left[v] += v->uses().size();
      if (uses_left[v] > 0) live[v] = std::move(out[i]);
    }
    for (const Value* v : node->inputs())
      if (v && v->producer() && --uses_left[v] == 0) live.erase(v);
  }
  std::vector<Tensor> outputs;
  for (const Value* v : graph.outputs()) outputs.push_back(v->is_constant() ? v->constant() : live.at(v));
  return outputs;
}

}  // namespace octet::graph
