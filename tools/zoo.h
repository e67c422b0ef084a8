// Built-in architectures with seeded random weights: networks to time and test with, no download needed.
//
// Networks of images are the torchvision architectures of that name, layer by layer, as an exporter writes them for
// inference: batch normalisation folded into the convolutions, ReLU6 as Clip, dropout gone, the classifier a Gemm with the
// weights as [outputs, inputs]. Only standard operators in float32. The input is "input" [batch, 3, 224, 224], to be fed
// with numbers of mean 0 and deviation 1; the output is "output" [batch, 1000].
//
// Networks of tokens are those published under that name, in the form in which exporters write them: MatMul, Add, Reshape,
// Transpose, Softmax for attention, GELU spelled out with Erf or Tanh. Inputs and outputs are named as there ("input_ids",
// "attention_mask", "last_hidden_state"); the number of tokens is an option. Decoders take the keys and values of the tokens
// before ("past_key_values.0.key") and give them back with the new ones ("present.0.key").
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
  int64_t sequence = 0;      // tokens of a sample; 0: the network's default
  int64_t past = -1;         // tokens a decoder has seen before; -1: the network's default
  bool open_tokens = false;  // a decoder with both numbers left open, as exporters write it to be run with a cache
};

struct ZooEntry {
  std::string_view name;
  std::string_view description;
  double gmacs;                                               // multiply-accumulates of one sample, in thousands of millions
  std::unique_ptr<graph::Graph> (*build)(const ZooOptions&);  // sequence and past resolved
  int64_t sequence = 0, longest = 0;  // default and largest number of tokens, past ones included; 0: no tokens
  int64_t past = -1;                  // default; -1: not a decoder
};

std::span<const ZooEntry> list();

// Throws Error invalid_argument listing the known names, or saying which option the network cannot follow.
std::unique_ptr<graph::Graph> build(const std::string& name, const ZooOptions& options = {});

}  // namespace octet::zoo
