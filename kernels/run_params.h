// Channel parameters of one run under dynamic quantization: the input's zero point and scale come with ConvArgs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/jit/epilogue_emitter.h"
#include "kernels/packed_weights.h"

namespace octet::kernels {

// Records of `groups` groups, each with whole records of its own; `bound` as fill_channel_params made them.
struct RunParams {
  std::vector<ChannelParams> bound;
  int64_t groups = 1;
  bool at_run = false;

  RunParams() = default;
  // The records of `epilogue` over weights that hold int_bias in facts.bias; float weights have none.
  RunParams(const Epilogue& epilogue, const PackedWeights& weights) : RunParams(epilogue, weights, weights.facts.bias) {}
  // … over weights whose packing owes more to the bias.
  RunParams(const Epilogue& epilogue, const PackedWeights& weights, std::span<const int32_t> int_bias);

  int64_t records_per_group() const { return static_cast<int64_t>(bound.size()) / groups; }
  // Workspace that of() needs.
  size_t bytes() const { return at_run ? bound.size() * sizeof(ChannelParams) : 0; }
  // The bound records, or, when the run has a zero point or a scale of its own, records in the workspace.
  const ChannelParams* of(const ConvArgs& args, const PackedWeights& weights, void* workspace) const noexcept;
};

}  // namespace octet::kernels
