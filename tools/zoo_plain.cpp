// Networks without residual sums: AlexNet (Krizhevsky 2014), SqueezeNet 1.1 (Iandola et al. 2016) and VGG-16 (Simonyan,
// Zisserman 2015), as torchvision has them. The adaptive pooling before the classifiers of AlexNet and VGG changes nothing
// at 224x224 and is left out.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

Value* fire(GraphBuilder& g, Value* x, int64_t squeeze, int64_t expand, const std::string& name) {
  Value* s = g.relu(g.conv(x, {.out = squeeze, .kernel = 1}, name + ".squeeze"), name + ".squeeze_activation");
  Value* a = g.relu(g.conv(s, {.out = expand, .kernel = 1}, name + ".expand1x1"), name + ".expand1x1_activation");
  Value* b = g.relu(g.conv(s, {.out = expand, .kernel = 3, .pad = 1}, name + ".expand3x3"), name + ".expand3x3_activation");
  return g.concat({a, b}, name + ".concat");
}

Value* classifier(GraphBuilder& g, Value* x, int first, int step) {
  const auto name = [&](int i) { return "classifier." + std::to_string(i); };
  x = g.flatten(x, "flatten");
  for (const int i : {first, first + step}) x = g.relu(g.gemm(x, 4096, name(i), GraphBuilder::kReluGain), name(i + 1));
  return g.gemm(x, 1000, name(6));
}

}  // namespace

std::unique_ptr<graph::Graph> alexnet(const ZooOptions& options) {
  GraphBuilder g("alexnet", options);
  const PoolSpec pool{.kernel = 3, .stride = 2};
  Value* x = g.input(3, 224, 224);
  x = g.relu(g.conv(x, {.out = 64, .kernel = 11, .stride = 4, .pad = 2}, "features.0"), "features.1");
  x = g.max_pool(x, pool, "features.2");
  x = g.relu(g.conv(x, {.out = 192, .kernel = 5, .pad = 2}, "features.3"), "features.4");
  x = g.max_pool(x, pool, "features.5");
  x = g.relu(g.conv(x, {.out = 384, .kernel = 3, .pad = 1}, "features.6"), "features.7");
  x = g.relu(g.conv(x, {.out = 256, .kernel = 3, .pad = 1}, "features.8"), "features.9");
  x = g.relu(g.conv(x, {.out = 256, .kernel = 3, .pad = 1}, "features.10"), "features.11");
  x = g.max_pool(x, pool, "features.12");
  return g.finish(classifier(g, x, 1, 3));
}

std::unique_ptr<graph::Graph> squeezenet1_1(const ZooOptions& options) {
  GraphBuilder g("squeezenet1_1", options);
  const PoolSpec pool{.kernel = 3, .stride = 2, .ceil = true};
  Value* x = g.input(3, 224, 224);
  x = g.relu(g.conv(x, {.out = 64, .kernel = 3, .stride = 2}, "features.0"), "features.1");
  x = g.max_pool(x, pool, "features.2");
  x = fire(g, x, 16, 64, "features.3");
  x = fire(g, x, 16, 64, "features.4");
  x = g.max_pool(x, pool, "features.5");
  x = fire(g, x, 32, 128, "features.6");
  x = fire(g, x, 32, 128, "features.7");
  x = g.max_pool(x, pool, "features.8");
  x = fire(g, x, 48, 192, "features.9");
  x = fire(g, x, 48, 192, "features.10");
  x = fire(g, x, 64, 256, "features.11");
  x = fire(g, x, 64, 256, "features.12");
  x = g.relu(g.conv(x, {.out = 1000, .kernel = 1}, "classifier.1"), "classifier.2");
  return g.finish(g.flatten(g.global_average_pool(x, "classifier.3"), "flatten"));
}

std::unique_ptr<graph::Graph> vgg16(const ZooOptions& options) {
  GraphBuilder g("vgg16", options);
  constexpr int64_t kPool = 0;
  constexpr int64_t kLayers[] = {64,    64,  kPool, 128, 128,   kPool, 256, 256, 256,
                                 kPool, 512, 512,   512, kPool, 512,   512, 512, kPool};
  Value* x = g.input(3, 224, 224);
  int index = 0;
  const auto next = [&] { return "features." + std::to_string(index++); };
  for (const int64_t out : kLayers) {
    if (out == kPool) {
      x = g.max_pool(x, {}, next());
      continue;
    }
    x = g.conv(x, {.out = out, .kernel = 3, .pad = 1}, next());
    x = g.relu(x, next());
  }
  return g.finish(classifier(g, x, 0, 3));
}

}  // namespace octet::zoo
