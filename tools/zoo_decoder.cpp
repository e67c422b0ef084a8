// Decoders with a cache: GPT-2 (Radford et al. 2019, the smallest) and a small network of the Llama kind (Touvron et al.
// 2023: RMSNorm, rotary positions, grouped queries, SwiGLU). Past keys and values come in, [batch, heads, past, d], and go
// out with those of the new tokens behind them.

#include <algorithm>
#include <cmath>
#include <limits>

#include "tools/zoo_transformer.h"

namespace octet::zoo {

using graph::Tensor;
using graph::Value;

namespace {

// A branch adds to a sum that is normalised only at its next reader, so it starts damped.
constexpr float kBranchGain = 0.5f;

// The numbers of tokens, or their names where they are open.
struct Tokens {
  graph::Dim fresh, past, all;
  explicit Tokens(const ZooOptions& o) : fresh(o.sequence), past(o.past), all(o.sequence + o.past) {
    if (!o.open_tokens) return;
    fresh = graph::Dim("sequence");
    past = graph::Dim("past_sequence");
    all = graph::Dim("total_sequence");
  }
  bool open() const { return !fresh.known(); }
};

// A cache of one kind of one layer: appends what is new.
class Cache {
 public:
  Cache(GraphBuilder& g, int64_t layers, int64_t heads, const Tokens& tokens, int64_t d) : g_(g) {
    for (int64_t i = 0; i < layers; ++i)
      for (const char* kind : {"key", "value"})
        past_.push_back(
            g.open_input("past_key_values." + std::to_string(i) + "." + kind, DType::f32, {heads, tokens.past, d}));
  }
  Value* past() const { return past_[0]; }
  Value* append(int64_t layer, bool value, Value* x) {
    const auto index = static_cast<size_t>(2 * layer + (value ? 1 : 0));
    present_.resize(past_.size());
    return present_[index] = g_.concat({past_[index], x}, "cache." + std::to_string(layer) + (value ? ".value" : ".key"), 2);
  }
  void give_back() {
    for (size_t i = 0; i < present_.size(); ++i)
      g_.output(present_[i], "present." + std::to_string(i / 2) + (i % 2 == 0 ? ".key" : ".value"));
  }

 private:
  GraphBuilder& g_;
  std::vector<Value*> past_, present_;
};

Tensor known_causal(int64_t tokens, int64_t past) {
  Tensor mask(DType::boolean, {1, 1, tokens, past + tokens});
  for (int64_t i = 0; i < tokens; ++i)
    for (int64_t j = 0; j <= past + i; ++j) mask.mutable_as<uint8_t>()[i * (past + tokens) + j] = 1;
  return mask;
}

// One dimension of x, a scalar.
Value* dim_of(GraphBuilder& g, Value* x, int64_t axis, const std::string& name) {
  Value* one = g.apply("Shape", {x}, name + ".shape", {{"start", axis}, {"end", axis + 1}});
  return g.apply("Squeeze", {one, g.constant(Tensor::of_s64({0}), name + ".axes")}, name);
}

// Which of the past + tokens positions each new token may read: [1, 1, tokens, past + tokens], or, where the numbers are
// open, of the last two axes only.
Value* causal(GraphBuilder& g, const Tokens& tokens, Value* attention_mask, const Cache& cache, const std::string& name) {
  if (!tokens.open()) return g.constant(known_causal(tokens.fresh.value, tokens.past.value), name);
  const auto number = [&](int64_t v, const char* role) {
    Tensor t(DType::s64, {});
    *t.mutable_as<int64_t>() = v;
    return g.constant(std::move(t), name + role);
  };
  Value* all = dim_of(g, attention_mask, 1, name + ".all");
  Value* step = number(1, ".step");
  Value* keys = g.apply("Range", {number(0, ".zero"), all, step}, name + ".keys");
  Value* queries = g.apply("Range", {dim_of(g, cache.past(), 2, name + ".past"), all, step}, name + ".range");
  queries = g.apply("Unsqueeze", {queries, g.constant(Tensor::of_s64({1}), name + ".axes")}, name + ".queries");
  return g.apply("LessOrEqual", {keys, queries}, name);
}

Value* softmax(GraphBuilder& g, Value* x, const std::string& name) {
  return g.apply("Softmax", {x}, name, {{"axis", int64_t{-1}}});
}

// --- GPT-2 ---------------------------------------------------------------------------------------------------------------

// A Conv1D of the original: Gemm over the rows of all tokens.
Value* conv1d(GraphBuilder& g, Value* x, int64_t out, const std::string& name, float gain = 1.0f) {
  const int64_t in = width_of(x), tokens = tokens_of(x);
  Value* y = g.reshape(x, {-1, in}, name + ".rows");
  Value* w = g.columns(in, out, gain, name + ".weight");
  y = g.apply("Gemm", {y, w, g.bias(out, name + ".bias")}, name + ".gemm");
  if (tokens >= 0) return g.reshape(y, {-1, tokens, out}, name);
  Value* outer = g.apply("Shape", {x}, name + ".shape", {{"start", int64_t{0}}, {"end", int64_t{2}}});
  Value* shape = g.concat({outer, g.constant(Tensor::of_s64({out}), name + ".out")}, name + ".size", 0);
  return g.apply("Reshape", {y, shape}, name);
}

// --- Llama ---------------------------------------------------------------------------------------------------------------

struct Rotation {
  Value *cosine, *sine;  // [batch, 1, tokens, d]
};

// Angles as exporters leave them: positions times inverse frequencies, twice side by side.
Rotation rotation(GraphBuilder& g, Value* positions, int64_t d, const std::string& name) {
  Tensor frequencies(DType::f32, {1, 1, d / 2});
  for (int64_t i = 0; i < d / 2; ++i)
    frequencies.mutable_as<float>()[i] =
        static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(d)));
  Value* at = g.apply("Cast", {positions}, name + ".cast", {{"to", int64_t{1}}});
  at = g.apply("Unsqueeze", {at, g.constant(Tensor::of_s64({2}), name + ".axes")}, name + ".unsqueeze");
  Value* half = g.apply("MatMul", {at, g.constant(std::move(frequencies), name + ".inv_freq")}, name + ".matmul");
  Value* angles = g.concat({half, half}, name + ".concat", 2);
  const auto wide = [&](const char* op, const char* what) {
    Value* axis = g.constant(Tensor::of_s64({1}), name + what + ".axes");
    return g.apply("Unsqueeze", {g.apply(op, {angles}, name + what), axis}, name + what + ".unsqueeze");
  };
  return {wide("Cos", ".cos"), wide("Sin", ".sin")};
}

// x * cos + (-x2, x1) * sin, x1 and x2 the halves of x.
Value* rotate(GraphBuilder& g, Value* x, const Rotation& r, const std::string& name) {
  const int64_t d = width_of(x);
  const auto half = [&](int64_t start, int64_t end, const char* what) {
    const auto ints = [&](int64_t v, const char* role) { return g.constant(Tensor::of_s64({v}), name + what + role); };
    return g.apply("Slice", {x, ints(start, ".starts"), ints(end, ".ends"), ints(3, ".axes"), ints(1, ".steps")},
                   name + what);
  };
  Value* turned =
      g.concat({g.apply("Neg", {half(d / 2, d, ".upper")}, name + ".neg"), half(0, d / 2, ".lower")}, name + ".turned", 3);
  return g.add(g.mul(x, r.cosine, name + ".mul"), g.mul(turned, r.sine, name + ".mul_1"), name);
}

// [batch, groups, tokens, d] to [batch, groups * times, tokens, d], each one `times` times in a row.
Value* repeat_heads(GraphBuilder& g, Value* x, int64_t times, const std::string& name) {
  const auto& dims = *x->type().dims;
  const int64_t groups = dims[1].value, tokens = dims[2].value, d = dims[3].value;
  Value* y = g.apply("Unsqueeze", {x, g.constant(Tensor::of_s64({2}), name + ".axes")}, name + ".unsqueeze");
  y = g.apply("Expand",
              {y, g.constant(Tensor::of_s64({1, groups, times, std::max<int64_t>(1, tokens), d}), name + ".shape")},
              name + ".expand");
  return g.reshape(y, {0, groups * times, tokens < 0 ? -1 : tokens, d}, name);
}

}  // namespace

std::unique_ptr<graph::Graph> gpt2(const ZooOptions& options) {
  constexpr int64_t kVocabulary = 50257, kPositions = 1024, kWidth = 768, kHeads = 12, kLayers = 12, kD = kWidth / kHeads;
  const Tokens tokens(options);
  GraphBuilder g("gpt2", options);
  Value* ids = g.open_input("input_ids", DType::s64, {tokens.fresh});
  Value* attention_mask = g.open_input("attention_mask", DType::s64, {tokens.all});
  Value* mask = additive_mask(g, attention_mask, "mask");
  Value* positions = g.open_input("position_ids", DType::s64, {tokens.fresh});
  Cache cache(g, kLayers, kHeads, tokens, kD);
  Value* words = g.weights({kVocabulary, kWidth}, 1.0f, "transformer.wte.weight");
  Value* x = g.mul(g.apply("Gather", {words, ids}, "transformer.wte"),
                   g.scalar(std::sqrt(static_cast<float>(kWidth)), "transformer.scale"), "transformer.wte.scaled");
  x = g.add(x, embedding(g, positions, kPositions, kWidth, "transformer.wpe"), "transformer.add");
  Value* seen = causal(g, tokens, attention_mask, cache, "transformer.causal");
  for (int64_t i = 0; i < kLayers; ++i) {
    const std::string name = "transformer.h." + std::to_string(i);
    Value* y = conv1d(g, layer_norm(g, x, name + ".ln_1", 1e-5f), 3 * kWidth, name + ".attn.c_attn");
    const std::vector<Value*> qkv = g.split(y, {kWidth, kWidth, kWidth}, name + ".attn.split", 2);
    Value* q = split_heads(g, qkv[0], kHeads, name + ".attn.query");
    Value* k = cache.append(i, false, split_heads(g, qkv[1], kHeads, name + ".attn.key"));
    Value* v = cache.append(i, true, split_heads(g, qkv[2], kHeads, name + ".attn.value"));
    Value* scores = g.apply("MatMul", {q, g.transpose(k, {0, 1, 3, 2}, name + ".attn.transposed")}, name + ".attn.scores");
    scores =
        g.apply("Div", {scores, g.scalar(std::sqrt(static_cast<float>(kD)), name + ".attn.root")}, name + ".attn.scale");
    Value* lowest = g.scalar(std::numeric_limits<float>::lowest(), name + ".attn.lowest");
    scores = g.add(g.apply("Where", {seen, scores, lowest}, name + ".attn.causal"), mask, name + ".attn.masked");
    y = g.apply("MatMul", {softmax(g, scores, name + ".attn.softmax"), v}, name + ".attn.context");
    x = g.add(conv1d(g, merge_heads(g, y, name + ".attn"), kWidth, name + ".attn.c_proj", kBranchGain), x, name + ".add");
    y = conv1d(g, layer_norm(g, x, name + ".ln_2", 1e-5f), 4 * kWidth, name + ".mlp.c_fc", 1.4f);
    y = conv1d(g, gelu_tanh(g, y, name + ".mlp.act"), kWidth, name + ".mlp.c_proj", kBranchGain);
    x = g.add(x, y, name + ".add_1");
  }
  x = layer_norm(g, x, "transformer.ln_f", 1e-5f);
  g.output(g.apply("MatMul", {x, g.transpose(words, {1, 0}, "lm_head.transpose")}, "lm_head"), "logits");
  cache.give_back();
  return g.finish();
}

std::unique_ptr<graph::Graph> llama_small(const ZooOptions& options) {
  constexpr int64_t kVocabulary = 32000, kWidth = 512, kHeads = 8, kGroups = 2, kLayers = 8, kInner = 1376,
                    kD = kWidth / kHeads;
  const Tokens tokens(options);
  GraphBuilder g("llama_small", options);
  Value* ids = g.open_input("input_ids", DType::s64, {tokens.fresh});
  Value* attention_mask = g.open_input("attention_mask", DType::s64, {tokens.all});
  Value* mask = additive_mask(g, attention_mask, "mask");
  const Rotation angles = rotation(g, g.open_input("position_ids", DType::s64, {tokens.fresh}), kD, "model.rotary_emb");
  Cache cache(g, kLayers, kGroups, tokens, kD);
  Value* x = embedding(g, ids, kVocabulary, kWidth, "model.embed_tokens");
  Value* lowest = g.scalar(std::numeric_limits<float>::lowest(), "model.lowest");
  mask = g.apply("Where", {causal(g, tokens, attention_mask, cache, "model.causal"), mask, lowest}, "model.mask");
  for (int64_t i = 0; i < kLayers; ++i) {
    const std::string name = "model.layers." + std::to_string(i), self = name + ".self_attn";
    const auto project = [&](Value* from, int64_t heads, const std::string& at) {
      return split_heads(g, linear(g, from, heads * kD, at, 1.0f, false), heads, at);
    };
    Value* y = rms_norm(g, x, name + ".input_layernorm");
    Value* q = rotate(g, project(y, kHeads, self + ".q_proj"), angles, self + ".q_rotated");
    Value* k = cache.append(i, false, rotate(g, project(y, kGroups, self + ".k_proj"), angles, self + ".k_rotated"));
    Value* v = cache.append(i, true, project(y, kGroups, self + ".v_proj"));
    k = g.transpose(repeat_heads(g, k, kHeads / kGroups, self + ".k_repeated"), {0, 1, 3, 2}, self + ".transposed");
    v = repeat_heads(g, v, kHeads / kGroups, self + ".v_repeated");
    Value* scores = g.apply("MatMul", {q, k}, self + ".scores");
    scores = g.mul(scores, g.scalar(1.0f / std::sqrt(static_cast<float>(kD)), self + ".factor"), self + ".scale");
    scores = g.add(scores, mask, self + ".masked");
    y = merge_heads(g, g.apply("MatMul", {softmax(g, scores, self + ".softmax"), v}, self + ".context"), self);
    x = g.add(x, linear(g, y, kWidth, self + ".o_proj", kBranchGain, false), name + ".add");
    y = rms_norm(g, x, name + ".post_attention_layernorm");
    Value* gate = g.silu(linear(g, y, kInner, name + ".mlp.gate_proj", 1.68f, false), name + ".mlp.act_fn");
    y = g.mul(gate, linear(g, y, kInner, name + ".mlp.up_proj", 1.0f, false), name + ".mlp.mul");
    x = g.add(x, linear(g, y, kWidth, name + ".mlp.down_proj", kBranchGain, false), name + ".add_1");
  }
  x = rms_norm(g, x, "model.norm");
  g.output(linear(g, x, kVocabulary, "lm_head", 1.0f, false), "logits");
  cache.give_back();
  return g.finish();
}

}  // namespace octet::zoo
