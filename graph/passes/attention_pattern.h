// Attention as exporters spell it, found at its last product. Read by the pass that fuses it and by the quantizer, which
// then asks for quantized operands.
//
//   q ─[· c]─ MatMul ─[· c]─[+ mask, Where]─ Softmax ─ MatMul ─
//   k ──Transpose─┘                             v ────────┘          and ONNX's Attention
//
// The scale stands at the scores, at an operand, or at both. Masks are added, or put a very low number in place of scores;
// between two Reshapes also one for each of several windows (Swin).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/passes/heads_view.h"

namespace octet::graph {

struct AttentionMask {
  Value* value = nullptr;  // added; or, with `hidden`, boolean
  std::optional<float> hidden;
  bool hides_true = false;  // where `value` is true (else: false) the score becomes `hidden`
};

struct AttentionPattern {
  Node *first = nullptr, *last = nullptr;  // the products; first is null for ONNX's Attention
  HeadsView q, k, v;
  int64_t heads = 0, kv_heads = 0;
  float scale = 1;
  bool causal = false, packed = false;  // packed: the result is [batch, sequence, heads * size]
  std::vector<AttentionMask> masks;     // each of rank 4 at most
  std::vector<const Node*> inside;      // computed together with it: what stands between the products
};

// Nothing when `node` ends no attention; with a reason in `why` when it looks like one and is none that fuses.
std::optional<AttentionPattern> match_attention(const Graph& graph, Node* node, std::string& why);

// Whether a value is an input or a constant, or made of some by operators that only move elements.
bool comes_from_outside(const Value* value);

}  // namespace octet::graph
