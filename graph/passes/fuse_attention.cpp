// Attention becomes one node, on quantized operands or on floats.
//
//   MatMul(Softmax(MatMul(DQ(q), DQ(k)ᵀ) · c + mask), DQ(v)) [→ Q] [→ Transpose → Reshape]
//     → octet.Attention(q, k, v, mask)                              q, k, v where products left them (heads_view.h)
//
// Scales and zero points that are known at run time, by DynamicQuantizeLinear, become operands of the node.
//
// The forms are those of attention_pattern.h. Masks become one that is added; Where becomes a choice between 0 and the low
// number. Scores and probabilities that the model quantizes itself stay as they are: their roundings are the model's.
// Declined: operands of which only some are quantized, float keys and values that come from a cache, of attention that is
// spelled out (their decoders have ways of their own), and what match_attention gives a reason for.
#include <algorithm>

#include "graph/passes/attention_pattern.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

// An operand that already lies quantized per tensor, with its parameters in its type.
bool is_quantum(const HeadsView& view) {
  const QuantParams* quant = view.source->quant();
  return view.quantized && !view.scale && view.source->dtype() == DType::u8 && quant && quant->per_tensor();
}

bool is_quantum_at_run(const HeadsView& view) { return view.scale && view.source->dtype() == DType::u8; }

bool is_real(const HeadsView& view) { return !view.quantized && view.source->dtype() == DType::f32; }

// Why it is not fused; empty when it is.
std::string unfit(const AttentionPattern& p) {
  const auto all = [&](bool (*is)(const HeadsView&)) { return is(p.q) && is(p.k) && is(p.v); };
  if (all(is_quantum) || all(is_quantum_at_run)) return {};
  if (!all(is_real)) return "not all of queries, keys and values are quantized in the same way";
  const bool spelled_out = p.last->op_name() == "MatMul";  // what has products of its own to fall back on
  if (spelled_out && (comes_from_outside(p.k.source) || comes_from_outside(p.v.source)))
    return "its keys and values come from outside, as a cache does";
  return {};
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
      own = insert_node(graph, "Where", {m.value, m.hides_true ? low : zero(graph), m.hides_true ? zero(graph) : low},
                        name + "/mask", p.last);
    }
    sum = sum ? insert_node(graph, "Add", {sum, own}, name + "/masks", p.last) : own;
  }
  return sum;
}

void set_heads(Node* node, const char* attribute, const HeadsView& view) {
  if (view.by_width) node->set_attr(attribute, std::vector<int64_t>{view.first, view.step});
}

void set_parameters(Graph& graph, Node* node, const std::vector<Value*>& parameters) {
  constexpr size_t kFirst = 4;
  for (size_t i = 0; i < parameters.size(); ++i) graph.set_input(node, kFirst + i, parameters[i]);
}

// Whether whatever is made of `value` ends in `end`, as the sizes of a Reshape do; within `budget` steps.
bool feeds_only(const Graph& graph, const Value* value, const Node* end, int& budget) {
  if (--budget < 0 || graph.is_output(value)) return false;
  return std::all_of(value->uses().begin(), value->uses().end(), [&](const Use& u) {
    return u.node == end || std::all_of(u.node->outputs().begin(), u.node->outputs().end(),
                                        [&](const Value* v) { return feeds_only(graph, v, end, budget); });
  });
}

// Whether the Reshape reads its sizes from elsewhere than from an axis of `rank` or beyond.
bool sizes_are_early(const Node& reshape, size_t rank) {
  if (!reshape.input(1)->is_constant() || reshape.attr("allowzero", int64_t{0}) != 0) return false;
  const std::vector<int64_t> shape = reshape.input(1)->constant().to_s64();
  return shape.size() <= rank ||
         std::all_of(shape.begin() + static_cast<int64_t>(rank), shape.end(), [](int64_t d) { return d != 0; });
}

// y, [batch, heads, sequence, size], is wanted only with the heads side by side: then the value that has them so, merged
// already or about to be.
Value* merged_heads(const Graph& graph, Value* y) {
  Node* transpose = sole_consumer(graph, y);
  if (!transpose || transpose->op_name() != "Transpose" || transpose->ints("perm") != std::vector<int64_t>{0, 2, 1, 3})
    return nullptr;
  Value* rows = transpose->output();
  const auto is_reshape = [&](const Use& u) { return u.node->op_name() == "Reshape" && u.index == 0; };
  const auto found = std::find_if(rows->uses().begin(), rows->uses().end(), is_reshape);
  if (found == rows->uses().end() || !rows->type().ranked()) return nullptr;
  Value* merged = found->node->output();
  const std::vector<Dim>& dims = *rows->type().dims;
  int budget = 32;
  const bool sizes_known = dims[2].known() && dims[3].known();
  if (sizes_known && merged->type().dims == std::vector<Dim>{dims[0], dims[1], Dim(dims[2].value * dims[3].value)} &&
      feeds_only(graph, rows, found->node, budget))
    return merged;
  return graph.single_use(rows) && sizes_are_early(*found->node, 2) ? rows : nullptr;
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
  if (p.q.scale) set_parameters(graph, node, {p.q.scale, p.q.zero_point, p.k.scale, p.v.scale, p.v.zero_point});
  Value* y = p.last->output();
  Type type{DType::f32, std::nullopt, nullptr};
  if (Node* next = is_quantum(p.q) ? sole_consumer(graph, y) : nullptr; next && as_u8_quantize(next)) {
    y = next->output();
    type = Type{DType::u8, std::nullopt,
                y->type().quant ? y->type().quant : std::make_shared<const QuantParams>(as_u8_quantize(next)->params)};
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
    if (std::string declined = unfit(*pattern); !declined.empty()) {
      node->why = "no fused attention: " + declined;
      return false;
    }
    fuse(graph, *pattern);
    return true;
  };
  const int changes = rewrite_each(graph, fuse_at);
  if (changes > 0) fold_constants(graph);
  return changes;
}

}  // namespace octet::graph
