// Choosing a blocking by timing, when a plan is made.
//
// The cost model of blocking.h is right within some ten percent, which is as much as the better blockings differ. So the few
// it likes best are run on scratch memory of the problem's own layouts, and the fastest is taken, by the factor of
// network_factor: alone, a product finds its weights in the second-level cache (3x3 over 256 channels at 14x14: all panels
// in a chunk 47.7 us alone and 60 in ResNet-50, four 49.1 and 54.5). Choices are kept for the process by everything they
// depend on: a network has a few dozen problems, each repeated. Results do not depend on the choice, only time does.
#pragma once

#include <functional>
#include <memory>

#include "kernels/amx/blocking.h"
#include "kernels/conv.h"

namespace octet::kernels::amx {

// Makes the convolution with a given blocking.
using MakeBlocked = std::function<std::unique_ptr<Conv>(const Blocking&)>;

// The fastest of the candidates; problems too small to time take the model's first. `touching`: the form of
// the weights needs pixels that touch (pack.h).
Blocking tuned_blocking(const ConvProblem& problem, const BlockingProblem& cut, bool touching, const MakeBlocked& make);

}  // namespace octet::kernels::amx
