// Import: the attention operators of com.microsoft, spelled out as ONNX operators, so that they take the same way as
// attention that exporters spell out.
//
//   Attention           x · weights + bias, split into queries, keys and values of one sequence
//   QAttention          the same on integers, their scales and zero points given
//   MultiHeadAttention  queries, keys and values as they come, with a bias for all three
//
//   q, k, v [N,S,W] → Reshape → Transpose → MatMul · scale + mask → Softmax → MatMul → Transpose → Reshape
//
// Masks: 1 where a key may be seen, [N,T] or [N,S,T]; for Attention also the number of keys that may, [N]. What is hidden
// gets mask_filter_value added. attention_bias is added as it is. Refused: a cache (past and present), and operands packed
// together.
#include <cmath>
#include <limits>

#include "frontends/onnx/rewrite.h"

namespace octet::onnx {

using graph::Tensor;
using graph::Type;

namespace {

class Expansion {
 public:
  Expansion(DraftNode node, const Surroundings& around) : node_(std::move(node)), around_(around) {
    if (node_.outputs.empty() || input(0).empty()) refuse(ErrorCode::invalid_model, "expected an input and an output");
    heads_ = take_required<int64_t>(node_, "num_heads", around_);
    if (heads_ < 1) refuse(ErrorCode::invalid_model, "num_heads is " + std::to_string(heads_) + "; expected at least 1");
    scale_ = take<float>(node_, "scale", around_).value_or(0.0f);
    filter_ = take<float>(node_, "mask_filter_value", around_).value_or(-10000.0f);
    causal_ = take<int64_t>(node_, "unidirectional", around_).value_or(0) != 0;
  }

  Drafts attention() {
    refuse_cache({4, 6});
    return from_product(product(input(0), input(1)), input(1), input(2), input(3), input(5));
  }

  Drafts quantized() {
    refuse_cache({8});
    const std::string x = add("DequantizeLinear", "x", {input(0), input(3), input(6)});
    const std::string w = add("DequantizeLinear", "weights", {input(1), input(4), input(7)});
    if (const Type* scale = around_.type_of(input(4));
        scale && scale->ranked() && scale->rank() == 1 && *scale->dims != std::vector{graph::Dim(1)})
      nodes_.back().attrs["axis"] = int64_t{1};
    return from_product(product(x, w), input(1), input(2), input(5), {});
  }

  Drafts multi_head() {
    refuse_cache({6, 7});
    std::string parts[] = {input(0), input(1), input(2)};
    for (const std::string& part : parts)
      if (part.empty() || rank_of(part) != 3)
        refuse(ErrorCode::unsupported, "expected query, key and value, of rank 3 each");
    if (!input(3).empty()) {
      Ints sizes;
      for (const std::string& part : parts) sizes.push_back(known(part, 2));
      const std::vector<std::string> biases = split(input(3), "bias", sizes, 0);
      for (size_t i = 0; i < 3; ++i) parts[i] = add("Add", "biased", {parts[i], biases[i]});
    }
    size_ = known(input(0), 2) / heads_;
    return attend(parts[0], parts[1], parts[2], input(4), input(5), known_or_none(input(0), 1), known_or_none(input(1), 1));
  }

 private:
  static constexpr int64_t kMostTokens = 8192;  // where a mask becomes a constant

  [[noreturn]] void refuse(ErrorCode code, const std::string& message) const { fail(code, node_, around_, message); }

  std::string input(size_t i) const { return i < node_.inputs.size() ? node_.inputs[i] : std::string(); }

  void refuse_cache(std::initializer_list<size_t> inputs) const {
    bool cached = false;
    for (const size_t i : inputs) cached = cached || !input(i).empty();
    for (size_t i = 1; i < node_.outputs.size(); ++i)
      cached = cached || (!node_.outputs[i].empty() && around_.is_used(node_.outputs[i]));
    if (cached)
      refuse(ErrorCode::unsupported, "it has a cache (past or present), which octet reads only when it is spelled out");
  }

  // Appends a node and gives its output.
  std::string add(const char* op, const char* what, std::vector<std::string> inputs, const graph::Attribute* attr = nullptr,
                  const char* key = "") {
    while (!inputs.empty() && inputs.back().empty()) inputs.pop_back();
    const std::string out = around_.new_name(stem(node_, what));
    nodes_.push_back(helper(node_, op, what, std::move(inputs), out));
    if (attr) nodes_.back().attrs[key] = *attr;
    return out;
  }
  std::string add_permuted(const std::string& x, const char* what, Ints perm) {
    const graph::Attribute attr = std::move(perm);
    return add("Transpose", what, {x}, &attr, "perm");
  }
  std::string floats(const char* what, float value) {
    return around_.add_constant(stem(node_, what), Tensor::scalar(value));
  }

  int64_t rank_of(const std::string& name) const {
    const Type* type = around_.type_of(name);
    return type && type->ranked() ? type->rank() : -1;
  }
  int64_t known_or_none(const std::string& name, int axis) const {
    const Type* type = around_.type_of(name);
    return type && type->ranked() && type->rank() > axis ? (*type->dims)[static_cast<size_t>(axis)].value : -1;
  }
  int64_t known(const std::string& name, int axis) const {
    const int64_t size = known_or_none(name, axis);
    if (size < 0)
      refuse(ErrorCode::unsupported,
             "axis " + std::to_string(axis) + " of '" + printable(name) + "' has no known size; expected one");
    return size;
  }

  std::vector<std::string> split(const std::string& x, const char* what, const Ints& sizes, int64_t axis) {
    DraftNode node = helper(node_, "Split", what, {x, constant_ints(node_, "sizes", sizes, around_)}, {});
    node.outputs.clear();
    for (const char* part : {"q", "k", "v"}) node.outputs.push_back(around_.new_name(stem(node_, what) + "_" + part));
    node.attrs["axis"] = axis;
    nodes_.push_back(node);
    return node.outputs;
  }

  std::string product(const std::string& x, const std::string& w) { return add("MatMul", "qkv", {x, w}); }

  Drafts from_product(std::string qkv, const std::string& weights, const std::string& bias, const std::string& mask,
                      const std::string& attention_bias) {
    if (!bias.empty()) qkv = add("Add", "qkv_biased", {qkv, bias});
    Ints sizes = take<Ints>(node_, "qkv_hidden_sizes", around_).value_or(Ints{});
    if (sizes.empty()) sizes.assign(3, known(weights, 1) / 3);
    if (sizes.size() != 3)
      refuse(ErrorCode::invalid_model, "qkv_hidden_sizes has " + std::to_string(sizes.size()) + " entries; expected 3");
    const std::vector<std::string> parts = split(qkv, "parts", sizes, 2);
    size_ = sizes[0] / heads_;
    const int64_t tokens = known_or_none(input(0), 1);
    return attend(parts[0], parts[1], parts[2], mask, attention_bias, tokens, tokens);
  }

  std::string heads(const std::string& x, const char* what, Ints perm) {
    const std::string apart = add("Reshape", what, {x, constant_ints(node_, "heads", {0, 0, heads_, -1}, around_)});
    return add_permuted(apart, what, std::move(perm));
  }

  Drafts attend(const std::string& q, const std::string& k, const std::string& v, const std::string& mask,
                const std::string& bias, int64_t queries, int64_t keys) {
    std::string x = add("MatMul", "scores", {heads(q, "queries", {0, 2, 1, 3}), heads(k, "keys", {0, 2, 3, 1})});
    if (size_ < 1) refuse(ErrorCode::invalid_model, "there are more heads than columns");
    const float scale = scale_ != 0 ? scale_ : 1.0f / std::sqrt(static_cast<float>(size_));
    x = add("Mul", "scaled", {x, floats("scale", scale)});
    if (causal_) x = add("Add", "causal", {x, causal_mask(queries, keys)});
    if (!mask.empty()) x = add("Add", "masked", {x, additive(mask, keys)});
    if (!bias.empty()) x = add("Add", "biased_scores", {x, bias});
    const graph::Attribute last = int64_t{-1};
    x = add("Softmax", "softmax", {x}, &last, "axis");
    x = add("MatMul", "context", {x, heads(v, "values", {0, 2, 1, 3})});
    x = add_permuted(x, "context_rows", {0, 2, 1, 3});
    nodes_.push_back(
        helper(node_, "Reshape", "merge", {x, constant_ints(node_, "merged", {0, 0, -1}, around_)}, node_.outputs.at(0)));
    return std::move(nodes_);
  }

  std::string causal_mask(int64_t queries, int64_t keys) {
    if (queries < 0 || keys < 0) refuse(ErrorCode::unsupported, "it is unidirectional over a length that is not known");
    if (queries > kMostTokens || keys > kMostTokens)
      refuse(ErrorCode::unsupported, "it is unidirectional over more than 8192 tokens");
    Tensor t(DType::f32, {queries, keys});
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t j = 0; j < keys; ++j)
        t.mutable_as<float>()[i * keys + j] = j <= i + keys - queries ? 0.0f : std::numeric_limits<float>::lowest();
    return around_.add_constant(stem(node_, "causal"), std::move(t));
  }

  // 0 where the mask allows, mask_filter_value elsewhere, with an axis for the heads.
  std::string additive(std::string mask, int64_t keys) {
    int64_t rank = rank_of(mask);
    if (rank == 1) {
      if (keys < 0 || keys > kMostTokens)
        refuse(ErrorCode::unsupported, "its mask counts keys, of which there are not known to be at most 8192");
      if (known_or_none(mask, 0) < 0 || known_or_none(mask, 0) != known_or_none(input(0), 0))
        refuse(ErrorCode::unsupported, "its mask has rank 1; expected one number a sample");
      std::vector<int32_t> places;
      for (int64_t j = 0; j < keys; ++j) places.push_back(static_cast<int32_t>(j));
      const std::string place = around_.add_constant(stem(node_, "places"), Tensor::of<int32_t>(DType::s32, {keys}, places));
      mask = add("Less", "seen", {place, add("Unsqueeze", "counts", {mask, constant_ints(node_, "last", {1}, around_)})});
      rank = 2;
    } else {
      const graph::Attribute boolean = int64_t{9};
      mask = add("Cast", "seen", {mask}, &boolean, "to");
    }
    if (rank != 2 && rank != 3)
      refuse(ErrorCode::unsupported, "its mask has rank " + std::to_string(rank) + "; expected 1, 2 or 3");
    mask =
        add("Unsqueeze", "seen_by_heads", {mask, constant_ints(node_, "axes", rank == 2 ? Ints{1, 2} : Ints{1}, around_)});
    return add("Where", "mask", {mask, floats("zero", 0.0f), floats("filter", filter_)});
  }

  DraftNode node_;
  const Surroundings& around_;
  Drafts nodes_;
  int64_t heads_ = 0, size_ = 0;
  float scale_ = 0, filter_ = 0;
  bool causal_ = false;
};

}  // namespace

Drafts microsoft_attention(DraftNode node, int64_t, const Surroundings& around) {
  return Expansion(std::move(node), around).attention();
}
Drafts microsoft_q_attention(DraftNode node, int64_t, const Surroundings& around) {
  return Expansion(std::move(node), around).quantized();
}
Drafts microsoft_multi_head_attention(DraftNode node, int64_t, const Surroundings& around) {
  return Expansion(std::move(node), around).multi_head();
}

}  // namespace octet::onnx
