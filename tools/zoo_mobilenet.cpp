// MobileNetV2 (Sandler et al. 2018), width 1.0, as torchvision has it.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

struct Stage {
  int64_t expand, out, blocks, stride;
};

constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

// Expand, filter depthwise, project without activation; the sum runs along the narrow ends.
Value* inverted_residual(GraphBuilder& g, Value* x, const Stage& stage, int64_t stride, const std::string& name) {
  const int64_t in = (*x->type().dims)[1].value, wide = in * stage.expand;
  const bool residual = stride == 1 && in == stage.out;
  int layer = 0;
  const auto next = [&] { return name + ".conv." + std::to_string(layer++); };
  Value* y = x;
  if (stage.expand != 1) {
    const std::string expand = next();
    y = g.relu6(g.conv(y, {.out = wide, .kernel = 1}, expand + ".0"), expand + ".2");
  }
  const std::string depthwise = next();
  y = g.relu6(g.conv(y, {.out = wide, .kernel = 3, .stride = stride, .pad = 1, .group = wide}, depthwise + ".0"),
              depthwise + ".2");
  y = g.conv(y, {.out = stage.out, .kernel = 1}, next(), residual ? 0.7f : 1.4f);
  return residual ? g.add(x, y, name + ".add") : y;
}

}  // namespace

std::unique_ptr<graph::Graph> mobilenet_v2(const ZooOptions& options) {
  GraphBuilder g("mobilenet_v2", options);
  Value* x = g.input(3, 224, 224);
  x = g.relu6(g.conv(x, {.out = 32, .kernel = 3, .stride = 2, .pad = 1}, "features.0.0"), "features.0.2");
  int index = 1;
  for (const Stage& stage : kStages)
    for (int64_t i = 0; i < stage.blocks; ++i)
      x = inverted_residual(g, x, stage, i == 0 ? stage.stride : 1, "features." + std::to_string(index++));
  x = g.relu6(g.conv(x, {.out = 1280, .kernel = 1}, "features.18.0"), "features.18.2");
  x = g.flatten(g.global_average_pool(x, "avgpool"), "flatten");
  return g.finish(g.gemm(x, 1000, "classifier.1"));
}

}  // namespace octet::zoo
