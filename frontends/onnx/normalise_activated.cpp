// Import: ONNX Runtime's products with an activation of their own, as the ONNX operators they stand for.
//
//   FusedConv(x, w, b, z)  act(Conv(x, w, b) + z)        activation, activation_params
//   FusedGemm(a, b, c)     act(Gemm(a, b, c))            activation, activation_alpha, activation_beta
//   TransposeMatMul        FusedMatMul, by the name it had
//
// The activations are those that ONNX Runtime fuses: Relu, Tanh, Sigmoid, LeakyRelu, Clip, HardSigmoid.
#include <array>

#include "frontends/onnx/rewrite.h"

namespace octet::onnx {

using graph::Tensor;

namespace {

// The activation's numbers, and the names that its own attributes have in ONNX.
using Params = std::array<std::optional<float>, 2>;

DraftNode activation(const DraftNode& node, const std::string& op, const Params& params, const std::string& x,
                     const Surroundings& around) {
  DraftNode act = helper(node, op.c_str(), "act", {x}, node.outputs[0]);
  const auto attr = [&](size_t i, const char* name) {
    if (params[i]) act.attrs[name] = *params[i];
  };
  if (op == "Clip") {
    for (size_t i = 0; i < params.size(); ++i)
      act.inputs.push_back(params[i] ? around.add_constant(stem(node, i == 0 ? "least" : "most"), Tensor::scalar(*params[i]))
                                     : std::string());
  } else if (op == "LeakyRelu") {
    attr(0, "alpha");
  } else if (op == "HardSigmoid") {
    attr(0, "alpha");
    attr(1, "beta");
  } else if (op != "Relu" && op != "Tanh" && op != "Sigmoid") {
    fail(ErrorCode::unsupported, node, around,
         "its activation is '" + printable(op) + "'; expected Relu, Tanh, Sigmoid, LeakyRelu, Clip or HardSigmoid");
  }
  return act;
}

Drafts activated(DraftNode node, const char* plain, const std::string& act, const Params& params,
                 const std::string& residual, const Surroundings& around) {
  if (node.outputs.empty()) fail(ErrorCode::invalid_model, node, around, "its output is missing");
  const DraftNode of = node;
  node.op = plain;
  Drafts nodes{std::move(node)};
  const auto next = [&](const char* what) {
    const std::string x = around.new_name(stem(of, what));
    nodes.back().outputs[0] = x;
    return x;
  };
  if (!residual.empty()) {
    const std::string x = next("product");
    nodes.push_back(helper(of, "Add", "sum", {x, residual}, of.outputs[0]));
  }
  if (!act.empty()) {
    const std::string x = next("before_act");
    nodes.push_back(activation(of, act, params, x, around));
  }
  return nodes;
}

}  // namespace

Drafts microsoft_fused_conv(DraftNode node, int64_t, const Surroundings& around) {
  const std::string act = take<std::string>(node, "activation", around).value_or("");
  const auto values = take<std::vector<float>>(node, "activation_params", around).value_or(std::vector<float>{});
  Params params;
  for (size_t i = 0; i < params.size() && i < values.size(); ++i) params[i] = values[i];
  const std::string residual = node.inputs.size() > 3 ? node.inputs[3] : std::string();
  if (node.inputs.size() > 3) node.inputs.resize(3);
  return activated(std::move(node), "Conv", act, params, residual, around);
}

Drafts microsoft_fused_gemm(DraftNode node, int64_t, const Surroundings& around) {
  const std::string act = take<std::string>(node, "activation", around).value_or("");
  const Params params{take<float>(node, "activation_alpha", around), take<float>(node, "activation_beta", around)};
  take<float>(node, "activation_gamma", around);
  return activated(std::move(node), "Gemm", act, params, {}, around);
}

Drafts microsoft_transpose_matmul(DraftNode node, int64_t, const Surroundings&) {
  node.op = "com.microsoft.FusedMatMul";
  return {std::move(node)};
}

}  // namespace octet::onnx
