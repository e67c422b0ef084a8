// Import: what changed between opset 1 and 7, so that models of 2017 load.
//
//   consumed_inputs     a hint about memory in opset 1 to 5; dropped
//   broadcast, axis     before 7 the second operand of arithmetic and comparisons broadcasts only when told to, from an axis
//   on is_test             before 7 BatchNormalization and Dropout learn unless told not to; octet does not slope before 7
//   PRelu's lies along the channels attribute → input   Reshape (5) other spelling      Cast's `to` (6), Pad's `paddings`
//   (2), Upsample's scales (7) other default       Concat's axis (4), Selu's numbers (6)
#include <algorithm>
#include <array>

#include "frontends/onnx/rewrite.h"

namespace octet::onnx {

namespace {

bool broadcasts_by_attribute(std::string_view op) {
  constexpr std::array<std::string_view, 11> kOps = {"Add", "And", "Div", "Equal", "Greater", "Less",
                                                     "Mul", "Or",  "Pow", "Sub",   "Xor"};
  return std::find(kOps.begin(), kOps.end(), op) != kOps.end();
}

int64_t rank_of(const DraftNode& node, size_t i, const Surroundings& around) {
  const graph::Type* type = i < node.inputs.size() ? around.type_of(node.inputs[i]) : nullptr;
  if (!type || !type->ranked())
    fail(ErrorCode::unsupported, node, around,
         "operand " + std::to_string(i) + " has no known rank; expected one before opset 7");
  return type->rank();
}

// Operand `i` gets `trailing` axes of size 1 at its end.
Drafts with_trailing_axes(DraftNode node, size_t i, int64_t trailing, const Surroundings& around) {
  Drafts nodes;
  if (trailing > 0) {
    const int64_t rank = rank_of(node, i, around);
    Ints axes;
    for (int64_t a = rank; a < rank + trailing; ++a) axes.push_back(a);
    const std::string wide = around.new_name(stem(node, "aligned"));
    nodes.push_back(helper(node, "Unsqueeze", "align", {node.inputs[i], constant_ints(node, "axes", axes, around)}, wide));
    node.inputs[i] = wide;
  }
  nodes.push_back(std::move(node));
  return nodes;
}

Drafts broadcast(DraftNode node, const Surroundings& around) {
  const bool wanted = take<int64_t>(node, "broadcast", around).value_or(0) != 0;
  const std::optional<int64_t> axis = take<int64_t>(node, "axis", around);
  if (!wanted || !axis || node.inputs.size() != 2) return {std::move(node)};
  const int64_t left = rank_of(node, 0, around), right = rank_of(node, 1, around);
  const int64_t trailing = left - (*axis < 0 ? *axis + left : *axis) - right;
  if (trailing < 0 || trailing > left)
    fail(ErrorCode::invalid_model, node, around,
         "axis " + std::to_string(*axis) + " leaves no room for the second operand's " + std::to_string(right) + " axes");
  return with_trailing_axes(std::move(node), 1, trailing, around);
}

Drafts prelu(DraftNode node, const Surroundings& around) {
  const graph::Type* slope = node.inputs.size() == 2 ? around.type_of(node.inputs[1]) : nullptr;
  if (!slope || !slope->ranked() || slope->rank() != 1 || (*slope->dims)[0] == graph::Dim(1)) return {std::move(node)};
  const int64_t rank = rank_of(node, 0, around);
  return with_trailing_axes(std::move(node), 1, std::max<int64_t>(rank - 2, 0), around);
}

void check_not_learning(DraftNode& node, const Surroundings& around) {
  if (take<int64_t>(node, "is_test", around).value_or(0) == 0)
    fail(ErrorCode::unsupported, node, around, "attribute 'is_test' is 0, expected 1 (inference)");
}

int64_t type_code(const DraftNode& node, const std::string& name, const Surroundings& around) {
  constexpr std::string_view kNames[] = {"FLOAT",  "UINT8", "INT8",    "UINT16", "INT16",  "INT32", "INT64",
                                         "STRING", "BOOL",  "FLOAT16", "DOUBLE", "UINT32", "UINT64"};
  const auto it = std::find(std::begin(kNames), std::end(kNames), name);
  if (it == std::end(kNames))
    fail(ErrorCode::invalid_model, node, around, "attribute 'to' is '" + printable(name) + "', no element type");
  return it - std::begin(kNames) + 1;
}

}  // namespace

Drafts from_before_opset_7(DraftNode node, int64_t opset, const Surroundings& around) {
  if (opset >= 7) return {std::move(node)};
  if (opset < 6) node.attrs.erase("consumed_inputs");
  if (broadcasts_by_attribute(node.op)) return broadcast(std::move(node), around);
  if (node.op == "PRelu") return prelu(std::move(node), around);
  if (node.op == "BatchNormalization" || node.op == "Dropout") check_not_learning(node, around);
  if (node.op == "Gemm") node.attrs.erase("broadcast");
  if (node.op == "Reshape" && opset < 5)
    put_input(node, 1, constant_ints(node, "shape", take_required<Ints>(node, "shape", around), around), around);
  if (node.op == "Cast" && opset < 6) {
    const auto name = take_required<std::string>(node, "to", around);
    node.attrs["to"] = type_code(node, name, around);
  }
  if (node.op == "Pad" && opset < 2) node.attrs["pads"] = take_required<Ints>(node, "paddings", around);
  if (node.op == "Concat" && opset < 4) node.attrs.emplace("axis", int64_t{1});
  if (node.op == "Selu" && opset < 6) {
    node.attrs.emplace("alpha", 1.6732f);
    node.attrs.emplace("gamma", 1.0507f);
  }
  if (node.op == "Upsample") {
    const auto height = take_required<float>(node, "height_scale", around),
               width = take_required<float>(node, "width_scale", around);
    node.attrs["scales"] = std::vector<float>{1, 1, height, width};
  }
  return {std::move(node)};
}

}  // namespace octet::onnx
