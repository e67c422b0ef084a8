// Graphs for tests, written as expressions: every call appends a node and gives its output with its type inferred.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "graph/eval.h"
#include "graph/ir.h"
#include "graph/op_def.h"

namespace octet::graph::test {

using Attrs = std::vector<std::pair<std::string, Attribute>>;

struct Builder {
  Graph graph;

  Builder() {
    graph.name = "test";
    graph.file = "test.onnx";
  }
  Value* input(const std::string& name, const Shape& shape, DType dtype = DType::f32) {
    return graph.add_input(name, Type::known(dtype, shape));
  }
  Value* floats(const Shape& shape, const std::vector<float>& values, const std::string& name = {}) {
    return graph.add_constant(Tensor::of<float>(DType::f32, shape, values), name);
  }
  Value* scalar(float value) { return floats({}, {value}); }
  Value* ints(const std::vector<int64_t>& values) { return graph.add_constant(Tensor::of_s64(values)); }
  template <class T>
  Value* constant(DType dtype, const Shape& shape, const std::vector<T>& values, const std::string& name = {}) {
    return graph.add_constant(Tensor::of<T>(dtype, shape, values), name);
  }
  Node* node(const std::string& op, const std::vector<Value*>& inputs, const Attrs& attrs = {}, size_t outputs = 1) {
    Node* n = graph.add_node(op, inputs, outputs, op + std::to_string(count++));
    for (const auto& [key, value] : attrs) n->set_attr(key, value);
    infer_types(graph, *n);
    return n;
  }
  Value* op(const std::string& name, const std::vector<Value*>& inputs, const Attrs& attrs = {}) {
    return node(name, inputs, attrs)->output();
  }
  Value* zero_point(DType dtype, int zero) { return constant<uint8_t>(dtype, {}, {static_cast<uint8_t>(zero)}); }
  Value* q(Value* x, float scale, int zero, DType dtype = DType::u8) {
    return op("QuantizeLinear", {x, scalar(scale), zero_point(dtype, zero)});
  }
  Value* dq(Value* x, float scale, int zero) {
    return op("DequantizeLinear", {x, scalar(scale), zero_point(x->dtype(), zero)});
  }
  // What a quantizer puts on an activation.
  Value* qdq(Value* x, float scale, int zero, DType dtype = DType::u8) { return dq(q(x, scale, zero, dtype), scale, zero); }
  // Weights of int8 behind a DQ with a scale per output channel (axis 0).
  Value* weights(const Shape& shape, uint32_t seed, const std::vector<float>& scale);
  Value* s32_bias(const std::vector<int32_t>& values, const std::vector<float>& scale) {
    const auto n = static_cast<int64_t>(values.size());
    Value* b = constant<int32_t>(DType::s32, {n}, values, "bias");
    return op("DequantizeLinear", {b, floats({n}, scale)}, {{"axis", int64_t{0}}});
  }
  void output(Value* v) { graph.add_output(v); }

  int count = 0;
};

inline Tensor random_floats(const Shape& shape, uint32_t seed, float lo = -1.0f, float hi = 1.0f) {
  std::mt19937 engine(seed);
  Tensor t(DType::f32, shape);
  for (int64_t i = 0; i < t.size(); ++i)
    t.mutable_as<float>()[i] = lo + (hi - lo) * static_cast<float>(engine() % 65536) / 65536.0f;
  return t;
}

inline Tensor random_bytes(DType dtype, const Shape& shape, uint32_t seed) {
  std::mt19937 engine(seed);
  Tensor t(dtype, shape);
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(engine());
  return t;
}

inline Value* Builder::weights(const Shape& shape, uint32_t seed, const std::vector<float>& scale) {
  Value* w = graph.add_constant(random_bytes(DType::s8, shape, seed), "w" + std::to_string(seed));
  return op("DequantizeLinear", {w, floats({static_cast<int64_t>(scale.size())}, scale)}, {{"axis", int64_t{0}}});
}

inline std::vector<std::string> op_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const auto& n : graph.nodes()) names.emplace_back(n->op_name());
  return names;
}

inline Node* find_node(const Graph& graph, std::string_view op) {
  for (const auto& n : graph.nodes())
    if (n->op_name() == op) return n.get();
  return nullptr;
}

inline double largest_difference(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return INFINITY;
  double worst = 0;
  for (int64_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(a.at_f64(i) - b.at_f64(i)));
  return worst;
}

}  // namespace octet::graph::test
