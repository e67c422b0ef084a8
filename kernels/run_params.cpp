#include "kernels/run_params.h"

#include <algorithm>

namespace octet::kernels {

RunParams::RunParams(const Epilogue& epilogue, const PackedWeights& weights, std::span<const int32_t> int_bias)
    : groups(weights.kind == PackedKind::depthwise ? 1 : weights.shape.groups),
      at_run(weights.dtype != DType::f32 && (epilogue.out != DType::u8 || epilogue.y_scale != 0)) {
  const int64_t channels = weights.shape.oc / groups, records = (channels + 15) / 16;
  bound.resize(static_cast<size_t>(groups * records));
  for (int64_t g = 0; g < groups; ++g)
    fill_channel_params(epilogue, int_bias, g * channels, channels, bound.data() + g * records);
}

const ChannelParams* RunParams::of(const ConvArgs& args, const PackedWeights& weights, void* workspace) const noexcept {
  if (!at_run || (!weights.x_zero_point_at_run && args.x_scale == 1.0f)) return bound.data();
  auto* params = static_cast<ChannelParams*>(workspace);
  std::copy(bound.begin(), bound.end(), params);
  const uint32_t zero = weights.x_zero_point_at_run ? static_cast<uint32_t>(args.x_zero_point) : 0;
  const int64_t channels = weights.shape.oc / groups;
  for (int64_t n = 0; n < weights.shape.oc; ++n) {
    ChannelParams& record = params[n / channels * records_per_group() + n % channels / 16];
    const int64_t i = n % channels % 16;
    const auto sum = static_cast<uint32_t>(weights.facts.column_sum[static_cast<size_t>(n)]);
    record.int_bias[i] = static_cast<int32_t>(static_cast<uint32_t>(record.int_bias[i]) - zero * sum);
    record.scale[i] *= args.x_scale;
  }
  return params;
}

}  // namespace octet::kernels
