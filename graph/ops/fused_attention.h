// How the heads of an octet.Attention lie in its operands.
//
// An operand of rank 4 is dense [batch, heads, sequence, size]. One of rank 3 is [batch, sequence, width], the heads side by
// side in the width, as a product leaves them: head h of a row starts at `first + h * step`. So queries, keys and values may
// be parts of one value, and nothing is transposed.
//
//   width   | q0 q1 q2 | k0 k1 k2 | v0 v1 v2 |      k_heads = {3 * size, size}
#pragma once

#include <array>
#include <span>
#include <string>

#include "graph/op_def.h"
#include "octet/types.h"

namespace octet::graph::ops {

// Element (batch, head, row, i) at offset + batch * b + head * h + row * r + i, in elements.
struct HeadStrides {
  int64_t offset = 0, batch = 0, head = 0, row = 0;
  int64_t at(int64_t b, int64_t h, int64_t r) const { return offset + b * batch + h * head + r * row; }
};

struct AttentionGeometry {
  int64_t batch = 0, heads = 0, kv_heads = 0, queries = 0, keys = 0, size = 0, value_size = 0;
  HeadStrides q, k, v, y;
  // Of the mask, 0 where it is broadcast; sample b takes mask b % mask_batches.
  int64_t mask_batches = 1;
  std::array<int64_t, 4> mask{};
  int64_t mask_offset(int64_t b, int64_t h, int64_t i) const {
    return b % mask_batches * mask[0] + h * mask[1] + i * mask[2];
  }
};

std::span<const OpDef> fused_attention_ops();

// For operands of known shape that inference has accepted; `mask` is null when there is none.
AttentionGeometry attention_geometry(const Node& node, const Shape& q, const Shape& k, const Shape& v, const Shape* mask);

}  // namespace octet::graph::ops
