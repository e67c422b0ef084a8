// Integer products on AMX tiles: the family's door, called by pack_weights and make_conv when the ISA's DotKind is tile.
#pragma once

#include <memory>
#include <string>

#include "kernels/conv.h"

namespace octet::kernels {

// Null when the family leaves this convolution to the vector product kernels.
std::shared_ptr<const PackedWeights> pack_amx(const Isa& isa, const ConvShape& shape, const ConvWeights& weights);
std::unique_ptr<Conv> make_amx_conv(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights,
                                    int threads, std::string* reason);
// Cut in the way that the cost model names at place `candidate` instead of the fastest; null where it names fewer.
std::unique_ptr<Conv> make_amx_candidate(const Isa& isa, const ConvProblem& problem,
                                         std::shared_ptr<const PackedWeights> weights, size_t candidate);

}  // namespace octet::kernels
