// Operators that octet will not run, and why: what ONNX has besides inference on tensors of numbers.
#pragma once

#include <string_view>

namespace octet::onnx {

// "is for training, which octet does not do", fit to follow "node 'x' (Op): "; empty for an operator that is merely not
// known.
std::string_view out_of_scope(std::string_view op);

}  // namespace octet::onnx
