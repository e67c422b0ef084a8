// The numbers of the quantization scheme: pure functions from ranges and weights to scales, zero points and integers.
#pragma once

#include <span>
#include <vector>

#include "graph/quantize/quantize.h"
#include "graph/tensor.h"

namespace octet::graph {

struct ActivationParams {
  float scale = 1;
  uint8_t zero_point = 0;
};

// The grid of 256 values that covers the range and 0, the zero point rounded. A range that begins at 0 ends at 255 quanta
// that do not pass its maximum, so that rounding to it implies a ReLU6. An empty range has scale 1.
ActivationParams activation_params(Range range);

struct WeightParams {
  Tensor integers;  // s8, the shape of the weights, in [-127, 127]
  std::vector<float> scale;
};

// One scale for each index of `axis`, the largest magnitude at 127. Where the bias (empty, or one number a channel) would
// need more than 30 bits at scale x_scale·scale[n], the scale is raised until it does not: the weights of such a channel are
// negligible against its bias, and the exact sum still fits 32 bits.
WeightParams quantize_weights(const Tensor& weights, int axis, std::span<const float> bias, float x_scale);

// s32, at the float product x_scale·scale[n].
std::vector<float> bias_scales(float x_scale, std::span<const float> weight_scale);
Tensor quantize_bias(std::span<const float> bias, std::span<const float> scale);

// Whether sums of `depth` products and a bias always fit 32 bits.
bool sum_fits(int64_t depth);

}  // namespace octet::graph
