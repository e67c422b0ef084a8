// Depthwise convolution (groups == ic, any multiplier): the family's door, called by pack_weights and make_conv.
#pragma once

#include <memory>
#include <string>

#include "kernels/conv.h"

namespace octet::kernels {

std::shared_ptr<const PackedWeights> pack_depthwise(const Isa& isa, const ConvShape& shape, const ConvWeights& weights);
std::unique_ptr<Conv> make_depthwise(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights,
                                     int threads, std::string* reason);

}  // namespace octet::kernels
