#include "frontends/onnx/rewrite.h"

namespace octet::onnx {

using graph::Tensor;
using graph::Type;

void fail(ErrorCode code, const DraftNode& node, const Surroundings& around, const std::string& message) {
  throw Error(code, around.file + ": " + describe(node) + ": " + message);
}

void put_input(DraftNode& node, size_t i, std::string value, const Surroundings& around) {
  if (node.inputs.size() > i)
    fail(ErrorCode::invalid_model, node, around,
         "has " + std::to_string(node.inputs.size()) + " inputs, expected at most " + std::to_string(i) + " in this opset");
  node.inputs.resize(i);
  node.inputs.push_back(std::move(value));
}

std::string stem(const DraftNode& node, const char* what) {
  return (node.outputs.empty() ? node.name : node.outputs[0]) + "_" + what;
}

std::string constant_ints(const DraftNode& node, const char* what, const Ints& values, const Surroundings& around) {
  return around.add_constant(stem(node, what), Tensor::of_s64(values));
}

std::string constant_like_input(const DraftNode& node, const char* what, float value, const Surroundings& around) {
  const Type* type = node.inputs.empty() ? nullptr : around.type_of(node.inputs[0]);
  const DType dtype = type ? type->dtype : DType::f32;
  Tensor tensor;
  switch (dtype) {
    case DType::f16: tensor = Tensor::of<uint16_t>(dtype, {}, {graph::float_to_half(value)}); break;
    case DType::bf16: tensor = Tensor::of<uint16_t>(dtype, {}, {graph::float_to_bfloat16(value)}); break;
    case DType::f64: tensor = Tensor::of<double>(dtype, {}, {static_cast<double>(value)}); break;
    default: tensor = Tensor::scalar(value); break;
  }
  return around.add_constant(stem(node, what), std::move(tensor));
}

DraftNode helper(const DraftNode& of, const char* op, const char* what, std::vector<std::string> inputs,
                 std::string output) {
  DraftNode node;
  node.op = op;
  node.name = of.name.empty() ? of.name : of.name + "_" + what;
  node.inputs = std::move(inputs);
  node.outputs = {std::move(output)};
  node.index = of.index;
  return node;
}

}  // namespace octet::onnx
