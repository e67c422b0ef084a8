// Transparent operators (QuantRole::transparent) move elements and compute nothing, so that dequantizing before or after
// them is the same, and so is quantizing (a maximum counts: both are monotone).
//
//   T(DQ(q)) = DQ(T(q))        Q(T(x)) = T(Q(x))
//
// Which inputs are data: the first, all of a variadic one, and one called `constant_value`, which is a scalar that has to
// change its meaning along with them.
#pragma once

#include <optional>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

// The operator is transparent, for this node's attributes too.
bool is_transparent(const Node& node);
// It forms values between those of its input, on the same grid: a linear Resize.
bool interpolates(const Node& node);
std::vector<size_t> data_inputs(const Node& node);  // without the scalar
int scalar_input(const Node& node);                 // -1: it has none
// Outputs that hold the data (not the indices of MaxPool).
std::vector<Value*> data_outputs(const Node& node);

// The quantum for a scalar input (absent: 0.0) under these parameters, and the scalar for a quantum (absent: 0).
std::optional<int32_t> scalar_as_quantum(const Node& node, const QuantParams& params, DType dtype);
std::optional<float> quantum_as_scalar(const Node& node, const QuantParams& params);

}  // namespace octet::graph
