// The families of lowerings, each defined in the file of its name; lower.cpp puts them in one list.
#pragma once

#include <span>

#include "engine/lower/lower.h"

namespace octet {

std::span<const LowerDef> product_lowerings();
std::span<const LowerDef> conv_transpose_lowerings();
std::span<const LowerDef> pool_lowerings();
std::span<const LowerDef> elementwise_lowerings();
std::span<const LowerDef> quantize_lowerings();
// The quantization of a DynamicQuantizeLinear by the range that was found.
Lowering::Run dynamic_quantization(const Lowering& lowering, const graph::Node& node);
std::span<const LowerDef> move_lowerings();
std::span<const LowerDef> recurrent_lowerings();
std::span<const LowerDef> resize_lowerings();
std::span<const LowerDef> matmul_lowerings();
std::span<const LowerDef> integer_matmul_lowerings();
std::span<const LowerDef> weight_only_lowerings();
std::span<const LowerDef> scatter_lowerings();
std::span<const LowerDef> norm_lowerings();
std::span<const LowerDef> attention_lowerings();

}  // namespace octet
