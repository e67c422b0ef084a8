#include "tools/zoo.h"

#include <algorithm>

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
    {"alexnet", "AlexNet: five convolutions and three large matrices", 0.714, alexnet},
    {"mobilenet_v3_large", "MobileNetV3 large 1.0: hard swish, squeeze and excitation", 0.217, mobilenet_v3_large},
    {"efficientnet_b0", "EfficientNet-B0: SiLU, squeeze and excitation, 5x5 depthwise", 0.386, efficientnet_b0},
    {"shufflenet_v2_x1_0", "ShuffleNetV2 1.0: split, depthwise, concatenation, channel shuffle", 0.145, shufflenet_v2_x1_0},
    {"densenet121", "DenseNet-121: concatenations of all layers of a block", 2.834, densenet121},
    {"googlenet", "GoogLeNet: inception blocks of four branches", 1.498, googlenet},
    {"inception_v3", "Inception v3: 1x7 and 7x1 convolutions, average pools, 299x299", 5.713, inception_v3},
    {"resnext101_32x8d", "ResNeXt-101 32x8d: grouped 3x3 convolutions", 16.414, resnext101_32x8d},
    {"unet", "U-Net: skips by concatenation, transposed convolutions, a mask of 256x256", 12.071, unet},
    {"bert_base", "BERT base: 12 layers of 768", 11.174, bert_base, 128, 512},
    {"bert_large", "BERT large: 24 layers of 1024", 39.461, bert_large, 128, 512},
    {"distilbert", "DistilBERT: 6 layers of 768, masked by Where", 5.587, distilbert, 128, 512},
    {"minilm_l6", "MiniLM: 6 layers of 384", 1.435, minilm_l6, 128, 512},
    {"roberta_base", "RoBERTa base: positions counted over the tokens", 11.174, roberta_base, 128, 512},
    {"albert_base", "ALBERT base: one layer used 12 times, tanh GELU", 11.187, albert_base, 128, 512},
    {"electra_small", "ELECTRA small: 12 layers of 256, embeddings of 128", 1.313, electra_small, 128, 512},
    {"vit_b16", "ViT-B/16: 197 tokens of 768, merged QKV", 17.564, vit_b16},
    {"swin_t", "Swin-T: shifted windows of 7x7, position bias", 4.491, swin_t},
    {"gpt2", "GPT-2: decoder with a cache, one new token", 0.126, gpt2, 1, 1024, 128},
    {"t5_small", "T5 small, encoder: RMSNorm, position bias by bucket", 2.517, t5_small, 128, 512},
    {"llama_small", "Llama kind, 8 layers of 512: RMSNorm, rotary, grouped queries, SwiGLU", 0.040, llama_small, 1, 2048,
     128},
};

}  // namespace

std::span<const ZooEntry> list() { return kEntries; }

std::unique_ptr<graph::Graph> build(const std::string& name, const ZooOptions& options) {
  const auto fail = [&](const std::string& what) { throw Error(ErrorCode::invalid_argument, "zoo:" + name + ": " + what); };
  if (options.batch < 0) fail("batch " + std::to_string(options.batch) + " is negative");
  std::string known;
  for (const ZooEntry& entry : kEntries) {
    if (entry.name != name) {
      known += (known.empty() ? "" : ", ") + std::string(entry.name);
      continue;
    }
    if (options.sequence > 0 && entry.sequence == 0)
      fail("a sequence length was asked for, but it takes images of a fixed size");
    if (options.past >= 0 && entry.past < 0) fail("a number of past tokens was asked for, but it keeps no cache");
    if (options.open_tokens && entry.past < 0) fail("an open number of past tokens was asked for, but it keeps no cache");
    if (options.open_tokens && (options.sequence > 0 || options.past >= 0))
      fail("both open numbers of tokens and numbers of tokens were asked for; expected one of them");
    ZooOptions resolved = options;
    if (resolved.sequence == 0) resolved.sequence = entry.sequence;
    if (resolved.past < 0) resolved.past = entry.past;
    const int64_t tokens = resolved.sequence + std::max<int64_t>(0, resolved.past);
    if (tokens > entry.longest)
      fail(std::to_string(tokens) + " tokens were asked for; expected at most " + std::to_string(entry.longest));
    return entry.build(resolved);
  }
  fail("no such network; expected one of " + known);
  return nullptr;
}

}  // namespace octet::zoo
