// Products of the dynamic dialect whose quantization is foreseen.
//
// A product with a clamp, as ReLU6 makes it, is followed by a DynamicQuantizeLinear that nothing else shares it with. Where
// some value of it reaches either bound, as in all such layers of MobileNetV2, scale and zero point are those of the bounds,
// known before a single value is: the product stores 8 bits at once, quantized by them, and keeps the range on the way.
// Where the range turns out to be less (the bits would be others), product and quantization are done as they are written,
// through float32; the same product then waits for some runs before it tries again, so that inputs which never reach the
// bounds lose next to nothing.
//
//   at its bounds    u8 = quantize(clamp(product)), range          unless it waits; a clamp from 0 on is done by saturation, so
//                                                                  long as x_scale keeps values below 2^30 quanta
//   in float32       f32 = clamp(product), range                   unless the range is that of the bounds
//   quantize         u8 = quantize(f32); scale, zero point         (those of the bounds, and nothing else to do)
//
// The steps run where the quantization stands; the product's inputs live until then (placement.cpp).
#pragma once

#include "engine/lower/lower.h"

namespace octet {

// The DynamicQuantizeLinear to be done with this product; null when there is none, or it is not foreseen.
const graph::Node* foreseen_quantization(const graph::Graph& graph, const graph::Node& product);
// The product to be done with this DynamicQuantizeLinear.
const graph::Node* foreseen_product(const graph::Graph& graph, const graph::Node& quantize);

void lower_foreseen(Lowering& lowering, const graph::Node& product, const graph::Node& quantize);

// Whether the run at hand tries the bounds, and what it found for the next ones: 0 tries, n > 0 waits for n runs.
inline constexpr int32_t kRunsToWait = 15;
constexpr bool tries_bounds(int32_t state) { return state <= 0 || state > kRunsToWait; }
constexpr int32_t next_state(int32_t state, bool reached) {
  return reached ? 0 : tries_bounds(state) ? kRunsToWait : state - 1;
}

}  // namespace octet
