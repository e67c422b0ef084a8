#include "tools/zoo_builder.h"

#include <cmath>

namespace octet::zoo {

using graph::Node;
using graph::Tensor;
using graph::Type;
using graph::Value;

GraphBuilder::GraphBuilder(const std::string& name, const ZooOptions& options)
    : batch_(options.batch), state_(options.seed) {
  graph_->name = name;
  graph_->file = "zoo:" + name;
}

// SplitMix64 (Steele, Lea, Flood 2014). The sum of twelve 16-bit uniform numbers has a normal's tails as far as weights of
// real size show them (a sum of four stops at 3.5 deviations, which makes 8-bit weights unlike any trained network's), and
// is exact.
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

Value* GraphBuilder::columns(int64_t in, int64_t out, float gain, const std::string& name) {
  Tensor tensor(DType::f32, {in, out});
  const float deviation = gain / std::sqrt(static_cast<float>(in));
  std::vector<float> channel(static_cast<size_t>(out));
  for (float& c : channel) c = deviation * (1.0f + 0.25f * normal());
  auto* w = tensor.mutable_as<float>();
  for (int64_t k = 0; k < in; ++k)
    for (int64_t n = 0; n < out; ++n) w[k * out + n] = channel[static_cast<size_t>(n)] * normal();
  return constant(std::move(tensor), name);
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
  return input("input", DType::f32, {channels, height, width});
}

Value* GraphBuilder::input(const std::string& name, DType dtype, const Shape& sample) {
  return open_input(name, dtype, {sample.begin(), sample.end()});
}

Value* GraphBuilder::open_input(const std::string& name, DType dtype, const std::vector<graph::Dim>& sample) {
  std::vector<graph::Dim> dims{batch_ > 0 ? graph::Dim(batch_) : graph::Dim("batch")};
  dims.insert(dims.end(), sample.begin(), sample.end());
  return graph_->add_input(name, {dtype, std::move(dims), nullptr});
}

Value* GraphBuilder::apply(std::string_view op, std::vector<Value*> inputs, const std::string& name, Attributes attributes) {
  Node* node = layer(op, std::move(inputs), name);
  for (auto& [key, value] : attributes) node->set_attr(key, std::move(value));
  return finish_layer(node, name);
}

Value* GraphBuilder::conv(Value* x, const ConvSpec& spec, const std::string& name, float gain) {
  const int64_t wide = spec.kernel_w > 0 ? spec.kernel_w : spec.kernel, pad_w = spec.kernel_w > 0 ? spec.pad_w : spec.pad;
  Value* w = weights({spec.out, channels_of(x) / spec.group, spec.kernel, wide}, gain, name + ".weight");
  Node* node = layer("Conv", {x, w}, name);
  if (spec.bias) graph_->set_input(node, 2, bias(spec.out, name + ".bias"));
  node->set_attr("dilations", std::vector<int64_t>{1, 1});
  node->set_attr("group", spec.group);
  node->set_attr("kernel_shape", std::vector<int64_t>{spec.kernel, wide});
  node->set_attr("pads", std::vector<int64_t>{spec.pad, pad_w, spec.pad, pad_w});
  node->set_attr("strides", std::vector<int64_t>{spec.stride, spec.stride});
  return finish_layer(node, name);
}

Value* GraphBuilder::conv_transpose(Value* x, int64_t out, int64_t kernel, const std::string& name, float gain) {
  // Each output reads one tap of every channel: the fan in is that of a 1x1 convolution.
  const int64_t in = channels_of(x);
  Value* w = weights({in, out, kernel, kernel},
                     gain * std::sqrt(static_cast<float>(out * kernel * kernel) / static_cast<float>(in)), name + ".weight");
  Node* node = layer("ConvTranspose", {x, w, bias(out, name + ".bias")}, name);
  node->set_attr("dilations", std::vector<int64_t>{1, 1});
  node->set_attr("group", int64_t{1});
  set_window(node, kernel, kernel, 0);
  return finish_layer(node, name);
}

Value* GraphBuilder::batch_norm(Value* x, const std::string& name, float deviation) {
  const int64_t n = channels_of(x);
  Tensor scale(DType::f32, {n}), mean(DType::f32, {n}), variance(DType::f32, {n});
  for (int64_t i = 0; i < n; ++i) {
    scale.mutable_as<float>()[i] = 1.0f + 0.25f * normal();
    mean.mutable_as<float>()[i] = 0.1f * deviation * normal();
    const float d = deviation * (1.0f + 0.1f * normal());
    variance.mutable_as<float>()[i] = d * d;
  }
  Value* w = graph_->add_constant(std::move(scale), name + ".weight");
  Value* b = bias(n, name + ".bias");
  Value* m = graph_->add_constant(std::move(mean), name + ".running_mean");
  Value* v = graph_->add_constant(std::move(variance), name + ".running_var");
  Node* node = layer("BatchNormalization", {x, w, b, m, v}, name);
  node->set_attr("epsilon", 1e-5f);
  return finish_layer(node, name);
}

Value* GraphBuilder::gemm(Value* x, int64_t out, const std::string& name, float gain) {
  Value* w = weights({out, channels_of(x)}, gain, name + ".weight");
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

Value* GraphBuilder::sigmoid(Value* x, const std::string& name) { return finish_layer(layer("Sigmoid", {x}, name), name); }

Value* GraphBuilder::hard_swish(Value* x, const std::string& name) {
  return finish_layer(layer("HardSwish", {x}, name), name);
}

Value* GraphBuilder::silu(Value* x, const std::string& name) { return mul(x, sigmoid(x, name + ".sigmoid"), name); }

Value* GraphBuilder::squeeze_excite(Value* x, const GateSpec& spec, const std::string& name) {
  const std::string first = name + "." + spec.first, second = name + "." + spec.second;
  Value* y = global_average_pool(x, name + ".avgpool");
  y = conv(y, {.out = spec.squeeze}, first, spec.hard ? kReluGain : kSwishGain);
  y = spec.hard ? relu(y, name + ".activation") : silu(y, name + ".activation");
  y = conv(y, {.out = channels_of(x)}, second, spec.hard ? 1.0f : kReluGain);
  if (!spec.hard) return mul(x, sigmoid(y, name + ".scale_activation"), name + ".mul");
  Node* gate = layer("HardSigmoid", {y}, name + ".scale_activation");
  gate->set_attr("alpha", 1.0f / 6.0f);
  gate->set_attr("beta", 0.5f);
  return mul(x, finish_layer(gate, gate->name()), name + ".mul");
}

void GraphBuilder::set_window(Node* node, int64_t kernel, int64_t stride, int64_t pad) {
  node->set_attr("kernel_shape", std::vector<int64_t>{kernel, kernel});
  node->set_attr("pads", std::vector<int64_t>(4, pad));
  node->set_attr("strides", std::vector<int64_t>{stride, stride});
}

Value* GraphBuilder::max_pool(Value* x, const PoolSpec& spec, const std::string& name) {
  Node* node = layer("MaxPool", {x}, name);
  node->set_attr("ceil_mode", static_cast<int64_t>(spec.ceil));
  set_window(node, spec.kernel, spec.stride, spec.pad);
  return finish_layer(node, name);
}

Value* GraphBuilder::average_pool(Value* x, const PoolSpec& spec, const std::string& name) {
  Node* node = layer("AveragePool", {x}, name);
  node->set_attr("ceil_mode", static_cast<int64_t>(spec.ceil));
  node->set_attr("count_include_pad", int64_t{1});
  set_window(node, spec.kernel, spec.stride, spec.pad);
  return finish_layer(node, name);
}

Value* GraphBuilder::global_average_pool(Value* x, const std::string& name) {
  return finish_layer(layer("GlobalAveragePool", {x}, name), name);
}

Value* GraphBuilder::reshape(Value* x, const std::vector<int64_t>& shape, const std::string& name) {
  return finish_layer(layer("Reshape", {x, graph_->add_constant(Tensor::of_s64(shape), name + ".shape")}, name), name);
}

Value* GraphBuilder::transpose(Value* x, const std::vector<int64_t>& perm, const std::string& name) {
  Node* node = layer("Transpose", {x}, name);
  node->set_attr("perm", perm);
  return finish_layer(node, name);
}

std::vector<Value*> GraphBuilder::split(Value* x, const std::vector<int64_t>& sizes, const std::string& name, int64_t axis) {
  Node* node = graph_->add_node("Split", {x, constant(Tensor::of_s64(sizes), name + ".sizes")}, sizes.size(), name);
  node->set_attr("axis", axis);
  for (size_t i = 0; i < sizes.size(); ++i) graph_->rename(node->output(i), name + ".out" + std::to_string(i));
  graph::infer_types(*graph_, *node);
  return node->outputs();
}

Value* GraphBuilder::flatten(Value* x, const std::string& name) {
  Node* node = layer("Flatten", {x}, name);
  node->set_attr("axis", int64_t{1});
  return finish_layer(node, name);
}

Value* GraphBuilder::add(Value* a, Value* b, const std::string& name) {
  return finish_layer(layer("Add", {a, b}, name), name);
}

Value* GraphBuilder::mul(Value* a, Value* b, const std::string& name) {
  return finish_layer(layer("Mul", {a, b}, name), name);
}

Value* GraphBuilder::concat(const std::vector<Value*>& inputs, const std::string& name, int64_t axis) {
  Node* node = layer("Concat", inputs, name);
  node->set_attr("axis", axis);
  return finish_layer(node, name);
}

void GraphBuilder::output(Value* value, const std::string& name) {
  graph_->rename(value, name);
  graph_->add_output(value);
}

}  // namespace octet::zoo
