// Depthwise convolution: every output channel reads one input channel (groups == ic, any multiplier).
//
// There is nothing to multiply as a matrix here, so it has a kernel family of its own: vectors run across channels, reuse
// across the plane (kernels/depthwise/schedule.h), and the epilogue is the one of every product. Three forms, chosen at
// packing:
//
//   f32    one FMA a tap, in (kernel row, kernel column) order
//   int16  two taps an instruction (vpmaddwd). Exact for every u8 x and every weight, since w - zero_point fits 16 bits and
//          two products fit 32: u8 weights need no second form, s8 weights of -128 no exception
//   int8   four taps an instruction (vpdpbusd), where the ISA has it and every w - zero_point fits s8; with 64-byte vectors
//   and
//          one output channel an input channel, two planes of s8 do for weights up to 254
//
// Packed weights do not depend on image sizes, but the way taps are paired depends on the strides: the shape given to
// pack_depthwise must have those of the problem.
#pragma once

#include <memory>
#include <string>

#include "kernels/conv.h"

namespace octet::kernels {

std::shared_ptr<const PackedWeights> pack_depthwise(const Isa& isa, const ConvShape& shape, const ConvWeights& weights);
std::unique_ptr<Conv> make_depthwise(const Isa& isa, const ConvProblem& problem,
                                     std::shared_ptr<const PackedWeights> weights, int threads, std::string* reason);

}  // namespace octet::kernels
