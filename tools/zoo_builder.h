// A convenience over graph::Graph: one call a layer, weights drawn on the way. What only networks of tokens have is in
// zoo_transformer.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "tools/zoo.h"

namespace octet::zoo {

struct ConvSpec {
  int64_t out = 0;
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t pad = 0;
  int64_t group = 1;
  int64_t kernel_w = 0;  // 0: as high as wide
  int64_t pad_w = 0;     // with kernel_w
  bool bias = true;
};

struct PoolSpec {
  int64_t kernel = 2;
  int64_t stride = 2;
  int64_t pad = 0;
  bool ceil = false;
};

// Squeeze and excitation (Hu et al. 2018): x times a gate a channel, which a narrow pair of 1x1 convolutions makes of its
// mean.
struct GateSpec {
  int64_t squeeze = 0;
  bool hard = false;  // ReLU and hard sigmoid; else SiLU and sigmoid
  const char *first = "fc1", *second = "fc2";
};

inline int64_t channels_of(const graph::Value* x) { return (*x->type().dims)[1].value; }

class GraphBuilder {
 public:
  GraphBuilder(const std::string& name, const ZooOptions& options);

  graph::Value* input(int64_t channels, int64_t height, int64_t width);
  graph::Value* input(const std::string& name, DType dtype, const Shape& sample);  // [batch, sample...]
  graph::Value* open_input(const std::string& name, DType dtype, const std::vector<graph::Dim>& sample);

  // Any operator with one output.
  using Attributes = std::vector<std::pair<std::string, graph::Attribute>>;
  graph::Value* apply(std::string_view op, std::vector<graph::Value*> inputs, const std::string& name,
                      Attributes attributes = {});
  graph::Value* constant(graph::Tensor tensor, const std::string& name) {
    return graph_->add_constant(std::move(tensor), name);
  }
  graph::Value* scalar(float value, const std::string& name) { return constant(graph::Tensor::scalar(value), name); }
  // Normal numbers of deviation `gain` / sqrt(fan in), times a factor an output: of [outputs, fan in...], or of [fan in,
  // outputs].
  graph::Value* weights(const Shape& shape, float gain, const std::string& name);
  graph::Value* columns(int64_t in, int64_t out, float gain, const std::string& name);
  graph::Value* bias(int64_t count, const std::string& name);
  float normal();

  // Weights of deviation `gain` / sqrt(fan in): sqrt(2) keeps the variance through a ReLU, 1 through a linear layer.
  graph::Value* conv(graph::Value* x, const ConvSpec& spec, const std::string& name, float gain = kReluGain);
  graph::Value* gemm(graph::Value* x, int64_t out, const std::string& name, float gain = 1.0f);
  graph::Value* relu(graph::Value* x, const std::string& name);
  graph::Value* relu6(graph::Value* x, const std::string& name);
  graph::Value* sigmoid(graph::Value* x, const std::string& name);
  graph::Value* hard_swish(graph::Value* x, const std::string& name);
  graph::Value* silu(graph::Value* x, const std::string& name);  // Sigmoid and Mul
  graph::Value* squeeze_excite(graph::Value* x, const GateSpec& spec, const std::string& name);
  // Statistics as after training on inputs of mean 0 and the given deviation.
  graph::Value* batch_norm(graph::Value* x, const std::string& name, float deviation = 1.0f);
  // kernel = stride, no padding: every input pixel becomes a square of outputs.
  graph::Value* conv_transpose(graph::Value* x, int64_t out, int64_t kernel, const std::string& name, float gain = 1.0f);
  graph::Value* average_pool(graph::Value* x, const PoolSpec& spec, const std::string& name);  // padding counts
  graph::Value* max_pool(graph::Value* x, const PoolSpec& spec, const std::string& name);
  graph::Value* global_average_pool(graph::Value* x, const std::string& name);
  graph::Value* reshape(graph::Value* x, const std::vector<int64_t>& shape,
                        const std::string& name);  // 0: as it is, -1: the rest
  graph::Value* transpose(graph::Value* x, const std::vector<int64_t>& perm, const std::string& name);
  std::vector<graph::Value*> split(graph::Value* x, const std::vector<int64_t>& sizes, const std::string& name,
                                   int64_t axis = 1);
  graph::Value* flatten(graph::Value* x, const std::string& name);
  graph::Value* add(graph::Value* a, graph::Value* b, const std::string& name);
  graph::Value* mul(graph::Value* a, graph::Value* b, const std::string& name);
  graph::Value* concat(const std::vector<graph::Value*>& inputs, const std::string& name, int64_t axis = 1);
  void output(graph::Value* value, const std::string& name);
  std::unique_ptr<graph::Graph> finish() { return std::move(graph_); }
  std::unique_ptr<graph::Graph> finish(graph::Value* value) {
    output(value, "output");
    return finish();
  }

  static constexpr float kReluGain = 1.41421356f;
  static constexpr float kSwishGain = 1.68f;  // of SiLU and hard swish: 1 / sqrt(0.355)

 private:
  graph::Node* layer(std::string_view op, std::vector<graph::Value*> inputs, const std::string& name);
  graph::Value* finish_layer(graph::Node* node, const std::string& name);
  void set_window(graph::Node* node, int64_t kernel, int64_t stride, int64_t pad);

  std::unique_ptr<graph::Graph> graph_ = std::make_unique<graph::Graph>();
  graph::Value* bound_[2] = {nullptr, nullptr};  // of ReLU6
  int64_t batch_;
  uint64_t state_;
};

// The families, one file each.
std::unique_ptr<graph::Graph> resnet18(const ZooOptions& options);
std::unique_ptr<graph::Graph> resnet50(const ZooOptions& options);
std::unique_ptr<graph::Graph> mobilenet_v2(const ZooOptions& options);
std::unique_ptr<graph::Graph> squeezenet1_1(const ZooOptions& options);
std::unique_ptr<graph::Graph> vgg16(const ZooOptions& options);
std::unique_ptr<graph::Graph> alexnet(const ZooOptions& options);
std::unique_ptr<graph::Graph> resnext101_32x8d(const ZooOptions& options);
std::unique_ptr<graph::Graph> mobilenet_v3_large(const ZooOptions& options);
std::unique_ptr<graph::Graph> efficientnet_b0(const ZooOptions& options);
std::unique_ptr<graph::Graph> shufflenet_v2_x1_0(const ZooOptions& options);
std::unique_ptr<graph::Graph> densenet121(const ZooOptions& options);
std::unique_ptr<graph::Graph> googlenet(const ZooOptions& options);
std::unique_ptr<graph::Graph> inception_v3(const ZooOptions& options);
std::unique_ptr<graph::Graph> unet(const ZooOptions& options);
std::unique_ptr<graph::Graph> bert_base(const ZooOptions& options);
std::unique_ptr<graph::Graph> bert_large(const ZooOptions& options);
std::unique_ptr<graph::Graph> distilbert(const ZooOptions& options);
std::unique_ptr<graph::Graph> minilm_l6(const ZooOptions& options);
std::unique_ptr<graph::Graph> roberta_base(const ZooOptions& options);
std::unique_ptr<graph::Graph> albert_base(const ZooOptions& options);
std::unique_ptr<graph::Graph> electra_small(const ZooOptions& options);
std::unique_ptr<graph::Graph> vit_b16(const ZooOptions& options);
std::unique_ptr<graph::Graph> swin_t(const ZooOptions& options);
std::unique_ptr<graph::Graph> gpt2(const ZooOptions& options);
std::unique_ptr<graph::Graph> t5_small(const ZooOptions& options);
std::unique_ptr<graph::Graph> llama_small(const ZooOptions& options);

}  // namespace octet::zoo
