// What rewriting a draft takes: reading and removing attributes, adding operands, constants and helper nodes.
#pragma once

#include <optional>

#include "frontends/onnx/draft.h"

namespace octet::onnx {

using Drafts = std::vector<DraftNode>;
using Ints = std::vector<int64_t>;

[[noreturn]] void fail(ErrorCode code, const DraftNode& node, const Surroundings& around, const std::string& message);

// Removes an attribute that the newest schema no longer has.
template <class T>
std::optional<T> take(DraftNode& node, std::string_view name, const Surroundings& around) {
  const auto it = node.attrs.find(name);
  if (it == node.attrs.end()) return std::nullopt;
  const T* value = std::get_if<T>(&it->second);
  if (value == nullptr)
    fail(ErrorCode::invalid_model, node, around, "attribute '" + std::string(name) + "' has the wrong kind");
  T taken = *value;
  node.attrs.erase(it);
  return taken;
}

template <class T>
T take_required(DraftNode& node, std::string_view name, const Surroundings& around) {
  std::optional<T> value = take<T>(node, name, around);
  if (!value) fail(ErrorCode::invalid_model, node, around, "attribute '" + std::string(name) + "' is missing");
  return *value;
}

// Operand `i`, which the old form did not have, becomes `value`.
void put_input(DraftNode& node, size_t i, std::string value, const Surroundings& around);

// The name of something that belongs to the node.
std::string stem(const DraftNode& node, const char* what);
std::string constant_ints(const DraftNode& node, const char* what, const Ints& values, const Surroundings& around);
// A scalar of the element type of the node's first input.
std::string constant_like_input(const DraftNode& node, const char* what, float value, const Surroundings& around);
DraftNode helper(const DraftNode& of, const char* op, const char* what, std::vector<std::string> inputs, std::string output);

// com.microsoft.Attention and kin (normalise_attention.cpp).
Drafts microsoft_attention(DraftNode node, int64_t opset, const Surroundings& around);
Drafts microsoft_q_attention(DraftNode node, int64_t opset, const Surroundings& around);
Drafts microsoft_multi_head_attention(DraftNode node, int64_t opset, const Surroundings& around);

// com.microsoft.FusedConv and kin (normalise_activated.cpp).
Drafts microsoft_fused_conv(DraftNode node, int64_t opset, const Surroundings& around);
Drafts microsoft_fused_gemm(DraftNode node, int64_t opset, const Surroundings& around);
Drafts microsoft_transpose_matmul(DraftNode node, int64_t opset, const Surroundings& around);

// A node of opset 1 to 6 as opset 7 spells it: the last of those given, after its helpers. Others pass.
Drafts from_before_opset_7(DraftNode node, int64_t opset, const Surroundings& around);
// One of ONNX Runtime's fused operators as the standard ones it stands for; others: nothing.
std::optional<Drafts> from_microsoft(const DraftNode& node, int64_t opset, const Surroundings& around);

}  // namespace octet::onnx
