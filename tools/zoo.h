// Built-in architectures with seeded random weights: networks to time and test with, no download needed.
//
// Each is the torchvision architecture of that name, layer by layer, as an exporter writes it for inference: batch
// normalisation folded into the convolutions, ReLU6 as Clip, dropout gone, the classifier a Gemm with the weights as
// [outputs, inputs]. Only standard operators in float32. The input is "input" [batch, 3, 224, 224], to be fed with numbers of mean 0 and
// deviation 1; the output is "output" [batch, 1000].
//
// The weights mean nothing, so no accuracy can be measured, but they are shaped like weights: normal with Kaiming deviation,
// so that activations keep sane ranges to the last layer; gains that differ from channel to channel, as folded batch
// normalisation leaves them; residual branches damped. They come from an integer generator and exactly rounded float
// operations, hence the same bytes on every machine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "graph/ir.h"

namespace octet::zoo {

struct ZooOptions {
  int64_t batch = 1;  // 0: symbolic, named "batch"
  uint64_t seed = 1;
};

struct ZooEntry {
  std::string_view name;
  std::string_view description;
  double gmacs;  // multiply-accumulates of one image, in thousands of millions
  std::unique_ptr<graph::Graph> (*build)(const ZooOptions&);
};

std::span<const ZooEntry> list();

// Throws Error invalid_argument listing the known names.
std::unique_ptr<graph::Graph> build(const std::string& name, const ZooOptions& options = {});

}  // namespace octet::zoo
