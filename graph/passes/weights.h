// The weights of a product, as passes edit them: a constant, or integers behind a DequantizeLinear.
//
//   w : float32[64,3,7,7]                        Weights{values float32}
//   DQ(w : int8[64,3,7,7], scale[64], zp)        Weights{values int8, params}
//
// Integers stay integers: reshaping and transposing move them and the axis of their scales; a factor per output channel is
// only for float weights.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

struct Weights {
  Tensor values;
  std::optional<QuantParams> params;
  std::string name;
};

// Constants of float32, or int8/uint8/int32 behind a DQ of constant parameters.
std::optional<Weights> read_weights(const Value* value);
// The value that stands for them; a DQ goes in front of `before`.
Value* write_weights(Graph& graph, const Weights& weights, Node* before);

// 8-bit integer weights as a typed s8 constant: u8 ones less 128, zero points too, which changes no difference.
Value* signed_weights(Graph& graph, const Weights& weights);

Weights transposed(const Weights& weights);             // rank 2
Weights reshaped(const Weights& weights, Shape shape);  // per tensor, or the axis of the scales stays in its place

// y = x * factor[n] + shift[n] over the output channels of an octet.Conv, octet.Gemm or ConvTranspose `product`, put into
// its weights and bias. Empty factor: all ones. False, with a reason in `why`, when the weights or bias are not float32
// constants (a shift alone needs only the bias).
bool apply_affine(Graph& graph, Node* product, const std::vector<float>& factor, const std::vector<float>& shift,
                  std::string& why);

// The axis and number of output channels of such a product's output; -1 channels when it is none.
struct OutputChannels {
  int axis = 1;
  int64_t count = -1;
};
OutputChannels output_channels(const Node& product);

}  // namespace octet::graph
