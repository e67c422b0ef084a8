// The product family's Conv: packed panels bound to one shape, its layouts and its epilogue.
#pragma once

#include <memory>
#include <string>

#include "kernels/conv.h"

namespace octet::kernels {

std::unique_ptr<Conv> make_product_conv(const Isa& isa, const ConvProblem& problem,
                                        std::shared_ptr<const PackedWeights> weights, int threads, std::string* reason);

}  // namespace octet::kernels
