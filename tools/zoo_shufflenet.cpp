// ShuffleNetV2 (Ma et al. 2018), width 1.0, as torchvision has it. A shuffle of channels is written as exporters do:
// Reshape, Transpose, Reshape.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

Value* shuffle(GraphBuilder& g, Value* x, const std::string& name) {
  const auto& dims = *x->type().dims;
  const int64_t c = dims[1].value, h = dims[2].value, w = dims[3].value;
  Value* y = g.reshape(x, {0, 2, c / 2, h, w}, name + ".split");
  y = g.transpose(y, {0, 2, 1, 3, 4}, name + ".transpose");
  return g.reshape(y, {0, c, h, w}, name + ".join");
}

// Pointwise, depthwise, pointwise.
Value* branch2(GraphBuilder& g, Value* x, int64_t width, int64_t stride, const std::string& name) {
  Value* y = g.relu(g.conv(x, {.out = width}, name + ".0"), name + ".2");
  y = g.conv(y, {.out = width, .kernel = 3, .stride = stride, .pad = 1, .group = width}, name + ".3", 1.0f);
  return g.relu(g.conv(y, {.out = width}, name + ".5"), name + ".7");
}

Value* unit(GraphBuilder& g, Value* x, int64_t out, int64_t stride, const std::string& name) {
  const int64_t in = channels_of(x), width = out / 2;
  if (stride == 1) {
    const std::vector<Value*> halves = g.split(x, {width, width}, name + ".chunk");
    Value* y = branch2(g, halves[1], width, 1, name + ".branch2");
    return shuffle(g, g.concat({halves[0], y}, name + ".concat"), name + ".shuffle");
  }
  Value* a = g.conv(x, {.out = in, .kernel = 3, .stride = stride, .pad = 1, .group = in}, name + ".branch1.0", 1.0f);
  a = g.relu(g.conv(a, {.out = width}, name + ".branch1.2"), name + ".branch1.4");
  Value* b = branch2(g, x, width, stride, name + ".branch2");
  return shuffle(g, g.concat({a, b}, name + ".concat"), name + ".shuffle");
}

}  // namespace

std::unique_ptr<graph::Graph> shufflenet_v2_x1_0(const ZooOptions& options) {
  struct Stage {
    int64_t units, out;
  };
  constexpr Stage kStages[] = {{4, 116}, {8, 232}, {4, 464}};
  GraphBuilder g("shufflenet_v2_x1_0", options);
  Value* x = g.input(3, 224, 224);
  x = g.relu(g.conv(x, {.out = 24, .kernel = 3, .stride = 2, .pad = 1}, "conv1.0"), "conv1.2");
  x = g.max_pool(x, {.kernel = 3, .stride = 2, .pad = 1}, "maxpool");
  int index = 2;
  for (const Stage& stage : kStages) {
    for (int64_t i = 0; i < stage.units; ++i)
      x = unit(g, x, stage.out, i == 0 ? 2 : 1, "stage" + std::to_string(index) + "." + std::to_string(i));
    ++index;
  }
  x = g.relu(g.conv(x, {.out = 1024}, "conv5.0"), "conv5.2");
  x = g.flatten(g.global_average_pool(x, "avgpool"), "flatten");
  return g.finish(g.gemm(x, 1000, "fc"));
}

}  // namespace octet::zoo
