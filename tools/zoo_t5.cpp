// The encoder of T5 (Raffel et al. 2020), small: RMSNorm before each branch, no biases, no scale on scores, positions as a
// bias on the scores of every layer, gathered once by bucket of distance.

#include <cmath>

#include "tools/zoo_transformer.h"

namespace octet::zoo {

using graph::Tensor;
using graph::Value;

namespace {

constexpr int64_t kBuckets = 32, kFarthest = 128;

// Half of the buckets for each direction: one a distance up to 8, then logarithmically wider ones up to 128.
int64_t bucket(int64_t distance) {
  const int64_t half = kBuckets / 2, exact = half / 2, base = distance > 0 ? half : 0, d = std::abs(distance);
  if (d < exact) return base + d;
  const double step =
      std::log(static_cast<double>(d) / static_cast<double>(exact)) / std::log(static_cast<double>(kFarthest / exact));
  return base + std::min(half - 1, exact + static_cast<int64_t>(step * static_cast<double>(half - exact)));
}

// [1, heads, tokens, tokens]
Value* position_bias(GraphBuilder& g, int64_t heads, int64_t tokens, const std::string& name) {
  Tensor index(DType::s64, {tokens, tokens});
  for (int64_t i = 0; i < tokens; ++i)
    for (int64_t j = 0; j < tokens; ++j) index.mutable_as<int64_t>()[i * tokens + j] = bucket(j - i);
  Value* y = g.apply("Gather",
                     {g.weights({kBuckets, heads}, 1.0f, name + ".weight"), g.constant(std::move(index), name + ".buckets")},
                     name + ".gather");
  return g.apply("Unsqueeze",
                 {g.transpose(y, {2, 0, 1}, name + ".transpose"), g.constant(Tensor::of_s64({0}), name + ".axes")}, name);
}

}  // namespace

std::unique_ptr<graph::Graph> t5_small(const ZooOptions& options) {
  constexpr int64_t kVocabulary = 32128, kWidth = 512, kHeads = 8, kLayers = 6, kInner = 2048;
  constexpr float kBranchGain = 0.5f, kReluGain = GraphBuilder::kReluGain;
  GraphBuilder g("t5_small", options);
  const int64_t tokens = options.sequence;
  Value* ids = g.input("input_ids", DType::s64, {tokens});
  Value* mask = additive_mask(g, g.input("attention_mask", DType::s64, {tokens}), "mask");
  Value* x = embedding(g, ids, kVocabulary, kWidth, "shared");
  Value* bias =
      g.add(position_bias(g, kHeads, tokens, "encoder.block.0.relative_attention_bias"), mask, "encoder.position_bias");
  for (int64_t i = 0; i < kLayers; ++i) {
    const std::string name = "encoder.block." + std::to_string(i), self = name + ".SelfAttention";
    const auto project = [&](Value* from, const char* part, float gain, bool keys = false) {
      return split_heads(g, linear(g, from, kWidth, self + part, gain, false), kHeads, self + part, keys);
    };
    Value* y = rms_norm(g, x, name + ".layer.0.layer_norm");
    Value* q = project(y, ".q", 0.125f);  // trained queries carry the scale 1 / sqrt(64)
    Value* scores = g.apply("MatMul", {q, project(y, ".k", 1.0f, true)}, self + ".scores");
    scores = g.add(scores, bias, self + ".biased");
    Value* probabilities = g.apply("Softmax", {scores}, self + ".softmax", {{"axis", int64_t{-1}}});
    y = merge_heads(g, g.apply("MatMul", {probabilities, project(y, ".v", 1.0f)}, self + ".context"), self);
    x = g.add(x, linear(g, y, kWidth, self + ".o", kBranchGain, false), name + ".add");
    y = rms_norm(g, x, name + ".layer.1.layer_norm");
    y = g.relu(linear(g, y, kInner, name + ".DenseReluDense.wi", kReluGain, false), name + ".DenseReluDense.act");
    x = g.add(x, linear(g, y, kWidth, name + ".DenseReluDense.wo", kBranchGain, false), name + ".add_1");
  }
  g.output(rms_norm(g, x, "encoder.final_layer_norm"), "last_hidden_state");
  return g.finish();
}

}  // namespace octet::zoo
