#include "graph/passes/attention_pattern.h"

#include <algorithm>
#include <cmath>

#include "graph/passes/match.h"
#include "graph/passes/transparent.h"

namespace octet::graph {

namespace {

// What swallows every score it is put in place of, so that adding it is the same.
constexpr float kSwallows = -1e30f;

Node* producer(const Value* v, std::string_view op) {
  return v && v->producer() && v->producer()->op_name() == op ? v->producer() : nullptr;
}

bool is_last_axis(const Node& softmax) {
  const int64_t axis = softmax.attr("axis", int64_t{-1});
  const Value* x = softmax.input(0);
  return axis == -1 || (x->type().ranked() && axis == x->type().rank() - 1);
}

class Matcher {
 public:
  Matcher(const Graph& graph, Node* last, std::string& why) : graph_(graph), why_(why) { p_.last = last; }

  std::optional<AttentionPattern> spelled_out() {
    Node* softmax = producer(p_.last->input(0), "Softmax");
    if (!softmax) {
      const Node* dq = p_.last->input(0)->producer();
      const Node* q = dq && as_dequantize(dq->output()) ? dq->input(0)->producer() : nullptr;
      if (q && as_quantize(q) && producer(q->input(0), "Softmax"))
        return no("the model quantizes the probabilities of this attention");
      return std::nullopt;
    }
    if (!is_last_axis(*softmax)) return no("its softmax runs along another axis than the last");
    if (!inner(softmax->output())) return std::nullopt;
    p_.inside.push_back(softmax);
    Node* scores = scores_of(softmax->input(0));
    if (!scores) return std::nullopt;
    p_.first = scores;
    if (!views(scores->input(0), HeadsOrder::rows, scores->input(1), HeadsOrder::columns, p_.last->input(1),
               HeadsOrder::rows, 0, 0))
      return std::nullopt;
    return checked();
  }

  std::optional<AttentionPattern> operator_of_onnx() {
    const Node& node = *p_.last;
    constexpr size_t kMask = 3;
    for (size_t i = kMask + 1; i < node.inputs().size(); ++i)
      if (node.input(i)) return no("it has a past or padding of its own");
    if (node.outputs().size() > 1) return no("more than its result is wanted");
    if (node.attr("left_window_size", int64_t{-1}) >= 0 || node.attr("right_window_size", int64_t{-1}) >= 0)
      return no("it looks through a window");
    if (node.attr("softcap", 0.0f) != 0) return no("it caps its scores");
    const Value* q = node.input(0);
    if (!q->type().ranked()) return no("the rank of its operands is not known");
    p_.packed = q->type().rank() == 3;
    const HeadsOrder order = p_.packed ? HeadsOrder::packed : HeadsOrder::rows;
    const int64_t kv = node.attr("kv_num_heads", int64_t{0});
    if (!views(node.input(0), order, node.input(1), order, node.input(2), order, node.attr("q_num_heads", int64_t{0}), kv))
      return std::nullopt;
    p_.scale *= node.has_attr("scale") ? node.attr("scale", 1.0f) : 1 / std::sqrt(static_cast<float>(p_.q.size));
    p_.causal = node.attr("is_causal", int64_t{0}) != 0;
    const int at = p_.packed ? 1 : 2;
    if (p_.causal && (known_dim(q, at) < 0 || known_dim(q, at) != known_dim(node.input(1), at)))
      return no("it is causal over lengths that differ or are not known");
    if (Value* mask = node.input(kMask)) {
      const int64_t keys = known_dim(node.input(1), at), own = known_dim(mask, -1);
      if (keys < 0 || (own != keys && own != 1)) return no("its mask may be shorter than its keys");
      if (mask->dtype() == DType::boolean)
        p_.masks.push_back({mask, -INFINITY, false});
      else
        p_.masks.push_back({mask, std::nullopt, false});
    }
    return checked();
  }

 private:
  std::nullopt_t no(std::string reason) {
    why_ = std::move(reason);
    return std::nullopt;
  }

  // Wanted by nobody else.
  bool inner(const Value* v) {
    if (graph_.single_use(v)) return true;
    no("'" + v->name() + "' is wanted elsewhere too");
    return false;
  }

  // The product behind x; collects scale and masks on the way. A mask nearer to the softmax than the scale is not scaled.
  Node* scores_of(Value* x) {
    if (!inner(x)) return nullptr;
    Node* node = x->producer();
    if (!node) {
      no("its scores are an input");
      return nullptr;
    }
    const std::string_view op = node->op_name();
    if (op == "MatMul") return node;
    p_.inside.push_back(node);
    if (op == "Where") return where(*node);
    if (op == "Reshape") return windows(*node);
    if (op == "Add") return sum(*node);
    if (op == "Mul" || op == "Div") return scaled(*node);
    no(as_dequantize(x) ? "the model quantizes the scores of this attention" : "its scores go through " + std::string(op));
    return nullptr;
  }

  static bool leads_to_product(const Value* v) {
    for (int steps = 0; steps < 8 && v->producer(); ++steps) {
      const Node& node = *v->producer();
      if (node.op_name() == "MatMul") return true;
      if (node.op_name() == "Where") {
        v = node.input(scalar_constant(node.input(1)) ? 2 : 1);
      } else if (node.op_name() == "Add" || node.op_name() == "Mul") {
        const bool first = leads_to_product(node.input(0));
        if (first || leads_to_product(node.input(1))) return true;
        return false;
      } else if (node.op_name() == "Div" || node.op_name() == "Reshape") {
        v = node.input(0);
      } else {
        return false;
      }
    }
    return false;
  }

  Node* sum(const Node& add) {
    const size_t side = leads_to_product(add.input(0)) ? 0 : 1;
    if (!mask({add.input(1 - side), std::nullopt, false})) return nullptr;
    return scores_of(add.input(side));
  }

  Node* where(const Node& node) {
    for (const size_t side : {size_t{1}, size_t{2}}) {
      const std::optional<float> hidden = scalar_constant(node.input(side));
      if (!hidden) continue;
      if (*hidden > kSwallows) {
        no("its mask puts " + std::to_string(*hidden) + " in place of scores, which is not the same as adding it");
        return nullptr;
      }
      if (!mask({node.input(0), hidden, side == 1})) return nullptr;
      return scores_of(node.input(3 - side));
    }
    no("its mask chooses between two tensors");
    return nullptr;
  }

  // Reshape(Add(Reshape(scores), mask)): the samples are windows of images, and the mask tells them apart.
  Node* windows(const Node& back) {
    const Node* add = producer(back.input(0), "Add");
    for (const size_t side : {size_t{0}, size_t{1}}) {
      const Node* apart = add && inner(add->output()) ? producer(add->input(side), "Reshape") : nullptr;
      if (!apart || !is_rank(apart->output(), 5) || !is_rank(back.output(), 4) || !is_rank(apart->input(0), 4)) continue;
      const Value* m = add->input(1 - side);
      const int64_t count = known_dim(apart->output(), 1);
      if (m->dtype() != DType::f32 || !is_rank(m, 4) || known_dim(m, 0) != count || !inner(apart->output())) continue;
      bool alike = true;
      for (int axis = 1; axis < 4; ++axis)
        alike = alike && known_dim(back.output(), axis) >= 0 &&
                known_dim(back.output(), axis) == known_dim(apart->input(0), axis) &&
                known_dim(apart->output(), axis + 1) == known_dim(back.output(), axis);
      if (!alike) continue;
      p_.inside.push_back(add);
      p_.inside.push_back(apart);
      p_.masks.push_back({add->input(1 - side), std::nullopt, false});
      return scores_of(apart->input(0));
    }
    no("its scores are reshaped");
    return nullptr;
  }

  Node* scaled(const Node& node) {
    const size_t side = node.op_name() == "Div" || leads_to_product(node.input(0)) ? 0 : 1;
    const std::optional<float> factor = scalar_constant(node.input(1 - side));
    if (!factor) {
      no("its scores are multiplied by something that is no constant");
      return nullptr;
    }
    p_.scale *= node.op_name() == "Div" ? 1.0f / *factor : *factor;
    const size_t before = p_.masks.size();
    Node* product = scores_of(node.input(side));
    if (product && p_.masks.size() != before) {
      no("its mask is scaled along with the scores");
      return nullptr;
    }
    return product;
  }

  bool mask(const AttentionMask& m) {
    const DType wanted = m.hidden ? DType::boolean : DType::f32;
    if (m.value->dtype() != wanted || !m.value->type().ranked() || m.value->type().rank() > 4) {
      no("its mask has the type " + to_string(m.value->type()));
      return false;
    }
    p_.masks.push_back(m);
    return true;
  }

  bool views(Value* q, HeadsOrder q_order, Value* k, HeadsOrder k_order, Value* v, HeadsOrder v_order, int64_t heads,
             int64_t kv_heads) {
    const auto found_q = view_heads(q, q_order, heads, why_);
    const auto found_k = found_q ? view_heads(k, k_order, kv_heads, why_) : std::nullopt;
    const auto found_v = found_k ? view_heads(v, v_order, kv_heads, why_) : std::nullopt;
    if (!found_v) return false;
    p_.q = *found_q, p_.k = *found_k, p_.v = *found_v;
    p_.scale *= p_.q.factor * p_.k.factor;
    for (const HeadsView* view : {&p_.q, &p_.k})
      p_.inside.insert(p_.inside.end(), view->factors.begin(), view->factors.end());
    return true;
  }

  std::optional<AttentionPattern> checked() {
    if (p_.q.repeat != 1) return no("its query heads are repeated");
    if (p_.v.factor != 1) return no("its values are scaled");
    p_.heads = p_.q.heads;
    p_.kv_heads = p_.k.heads;
    if (p_.k.heads != p_.v.heads) return no("keys and values have different numbers of heads");
    if (p_.heads % p_.kv_heads != 0) return no("its query heads do not divide into its key heads");
    if (p_.k.size != p_.q.size) return no("the heads of queries and keys differ in size");
    if (!(p_.scale > 0) || !std::isfinite(p_.scale)) return no("its scale is " + std::to_string(p_.scale));
    const auto batch = [](const HeadsView& view) { return (*view.source->type().dims)[0]; };
    const auto alike = [](const Dim& a, const Dim& b) { return a == b || (!a.known() && !b.known()); };
    if (!alike(batch(p_.q), batch(p_.k)) || !alike(batch(p_.k), batch(p_.v))) return no("its batches broadcast");
    // Repeated keys serve neighbouring queries, as groups do.
    for (const HeadsView* view : {&p_.k, &p_.v})
      if (view->repeat != 1 && view->repeat != p_.heads / p_.kv_heads)
        return no("its keys are repeated, though not once a query head");
    if (p_.last->op_name() == "MatMul" && (p_.k.heads * p_.k.repeat != p_.heads || p_.v.heads * p_.v.repeat != p_.heads))
      return no("its heads broadcast");
    return std::move(p_);
  }

  const Graph& graph_;
  std::string& why_;
  AttentionPattern p_;
};

}  // namespace

bool comes_from_outside(const Value* value) {
  const Node* node = value->producer();
  if (!node) return true;
  if (!is_transparent(*node)) return false;
  const std::vector<size_t> inputs = data_inputs(*node);
  return std::any_of(inputs.begin(), inputs.end(), [&](size_t i) { return comes_from_outside(node->input(i)); });
}

std::optional<AttentionPattern> match_attention(const Graph& graph, Node* node, std::string& why) {
  if (node->output()->dtype() != DType::f32) return std::nullopt;
  if (node->op_name() == "MatMul") return Matcher(graph, node, why).spelled_out();
  if (node->op_name() == "Attention") return Matcher(graph, node, why).operator_of_onnx();
  return std::nullopt;
}

}  // namespace octet::graph
