#include "graph/quantize/plan.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/op_def.h"
#include "graph/passes/attention_pattern.h"
#include "graph/passes/match.h"
#include "graph/passes/transparent.h"
#include "graph/quantize/products.h"

namespace octet::graph {

namespace {

bool is_real(const Value* v) { return v && v->dtype() == DType::f32; }

Range range_of(const Tensor& t) {
  Range r;
  for (int64_t i = 0; i < t.size(); ++i) {
    r.min = std::min(r.min, t.as<float>()[i]);
    r.max = std::max(r.max, t.as<float>()[i]);
  }
  return r;
}

class Planner {
 public:
  Planner(Graph& graph, const QuantizeOptions& options) : graph_(graph), style_(options.style), scope_(options.scope) {}

  QuantPlan run() {
    size_t position = 0;
    for (const auto& node : graph_.nodes()) {
      position_[node.get()] = ++position;
      join(*node);
      std::string why;
      if (scope_ != QuantScope::caches && is_quantizable_product(*node, why))
        plan_.products.push_back({.node = node.get(), .weight_axis = weight_axis(*node)});
      if (!why.empty()) node->why = why;
      find_attention(node.get());
    }
    find_ends(graph_, style_, plan_.products, absorbed_);
    for (const QuantizedProduct& p : plan_.products) by_end_[p.end] = &p;
    for (const QuantizedProduct& p : plan_.products) {
      demand(p.node->input(0));
      if (style_ == QuantStyle::portable) demand(p.end);
    }
    for (const AttentionPattern& a : attentions_)
      for (Value* operand :
           {scope_ == QuantScope::caches ? (a.first ? a.first : a.last)->input(0) : a.q.source, a.k.source, a.v.source})
        demand(operand);
    if (style_ == QuantStyle::portable && scope_ != QuantScope::caches) spread();
    list_groups();
    return std::move(plan_);
  }

 private:
  // --- groups: a forest of values
  // ------------------------------------------------------------------------------------------
  Value* root(Value* v) {
    auto it = parent_.find(v);
    if (it == parent_.end()) {
      parent_[v] = v;
      members_[v] = {v};
      return v;
    }
    while (it->second != v) {
      v = it->second;
      it = parent_.find(v);
    }
    return v;
  }

  void unite(Value* a, Value* b) {
    a = root(a);
    b = root(b);
    if (a == b) return;
    if (members_[a].size() < members_[b].size()) std::swap(a, b);
    parent_[b] = a;
    auto& into = members_[a];
    into.insert(into.end(), members_[b].begin(), members_[b].end());
    members_.erase(b);
  }

  // Old keys or values and new ones.
  static bool joins_cache(const Node& node) {
    return is_transparent(node) && node.inputs().size() == 2 && comes_from_outside(node.input(0)) &&
           !comes_from_outside(node.input(1));
  }

  // Whether the node moves float activations from data inputs to data outputs, or lays new ones between them, so that all of
  // them share one grid.
  bool moves(const Node& node) const {
    if (scope_ == QuantScope::caches && !joins_cache(node)) return false;
    if ((!is_transparent(node) && !interpolates(node)) || !is_real(node.output())) return false;
    bool all_constant = true;
    for (const size_t i : data_inputs(node)) {
      if (!is_real(node.input(i))) return false;
      all_constant = all_constant && node.input(i)->is_constant();
    }
    const int scalar = scalar_input(node);
    const Value* s = scalar < 0 ? nullptr : node.input(static_cast<size_t>(scalar));
    return !all_constant && (!s || scalar_constant(s));
  }

  void join(Node& node) {
    if (!moves(node)) return;
    const std::vector<size_t> inputs = data_inputs(node);
    for (const size_t i : inputs) unite(node.input(inputs[0]), node.input(i));
    for (Value* v : data_outputs(node)) unite(node.input(inputs[0]), v);
  }

  // --- attention: its queries, keys and values are demanded, as the operands of products are
  // ---------------------------------
  void find_attention(Node* node) {
    std::string why;
    const std::optional<AttentionPattern> found = match_attention(graph_, node, why);
    if (!found) return;
    const bool cached = comes_from_outside(found->k.source) || comes_from_outside(found->v.source);
    if (cached && scope_ == QuantScope::products) {
      node->why = "its keys and values come from outside, as a cache does; quantizing them is a choice of its own";
      return;
    }
    if (!cached && scope_ == QuantScope::caches) return;
    if (cached) ++plan_.caches;
    attentions_.push_back(*found);
    attention_ends_.insert(node);
    absorbed_.insert(found->inside.begin(), found->inside.end());
  }

  // --- demand
  // --------------------------------------------------------------------------------------------------------------
  bool demanded(Value* v) { return demanded_.contains(root(v)); }

  void demand(Value* v) {
    std::vector<Value*> work{v};
    while (!work.empty()) {
      Value* next = work.back();
      work.pop_back();
      if (!is_real(next) || next->is_constant() || !demanded_.insert(root(next)).second) continue;
      for (Value* member : members_.at(root(next)))
        for (Value* wanted : operands_on_integers(member)) work.push_back(wanted);
    }
  }

  // The values that must be integers for this one to be computed on integers; none when it is computed in float.
  std::vector<Value*> operands_on_integers(Value* v) {
    Node* node = v->producer();
    if (scope_ == QuantScope::caches) return {};
    if (!node || v->is_constant() || moves(*node)) return {};
    if (const auto it = by_end_.find(v); it != by_end_.end()) {
      Value* residual = it->second->residual;
      return residual ? std::vector<Value*>{residual} : std::vector<Value*>{};
    }
    if (absorbed_.contains(node) || attention_ends_.contains(node)) return {};
    if (node->op().quant == QuantRole::average) return {node->input(0)};
    if (const Node* sum = binary_before(*node)) return variable_operands(*sum);
    if (Value* source = table_source(v)) return {source};
    node->why = "it is no function of one 8-bit value; its result is quantized";
    return {};
  }

  // The Add, Sub or Mul of two activations (portable: or a scalar) that this node is, or is the clamp of.
  const Node* binary_before(const Node& node) const {
    const Node* sum = &node;
    if (node.op().quant == QuantRole::clamp) {
      sum = node.input(0)->producer();
      if (!sum || !graph_.single_use(node.input(0)) || absorbed_.contains(sum)) return nullptr;
    }
    if (sum->op().quant != QuantRole::binary || sum->inputs().size() != 2) return nullptr;
    int variable = 0;
    for (const Value* v : sum->inputs()) {
      if (!is_real(v)) return nullptr;
      variable += v->is_constant() ? 0 : 1;
      if (v->is_constant() && (style_ == QuantStyle::fused || v->constant().size() != 1)) return nullptr;
    }
    if (variable == 0) return nullptr;
    // x·sigmoid(x) has two operands, yet it is a table. A table of the clamp alone is no reason against the sum.
    const Value* source = style_ == QuantStyle::fused ? table_source(node.output()) : nullptr;
    return source && source != sum->output() ? nullptr : sum;
  }

  static std::vector<Value*> variable_operands(const Node& sum) {
    std::vector<Value*> list;
    for (Value* v : sum.inputs())
      if (!v->is_constant()) list.push_back(v);
    return list;
  }

  // --- tables: element-wise expressions of one value (find_table_region takes them up)
  // ---------------------------------------
  bool is_elementwise(const Node& node) const {
    const OpDef& op = node.op();
    if (op.layout != LayoutRole::any || op.quant == QuantRole::transparent || op.quant == QuantRole::quantize ||
        op.quant == QuantRole::dequantize || !op.eval || node.outputs().size() != 1 || !is_real(node.output()))
      return false;
    if (absorbed_.contains(&node)) return false;
    const Value* y = node.output();
    for (const Value* v : node.inputs()) {
      if (!v) continue;
      if (!is_real(v)) return false;
      if (v->is_constant() && v->constant().size() != 1) return false;
      if (v->is_constant() && y->type().ranked() && static_cast<int>(v->constant().shape().size()) > y->type().rank())
        return false;
    }
    return true;
  }

  // The value that the element-wise nodes before `v` all start from, as far back as their inner values are used nowhere
  // else. Portable style knows one node at a time.
  Value* table_source(Value* v) const {
    Value* source = nullptr;
    std::unordered_set<const Node*> inside;
    while (Value* further = nearest_source(source ? source : v, inside)) {
      source = further;
      if (style_ == QuantStyle::portable) break;
    }
    return source;
  }

  // The nearest value that everything `v` depends on goes through; adds the nodes between to `inside`. Null, and `inside` as
  // it was, when there is none, or when `v` itself is inside and used outside.
  Value* nearest_source(Value* v, std::unordered_set<const Node*>& inside) const {
    std::unordered_set<const Node*> nodes = inside;
    std::vector<Value*> frontier{v};
    do {
      const auto latest = std::max_element(frontier.begin(), frontier.end(),
                                           [&](const Value* a, const Value* b) { return place(a) < place(b); });
      Value* at = *latest;
      frontier.erase(latest);
      Node* node = at->producer();
      if (!node || !is_elementwise(*node) || by_end_.contains(at)) return nullptr;
      if ((at != v || !inside.empty()) && !used_only_inside(at, nodes)) return nullptr;
      nodes.insert(node);
      if (style_ == QuantStyle::portable && nodes.size() > 1) return nullptr;
      for (Value* in : node->inputs())
        if (in && !in->is_constant() && std::find(frontier.begin(), frontier.end(), in) == frontier.end())
          frontier.push_back(in);
    } while (frontier.size() > 1);
    if (frontier.empty()) return nullptr;
    inside = std::move(nodes);
    return frontier[0];
  }

  bool used_only_inside(const Value* v, const std::unordered_set<const Node*>& nodes) const {
    if (graph_.is_output(v)) return false;
    return std::all_of(v->uses().begin(), v->uses().end(), [&](const Use& u) { return nodes.contains(u.node); });
  }

  size_t place(const Value* v) const { return v->producer() ? position_.at(v->producer()) : 0; }

  // Portable: averages and sums of quantized operands are quantized whether or not a product follows.
  void spread() {
    for (const auto& node : graph_.nodes()) {
      const QuantRole role = node->op().quant;
      if ((role != QuantRole::average && role != QuantRole::binary) || absorbed_.contains(node.get())) continue;
      if (role == QuantRole::binary && !binary_before(*node)) continue;
      const std::vector<Value*> operands =
          role == QuantRole::binary ? variable_operands(*node) : std::vector<Value*>{node->input(0)};
      if (!std::all_of(operands.begin(), operands.end(), [&](Value* v) { return is_real(v) && demanded(v); })) continue;
      Node* clamp = sole_consumer(graph_, node->output());
      const bool clamped = role == QuantRole::binary && clamp && clamp->op().quant == QuantRole::clamp;
      demand(clamped ? clamp->output() : node->output());
    }
  }

  // --- the result
  // ----------------------------------------------------------------------------------------------------------
  void list_groups() {
    for (Value* r : demanded_) {
      QuantGroup group;
      group.values = members_.at(r);
      std::sort(group.values.begin(), group.values.end(), [&](const Value* a, const Value* b) {
        return place(a) != place(b) ? place(a) < place(b) : a->name() < b->name();
      });
      for (Value* v : group.values) add_source(group, v);
      if (scope_ != QuantScope::products) leave_out_old_rows(group);
      plan_.groups.push_back(std::move(group));
    }
    std::sort(plan_.groups.begin(), plan_.groups.end(), [&](const QuantGroup& a, const QuantGroup& b) {
      return place(a.values[0]) != place(b.values[0]) ? place(a.values[0]) < place(b.values[0])
                                                      : a.values[0]->name() < b.values[0]->name();
    });
  }

  void add_source(QuantGroup& group, Value* v) const {
    if (v->is_constant()) {
      group.known.push_back(range_of(v->constant()));
      return;
    }
    if (const Node* node = v->producer(); node && moves(*node)) {
      const int scalar = scalar_input(*node);
      const Value* s = scalar < 0 ? nullptr : node->input(static_cast<size_t>(scalar));
      if (s && std::isfinite(*scalar_constant(s))) group.known.push_back({*scalar_constant(s), *scalar_constant(s)});
      return;
    }
    // What a clamp behind it, and nothing else, reads need not reach further than the clamp.
    const Node* clamp = sole_consumer(graph_, v);
    const bool clamped = clamp && clamp->op().quant == QuantRole::clamp && clamp->input(0) == v;
    group.sources.push_back(clamped ? clamp->output()->name() : v->name());
  }

  // What a cache holds was on this grid when it was new.
  void leave_out_old_rows(QuantGroup& group) const {
    const auto is_input = [&](const std::string& name) {
      return std::any_of(graph_.inputs().begin(), graph_.inputs().end(), [&](const Value* v) { return v->name() == name; });
    };
    const auto end =
        std::stable_partition(group.sources.begin(), group.sources.end(), [&](const auto& s) { return !is_input(s); });
    if (end != group.sources.begin()) group.sources.erase(end, group.sources.end());
  }

  Graph& graph_;
  const QuantStyle style_;
  const QuantScope scope_;
  QuantPlan plan_;
  std::unordered_map<const Node*, size_t> position_;
  std::unordered_map<Value*, Value*> parent_;
  std::unordered_map<Value*, std::vector<Value*>> members_;
  std::unordered_set<Value*> demanded_;  // roots
  std::unordered_set<const Node*> absorbed_;
  std::vector<AttentionPattern> attentions_;
  std::unordered_set<const Node*> attention_ends_;
  std::unordered_map<const Value*, const QuantizedProduct*> by_end_;
};

}  // namespace

QuantPlan make_plan(Graph& graph, const QuantizeOptions& options) { return Planner(graph, options).run(); }

}  // namespace octet::graph
