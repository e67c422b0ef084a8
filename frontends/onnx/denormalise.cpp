// Export: the opset that a node's newest meaning needs, and its spelling in an older one. The graph speaks the newest opset
// (normalise.cpp); files are written for opset 17 unless the graph uses what came later, so that older programs can read
// them.
//
// Three kinds of difference matter from opset 13 on: operators that came later (kSince), attributes that came later and may
// be left out when they say the default (kAttributesSince), and operands that were attributes (Reduce*'s axes before 18).

#include <algorithm>

#include "frontends/onnx/draft.h"

namespace octet::onnx {

using graph::Attribute;
using graph::Tensor;
using graph::Type;

namespace {

struct OperatorSince {
  std::string_view op;
  int opset;
};

constexpr OperatorSince kSince[] = {
    {"Attention", 23},
    {"BitwiseAnd", 18},
    {"BitwiseNot", 18},
    {"BitwiseOr", 18},
    {"BitwiseXor", 18},
    {"CastLike", 15},
    {"CenterCropPad", 18},
    {"Col2Im", 18},
    {"DFT", 20},
    {"DeformConv", 19},
    {"Gelu", 20},
    {"GridSample", 20},
    {"HardSwish", 14},
    {"GroupNormalization", 21},
    {"LayerNormalization", 17},
    {"Mish", 18},
    {"RMSNormalization", 23},
    {"RoiAlign", 16},
    {"STFT", 17},
    {"Swish", 24},
    {"Trilu", 14},
    {"BlackmanWindow", 17},
    {"HannWindow", 17},
    {"HammingWindow", 17},
    {"MelWeightMatrix", 17},
    {"RotaryEmbedding", 23},
    {"AffineGrid", 20},
    {"TensorScatter", 24},
    {"BitCast", 26},
    {"CumProd", 26},
    {"SwiGLU", 28},
    {"LinearAttention", 27},
    {"CausalConvWithState", 27},
};

struct AttributeSince {
  std::string_view op;
  std::string_view name;
  int opset;
  bool (*is_default)(const Attribute&);
};

bool is_zero(const Attribute& a) { return std::holds_alternative<int64_t>(a) && std::get<int64_t>(a) == 0; }
bool is_one(const Attribute& a) { return std::holds_alternative<int64_t>(a) && std::get<int64_t>(a) == 1; }
bool is_none(const Attribute& a) { return std::holds_alternative<std::string>(a) && std::get<std::string>(a) == "none"; }
bool is_stretch(const Attribute& a) {
  return std::holds_alternative<std::string>(a) && std::get<std::string>(a) == "stretch";
}
bool is_depth_first(const Attribute& a) {
  return std::holds_alternative<std::string>(a) && std::get<std::string>(a) == "DCR";
}
bool all_ones(const Attribute& a) {
  const auto* list = std::get_if<std::vector<int64_t>>(&a);
  return list && std::all_of(list->begin(), list->end(), [](int64_t v) { return v == 1; });
}
bool never(const Attribute&) { return false; }

constexpr AttributeSince kAttributesSince[] = {
    {"AveragePool", "dilations", 19, all_ones},
    {"BatchNormalization", "training_mode", 14, is_zero},
    {"Cast", "saturate", 19, is_one},
    {"DequantizeLinear", "block_size", 21, is_zero},
    {"DequantizeLinear", "output_dtype", 23, is_zero},
    {"LpPool", "ceil_mode", 18, is_zero},
    {"LpPool", "dilations", 18, all_ones},
    {"QuantizeLinear", "block_size", 21, is_zero},
    {"QuantizeLinear", "output_dtype", 21, is_zero},
    {"QuantizeLinear", "precision", 23, is_zero},
    {"QuantizeLinear", "saturate", 19, is_one},
    {"Reshape", "allowzero", 14, is_zero},
    {"Resize", "antialias", 18, is_zero},
    {"Resize", "axes", 18, never},
    {"Resize", "keep_aspect_ratio_policy", 18, is_stretch},
    {"ScatterElements", "reduction", 18, is_none},
    {"ScatterND", "reduction", 18, is_none},
    {"Shape", "end", 15, never},
    {"Shape", "start", 15, is_zero},
    {"SpaceToDepth", "mode", 28, is_depth_first},
    {"Split", "num_outputs", 18, never},
};

// Reductions whose axes became an operand in opset 18; ReduceSum's already was in 13.
bool had_axes_attribute(std::string_view op) { return op.starts_with("Reduce") && op != "ReduceSum"; }

std::string input_or_empty(const DraftNode& node, size_t i) {
  return i < node.inputs.size() ? node.inputs[i] : std::string();
}

bool reduce_fits_17(const DraftNode& node, const Surroundings& around) {
  const std::string axes = input_or_empty(node, 1);
  const auto noop = node.attrs.find("noop_with_empty_axes");
  const bool noop_set = noop != node.attrs.end() && !is_zero(noop->second);
  const Tensor* known = axes.empty() ? nullptr : around.constant_of(axes);
  if (axes.empty()) return !noop_set;
  return known && known->size() > 0;
}

// Before 18, Split without sizes made equal parts; now the last may be smaller.
bool split_fits_17(const DraftNode& node, const Surroundings& around) {
  if (!input_or_empty(node, 1).empty()) return !node.attrs.contains("num_outputs");
  const auto attr = node.attrs.find("axis");
  int64_t axis = attr == node.attrs.end() ? 0 : std::get<int64_t>(attr->second);
  const Type* type = around.type_of(node.inputs[0]);
  if (!type || !type->ranked()) return false;
  axis += axis < 0 ? type->rank() : 0;
  if (axis < 0 || axis >= type->rank()) return false;
  const graph::Dim& dim = (*type->dims)[static_cast<size_t>(axis)];
  return dim.known() && dim.value % static_cast<int64_t>(node.outputs.size()) == 0;
}

struct TypeSince {
  DType dtype;
  int opset;
};
constexpr TypeSince kTypesSince[] = {
    {DType::f8e4m3fn, 19}, {DType::f8e4m3fnuz, 19}, {DType::f8e5m2, 19}, {DType::f8e5m2fnuz, 19}, {DType::s4, 21},
    {DType::u4, 21},       {DType::f4e2m1, 23},     {DType::f8e8m0, 24}, {DType::s2, 25},         {DType::u2, 25},
};

bool is_linear(const DraftNode& node) { return node.op == "QuantizeLinear" || node.op == "DequantizeLinear"; }

int opset_of_dtypes(const DraftNode& node, const Surroundings& around) {
  int opset = 0;
  std::vector<std::string> names = node.inputs;
  names.insert(names.end(), node.outputs.begin(), node.outputs.end());
  for (const std::string& name : names) {
    const Type* type = name.empty() ? nullptr : around.type_of(name);
    if (!type) continue;
    for (const TypeSince& t : kTypesSince)
      if (t.dtype == type->dtype) opset = std::max(opset, t.opset);
    if (!is_linear(node)) continue;
    if (type->dtype == DType::s16 || type->dtype == DType::u16) opset = std::max(opset, 21);
    if (type->dtype == DType::f16 || type->dtype == DType::bf16) opset = std::max(opset, 19);
  }
  return opset;
}

}  // namespace

int required_opset(const DraftNode& node, int at_least, const Surroundings& around) {
  int opset = std::max(at_least, opset_of_dtypes(node, around));
  for (const OperatorSince& o : kSince)
    if (o.op == node.op) opset = std::max(opset, o.opset);
  for (const AttributeSince& a : kAttributesSince) {
    const auto it = a.op == node.op ? node.attrs.find(a.name) : node.attrs.end();
    if (it == node.attrs.end() || a.is_default(it->second)) continue;
    if (node.op == "Split" && split_fits_17(node, around)) continue;
    opset = std::max(opset, a.opset);
  }
  if (had_axes_attribute(node.op) && !reduce_fits_17(node, around)) opset = std::max(opset, 18);
  if (node.op == "Pad" && !input_or_empty(node, 3).empty()) opset = std::max(opset, 18);
  return opset;
}

DraftNode denormalise(DraftNode node, int opset, const Surroundings& around) {
  for (const AttributeSince& a : kAttributesSince)
    if (a.op == node.op && opset < a.opset) node.attrs.erase(std::string(a.name));
  if (had_axes_attribute(node.op) && opset < 18) {
    if (const std::string axes = input_or_empty(node, 1); !axes.empty())
      node.attrs["axes"] = around.constant_of(axes)->to_s64();
    node.inputs.resize(1);
    node.attrs.erase("noop_with_empty_axes");
  }
  if (node.op == "Split" && opset >= 18 && input_or_empty(node, 1).empty())
    node.attrs["num_outputs"] = static_cast<int64_t>(node.outputs.size());
  return node;
}

}  // namespace octet::onnx
