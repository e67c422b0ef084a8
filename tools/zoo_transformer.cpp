#include "tools/zoo_transformer.h"

#include <cmath>
#include <limits>

namespace octet::zoo {

using graph::Tensor;
using graph::Value;

Value* linear(GraphBuilder& g, Value* x, int64_t out, const std::string& name, float gain, bool bias) {
  Value* y = g.apply("MatMul", {x, g.columns(width_of(x), out, gain, name + ".weight")}, name + (bias ? ".matmul" : ""));
  return bias ? g.apply("Add", {g.bias(out, name + ".bias"), y}, name) : y;
}

Value* embedding(GraphBuilder& g, Value* ids, int64_t count, int64_t width, const std::string& name) {
  return g.apply("Gather", {g.weights({count, width}, std::sqrt(static_cast<float>(width)), name + ".weight"), ids}, name);
}

namespace {

// Scales of a normalisation.
Value* near_one(GraphBuilder& g, int64_t count, const std::string& name) {
  Tensor t(DType::f32, {count});
  for (int64_t i = 0; i < count; ++i) t.mutable_as<float>()[i] = 1.0f + 0.25f * g.normal();
  return g.constant(std::move(t), name);
}

}  // namespace

Value* layer_norm(GraphBuilder& g, Value* x, const std::string& name, float epsilon) {
  const int64_t width = width_of(x);
  Value* scale = near_one(g, width, name + ".weight");
  return g.apply("LayerNormalization", {x, scale, g.bias(width, name + ".bias")}, name,
                 {{"axis", int64_t{-1}}, {"epsilon", epsilon}});
}

Value* rms_norm(GraphBuilder& g, Value* x, const std::string& name, float epsilon) {
  Value* square = g.apply("Pow", {x, g.scalar(2, name + ".two")}, name + ".pow");
  Value* axes = g.constant(Tensor::of_s64({-1}), name + ".axes");
  Value* mean = g.apply("ReduceMean", {square, axes}, name + ".mean", {{"keepdims", int64_t{1}}});
  Value* root = g.apply("Sqrt", {g.add(mean, g.scalar(epsilon, name + ".epsilon"), name + ".add")}, name + ".sqrt");
  Value* inverse = g.apply("Div", {g.scalar(1, name + ".one"), root}, name + ".div");
  return g.mul(near_one(g, width_of(x), name + ".weight"), g.mul(x, inverse, name + ".mul"), name);
}

Value* gelu(GraphBuilder& g, Value* x, const std::string& name) {
  Value* y = g.apply("Div", {x, g.scalar(std::sqrt(2.0f), name + ".sqrt2")}, name + ".div");
  y = g.add(g.apply("Erf", {y}, name + ".erf"), g.scalar(1, name + ".one"), name + ".add");
  return g.mul(g.mul(x, y, name + ".mul"), g.scalar(0.5f, name + ".half"), name);
}

Value* gelu_tanh(GraphBuilder& g, Value* x, const std::string& name) {
  Value* half = g.mul(x, g.scalar(0.5f, name + ".half"), name + ".mul");
  Value* cube = g.apply("Pow", {x, g.scalar(3, name + ".three")}, name + ".pow");
  Value* inner = g.add(x, g.mul(cube, g.scalar(0.044715f, name + ".cubic"), name + ".mul_1"), name + ".add");
  inner = g.mul(inner, g.scalar(0.7978845608f, name + ".sqrt_2_by_pi"), name + ".mul_2");
  Value* y = g.add(g.apply("Tanh", {inner}, name + ".tanh"), g.scalar(1, name + ".one"), name + ".add_1");
  return g.mul(half, y, name);
}

Value* split_heads(GraphBuilder& g, Value* x, int64_t heads, const std::string& name, bool keys) {
  Value* y = g.reshape(x, {0, kept_dim(tokens_of(x)), heads, width_of(x) / heads}, name + ".reshape");
  return g.transpose(y, keys ? std::vector<int64_t>{0, 2, 3, 1} : std::vector<int64_t>{0, 2, 1, 3}, name + ".heads");
}

Value* merge_heads(GraphBuilder& g, Value* x, const std::string& name) {
  const auto& dims = *x->type().dims;
  const int64_t heads = dims[1].value, tokens = dims[2].value, width = dims[3].value;
  return g.reshape(g.transpose(x, {0, 2, 1, 3}, name + ".transpose"), {0, kept_dim(tokens), heads * width}, name + ".merge");
}

Value* additive_mask(GraphBuilder& g, Value* mask, const std::string& name) {
  Value* wide = g.apply("Unsqueeze", {mask, g.constant(Tensor::of_s64({1, 2}), name + ".axes")}, name + ".unsqueeze");
  Value* real = g.apply("Cast", {wide}, name + ".cast", {{"to", int64_t{1}}});
  Value* hidden = g.apply("Sub", {g.scalar(1, name + ".one"), real}, name + ".sub");
  return g.mul(hidden, g.scalar(std::numeric_limits<float>::lowest(), name + ".lowest"), name);
}

}  // namespace octet::zoo
