// What networks of tokens are made of, written as exporters write it: one function a module, over GraphBuilder.
//
// Activations are [batch, tokens, width]; inside attention [batch, heads, tokens, width / heads].
#pragma once

#include "tools/zoo_builder.h"

namespace octet::zoo {

inline int64_t width_of(const graph::Value* x) { return x->type().dims->back().value; }
inline int64_t tokens_of(const graph::Value* x) {
  return (*x->type().dims)[static_cast<size_t>(x->type().rank()) - 2].value;
}

// In the shape of a Reshape: an open number stays what it is.
inline int64_t kept_dim(int64_t size) { return size < 0 ? 0 : size; }

// MatMul by weights [in, out], then Add of a bias.
graph::Value* linear(GraphBuilder& g, graph::Value* x, int64_t out, const std::string& name, float gain = 1.0f,
                     bool bias = true);
// Gather from a table of normal numbers.
graph::Value* embedding(GraphBuilder& g, graph::Value* ids, int64_t count, int64_t width, const std::string& name);
graph::Value* layer_norm(GraphBuilder& g, graph::Value* x, const std::string& name, float epsilon = 1e-12f);
// Pow, ReduceMean, Add, Sqrt, Div, Mul, Mul.
graph::Value* rms_norm(GraphBuilder& g, graph::Value* x, const std::string& name, float epsilon = 1e-6f);
graph::Value* gelu(GraphBuilder& g, graph::Value* x, const std::string& name);       // with Erf
graph::Value* gelu_tanh(GraphBuilder& g, graph::Value* x, const std::string& name);  // with Tanh and Pow

// [batch, tokens, heads * d] to [batch, heads, tokens, d], keys transposed: to [batch, heads, d, tokens]; and back.
graph::Value* split_heads(GraphBuilder& g, graph::Value* x, int64_t heads, const std::string& name, bool keys = false);
graph::Value* merge_heads(GraphBuilder& g, graph::Value* x, const std::string& name);

// A mask [batch, tokens] of ones and zeros as what is added to scores: [batch, 1, 1, tokens] of 0 and the lowest float.
graph::Value* additive_mask(GraphBuilder& g, graph::Value* mask, const std::string& name);

}  // namespace octet::zoo
