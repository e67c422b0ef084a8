// Attention on quantized operands becomes one node.
//
//   MatMul(Softmax(MatMul(DQ(q), DQ(k)ᵀ) · c + mask), DQ(v)) [→ Q] [→ Transpose → Reshape]
//     → octet.Attention(q, k, v, mask)                              q, k, v where products left them (heads_view.h)
//
// The forms are those of attention_pattern.h. Masks become one that is added; Where becomes a choice between 0 and the low number.
// Scores and probabilities that the model quantizes itself stay as they are: their roundings are the model's.
// Declined: operands in float (the products on floats are as fast spelled out), and what match_attention gives a reason for.
#include <algorithm>

#include "graph/passes/attention_pattern.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

// An operand that already lies quantized per tensor, with its parameters in its type.
bool is_quantum(const HeadsView& view) {
  const QuantParams* quant = view.source->quant();
  return view.quantized && view.source->dtype() == DType::u8 && quant && quant->per_tensor();
}

Value* zero(Graph& graph) { return graph.add_constant(Tensor::scalar(0.0f)); }

// The masks as one float32 value; null when there are none.
Value* joined_mask(Graph& graph, const AttentionPattern& p) {
  Value* sum = nullptr;
  const std::string& name = p.last->name();
  for (const AttentionMask& m : p.masks) {
    Value* own = m.value;
    if (m.hidden) {
      Value* low = graph.add_constant(Tensor::scalar(*m.hidden));
      own = insert_node(graph, "Where", {m.value, m.hides_true ? low : zero(graph), m.hides_true ? zero(graph) : low}, name + "/mask", p.last);
    }
    sum = sum ? insert_node(graph, "Add", {sum, own}, name + "/masks", p.last) : own;
  }
  return sum;
}

void set_heads(Node* node, const char* attribute, const HeadsView& view) {
  if (view.by_width) node->set_attr(attribute, std::vector<int64_t>{view.first, view.step});
}

// y, [batch, heads, sequence, size], is wanted only with the heads side by side: then the value that has them so.
Value* merged_heads(const Graph& graph, Value* y) {
  Node* transpose = sole_consumer(graph, y);
  if (!transpose || transpose->op_name() != "Transpose" || transpose->ints("perm") != std::vector<int64_t>{0, 2, 1, 3}) return nullptr;
  Node* reshape = sole_consumer(graph, transpose->output());
  if (!reshape || reshape->op_name() != "Reshape" || !reshape->input(1)->is_constant() || reshape->attr("allowzero", int64_t{0}) != 0)
    return nullptr;
  const std::vector<int64_t> shape = reshape->input(1)->constant().to_s64();
  for (size_t i = 2; i < shape.size(); ++i)
    if (shape[i] == 0) return nullptr;  // as long as an axis of the four
  return transpose->output();
}

void fuse(Graph& graph, const AttentionPattern& p) {
  Node* node = graph.add_node("octet.Attention", {p.q.source, p.k.source, p.v.source}, 1, p.last->name(), p.last);
  if (Value* mask = joined_mask(graph, p)) {
    graph.move_before(node, p.last);
    graph.set_input(node, 3, mask);
  }
  node->set_attr("heads", p.heads);
  node->set_attr("kv_heads", p.kv_heads);
  node->set_attr("size", p.q.size);
  node->set_attr("value_size", p.v.size);
  node->set_attr("scale", p.scale);
  if (p.causal) node->set_attr("causal", int64_t{1});
  set_heads(node, "q_heads", p.q);
  set_heads(node, "k_heads", p.k);
  set_heads(node, "v_heads", p.v);
  Value* y = p.last->output();
  Type type{DType::f32, std::nullopt, nullptr};
  if (Node* next = sole_consumer(graph, y); next && as_u8_quantize(next)) {
    y = next->output();
    type = Type{DType::u8, std::nullopt, y->type().quant ? y->type().quant : std::make_shared<const QuantParams>(as_u8_quantize(next)->params)};
  }
  bool packed = p.packed;
  Value* target = y;
  if (Value* merged = packed ? nullptr : merged_heads(graph, y)) {
    target = merged;
    packed = true;
  }
  if (packed) node->set_attr("packed", int64_t{1});
  node->output()->set_type(type);
  infer_types(graph, *node);
  substitute(graph, target, node->output());
}

}  // namespace

int fuse_attention(Graph& graph) {
  const auto fuse_at = [&](Node* node) {
    std::string why;
    const std::optional<AttentionPattern> pattern = match_attention(graph, node, why);
    if (!pattern) {
      if (!why.empty()) node->why = "no fused attention: " + why;
      return false;
    }
    if (!is_quantum(pattern->q) || !is_quantum(pattern->k) || !is_quantum(pattern->v)) {
      node->why = "no fused attention: not all of queries, keys and values are quantized";
      return false;
    }
    fuse(graph, *pattern);
    return true;
  };
  // A rewrite erases nodes behind the one it was found at, so the walk starts over.
  int changes = 0;
  const auto fuse_one = [&] {
    const std::vector<Node*> nodes = graph.node_list();
    return std::any_of(nodes.begin(), nodes.end(), fuse_at);
  };
  while (fuse_one()) ++changes;
  if (changes > 0) fold_constants(graph);
  return changes;
}

}  // namespace octet::graph
