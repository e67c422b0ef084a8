// Import: what changed between opset 7 and the newest (normalise_old.cpp: before opset 7), operator by operator, from the
// ONNX operator change log. The table at the end names every difference that matters; an operator not in it means today what
// it meant in opset 7.
//
//   attribute → input   Clip, DFT, Dropout, Pad, Reduce*, Slice, Split, Squeeze, Unsqueeze, TopK, Upsample
//   renamed             Scatter → ScatterElements, Upsample → Resize, modes of GridSample
//   other default       RoiAlign, Resize 10 (asymmetric coordinates), Softmax and kin before 13 (a flattened matrix)
//   other shape         GroupNormalization before 21 (scale and bias per group)
//   dropped             BatchNormalization's spatial and its training outputs

#include <algorithm>
#include <limits>

#include "frontends/onnx/rewrite.h"

namespace octet::onnx {

using graph::Tensor;
using graph::Type;

namespace {

// Appends nodes that give `flat` the shape of `like` under the name `output`.
void append_restore_shape(Drafts& nodes, const DraftNode& of, const std::string& flat, const std::string& like,
                          const std::string& output, const Surroundings& around) {
  std::string shape;
  const Type* type = around.type_of(like);
  if (type && type->ranked()) {
    Ints dims;
    for (const graph::Dim& d : *type->dims) dims.push_back(d.known() ? d.value : -1);
    const auto unknown = std::count(dims.begin(), dims.end(), -1);
    const bool has_zero = std::find(dims.begin(), dims.end(), 0) != dims.end();
    if (unknown <= 1 && !has_zero) shape = constant_ints(of, "shape", dims, around);
  }
  if (shape.empty()) {
    shape = around.new_name(stem(of, "shape"));
    nodes.push_back(helper(of, "Shape", "shape", {like}, shape));
  }
  nodes.push_back(helper(of, "Reshape", "unflatten", {flat, shape}, output));
}

Drafts batch_normalization(DraftNode node, int64_t opset, const Surroundings& around) {
  if (opset < 9 && take<int64_t>(node, "spatial", around).value_or(1) != 1)
    fail(ErrorCode::unsupported, node, around, "attribute 'spatial' is 0, expected 1 (statistics per channel)");
  const std::optional<int64_t> training = take<int64_t>(node, "training_mode", around);
  if (training.value_or(0) != 0)
    fail(ErrorCode::unsupported, node, around, "attribute 'training_mode' is 1, expected 0 (inference)");
  for (size_t i = 1; i < node.outputs.size(); ++i)
    if (!node.outputs[i].empty() && around.is_used(node.outputs[i]))
      fail(ErrorCode::unsupported, node, around,
           "output '" + printable(node.outputs[i]) + "' exists only in training, but it is used");
  if (node.outputs.size() > 1) node.outputs.resize(1);
  return {std::move(node)};
}

Drafts clip(DraftNode node, int64_t, const Surroundings& around) {
  constexpr float kNone = std::numeric_limits<float>::max();
  const float low = take<float>(node, "min", around).value_or(-kNone);
  const float high = take<float>(node, "max", around).value_or(kNone);
  put_input(node, 1, low > -kNone ? constant_like_input(node, "min", low, around) : std::string(), around);
  if (high < kNone) put_input(node, 2, constant_like_input(node, "max", high, around), around);
  return {std::move(node)};
}

Drafts dft(DraftNode node, int64_t, const Surroundings& around) {
  const int64_t axis = take<int64_t>(node, "axis", around).value_or(1);
  put_input(node, 2, around.add_constant(stem(node, "axis"), Tensor::of<int64_t>(DType::s64, {}, {axis})), around);
  return {std::move(node)};
}

Drafts dropout(DraftNode node, int64_t, const Surroundings& around) {
  put_input(node, 1, constant_like_input(node, "ratio", take<float>(node, "ratio", around).value_or(0.5f), around), around);
  return {std::move(node)};
}

Drafts grid_sample(DraftNode node, int64_t, const Surroundings& around) {
  const std::string mode = take<std::string>(node, "mode", around).value_or("bilinear");
  node.attrs["mode"] = std::string(mode == "bilinear" ? "linear" : mode == "bicubic" ? "cubic" : mode);
  return {std::move(node)};
}

// GroupNormalization with scale[g] is InstanceNormalization of the groups.
Drafts group_normalization(DraftNode node, int64_t, const Surroundings& around) {
  const int64_t groups = take_required<int64_t>(node, "num_groups", around);
  if (node.inputs.size() != 3 || node.outputs.size() != 1)
    fail(ErrorCode::invalid_model, node, around, "expected the inputs X, scale and bias, and one output");
  const std::string x = node.inputs[0], y = node.outputs[0];
  const std::string grouped = around.new_name(stem(node, "grouped"));
  const std::string normal = around.new_name(stem(node, "normal"));
  Drafts nodes;
  nodes.push_back(helper(node, "Reshape", "group", {x, constant_ints(node, "groups", {0, groups, -1}, around)}, grouped));
  DraftNode norm = helper(node, "InstanceNormalization", "norm", {grouped, node.inputs[1], node.inputs[2]}, normal);
  norm.attrs = node.attrs;
  norm.attrs.erase("stash_type");
  nodes.push_back(std::move(norm));
  append_restore_shape(nodes, node, normal, x, y, around);
  return nodes;
}

Drafts pad(DraftNode node, int64_t, const Surroundings& around) {
  const Ints pads = take_required<Ints>(node, "pads", around);
  const float value = take<float>(node, "value", around).value_or(0.0f);
  put_input(node, 1, constant_ints(node, "pads", pads, around), around);
  if (value != 0.0f) put_input(node, 2, constant_like_input(node, "value", value, around), around);
  return {std::move(node)};
}

Drafts reduce(DraftNode node, int64_t, const Surroundings& around) {
  if (const auto axes = take<Ints>(node, "axes", around))
    put_input(node, 1, constant_ints(node, "axes", *axes, around), around);
  return {std::move(node)};
}

// Before opset 11 the coordinate was simply y / scale; a position between samples went down when enlarging, up when
// shrinking (test_resize_downsample_nearest of that time).
void set_asymmetric(DraftNode& node, const std::string& scales, const Surroundings& around) {
  std::string nearest = "floor";
  if (const Tensor* known = around.constant_of(scales); known && known->dtype() == DType::f32) {
    const std::vector<float> values = known->to_f32();
    const bool shrinks = std::any_of(values.begin(), values.end(), [](float s) { return s < 1; });
    const bool enlarges = std::any_of(values.begin(), values.end(), [](float s) { return s > 1; });
    if (shrinks && enlarges)
      fail(ErrorCode::unsupported, node, around, "shrinks one axis and enlarges another; not supported before opset 11");
    if (shrinks) nearest = "ceil";
  }
  node.attrs["coordinate_transformation_mode"] = std::string("asymmetric");
  node.attrs["nearest_mode"] = nearest;
}

Drafts resize(DraftNode node, int64_t, const Surroundings& around) {
  if (node.inputs.size() != 2) fail(ErrorCode::invalid_model, node, around, "expected the inputs X and scales");
  node.inputs = {node.inputs[0], "", node.inputs[1]};
  set_asymmetric(node, node.inputs[2], around);
  return {std::move(node)};
}

Drafts upsample(DraftNode node, int64_t opset, const Surroundings& around) {
  node.op = "Resize";
  if (opset >= 9) return resize(std::move(node), opset, around);
  const auto scales = take_required<std::vector<float>>(node, "scales", around);
  const auto rank = static_cast<int64_t>(scales.size());
  put_input(node, 1, around.add_constant(stem(node, "scales"), Tensor::of<float>(DType::f32, {rank}, scales)), around);
  return resize(std::move(node), opset, around);
}

Drafts roi_align(DraftNode node, int64_t, const Surroundings&) {
  node.attrs["coordinate_transformation_mode"] = std::string("output_half_pixel");
  return {std::move(node)};
}

// Before opset 9 a batch ran in front of everything, with lengths of its sequences as first operand.
Drafts scan(DraftNode node, int64_t, const Surroundings& around) {
  if (node.inputs.empty()) fail(ErrorCode::invalid_model, node, around, "has no inputs");
  if (!node.inputs[0].empty())
    fail(ErrorCode::unsupported, node, around, "gives lengths of sequences; expected none (Scan has them only in opset 8)");
  node.inputs.erase(node.inputs.begin());
  if (const auto directions = take<Ints>(node, "directions", around)) node.attrs["scan_input_directions"] = *directions;
  node.attrs["batched"] = int64_t{1};
  return {std::move(node)};
}

Drafts scatter(DraftNode node, int64_t, const Surroundings&) {
  node.op = "ScatterElements";
  return {std::move(node)};
}

Drafts slice(DraftNode node, int64_t, const Surroundings& around) {
  const Ints starts = take_required<Ints>(node, "starts", around);
  const Ints ends = take_required<Ints>(node, "ends", around);
  const std::optional<Ints> axes = take<Ints>(node, "axes", around);
  put_input(node, 1, constant_ints(node, "starts", starts, around), around);
  put_input(node, 2, constant_ints(node, "ends", ends, around), around);
  if (axes) put_input(node, 3, constant_ints(node, "axes", *axes, around), around);
  return {std::move(node)};
}

// Softmax, LogSoftmax, Hardmax over all axes from `axis` on, as one row of a matrix.
Drafts softmax(DraftNode node, int64_t, const Surroundings& around) {
  int64_t axis = take<int64_t>(node, "axis", around).value_or(1);
  if (node.inputs.size() != 1 || node.outputs.size() != 1)
    fail(ErrorCode::invalid_model, node, around, "expected one input and one output");
  const Type* type = around.type_of(node.inputs[0]);
  if (type && type->ranked()) {
    const auto rank = static_cast<int64_t>(type->dims->size());
    if (axis < 0) axis += rank;
    if (axis < 0 || axis > rank)
      fail(ErrorCode::invalid_model, node, around,
           "attribute 'axis' is out of range for an input of " + std::to_string(rank) + " dimensions");
    bool row_is_axis = axis < rank;
    for (int64_t i = axis + 1; i < rank; ++i) row_is_axis = row_is_axis && (*type->dims)[static_cast<size_t>(i)].value == 1;
    if (row_is_axis) {
      node.attrs["axis"] = axis;
      return {std::move(node)};
    }
  }
  const std::string x = node.inputs[0], y = node.outputs[0];
  const std::string matrix = around.new_name(stem(node, "matrix"));
  const std::string rows = around.new_name(stem(node, "rows"));
  Drafts nodes;
  nodes.push_back(helper(node, "Flatten", "flatten", {x}, matrix));
  nodes.back().attrs["axis"] = axis;
  const DraftNode original = node;
  node.inputs = {matrix};
  node.outputs = {rows};
  node.attrs["axis"] = int64_t{1};
  nodes.push_back(std::move(node));
  append_restore_shape(nodes, original, rows, x, y, around);
  return nodes;
}

Drafts split(DraftNode node, int64_t opset, const Surroundings& around) {
  if (opset < 13)
    if (const auto sizes = take<Ints>(node, "split", around))
      put_input(node, 1, constant_ints(node, "split", *sizes, around), around);
  const bool has_sizes = node.inputs.size() > 1 && !node.inputs[1].empty();
  if (!has_sizes && !node.attrs.contains("num_outputs"))
    node.attrs["num_outputs"] = static_cast<int64_t>(node.outputs.size());
  return {std::move(node)};
}

Drafts squeeze(DraftNode node, int64_t, const Surroundings& around) {
  if (const auto axes = take<Ints>(node, "axes", around))
    put_input(node, 1, constant_ints(node, "axes", *axes, around), around);
  return {std::move(node)};
}

Drafts unsqueeze(DraftNode node, int64_t, const Surroundings& around) {
  put_input(node, 1, constant_ints(node, "axes", take_required<Ints>(node, "axes", around), around), around);
  return {std::move(node)};
}

Drafts top_k(DraftNode node, int64_t, const Surroundings& around) {
  put_input(node, 1, constant_ints(node, "k", {take_required<int64_t>(node, "k", around)}, around), around);
  return {std::move(node)};
}

// ONNX Runtime's own QuantizeLinear and DequantizeLinear mean the standard ones.
Drafts standard_domain(DraftNode node, int64_t, const Surroundings&) {
  node.op = node.op.substr(node.op.rfind('.') + 1);
  return {std::move(node)};
}

struct Difference {
  std::string_view op;
  int64_t below;  // applies to opsets before this one
  Drafts (*rewrite)(DraftNode, int64_t opset, const Surroundings&);
};

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();

constexpr Difference kDifferences[] = {
    {"BatchNormalization", kAll, batch_normalization},
    {"Clip", 11, clip},
    {"DFT", 20, dft},
    {"Dropout", 12, dropout},
    {"GridSample", 20, grid_sample},
    {"GroupNormalization", 21, group_normalization},
    {"Hardmax", 13, softmax},
    {"LogSoftmax", 13, softmax},
    {"Pad", 11, pad},
    {"ReduceL1", 18, reduce},
    {"ReduceL2", 18, reduce},
    {"ReduceLogSum", 18, reduce},
    {"ReduceLogSumExp", 18, reduce},
    {"ReduceMax", 18, reduce},
    {"ReduceMean", 18, reduce},
    {"ReduceMin", 18, reduce},
    {"ReduceProd", 18, reduce},
    {"ReduceSum", 13, reduce},
    {"ReduceSumSquare", 18, reduce},
    {"Resize", 11, resize},
    {"RoiAlign", 16, roi_align},
    {"Scan", 9, scan},
    {"Scatter", kAll, scatter},
    {"Slice", 10, slice},
    {"Softmax", 13, softmax},
    {"Split", kAll, split},
    {"Squeeze", 13, squeeze},
    {"TopK", 10, top_k},
    {"Unsqueeze", 13, unsqueeze},
    {"Upsample", kAll, upsample},
    {"com.microsoft.DequantizeLinear", kAll, standard_domain},
    {"com.microsoft.QuantizeLinear", kAll, standard_domain},
};

}  // namespace

std::vector<DraftNode> normalise(DraftNode node, int64_t opset, const Surroundings& around) {
  Drafts nodes = from_before_opset_7(std::move(node), opset, around);
  DraftNode last = std::move(nodes.back());
  nodes.pop_back();
  if (std::optional<Drafts> standard = from_microsoft(last, opset, around)) {
    nodes.insert(nodes.end(), std::make_move_iterator(standard->begin()), std::make_move_iterator(standard->end()));
    return nodes;
  }
  for (const Difference& d : kDifferences)
    if (d.op == last.op && opset < d.below) {
      Drafts newest = d.rewrite(std::move(last), opset, around);
      nodes.insert(nodes.end(), std::make_move_iterator(newest.begin()), std::make_move_iterator(newest.end()));
      return nodes;
    }
  nodes.push_back(std::move(last));
  return nodes;
}

}  // namespace octet::onnx
