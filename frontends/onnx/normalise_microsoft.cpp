// Import: ONNX Runtime's fused transformer operators as the ONNX operators they stand for, which octet fuses in its own way.
//
//   SimplifiedLayerNormalization        RMSNormalization
//   Skip[Simplified]LayerNormalization  Add(input, skip) [Add bias] → Layer- or RMSNormalization; the sum is output 3
//   EmbedLayerNormalization             Gathers of words, positions and segments, Adds, LayerNormalization; output 1 counts
//   the
//                                       tokens that the mask keeps; output 2 is the sum
//   Gelu, BiasGelu                      [Add] Gelu
//   FastGelu                            [Add] Gelu of the tanh form
//   QuickGelu                           Swish of alpha, 1.702 by default
//   Attention and kin                   normalise_attention.cpp
//   FusedConv, FusedGemm                normalise_activated.cpp
//
// Statistics as outputs of these are training's affair: refused where somebody reads them and ONNX's operator gives none.
#include "frontends/onnx/fused_forms.h"
#include "frontends/onnx/rewrite.h"

namespace octet::onnx {

using graph::Tensor;

namespace {

bool has(const std::vector<std::string>& names, size_t i) { return i < names.size() && !names[i].empty(); }

void expect_inputs(const DraftNode& node, size_t count, const Surroundings& around) {
  for (size_t i = 0; i < count; ++i)
    if (!has(node.inputs, i)) fail(ErrorCode::invalid_model, node, around, "input " + std::to_string(i) + " is missing");
  if (!has(node.outputs, 0)) fail(ErrorCode::invalid_model, node, around, "its first output is missing");
}

void refuse_output(const DraftNode& node, size_t i, const char* what, const Surroundings& around) {
  if (has(node.outputs, i) && around.is_used(node.outputs[i]))
    fail(ErrorCode::unsupported, node, around,
         "output '" + printable(node.outputs[i]) + "' (" + what + ") is used; expected nobody to read it");
}

// a + b under the name `given`, or a name of its own.
std::string add(Drafts& nodes, const DraftNode& of, const char* what, const std::string& a, const std::string& b,
                const std::string& given, const Surroundings& around) {
  const std::string sum = given.empty() ? around.new_name(stem(of, what)) : given;
  nodes.push_back(helper(of, "Add", what, {a, b}, sum));
  return sum;
}

// The normalisation of `x` by scale and bias (which may be absent) as `node`'s first output.
DraftNode norm_of(const DraftNode& node, bool centred, const std::string& x, const std::string& scale,
                  const std::string& bias, float epsilon) {
  DraftNode norm;
  norm.op = centred ? "LayerNormalization" : "RMSNormalization";
  norm.name = node.name;
  norm.index = node.index;
  norm.inputs = {x, scale};
  if (!bias.empty()) norm.inputs.push_back(bias);
  norm.outputs = {node.outputs[0]};
  norm.attrs["axis"] = int64_t{-1};
  norm.attrs["epsilon"] = epsilon;
  return norm;
}

constexpr float kSkipEpsilon = 1e-12f;

Drafts skip_norm(DraftNode node, bool centred, const Surroundings& around) {
  expect_inputs(node, 3, around);
  refuse_output(node, 1, "the mean", around);
  refuse_output(node, 2, "the inverse deviation", around);
  const size_t bias_at = centred ? 4 : 3;
  const std::string sum = has(node.outputs, 3) ? node.outputs[3] : std::string();
  const bool biased = has(node.inputs, bias_at);
  const float epsilon = take<float>(node, "epsilon", around).value_or(kSkipEpsilon);
  Drafts nodes;
  std::string x = add(nodes, node, "skip", node.inputs[0], node.inputs[1], biased ? std::string() : sum, around);
  if (biased) x = add(nodes, node, "bias", x, node.inputs[bias_at], sum, around);
  nodes.push_back(
      norm_of(node, centred, x, node.inputs[2], centred && has(node.inputs, 3) ? node.inputs[3] : std::string(), epsilon));
  return nodes;
}
Drafts skip_layer_norm(DraftNode node, int64_t, const Surroundings& around) {
  return skip_norm(std::move(node), true, around);
}
Drafts skip_rms_norm(DraftNode node, int64_t, const Surroundings& around) {
  return skip_norm(std::move(node), false, around);
}

Drafts rms_norm(DraftNode node, int64_t, const Surroundings& around) {
  expect_inputs(node, 2, around);
  refuse_output(node, 1, "the inverse deviation", around);
  node.op = "RMSNormalization";
  node.outputs.resize(1);
  return {std::move(node)};
}

Drafts embedding_norm(DraftNode node, int64_t, const Surroundings& around) {
  enum Input : size_t { kIds, kSegments, kWords, kPositions, kSegmentTable, kGamma, kBeta, kMask, kPositionIds };
  for (const size_t i : {kIds, kWords, kPositions, kGamma, kBeta})
    if (!has(node.inputs, i)) fail(ErrorCode::invalid_model, node, around, "input " + std::to_string(i) + " is missing");
  if (!has(node.outputs, 0)) fail(ErrorCode::invalid_model, node, around, "its first output is missing");
  const bool segments = has(node.inputs, kSegments) && has(node.inputs, kSegmentTable);
  const std::string sum = has(node.outputs, 2) ? node.outputs[2] : std::string();
  const float epsilon = take<float>(node, "epsilon", around).value_or(kSkipEpsilon);
  Drafts nodes;
  const auto one = [&](const char* op, const char* what, std::vector<std::string> inputs) {
    const std::string y = around.new_name(stem(node, what));
    nodes.push_back(helper(node, op, what, std::move(inputs), y));
    return y;
  };
  const std::string words = one("Gather", "words", {node.inputs[kWords], node.inputs[kIds]});
  std::string positions;
  if (has(node.inputs, kPositionIds)) {
    positions = one("Gather", "positions", {node.inputs[kPositions], node.inputs[kPositionIds]});
  } else {  // the first as many as there are tokens
    const std::string shape = one("Shape", "shape", {node.inputs[kIds]});
    const std::string tokens =
        one("Slice", "tokens", {shape, constant_ints(node, "one", {1}, around), constant_ints(node, "two", {2}, around)});
    positions = one("Slice", "positions", {node.inputs[kPositions], constant_ints(node, "first", {0}, around), tokens});
  }
  std::string x = add(nodes, node, "sum", words, positions, segments ? std::string() : sum, around);
  if (segments)
    x = add(nodes, node, "segment_sum", x, one("Gather", "segments", {node.inputs[kSegmentTable], node.inputs[kSegments]}),
            sum, around);
  if (has(node.outputs, 1) && around.is_used(node.outputs[1])) {
    if (!has(node.inputs, kMask))
      fail(ErrorCode::unsupported, node, around,
           "output '" + printable(node.outputs[1]) + "' (the mask's index) is used, but there is no mask");
    nodes.push_back(helper(node, "ReduceSum", "mask_index",
                           {node.inputs[kMask], constant_ints(node, "mask_axes", {1}, around)}, node.outputs[1]));
    nodes.back().attrs["keepdims"] = int64_t{0};
  }
  nodes.push_back(norm_of(node, true, x, node.inputs[kGamma], node.inputs[kBeta], epsilon));
  return nodes;
}

Drafts gelu(DraftNode node, const char* form, const Surroundings& around) {
  expect_inputs(node, 1, around);
  Drafts nodes;
  std::string x = node.inputs[0];
  if (has(node.inputs, 1)) x = add(nodes, node, "bias", x, node.inputs[1], {}, around);
  node.op = "Gelu";
  node.inputs = {x};
  node.attrs["approximate"] = std::string(form);
  nodes.push_back(std::move(node));
  return nodes;
}
Drafts exact_gelu(DraftNode node, int64_t, const Surroundings& around) { return gelu(std::move(node), "none", around); }
Drafts fast_gelu(DraftNode node, int64_t, const Surroundings& around) { return gelu(std::move(node), "tanh", around); }

Drafts quick_gelu(DraftNode node, int64_t, const Surroundings& around) {
  node.attrs["alpha"] = take<float>(node, "alpha", around).value_or(1.702f);
  node.op = "Swish";
  return {std::move(node)};
}

struct Form {
  std::string_view op;
  Drafts (*rewrite)(DraftNode, int64_t opset, const Surroundings&);
};

constexpr Form kForms[] = {
    {"SimplifiedLayerNormalization", rms_norm},
    {"com.microsoft.Attention", microsoft_attention},
    {"com.microsoft.BiasGelu", exact_gelu},
    {"com.microsoft.EmbedLayerNormalization", embedding_norm},
    {"com.microsoft.FastGelu", fast_gelu},
    {"com.microsoft.FusedConv", microsoft_fused_conv},
    {"com.microsoft.FusedGemm", microsoft_fused_gemm},
    {"com.microsoft.Gelu", exact_gelu},
    {"com.microsoft.MultiHeadAttention", microsoft_multi_head_attention},
    {"com.microsoft.QAttention", microsoft_q_attention},
    {"com.microsoft.QuickGelu", quick_gelu},
    {"com.microsoft.SimplifiedLayerNormalization", rms_norm},
    {"com.microsoft.SkipLayerNormalization", skip_layer_norm},
    {"com.microsoft.SkipSimplifiedLayerNormalization", skip_rms_norm},
    {"com.microsoft.TransposeMatMul", microsoft_transpose_matmul},
};

}  // namespace

std::vector<std::string_view> fused_forms() {
  std::vector<std::string_view> names;
  for (const Form& f : kForms) names.push_back(f.op);
  return names;
}

std::optional<Drafts> from_microsoft(const DraftNode& node, int64_t opset, const Surroundings& around) {
  for (const Form& f : kForms)
    if (f.op == node.op) return f.rewrite(node, opset, around);
  return std::nullopt;
}

}  // namespace octet::onnx
