#include "graph/quantize/parameters.h"

#include <algorithm>
#include <cmath>

namespace octet::graph {

namespace {

constexpr double kMaxBias = 1 << 30;
// Smaller scales would meet denormals when products of them are formed.
constexpr float kMinSpan = 1e-20f;
constexpr float kMinBiasScale = 1e-30f;

}  // namespace

ActivationParams activation_params(Range range) {
  const float low = std::min(0.0f, range.min), high = std::max(0.0f, range.max);
  const double span = static_cast<double>(high) - static_cast<double>(low);
  if (span < static_cast<double>(kMinSpan)) return {};
  auto scale = static_cast<float>(span / 255);
  const float zero = std::nearbyint(-low / scale);
  const auto zero_point = static_cast<uint8_t>(std::clamp(zero, 0.0f, 255.0f));
  while (low == 0 && 255 * scale > high) scale = std::nextafter(scale, 0.0f);
  return {scale, zero_point};
}

WeightParams quantize_weights(const Tensor& weights, int axis, std::span<const float> bias, float x_scale) {
  const Shape& shape = weights.shape();
  const auto at = static_cast<size_t>(axis);
  const auto channels = static_cast<size_t>(shape[at]);
  size_t inner = 1;
  for (size_t i = at + 1; i < shape.size(); ++i) inner *= static_cast<size_t>(shape[i]);
  const auto count = static_cast<size_t>(weights.size());
  const auto* w = weights.as<float>();

  std::vector<float> largest(channels, 0.0f);
  for (size_t i = 0; i < count; ++i) {
    float& m = largest[i / inner % channels];
    m = std::max(m, std::fabs(w[i]));
  }
  WeightParams result{Tensor(DType::s8, shape), std::vector<float>(channels)};
  for (size_t n = 0; n < channels; ++n) {
    float scale = largest[n] / 127;
    if (!bias.empty()) {
      const double least = static_cast<double>(std::fabs(bias[n])) / kMaxBias / static_cast<double>(x_scale);
      scale = std::max(scale, static_cast<float>(least * 1.000001));
    }
    if (scale == 0) scale = 1;
    result.scale[n] = std::max(scale, kMinBiasScale / x_scale);
  }
  auto* q = result.integers.mutable_as<int8_t>();
  for (size_t i = 0; i < count; ++i)
    q[i] = static_cast<int8_t>(std::clamp(std::nearbyint(w[i] / result.scale[i / inner % channels]), -127.0f, 127.0f));
  return result;
}

std::vector<float> bias_scales(float x_scale, std::span<const float> weight_scale) {
  std::vector<float> scales;
  for (const float s : weight_scale) scales.push_back(x_scale * s);
  return scales;
}

Tensor quantize_bias(std::span<const float> bias, std::span<const float> scale) {
  Tensor result(DType::s32, {static_cast<int64_t>(bias.size())});
  for (size_t n = 0; n < bias.size(); ++n) {
    const double q = std::nearbyint(static_cast<double>(bias[n]) / static_cast<double>(scale[n]));
    result.mutable_as<int32_t>()[n] = static_cast<int32_t>(std::clamp(q, -kMaxBias, kMaxBias));
  }
  return result;
}

bool sum_fits(int64_t depth) { return depth <= (INT32_MAX - static_cast<int64_t>(kMaxBias)) / (255 * 127); }

}  // namespace octet::graph
