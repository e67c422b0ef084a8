// A convenience over graph::Graph for networks of images: one call a layer, weights drawn on the way.
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
};

struct PoolSpec {
  int64_t kernel = 2;
  int64_t stride = 2;
  int64_t pad = 0;
  bool ceil = false;
};

class GraphBuilder {
 public:
  GraphBuilder(const std::string& name, const ZooOptions& options);

  graph::Value* input(int64_t channels, int64_t height, int64_t width);
  // Weights of deviation `gain` / sqrt(fan in): sqrt(2) keeps the variance through a ReLU, 1 through a linear layer.
  graph::Value* conv(graph::Value* x, const ConvSpec& spec, const std::string& name, float gain = kReluGain);
  graph::Value* gemm(graph::Value* x, int64_t out, const std::string& name, float gain = 1.0f);
  graph::Value* relu(graph::Value* x, const std::string& name);
  graph::Value* relu6(graph::Value* x, const std::string& name);
  graph::Value* max_pool(graph::Value* x, const PoolSpec& spec, const std::string& name);
  graph::Value* global_average_pool(graph::Value* x, const std::string& name);
  graph::Value* flatten(graph::Value* x, const std::string& name);
  graph::Value* add(graph::Value* a, graph::Value* b, const std::string& name);
  graph::Value* concat(const std::vector<graph::Value*>& inputs, const std::string& name);
  std::unique_ptr<graph::Graph> finish(graph::Value* output);

  static constexpr float kReluGain = 1.41421356f;

 private:
  graph::Node* layer(std::string_view op, std::vector<graph::Value*> inputs, const std::string& name);
  graph::Value* finish_layer(graph::Node* node, const std::string& name);
  graph::Value* weights(const Shape& shape, float gain, const std::string& name);
  graph::Value* bias(int64_t count, const std::string& name);
  float normal();

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

}  // namespace octet::zoo
