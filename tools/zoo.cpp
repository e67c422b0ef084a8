#include "tools/zoo.h"

#include "octet/types.h"
#include "tools/zoo_builder.h"

namespace octet::zoo {

namespace {

constexpr ZooEntry kEntries[] = {
    {"resnet18", "ResNet-18: basic residual blocks", 1.814, resnet18},
    {"resnet50", "ResNet-50 v1.5: bottleneck residual blocks, stride on the 3x3", 4.089, resnet50},
    {"mobilenet_v2", "MobileNetV2 1.0: inverted residuals, depthwise convolutions, ReLU6", 0.301, mobilenet_v2},
    {"squeezenet1_1", "SqueezeNet 1.1: fire modules, concatenations, no classifier matrix", 0.349, squeezenet1_1},
    {"vgg16", "VGG-16: plain 3x3 convolutions and three large matrices", 15.470, vgg16},
};

}  // namespace

std::span<const ZooEntry> list() { return kEntries; }

std::unique_ptr<graph::Graph> build(const std::string& name, const ZooOptions& options) {
  if (options.batch < 0)
    throw Error(ErrorCode::invalid_argument, "zoo:" + name + ": batch " + std::to_string(options.batch) + " is negative");
  std::string known;
  for (const ZooEntry& entry : kEntries) {
    if (entry.name == name) return entry.build(options);
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw Error(ErrorCode::invalid_argument, "zoo:" + name + ": no such network; expected one of " + known);
}

}  // namespace octet::zoo
