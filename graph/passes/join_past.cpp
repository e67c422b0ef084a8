// ONNX's Attention with a cache becomes the cache, joined, and Attention without one, which has a kernel.
//
//   Attention(q, k, v, mask, past_key, past_value)  →  Attention(q, Concat(past_key, k), Concat(past_value, v), mask)
//   present_key, present_value                      →  the Concats
//
// Operands of rank 3 are split into heads first, and the result joined. The query at i may see the keys up to past + i when
// it is causal: all of them for a single query, otherwise what a constant mask says. Declined: windows, scores as an output,
// causal masks of lengths that are not known or beside another mask.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

enum Input : size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kNonpad };

std::string unfit(const Graph& graph, const Node& node) {
  for (const size_t i : {kQ, kK, kV, kPastKey, kPastValue})
    if (!node.input(i) || node.input(i)->dtype() != DType::f32 || !node.input(i)->type().ranked())
      return "no fused attention: its operands are not float32 of known rank";
  if (node.input(kNonpad)) return "no fused attention: its keys end where padding begins";
  if (node.outputs().size() > 3 && (!node.output(3)->uses().empty() || graph.is_output(node.output(3))))
    return "no fused attention: its scores are wanted";
  if (node.attr("left_window_size", int64_t{-1}) >= 0 || node.attr("right_window_size", int64_t{-1}) >= 0)
    return "no fused attention: it looks through a window";
  if (node.attr("is_causal", int64_t{0}) == 0) return {};
  const int at = node.input(kQ)->type().rank() == 3 ? 1 : 2;
  const int64_t queries = known_dim(node.input(kQ), at);
  if (queries < 0 || queries != known_dim(node.input(kK), at))
    return "no fused attention: it is causal over lengths that differ or are not known";
  if (queries > 1 && (node.input(kMask) || known_dim(node.input(kPastKey), 2) < 0))
    return "no fused attention: it is causal beside another mask or behind a past of unknown length";
  return {};
}

// [batch, sequence, heads * size] as [batch, heads, sequence, size].
Value* split_heads(Graph& graph, Value* x, int64_t heads, Node* before) {
  if (x->type().rank() == 4) return x;
  Value* shape = graph.add_constant(Tensor::of_s64({0, 0, heads, -1}));
  Value* apart = insert_node(graph, "Reshape", {x, shape}, x->name() + "/heads", before);
  Node* turn = graph.add_node("Transpose", {apart}, 1, x->name() + "/turned", before);
  turn->set_attr("perm", std::vector<int64_t>{0, 2, 1, 3});
  infer_types(graph, *turn);
  return turn->output();
}

Value* join_heads(Graph& graph, Value* y, Node* before) {
  Node* turn = graph.add_node("Transpose", {y}, 1, y->name() + "/turned", before);
  turn->set_attr("perm", std::vector<int64_t>{0, 2, 1, 3});
  infer_types(graph, *turn);
  Value* shape = graph.add_constant(Tensor::of_s64({0, 0, -1}));
  return insert_node(graph, "Reshape", {turn->output(), shape}, y->name() + "/joined", before);
}

Value* concat(Graph& graph, Value* past, Value* now, Node* before) {
  Node* node = graph.add_node("Concat", {past, now}, 1, now->name() + "/present", before);
  node->set_attr("axis", int64_t{2});
  infer_types(graph, *node);
  return node->output();
}

// Which keys each query may see.
Value* causal_mask(Graph& graph, int64_t queries, int64_t past) {
  Tensor mask(DType::boolean, {queries, past + queries});
  auto* sees = mask.mutable_as<uint8_t>();
  for (int64_t i = 0; i < queries; ++i)
    for (int64_t j = 0; j < past + queries; ++j) *sees++ = j <= past + i;
  return graph.add_constant(mask);
}

void join(Graph& graph, Node* node) {
  const bool packed = node->input(kQ)->type().rank() == 3;
  const int64_t kv_heads = node->attr("kv_num_heads", int64_t{0});
  Value* q = split_heads(graph, node->input(kQ), node->attr("q_num_heads", int64_t{0}), node);
  Value* k = concat(graph, node->input(kPastKey), split_heads(graph, node->input(kK), kv_heads, node), node);
  Value* v = concat(graph, node->input(kPastValue), split_heads(graph, node->input(kV), kv_heads, node), node);
  Value* mask = node->input(kMask);
  const int64_t queries = known_dim(q, 2);
  if (node->attr("is_causal", int64_t{0}) != 0 && queries > 1)
    mask = causal_mask(graph, queries, known_dim(node->input(kPastKey), 2));
  Node* plain = graph.add_node("Attention", {q, k, v, mask}, 1, node->name(), node);
  for (const char* key : {"scale", "softcap", "softmax_precision"})
    if (const Attribute* a = node->find_attr(key)) plain->set_attr(key, *a);
  infer_types(graph, *plain);
  Value* y = packed ? join_heads(graph, plain->output(), node) : plain->output();
  const std::vector<Value*> made{y, k, v};
  for (size_t i = 0; i < node->outputs().size() && i < made.size(); ++i) {
    Value* old = node->output(i);
    const std::string name = old->name();
    graph.replace_uses(old, made[i]);
    graph.rename(old, name + "/folded");
    graph.rename(made[i], name);
  }
  erase_dead(graph, node);
}

}  // namespace

int join_past(Graph& graph) {
  return rewrite_or_say_why(graph, [&](Node* node) -> std::optional<std::string> {
    if (node->op_name() != "Attention" || !node->input(kPastKey)) return std::nullopt;
    std::string why = unfit(graph, *node);
    if (why.empty()) join(graph, node);
    return why;
  });
}

}  // namespace octet::graph
