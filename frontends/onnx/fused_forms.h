// The fused operators of ONNX Runtime that import brings to the standard operators they stand for.
#pragma once

#include <string_view>
#include <vector>

namespace octet::onnx {

// Their names, in order: "SimplifiedLayerNormalization", "com.microsoft.BiasGelu", ...
std::vector<std::string_view> fused_forms();

}  // namespace octet::onnx
