// One function a family: the definitions that its file holds. list.cpp strings them together.
#pragma once

#include <span>

#include "graph/op_def.h"

namespace octet::graph::ops {

std::span<const OpDef> activation_ops();
std::span<const OpDef> elementwise_unary_ops();
std::span<const OpDef> elementwise_binary_ops();
std::span<const OpDef> logic_ops();
std::span<const OpDef> conv_ops();
std::span<const OpDef> conv_transpose_ops();
std::span<const OpDef> pool_ops();
std::span<const OpDef> norm_ops();
std::span<const OpDef> matmul_ops();
std::span<const OpDef> einsum_ops();
std::span<const OpDef> reduce_ops();
std::span<const OpDef> softmax_ops();
std::span<const OpDef> order_ops();
std::span<const OpDef> shape_ops();
std::span<const OpDef> slice_ops();
std::span<const OpDef> gather_ops();
std::span<const OpDef> resize_ops();
std::span<const OpDef> cast_ops();
std::span<const OpDef> select_ops();
std::span<const OpDef> quantize_ops();
std::span<const OpDef> qlinear_ops();
std::span<const OpDef> microsoft_ops();
std::span<const OpDef> control_ops();
std::span<const OpDef> sequence_ops();
std::span<const OpDef> recurrent_ops();
std::span<const OpDef> microsoft_matmul_ops();
std::span<const OpDef> weight_only_ops();
std::span<const OpDef> fused_ops();
std::span<const OpDef> signal_ops();
std::span<const OpDef> detection_ops();
std::span<const OpDef> sample_ops();
std::span<const OpDef> unpool_ops();
std::span<const OpDef> attention_ops();
std::span<const OpDef> decoder_ops();
std::span<const OpDef> unique_ops();
std::span<const OpDef> text_ops();
std::span<const OpDef> random_ops();

}  // namespace octet::graph::ops
