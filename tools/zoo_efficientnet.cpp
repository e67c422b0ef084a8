// EfficientNet (Tan, Le 2019), B0, as torchvision has it.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

struct Stage {
  int64_t expand, kernel, stride, out, blocks;
};

constexpr Stage kStages[] = {{1, 3, 1, 16, 1},  {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2}, {6, 3, 2, 80, 3},
                             {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4}, {6, 3, 1, 320, 1}};

// Expand, filter depthwise, gate, project without activation; the sum runs along the narrow ends.
Value* mb_conv(GraphBuilder& g, Value* x, const Stage& stage, int64_t stride, const std::string& name) {
  constexpr float kGain = GraphBuilder::kSwishGain;
  const int64_t in = channels_of(x), wide = in * stage.expand;
  const bool residual = stride == 1 && in == stage.out;
  int layer = 0;
  const auto next = [&] { return name + ".block." + std::to_string(layer++); };
  Value* y = x;
  if (stage.expand != 1) {
    const std::string expand = next();
    y = g.silu(g.conv(y, {.out = wide}, expand + ".0", kGain), expand + ".2");
  }
  const std::string depthwise = next();
  y = g.conv(y, {.out = wide, .kernel = stage.kernel, .stride = stride, .pad = stage.kernel / 2, .group = wide},
             depthwise + ".0", kGain);
  y = g.silu(y, depthwise + ".2");
  y = g.squeeze_excite(y, {.squeeze = std::max<int64_t>(1, in / 4)}, next());
  // A gate halves its input; the sum of a residual is never normalised again, so the branch starts damped.
  y = g.conv(y, {.out = stage.out}, next() + ".0", residual ? 1.4f : 2.8f);
  return residual ? g.add(y, x, name + ".add") : y;
}

}  // namespace

std::unique_ptr<graph::Graph> efficientnet_b0(const ZooOptions& options) {
  GraphBuilder g("efficientnet_b0", options);
  Value* x = g.input(3, 224, 224);
  x = g.silu(g.conv(x, {.out = 32, .kernel = 3, .stride = 2, .pad = 1}, "features.0.0", GraphBuilder::kSwishGain),
             "features.0.2");
  int index = 1;
  for (const Stage& stage : kStages) {
    for (int64_t i = 0; i < stage.blocks; ++i)
      x = mb_conv(g, x, stage, i == 0 ? stage.stride : 1, "features." + std::to_string(index) + "." + std::to_string(i));
    ++index;
  }
  x = g.silu(g.conv(x, {.out = 1280}, "features.8.0", GraphBuilder::kSwishGain), "features.8.2");
  x = g.flatten(g.global_average_pool(x, "avgpool"), "flatten");
  return g.finish(g.gemm(x, 1000, "classifier.1"));
}

}  // namespace octet::zoo
