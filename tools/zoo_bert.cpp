// BERT (Devlin et al. 2019) and its kin, as the Hugging Face models of these names: RoBERTa (Liu et al. 2019), DistilBERT
// (Sanh et al. 2019), MiniLM (Wang et al. 2020, all-MiniLM-L6), ALBERT (Lan et al. 2020, one layer used twelve times) and
// ELECTRA (Clark et al. 2020, the small discriminator). Normalisation comes after each residual sum.

#include <cmath>
#include <limits>
#include <map>

#include "tools/zoo_transformer.h"

namespace octet::zoo {

using graph::Tensor;
using graph::Value;

namespace {

struct Spec {
  int64_t vocabulary, positions, types;  // types 0: no token_type_ids
  int64_t embedding, width, heads, inner, layers;
  bool pooler = true;
  bool shared = false;       // one set of weights for all layers, tanh GELU (ALBERT)
  bool scale_query = false;  // scaled before the product, masked by Where (DistilBERT)
  int64_t padding_id = -1;   // positions counted over tokens other than this one (RoBERTa)
};

// Weights of a shared layer are drawn once: a second draw under the same names would be other weights.
class Encoder {
 public:
  Encoder(GraphBuilder& g, const Spec& spec) : g_(g), spec_(spec) {}

  Value* embed(Value* ids, Value* types, int64_t tokens) {
    Value* x = embedding(g_, ids, spec_.vocabulary, spec_.embedding, "embeddings.word_embeddings");
    if (types)
      x = g_.add(x, embedding(g_, types, spec_.types, spec_.embedding, "embeddings.token_type_embeddings"),
                 "embeddings.add");
    Value* positions = spec_.padding_id >= 0 ? counted_positions(ids) : plain_positions(tokens);
    x = g_.add(x, embedding(g_, positions, spec_.positions, spec_.embedding, "embeddings.position_embeddings"),
               "embeddings.add_1");
    x = layer_norm(g_, x, "embeddings.LayerNorm");
    return spec_.embedding == spec_.width ? x : linear(g_, x, spec_.width, "embeddings_project");
  }

  Value* layer(Value* x, Value* mask, const std::string& name) {
    const auto at = [&](const char* part) { return name + "." + part; };
    Value* a = attention(x, mask, at("attention.self"));
    a = dense(a, spec_.width, at("attention.output.dense"));
    x = norm(g_.add(a, x, at("attention.output.add")), at("attention.output.LayerNorm"));
    Value* y = dense(x, spec_.inner, at("intermediate.dense"), 1.4f);
    y = spec_.shared ? gelu_tanh(g_, y, at("intermediate.gelu")) : gelu(g_, y, at("intermediate.gelu"));
    y = dense(y, spec_.width, at("output.dense"));
    return norm(g_.add(y, x, at("output.add")), at("output.LayerNorm"));
  }

 private:
  Value* plain_positions(int64_t tokens) {
    Tensor ids(DType::s64, {1, tokens});
    for (int64_t i = 0; i < tokens; ++i) ids.mutable_as<int64_t>()[i] = i;
    return g_.constant(std::move(ids), "embeddings.position_ids");
  }

  // 1 + the number of tokens so far that are no padding, plus the padding's own number.
  Value* counted_positions(Value* ids) {
    const std::string name = "embeddings.positions";
    const auto integer = [&](int64_t v, const char* what) {
      return g_.constant(Tensor::of<int64_t>(DType::s64, {}, {v}), name + what);
    };
    Value* padding = g_.apply("Equal", {ids, integer(spec_.padding_id, ".padding")}, name + ".equal");
    Value* real = g_.apply("Cast", {g_.apply("Not", {padding}, name + ".not")}, name + ".cast", {{"to", int64_t{7}}});
    Value* count = g_.apply("CumSum", {real, integer(1, ".axis")}, name + ".cumsum");
    return g_.add(g_.mul(count, real, name + ".mul"), integer(spec_.padding_id, ".offset"), name);
  }

  Value* attention(Value* x, Value* mask, const std::string& name) {
    const float root = std::sqrt(static_cast<float>(spec_.width / spec_.heads));
    Value* q = split_heads(g_, dense(x, spec_.width, name + ".query"), spec_.heads, name + ".query");
    Value* k = split_heads(g_, dense(x, spec_.width, name + ".key"), spec_.heads, name + ".key", true);
    Value* v = split_heads(g_, dense(x, spec_.width, name + ".value"), spec_.heads, name + ".value");
    if (spec_.scale_query) q = g_.apply("Div", {q, g_.scalar(root, name + ".root")}, name + ".scale");
    Value* scores = g_.apply("MatMul", {q, k}, name + ".scores");
    if (spec_.scale_query) {
      scores = g_.apply("Where", {mask, g_.scalar(std::numeric_limits<float>::lowest(), name + ".lowest"), scores},
                        name + ".masked");
    } else {
      scores = g_.apply("Div", {scores, g_.scalar(root, name + ".root")}, name + ".scale");
      scores = g_.add(scores, mask, name + ".masked");
    }
    Value* probabilities = g_.apply("Softmax", {scores}, name + ".softmax", {{"axis", int64_t{-1}}});
    return merge_heads(g_, g_.apply("MatMul", {probabilities, v}, name + ".context"), name);
  }

  Value* dense(Value* x, int64_t out, const std::string& name, float gain = 1.0f) {
    if (!spec_.shared) return linear(g_, x, out, name, gain);
    const std::string stem = "encoder.shared" + name.substr(name.find('.', sizeof "encoder.layer"));
    Weights& w = weights_[stem];
    if (!w.first) w = {g_.columns(width_of(x), out, gain, stem + ".weight"), g_.bias(out, stem + ".bias")};
    return g_.add(w.second, g_.apply("MatMul", {x, w.first}, name + ".matmul"), name);
  }

  Value* norm(Value* x, const std::string& name) {
    if (!spec_.shared) return layer_norm(g_, x, name);
    const std::string stem = "encoder.shared" + name.substr(name.find('.', sizeof "encoder.layer"));
    Weights& w = weights_[stem];
    if (!w.first) {
      Value* y = layer_norm(g_, x, name);
      w = {y->producer()->input(1), y->producer()->input(2)};
      return y;
    }
    return g_.apply("LayerNormalization", {x, w.first, w.second}, name, {{"axis", int64_t{-1}}, {"epsilon", 1e-12f}});
  }

  using Weights = std::pair<Value*, Value*>;
  GraphBuilder& g_;
  const Spec spec_;
  std::map<std::string, Weights> weights_;
};

std::unique_ptr<graph::Graph> encoder(const std::string& name, const Spec& spec, const ZooOptions& options) {
  GraphBuilder g(name, options);
  Encoder e(g, spec);
  const int64_t tokens = options.sequence;
  Value* ids = g.input("input_ids", DType::s64, {tokens});
  Value* attention_mask = g.input("attention_mask", DType::s64, {tokens});
  Value* types = spec.types > 0 && spec.padding_id < 0 ? g.input("token_type_ids", DType::s64, {tokens}) : nullptr;
  if (spec.padding_id >= 0) {  // RoBERTa knows one type only, of which exporters leave a constant
    types = g.constant(Tensor(DType::s64, {1, tokens}), "embeddings.token_type_ids");
  }
  Value* mask = nullptr;
  if (spec.scale_query) {
    Value* zero = g.constant(Tensor::of<int64_t>(DType::s64, {}, {0}), "mask.zero");
    Value* hidden = g.apply("Equal", {attention_mask, zero}, "mask.equal");
    mask = g.apply("Unsqueeze", {hidden, g.constant(Tensor::of_s64({1, 2}), "mask.axes")}, "mask");
  } else {
    mask = additive_mask(g, attention_mask, "mask");
  }
  Value* x = e.embed(ids, types, tokens);
  for (int64_t i = 0; i < spec.layers; ++i) x = e.layer(x, mask, "encoder.layer" + std::to_string(i));
  g.output(x, "last_hidden_state");
  if (!spec.pooler) return g.finish();
  Value* first = g.constant(Tensor::of<int64_t>(DType::s64, {}, {0}), "pooler.first");
  Value* pooled = g.gemm(g.apply("Gather", {x, first}, "pooler.gather", {{"axis", int64_t{1}}}), spec.width, "pooler.dense");
  g.output(g.apply("Tanh", {pooled}, "pooler.activation"), "pooler_output");
  return g.finish();
}

}  // namespace

std::unique_ptr<graph::Graph> bert_base(const ZooOptions& options) {
  return encoder("bert_base", {30522, 512, 2, 768, 768, 12, 3072, 12}, options);
}

std::unique_ptr<graph::Graph> bert_large(const ZooOptions& options) {
  return encoder("bert_large", {30522, 512, 2, 1024, 1024, 16, 4096, 24}, options);
}

std::unique_ptr<graph::Graph> distilbert(const ZooOptions& options) {
  return encoder("distilbert", {30522, 512, 0, 768, 768, 12, 3072, 6, false, false, true}, options);
}

std::unique_ptr<graph::Graph> minilm_l6(const ZooOptions& options) {
  return encoder("minilm_l6", {30522, 512, 2, 384, 384, 12, 1536, 6}, options);
}

std::unique_ptr<graph::Graph> roberta_base(const ZooOptions& options) {
  return encoder("roberta_base", {50265, 514, 1, 768, 768, 12, 3072, 12, true, false, false, 1}, options);
}

std::unique_ptr<graph::Graph> albert_base(const ZooOptions& options) {
  return encoder("albert_base", {30000, 512, 2, 128, 768, 12, 3072, 12, true, true}, options);
}

std::unique_ptr<graph::Graph> electra_small(const ZooOptions& options) {
  return encoder("electra_small", {30522, 512, 2, 128, 256, 4, 1024, 12, false}, options);
}

}  // namespace octet::zoo
