// One node in a graph of its own, for tests that read as examples:
//
//   EXPECT_EQ(eval("Add", {floats({2}, {1, 2}), floats({}, {3})}).to_f32(), (std::vector<float>{4, 5}));
//   EXPECT_EQ(inferred("Relu", {dims(DType::f32, {"N", "3"})}), "float32[N,3]");
//
// Every evaluation also checks that inference, on the same operands as constants and as inputs of known shape, foretold the
// element type and shape of the result.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "octet/numerics.h"
#include "tests/graph/builder.h"

namespace octet::graph::test {

inline Tensor floats(const Shape& shape, const std::vector<float>& values) {
  return Tensor::of<float>(DType::f32, shape, values);
}
inline Tensor bytes(const Shape& shape, const std::vector<uint8_t>& values) {
  return Tensor::of<uint8_t>(DType::u8, shape, values);
}
inline Tensor signed_bytes(const Shape& shape, const std::vector<int8_t>& values) {
  return Tensor::of<int8_t>(DType::s8, shape, values);
}
inline Tensor bools(const Shape& shape, const std::vector<uint8_t>& values) {
  return Tensor::of<uint8_t>(DType::boolean, shape, values);
}
inline Tensor longs(const Shape& shape, const std::vector<int64_t>& values) {
  return Tensor::of<int64_t>(DType::s64, shape, values);
}
inline Tensor ints32(const Shape& shape, const std::vector<int32_t>& values) {
  return Tensor::of<int32_t>(DType::s32, shape, values);
}
inline Tensor halves(const Shape& shape, const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float v : values) bits.push_back(float_to_half(v));
  return Tensor::of<uint16_t>(DType::f16, shape, bits);
}
inline Tensor doubles(const Shape& shape, const std::vector<double>& values) {
  return Tensor::of<double>(DType::f64, shape, values);
}

struct Quantized {
  Tensor tensor;
  QuantParams params;
};
inline Quantized quantized(Tensor t, float scale, int32_t zero_point) { return {std::move(t), {{scale}, {zero_point}, -1}}; }

// An operand: absent, a tensor, a quantized tensor, or (for inference only) a type.
using Operand = std::variant<std::monostate, Tensor, Quantized, Type>;
inline const Operand kAbsent;

struct Result {
  DType dtype = DType::undefined;  // what a pass would have decided: octet.* and quantized forms
  QuantParams params;              // empty scale: none
};

namespace detail {

inline Value* put(Graph& g, const Operand& operand, bool as_input) {
  if (std::holds_alternative<std::monostate>(operand)) return nullptr;
  if (const auto* type = std::get_if<Type>(&operand)) return g.add_input("", *type);
  const auto* q = std::get_if<Quantized>(&operand);
  const Tensor& t = q ? q->tensor : std::get<Tensor>(operand);
  Value* v = as_input ? g.add_input("", Type::known(t.dtype(), t.shape())) : g.add_constant(t);
  if (!q) return v;
  Type type = v->type();
  type.quant = std::make_shared<QuantParams>(q->params);
  v->set_type(type);
  return v;
}

inline Node* build(Graph& g, const std::string& op, const std::vector<Operand>& operands, const Attrs& attrs, size_t outputs,
                   const Result& result, bool as_inputs = false) {
  g.file = "test.onnx";
  std::vector<Value*> values;
  for (const Operand& o : operands) values.push_back(put(g, o, as_inputs));
  Node* n = g.add_node(op, values, outputs, "n");
  for (const auto& [key, value] : attrs) n->set_attr(key, value);
  if (result.dtype != DType::undefined) {
    Type type{result.dtype, std::nullopt, nullptr};
    if (!result.params.scale.empty()) type.quant = std::make_shared<QuantParams>(result.params);
    n->output()->set_type(type);
  }
  infer_types(g, *n);
  return n;
}

inline void expect_foretold(const Type& type, const Tensor& t, const std::string& op) {
  EXPECT_EQ(type.dtype, t.dtype()) << op;
  if (!type.ranked()) return;
  ASSERT_EQ(type.dims->size(), t.shape().size()) << op << " inferred " << to_string(type);
  for (size_t i = 0; i < t.shape().size(); ++i) {
    const Dim& d = (*type.dims)[i];
    EXPECT_TRUE(!d.known() || d.value == t.shape()[i])
        << op << " inferred " << to_string(type) << ", gave " << octet::to_string(t.shape());
  }
}

}  // namespace detail

inline std::vector<Tensor> eval_all(const std::string& op, const std::vector<Operand>& operands, const Attrs& attrs = {},
                                    size_t outputs = 1, const Result& result = {}) {
  Graph g, dynamic;
  Node* n = detail::build(g, op, operands, attrs, outputs, result);
  Node* d = detail::build(dynamic, op, operands, attrs, outputs, result, true);
  std::vector<Tensor> in;
  for (const Value* v : n->inputs()) in.push_back(v ? v->constant() : Tensor());
  std::vector<Tensor> out = evaluate(*n, in);
  for (size_t i = 0; i < out.size(); ++i) {
    detail::expect_foretold(n->output(i)->type(), out[i], op);
    detail::expect_foretold(d->output(i)->type(), out[i], op);
  }
  return out;
}
inline Tensor eval(const std::string& op, const std::vector<Operand>& operands, const Attrs& attrs = {},
                   const Result& result = {}) {
  return eval_all(op, operands, attrs, 1, result)[0];
}

// A type with symbols: {"N", "3", "?"}.
inline Type dims(DType dtype, const std::vector<std::string>& names) {
  std::vector<Dim> list;
  for (const std::string& n : names) {
    if (n == "?")
      list.emplace_back();
    else if (n.find_first_not_of("0123456789") == std::string::npos)
      list.emplace_back(std::stoll(n));
    else
      list.emplace_back(n);
  }
  return {dtype, list, nullptr};
}
inline std::string inferred(const std::string& op, const std::vector<Operand>& operands, const Attrs& attrs = {},
                            size_t outputs = 1, size_t which = 0) {
  Graph g;
  return to_string(detail::build(g, op, operands, attrs, outputs, {})->output(which)->type());
}

// The message of the Error that `f` throws; empty when it throws none.
inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}
inline std::string refusal(const std::string& op, const std::vector<Operand>& operands, const Attrs& attrs = {},
                           size_t outputs = 1) {
  return message_of([&] { eval_all(op, operands, attrs, outputs); });
}

using Floats = std::vector<float>;
using Ints = std::vector<int64_t>;
inline Attribute ints(const Ints& values) { return values; }
inline Attribute text(const char* value) { return std::string(value); }
inline Attribute number(int64_t value) { return value; }

inline void expect_near(const Tensor& t, const Floats& wanted, float tolerance = 1e-6f) {
  const Floats got = t.to_f32();
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], tolerance) << "element " << i;
}

}  // namespace octet::graph::test
