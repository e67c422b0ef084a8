// Where the heads of an attention's operand lie: the operand followed back to the value that holds them as a product left
// it.
//
//   [N,S,W] ─ Reshape ─ [N,S,3,H,d] ─ Transpose ─ [3,N,H,S,d] ─ Gather 1 ─ [N,H,S,d] ─ Transpose ─ [N,H,d,S]
//      ▲                                                                                              operand
//      └ source: head h of a row begins at first + h * step = H * d + h * d
//
// What only names elements anew is followed: Reshape, Transpose, Slice, Split, Gather of one index, Squeeze, Unsqueeze,
// Expand (which repeats heads), DequantizeLinear, and factors: products and quotients by a scalar. Sizes that are not known
// are followed as long as nothing splits or joins them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

struct DequantizeAtRun {
  Node* node;
  Value *source, *scale, *zero_point;
};
// `value` as the float32 output of a DQ, per tensor, of u8 whose scale and zero point are known at run time.
std::optional<DequantizeAtRun> as_dequantize_at_run(const Value* value);

struct HeadsView {
  Value* source = nullptr;  // [batch, sequence, width], or [batch, heads, sequence, size] as it stands
  bool by_width = false;    // the former
  int64_t first = 0, step = 0;
  int64_t heads = 0, repeat = 1;  // of the source; each serves `repeat` in a row
  int64_t size = 0;
  float factor = 1;
  std::vector<const Node*> factors;               // the nodes that it is the product of
  bool quantized = false;                         // the source is u8, dequantized on the way
  Value *scale = nullptr, *zero_point = nullptr;  // by these, where they are known at run time
  std::vector<Node*> way;                         // from the source to the operand
};

enum class HeadsOrder : uint8_t {
  rows,     // the operand is [batch, heads, sequence, size]
  columns,  // [batch, heads, size, sequence]
  packed,   // [batch, sequence, heads * size]
};

// The view from the farthest source that has such a form; `heads` is needed for a packed operand only. Nothing, with the
// reason, when not even the operand itself has one.
std::optional<HeadsView> view_heads(Value* operand, HeadsOrder order, int64_t heads, std::string& why);

}  // namespace octet::graph
