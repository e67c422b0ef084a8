#include "graph/passes/transparent.h"

#include "graph/passes/match.h"
#include "octet/numerics.h"

namespace octet::graph {

bool is_transparent(const Node& node) {
  if (node.op().quant != QuantRole::transparent || !node.input(0)) return false;
  // Resize moves elements only when it picks the nearest, and does not fill in a value of its own.
  const std::string mode = node.attr("mode", "");
  return mode != "linear" && mode != "cubic" && node.attr("coordinate_transformation_mode", "") != "tf_crop_and_resize";
}

bool interpolates(const Node& node) {
  return node.op().quant == QuantRole::transparent && node.attr("mode", "") == std::string("linear") &&
         node.attr("coordinate_transformation_mode", "") != std::string("tf_crop_and_resize");
}

std::vector<size_t> data_inputs(const Node& node) {
  std::vector<size_t> list{0};
  if (!node.op().inputs.empty() && node.op().inputs[0].variadic)
    for (size_t i = 1; i < node.inputs().size(); ++i) list.push_back(i);
  return list;
}

int scalar_input(const Node& node) { return input_index(node.op(), "constant_value"); }

std::vector<Value*> data_outputs(const Node& node) {
  std::vector<Value*> list;
  for (Value* v : node.outputs())
    if (v->dtype() == node.input(0)->dtype()) list.push_back(v);
  return list;
}

std::optional<int32_t> scalar_as_quantum(const Node& node, const QuantParams& params, DType dtype) {
  const int index = scalar_input(node);
  const Value* v = index < 0 ? nullptr : node.input(static_cast<size_t>(index));
  const std::optional<float> value = v ? scalar_constant(v) : 0.0f;
  if (!value) return std::nullopt;
  const bool is_signed = dtype == DType::s8;
  return numerics::quantize(*value, params.scale[0], params.zero_point[0], is_signed ? -128 : 0, is_signed ? 127 : 255);
}

std::optional<float> quantum_as_scalar(const Node& node, const QuantParams& params) {
  const int index = scalar_input(node);
  const Value* v = index < 0 ? nullptr : node.input(static_cast<size_t>(index));
  if (v && !v->is_constant()) return std::nullopt;
  const auto quantum = v ? static_cast<int32_t>(v->constant().at_s64(0)) : 0;
  return numerics::dequantize(quantum, params.scale[0], params.zero_point[0]);
}

}  // namespace octet::graph
