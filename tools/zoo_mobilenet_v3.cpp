// MobileNetV3 (Howard et al. 2019), large, width 1.0, as torchvision has it.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

struct Block {
  int64_t kernel, expand, out;
  bool gate, swish;
  int64_t stride;
};

constexpr Block kBlocks[] = {{3, 16, 16, false, false, 1}, {3, 64, 24, false, false, 2}, {3, 72, 24, false, false, 1},
                             {5, 72, 40, true, false, 2},  {5, 120, 40, true, false, 1}, {5, 120, 40, true, false, 1},
                             {3, 240, 80, false, true, 2}, {3, 200, 80, false, true, 1}, {3, 184, 80, false, true, 1},
                             {3, 184, 80, false, true, 1}, {3, 480, 112, true, true, 1}, {3, 672, 112, true, true, 1},
                             {5, 672, 160, true, true, 2}, {5, 960, 160, true, true, 1}, {5, 960, 160, true, true, 1}};

// The nearest multiple of 8, but never a tenth less than asked for.
int64_t round_to_8(int64_t n) {
  const int64_t rounded = std::max<int64_t>(8, (n + 4) / 8 * 8);
  return 10 * rounded < 9 * n ? rounded + 8 : rounded;
}

// Expand, filter depthwise, gate, project without activation; the sum runs along the narrow ends.
Value* inverted_residual(GraphBuilder& g, Value* x, const Block& b, const std::string& name) {
  const float gain = b.swish ? 1.5f : GraphBuilder::kReluGain;  // from deviation 3 on, hard swish is nearly a ReLU
  const auto activate = [&](Value* v, const std::string& at) {
    return b.swish ? g.hard_swish(v, at + ".2") : g.relu(v, at + ".2");
  };
  const int64_t in = channels_of(x);
  const bool residual = b.stride == 1 && in == b.out;
  int layer = 0;
  const auto next = [&] { return name + ".block." + std::to_string(layer++); };
  Value* y = x;
  if (b.expand != in) {
    const std::string expand = next();
    y = activate(g.conv(y, {.out = b.expand}, expand + ".0", gain), expand);
  }
  const std::string depthwise = next();
  y = g.conv(y, {.out = b.expand, .kernel = b.kernel, .stride = b.stride, .pad = b.kernel / 2, .group = b.expand},
             depthwise + ".0", gain);
  y = activate(y, depthwise);
  if (b.gate) y = g.squeeze_excite(y, {.squeeze = round_to_8(b.expand / 4), .hard = true}, next());
  // A gate halves its input. Nothing is normalised behind the projection, so it neither gains nor, in a branch, adds much:
  // where activations grow from block to block, the gates end up as steps and every rounding error flips some.
  y = g.conv(y, {.out = b.out}, next() + ".0", (b.gate ? 1.8f : 1.0f) * (residual ? 0.5f : 1.0f));
  return residual ? g.add(y, x, name + ".add") : y;
}

}  // namespace

std::unique_ptr<graph::Graph> mobilenet_v3_large(const ZooOptions& options) {
  GraphBuilder g("mobilenet_v3_large", options);
  Value* x = g.input(3, 224, 224);
  x = g.hard_swish(g.conv(x, {.out = 16, .kernel = 3, .stride = 2, .pad = 1}, "features.0.0", GraphBuilder::kSwishGain),
                   "features.0.2");
  int index = 1;
  for (const Block& block : kBlocks) x = inverted_residual(g, x, block, "features." + std::to_string(index++));
  x = g.hard_swish(g.conv(x, {.out = 960}, "features.16.0", GraphBuilder::kSwishGain), "features.16.2");
  x = g.flatten(g.global_average_pool(x, "avgpool"), "flatten");
  x = g.hard_swish(g.gemm(x, 1280, "classifier.0", GraphBuilder::kSwishGain), "classifier.1");
  return g.finish(g.gemm(x, 1000, "classifier.3"));
}

}  // namespace octet::zoo
