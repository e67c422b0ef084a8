// DenseNet-121 (Huang et al. 2017) as torchvision has it. Every layer reads the concatenation of all before it in its block.
// The normalisation in front of a layer's first convolution cannot be folded into anything and stays a BatchNormalization.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

constexpr int64_t kGrowth = 32, kBottleneck = 4 * kGrowth;

Value* dense_block(GraphBuilder& g, Value* x, int64_t layers, const std::string& block) {
  std::vector<Value*> features{x};
  for (int64_t i = 1; i <= layers; ++i) {
    const std::string name = block + ".denselayer" + std::to_string(i);
    Value* y = features.size() == 1 ? x : g.concat(features, name + ".concat");
    y = g.relu(g.batch_norm(y, name + ".norm1"), name + ".relu1");
    y = g.relu(g.conv(y, {.out = kBottleneck}, name + ".conv1"), name + ".relu2");
    features.push_back(g.conv(y, {.out = kGrowth, .kernel = 3, .pad = 1, .bias = false}, name + ".conv2", 1.0f));
  }
  return g.concat(features, block + ".concat");
}

Value* transition(GraphBuilder& g, Value* x, const std::string& name) {
  x = g.relu(g.batch_norm(x, name + ".norm"), name + ".relu");
  return g.average_pool(g.conv(x, {.out = channels_of(x) / 2, .bias = false}, name + ".conv"), {}, name + ".pool");
}

}  // namespace

std::unique_ptr<graph::Graph> densenet121(const ZooOptions& options) {
  constexpr int64_t kLayers[] = {6, 12, 24, 16};
  GraphBuilder g("densenet121", options);
  Value* x = g.input(3, 224, 224);
  x = g.relu(g.conv(x, {.out = 64, .kernel = 7, .stride = 2, .pad = 3}, "features.conv0"), "features.relu0");
  x = g.max_pool(x, {.kernel = 3, .stride = 2, .pad = 1}, "features.pool0");
  for (int block = 0; block < 4; ++block) {
    x = dense_block(g, x, kLayers[block], "features.denseblock" + std::to_string(block + 1));
    if (block < 3) x = transition(g, x, "features.transition" + std::to_string(block + 1));
  }
  x = g.relu(g.batch_norm(x, "features.norm5"), "relu");
  x = g.flatten(g.global_average_pool(x, "avgpool"), "flatten");
  return g.finish(g.gemm(x, 1000, "classifier"));
}

}  // namespace octet::zoo
