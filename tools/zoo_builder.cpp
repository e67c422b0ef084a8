#include "tools/zoo_builder.h"

#include <cmath>

namespace octet::zoo {

using graph::Node;
using graph::Tensor;
using graph::Type;
using graph::Value;

GraphBuilder::GraphBuilder(const std::string& name, const ZooOptions& options) : batch_(options.batch), state_(options.seed) {
  graph_->name = name;
  graph_->file = "zoo:" + name;
}

// SplitMix64 (Steele, Lea, Flood 2014). The sum of twelve 16-bit uniform numbers has a normal's tails as far as weights of real
// size show them (a sum of four stops at 3.5 deviations, which makes 8-bit weights unlike any trained network's), and is exact.
float GraphBuilder::normal() {
  uint64_t sum = 0;
  for (int i = 0; i < 3; ++i) {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    sum += (z & 0xffff) + ((z >> 16) & 0xffff) + ((z >> 32) & 0xffff) + (z >> 48);
  }
  constexpr float kDeviation = 65536.0f;  // sqrt(12 / 12) of the range
  return static_cast<float>(static_cast<int32_t>(sum) - 393210) / kDeviation;
}

Value* GraphBuilder::weights(const Shape& shape, float gain, const std::string& name) {
  Tensor tensor(DType::f32, shape);
  const int64_t out = shape[0], fan_in = tensor.size() / out;
  const float deviation = gain / std::sqrt(static_cast<float>(fan_in));
  auto* w = tensor.mutable_as<float>();
  for (int64_t n = 0; n < out; ++n) {
    const float channel = deviation * (1.0f + 0.25f * normal());
    for (int64_t k = 0; k < fan_in; ++k) w[n * fan_in + k] = channel * normal();
  }
  return graph_->add_constant(std::move(tensor), name);
}

Value* GraphBuilder::bias(int64_t count, const std::string& name) {
  Tensor tensor(DType::f32, {count});
  for (int64_t i = 0; i < count; ++i) tensor.mutable_as<float>()[i] = 0.1f * normal();
  return graph_->add_constant(std::move(tensor), name);
}

Node* GraphBuilder::layer(std::string_view op, std::vector<Value*> inputs, const std::string& name) {
  return graph_->add_node(op, std::move(inputs), 1, name);
}

Value* GraphBuilder::finish_layer(Node* node, const std::string& name) {
  graph_->rename(node->output(), name + ".out");
  graph::infer_types(*graph_, *node);
  return node->output();
}

Value* GraphBuilder::input(int64_t channels, int64_t height, int64_t width) {
  const graph::Dim batch = batch_ > 0 ? graph::Dim(batch_) : graph::Dim("batch");
  return graph_->add_input("input", {DType::f32, std::vector<graph::Dim>{batch, channels, height, width}, nullptr});
}

Value* GraphBuilder::conv(Value* x, const ConvSpec& spec, const std::string& name, float gain) {
  const int64_t in = (*x->type().dims)[1].value;
  Value* w = weights({spec.out, in / spec.group, spec.kernel, spec.kernel}, gain, name + ".weight");
  Node* node = layer("Conv", {x, w, bias(spec.out, name + ".bias")}, name);
  node->set_attr("dilations", std::vector<int64_t>{1, 1});
  node->set_attr("group", spec.group);
  node->set_attr("kernel_shape", std::vector<int64_t>{spec.kernel, spec.kernel});
  node->set_attr("pads", std::vector<int64_t>(4, spec.pad));
  node->set_attr("strides", std::vector<int64_t>{spec.stride, spec.stride});
  return finish_layer(node, name);
}

Value* GraphBuilder::gemm(Value* x, int64_t out, const std::string& name, float gain) {
  const int64_t in = (*x->type().dims)[1].value;
  Value* w = weights({out, in}, gain, name + ".weight");
  Node* node = layer("Gemm", {x, w, bias(out, name + ".bias")}, name);
  node->set_attr("alpha", 1.0f);
  node->set_attr("beta", 1.0f);
  node->set_attr("transB", int64_t{1});
  return finish_layer(node, name);
}

Value* GraphBuilder::relu(Value* x, const std::string& name) { return finish_layer(layer("Relu", {x}, name), name); }

Value* GraphBuilder::relu6(Value* x, const std::string& name) {
  if (bound_[0] == nullptr) {
    bound_[0] = graph_->add_constant(Tensor::scalar(0), "relu6.min");
    bound_[1] = graph_->add_constant(Tensor::scalar(6), "relu6.max");
  }
  return finish_layer(layer("Clip", {x, bound_[0], bound_[1]}, name), name);
}

Value* GraphBuilder::max_pool(Value* x, const PoolSpec& spec, const std::string& name) {
  Node* node = layer("MaxPool", {x}, name);
  node->set_attr("ceil_mode", static_cast<int64_t>(spec.ceil));
  node->set_attr("kernel_shape", std::vector<int64_t>{spec.kernel, spec.kernel});
  node->set_attr("pads", std::vector<int64_t>(4, spec.pad));
  node->set_attr("strides", std::vector<int64_t>{spec.stride, spec.stride});
  return finish_layer(node, name);
}

Value* GraphBuilder::global_average_pool(Value* x, const std::string& name) {
  return finish_layer(layer("GlobalAveragePool", {x}, name), name);
}

Value* GraphBuilder::flatten(Value* x, const std::string& name) {
  Node* node = layer("Flatten", {x}, name);
  node->set_attr("axis", int64_t{1});
  return finish_layer(node, name);
}

Value* GraphBuilder::add(Value* a, Value* b, const std::string& name) { return finish_layer(layer("Add", {a, b}, name), name); }

Value* GraphBuilder::concat(const std::vector<Value*>& inputs, const std::string& name) {
  Node* node = layer("Concat", inputs, name);
  node->set_attr("axis", int64_t{1});
  return finish_layer(node, name);
}

std::unique_ptr<graph::Graph> GraphBuilder::finish(Value* output) {
  graph_->rename(output, "output");
  graph_->add_output(output);
  return std::move(graph_);
}

}  // namespace octet::zoo
