// Which images lie channels-last, and where they are turned.
//
//   x (plain) ─ Conv ─ Relu ─ Add ─ Flatten        x ─ Reorder ═ Conv ═ Relu ═ Add ═ Reorder ─ Flatten       ═ channels-last
//
// One walk in order. An operator that gains from channels-last (LayoutRole) and whose kernel the engine has takes all its
// images so; one that does not care follows its operands: channels-last when at least half of its images lie so, or when one
// does and a consumer wants it; everything else is plain. An element-wise operator can follow only if its constants
// broadcast per channel or are scalars, a Concat only along the channels, other moves (Slice, Split, Pad) only where the
// engine says so. Where a value lies otherwise than its consumer wants, one octet.Reorder per value and direction is shared
// by all of them, and turning back gives the value before the turn. Interface values are plain.
//
// A QuantizeLinear that only one operator on images reads may turn, where the engine says so: plain → QuantizeLinear ═.
//
// A Transpose between the model's N, H, W, C and our N, C, H, W moves no byte when the side in our order lies channels-last,
// and stands so if the engine says it can: plain → Transpose(0,3,1,2) ═ and ═ Transpose(0,2,3,1) → plain.
//
// An image is a value of rank 4 that is no constant. Weights are constants: how they lie is the packer's business.
#include <map>

#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace octet::graph {

namespace {

bool is_image(const Value* v) { return v && !v->is_constant() && is_rank(v, 4); }

// A constant operand that means the same in both layouts: one element, or one per channel.
bool broadcasts_per_channel(const Value* constant) {
  const Tensor& t = constant->constant();
  if (t.size() == 1) return true;
  const Shape& s = t.shape();
  const size_t rank = s.size();
  return (rank == 3 || rank == 4) && s[rank - 1] == 1 && s[rank - 2] == 1 && (rank == 3 || s[0] == 1);
}

struct Layouts {
  Graph& graph;
  const std::function<bool(const Node&)>& wants;
  std::map<std::pair<const Value*, Layout>, Value*> turned;

  Value* get(Value* v, Layout layout, Node* before) {
    if (v->layout == layout) return v;
    Value*& found = turned[{v, layout}];
    if (found) return found;
    if (layout == Layout::channels_last && quantizes_and_turns(v)) {
      v->layout = layout;
      return v;
    }
    Node* reorder = graph.add_node("octet.Reorder", {v}, 1, v->name() + "/reorder", before);
    Value* y = reorder->output();
    y->set_type(v->type());
    y->layout = layout;
    if (v->dtype() == DType::f32)
      reorder->why = std::string("it lays a float32 image ") + (layout == Layout::plain ? "out in rows" : "channels-last") +
                     ", as its consumer wants it";
    infer_types(graph, *reorder);
    turned[{y, v->layout}] = v;
    return turned[{v, layout}] = y;
  }

  bool quantizes_and_turns(const Value* v) const {
    const Node* node = v->producer();
    return node && node->op().quant == QuantRole::quantize && is_image(node->input(0)) &&
           node->input(0)->layout == Layout::plain && graph.single_use(v) && gains(*v->uses()[0].node) && wants(*node);
  }

  bool gains(const Node& node) const { return node.op().layout == LayoutRole::channels_last && wants(node); }

  bool wanted_by_consumer(const Node& node) const {
    for (const Value* v : node.outputs())
      for (const Use& u : v->uses())
        if (gains(*u.node)) return true;
    return false;
  }

  // An operator of role `any` that may lie channels-last.
  bool can_follow(const Node& node) const {
    if (node.op().layout != LayoutRole::any || !is_image(node.output()) || !node.output()->type().static_shape())
      return false;
    if (node.op().quant == QuantRole::transparent) {
      const int64_t axis = node.attr("axis", int64_t{0});
      return node.op_name() == "Concat" ? axis == 1 || axis == -3 : wants(node);
    }
    for (const Value* v : node.inputs()) {
      if (!v || is_image(v) || (node.op_name() == "octet.Table" && v == node.input(1))) continue;
      if (v->is_constant() && broadcasts_per_channel(v)) continue;
      if (v->type().static_shape() && element_count(v->type().shape()) == 1) continue;
      return false;
    }
    return true;
  }

  bool is_free_transpose(const Node& node, const std::vector<int64_t>& perm) const {
    return node.op_name() == "Transpose" && node.ints("perm") == perm && is_image(node.input(0)) && wants(node);
  }

  Layout choose(const Node& node) const {
    if (gains(node)) return Layout::channels_last;
    if (!can_follow(node)) return Layout::plain;
    int images = 0, last = 0;
    for (const Value* v : node.inputs()) {
      if (!is_image(v)) continue;
      ++images;
      last += v->layout == Layout::channels_last ? 1 : 0;
    }
    if (last == 0) return Layout::plain;
    return 2 * last >= images || wanted_by_consumer(node) ? Layout::channels_last : Layout::plain;
  }
};

}  // namespace

void assign_layouts(Graph& graph, const std::function<bool(const Node&)>& wants_channels_last) {
  Layouts layouts{graph, wants_channels_last, {}};
  for (Node* node : graph.node_list()) {
    if (layouts.is_free_transpose(*node, {0, 2, 3, 1}) && node->input(0)->layout == Layout::channels_last) continue;
    if (layouts.is_free_transpose(*node, {0, 3, 1, 2}) && layouts.wanted_by_consumer(*node) &&
        node->input(0)->layout == Layout::plain) {
      node->output()->layout = Layout::channels_last;
      continue;
    }
    const Layout layout = layouts.choose(*node);
    for (size_t i = 0; i < node->inputs().size(); ++i)
      if (is_image(node->input(i))) graph.set_input(node, i, layouts.get(node->input(i), layout, node));
    for (Value* v : node->outputs()) v->layout = is_image(v) ? layout : Layout::plain;
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i)
    if (graph.outputs()[i]->layout != Layout::plain)
      graph.set_output(i, layouts.get(graph.outputs()[i], Layout::plain, nullptr));
}

}  // namespace octet::graph
