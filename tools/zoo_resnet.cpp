// ResNet (He et al. 2016) and ResNeXt (Xie et al. 2017) as torchvision has them: v1.5, the stride of a bottleneck on its 3x3
// convolution.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

// The branch adds to a sum that is never normalised again, so it starts damped.
constexpr float kBranchGain = 0.5f;

Value* shortcut(GraphBuilder& g, Value* x, int64_t out, int64_t stride, const std::string& name) {
  if (stride == 1 && (*x->type().dims)[1].value == out) return x;
  return g.conv(x, {.out = out, .kernel = 1, .stride = stride}, name + ".downsample.0", 1.0f);
}

Value* basic_block(GraphBuilder& g, Value* x, int64_t width, int64_t stride, const std::string& name) {
  Value* y = g.relu(g.conv(x, {.out = width, .kernel = 3, .stride = stride, .pad = 1}, name + ".conv1"), name + ".relu");
  y = g.conv(y, {.out = width, .kernel = 3, .pad = 1}, name + ".conv2", kBranchGain);
  return g.relu(g.add(y, shortcut(g, x, width, stride, name), name + ".add"), name + ".relu_1");
}

Value* bottleneck_of(GraphBuilder& g, Value* x, int64_t width, int64_t inner, int64_t groups, int64_t stride,
                     const std::string& name) {
  Value* y = g.relu(g.conv(x, {.out = inner, .kernel = 1}, name + ".conv1"), name + ".relu");
  y = g.relu(g.conv(y, {.out = inner, .kernel = 3, .stride = stride, .pad = 1, .group = groups}, name + ".conv2"),
             name + ".relu_1");
  y = g.conv(y, {.out = 4 * width, .kernel = 1}, name + ".conv3", kBranchGain);
  return g.relu(g.add(y, shortcut(g, x, 4 * width, stride, name), name + ".add"), name + ".relu_2");
}

Value* bottleneck(GraphBuilder& g, Value* x, int64_t width, int64_t stride, const std::string& name) {
  return bottleneck_of(g, x, width, width, 1, stride, name);
}

Value* bottleneck_32x8d(GraphBuilder& g, Value* x, int64_t width, int64_t stride, const std::string& name) {
  return bottleneck_of(g, x, width, width / 64 * 32 * 8, 32, stride, name);
}

using Block = Value* (*)(GraphBuilder&, Value*, int64_t width, int64_t stride, const std::string& name);

std::unique_ptr<graph::Graph> resnet(const std::string& name, Block block, const int64_t (&depths)[4],
                                     const ZooOptions& options) {
  GraphBuilder g(name, options);
  Value* x = g.input(3, 224, 224);
  x = g.relu(g.conv(x, {.out = 64, .kernel = 7, .stride = 2, .pad = 3}, "conv1"), "relu");
  x = g.max_pool(x, {.kernel = 3, .stride = 2, .pad = 1}, "maxpool");
  for (int stage = 0; stage < 4; ++stage)
    for (int64_t i = 0; i < depths[stage]; ++i)
      x = block(g, x, int64_t{64} << stage, stage > 0 && i == 0 ? 2 : 1,
                "layer" + std::to_string(stage + 1) + "." + std::to_string(i));
  x = g.flatten(g.global_average_pool(x, "avgpool"), "flatten");
  return g.finish(g.gemm(x, 1000, "fc"));
}

}  // namespace

std::unique_ptr<graph::Graph> resnet18(const ZooOptions& options) {
  return resnet("resnet18", basic_block, {2, 2, 2, 2}, options);
}

std::unique_ptr<graph::Graph> resnet50(const ZooOptions& options) {
  return resnet("resnet50", bottleneck, {3, 4, 6, 3}, options);
}

std::unique_ptr<graph::Graph> resnext101_32x8d(const ZooOptions& options) {
  return resnet("resnext101_32x8d", bottleneck_32x8d, {3, 4, 23, 3}, options);
}

}  // namespace octet::zoo
