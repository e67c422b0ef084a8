// U-Net (Ronneberger et al. 2015) in the form of Buda's published brain segmentation network: 32 features, halved four
// times, doubled by 2x2 transposed convolutions, one mask of probabilities.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

constexpr int64_t kFeatures = 32;
constexpr int kLevels = 4;

Value* two_convolutions(GraphBuilder& g, Value* x, int64_t out, const std::string& name) {
  x = g.relu(g.conv(x, {.out = out, .kernel = 3, .pad = 1}, name + ".conv1"), name + ".relu1");
  return g.relu(g.conv(x, {.out = out, .kernel = 3, .pad = 1}, name + ".conv2"), name + ".relu2");
}

}  // namespace

std::unique_ptr<graph::Graph> unet(const ZooOptions& options) {
  GraphBuilder g("unet", options);
  Value* x = g.input(3, 256, 256);
  std::vector<Value*> skips;
  for (int level = 1; level <= kLevels; ++level) {
    skips.push_back(two_convolutions(g, x, kFeatures << (level - 1), "encoder" + std::to_string(level)));
    x = g.max_pool(skips.back(), {}, "pool" + std::to_string(level));
  }
  x = two_convolutions(g, x, kFeatures << kLevels, "bottleneck");
  for (int level = kLevels; level >= 1; --level) {
    const int64_t out = kFeatures << (level - 1);
    const std::string number = std::to_string(level);
    x = g.conv_transpose(x, out, 2, "upconv" + number);
    x = g.concat({x, skips[static_cast<size_t>(level - 1)]}, "decoder" + number + ".concat");
    x = two_convolutions(g, x, out, "decoder" + number);
  }
  return g.finish(g.sigmoid(g.conv(x, {.out = 1}, "conv"), "sigmoid"));
}

}  // namespace octet::zoo
