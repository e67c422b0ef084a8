// What a recurrent layer's attributes say, for its scalar form and for its lowering.
#pragma once

#include <string>
#include <vector>

#include "graph/ir.h"

namespace octet::graph::ops {

struct RecurrentActivation {
  std::string kind;  // "Sigmoid", spelled as ONNX does
  float alpha = 0, beta = 0;
};

// One an activation, direction by direction: f for RNN; f, g for GRU; f, g, h for LSTM. Throws Error invalid_model naming
// the node.
std::vector<RecurrentActivation> recurrent_activations(const Node& node);

}  // namespace octet::graph::ops
