// The product families on `Isa reference`: the weights as given, run by conv_reference.
#pragma once

#include <memory>
#include <string>

#include "kernels/conv.h"

namespace octet::kernels {

std::shared_ptr<const PackedWeights> pack_reference(const Isa& isa, const ConvShape& shape, const ConvWeights& weights);
// Not threaded: part 0 computes everything.
std::unique_ptr<Conv> make_reference_conv(const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights);

}  // namespace octet::kernels
