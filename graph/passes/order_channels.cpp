// Permutes the channels of tensors that only quantized products write and read: outputs and columns of constants, no node
// changes.
//
//   x ─ Conv w1[n,·] ─ t[n] ─ Conv w2[m,n] ─ y      →      Conv w1[p(n),·] ─ t[p(n)] ─ Conv w2[m,p(n)] ─ y
//
// Values that must keep one order form a class: a residual and what it is added to, the operands of element-wise operators,
// both sides of a depthwise convolution or a pool. A class keeps its order when anything else reads or writes one of its
// values (the graph's interface, an operator that looks at channels, a float product). Branches and bodies of loops are
// left alone.
//
// The order of a class is chosen for its readers, and the cost there depends on which of their outputs share a panel. So a
// class may not tear up panels for which another was already chosen: it then moves channels only within them. Classes with
// one reader gain most and are chosen first, from the last to the first.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace octet::graph {
namespace {

bool is_identity(const std::vector<int64_t>& order) {
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int64_t>(i)) return false;
  return true;
}

// Slices along `axis` in this order.
Tensor reordered(const Tensor& t, size_t axis, const std::vector<int64_t>& order) {
  Tensor out(t.dtype(), t.shape());
  size_t outer = 1, inner = size_of(t.dtype());
  for (size_t i = 0; i < axis; ++i) outer *= static_cast<size_t>(t.shape()[i]);
  for (size_t i = axis + 1; i < t.shape().size(); ++i) inner *= static_cast<size_t>(t.shape()[i]);
  const auto* from = t.as<std::byte>();
  auto* to = out.mutable_as<std::byte>();
  for (size_t o = 0; o < outer; ++o, from += order.size() * inner)
    for (const int64_t i : order) {
      const std::byte* slice = from + static_cast<size_t>(i) * inner;
      if (inner == 1)  // pointwise weights, byte by byte
        *to = *slice;
      else
        std::memcpy(to, slice, inner);
      to += inner;
    }
  return out;
}

QuantParams reordered(QuantParams params, const std::vector<int64_t>& order) {
  const QuantParams before = params;
  for (size_t i = 0; i < order.size(); ++i) {
    params.scale[i] = before.scale[static_cast<size_t>(order[i])];
    if (!params.zero_point.empty()) params.zero_point[i] = before.zero_point[static_cast<size_t>(order[i])];
  }
  return params;
}

struct ChannelClass {
  int axis = -1;
  int64_t channels = -1;
  bool fixed = false, chosen = false;
  std::vector<Node*> writers, readers;  // dense products
  std::vector<int64_t> order;           // empty: as it is
};

class Orders {
 public:
  Orders(Graph& graph, int columns, const ChooseChannelOrder& choose) : graph_(graph), columns_(columns), choose_(choose) {}

  int run() {
    for (const auto& node : graph_.nodes()) sort_out(node.get());
    for (const Value* v : graph_.inputs()) fix(v);
    for (const Value* v : graph_.outputs()) fix(v);
    collect();
    choose();
    int changes = 0;
    for (const auto& node : graph_.nodes()) changes += apply(node.get());
    if (changes > 0) graph_.drop_unused_constants();
    return changes;
  }

 private:
  static bool quantized_product(const Node* node) {
    const Value* w = is_product(node) ? node->input(kW) : nullptr;
    if (!w || !w->is_constant() || w->dtype() != DType::s8 || node->outputs().size() != 1) return false;
    const Value* bias = node->input(kBias);
    const QuantParams* q = w->quant();
    return (!q || q->per_tensor() || q->axis == 0) &&
           (!bias || (bias->is_constant() && bias->constant().shape().size() == 1 && !bias->quant()));
  }
  static bool depthwise(const Node* node) {
    return quantized_product(node) && node->op_name() == "octet.Conv" && node->input(kW)->constant().shape()[1] == 1 &&
           node->attr("group", int64_t{1}) == node->input(kW)->constant().shape()[0] && node->attr("group", int64_t{1}) > 1;
  }
  static bool dense(const Node* node) { return quantized_product(node) && node->attr("group", int64_t{1}) == 1; }

  static bool is_pool(const OpDef& op) {
    return op.layout == LayoutRole::channels_last && (op.quant == QuantRole::transparent || op.quant == QuantRole::average);
  }
  static bool channel_by_channel(const Node* node) {
    if (node->outputs().size() != 1) return false;
    const Value* y = node->output();
    const OpDef& op = node->op();
    const bool pool = is_pool(op);
    if (!pool && (op.layout != LayoutRole::any || op.quant == QuantRole::transparent))
      return false;  // those that move elements
    const bool table = node->op_name() == "octet.Table";
    for (const Value* v : node->inputs()) {
      if (!v) continue;
      if (v->is_constant()) {
        if (pool || (v->constant().size() != 1 && !table)) return false;
      } else if (pool ? known_dim(v, 1) <= 0 || known_dim(v, 1) != known_dim(y, 1) : !same_shape(v, y)) {
        return false;
      }
    }
    return true;
  }

  size_t index_of(const Value* v) { return index_.emplace(v, index_.size()).first->second; }
  size_t root(size_t i) {
    while (i < parent_.size() && parent_[i] != i) i = parent_[i];
    return i;
  }
  size_t root_of(const Value* v) {
    const size_t i = index_of(v);
    while (parent_.size() <= i) {
      parent_.push_back(parent_.size());
      fixed_.push_back(false);
    }
    return root(i);
  }
  void unite(const Value* a, const Value* b) {
    const size_t ra = root_of(a), rb = root_of(b);
    fixed_[ra] = fixed_[ra] || fixed_[rb];
    parent_[rb] = ra;
  }
  void fix(const Value* v) {
    if (v) fixed_[root_of(v)] = true;
  }

  void sort_out(const Node* node) {
    const bool per_channel_y =
        node->outputs().size() == 1 && node->output()->quant() && !node->output()->quant()->per_tensor();
    if (per_channel_y) fix(node->output());
    if (dense(node) || depthwise(node)) {
      if (depthwise(node)) unite(node->input(kX), node->output());
      if (const Value* residual = node->input(kResidual)) {
        unite(node->output(), residual);
        if (residual->is_constant() || !same_shape(node->output(), residual)) fix(residual);
      }
      for (size_t i = kXScale; i < node->inputs().size(); ++i) fix(node->input(i));
      return;
    }
    if (channel_by_channel(node)) {
      for (const Value* v : node->inputs())
        if (v && !v->is_constant()) unite(v, node->output());
      return;
    }
    for (const Value* v : node->inputs()) fix(v);
    for (const Value* v : node->outputs()) fix(v);
  }

  ChannelClass& class_of(const Value* v) { return classes_[root_of(v)]; }

  void place(const Value* v, int axis, int64_t channels) {
    ChannelClass& c = class_of(v);
    if (c.channels < 0) {
      c.axis = axis;
      c.channels = channels;
    }
    if (c.axis != axis || c.channels != channels || known_dim(v, axis) != channels) c.fixed = true;
  }

  void collect() {
    for (const auto& node : graph_.nodes()) {
      if (!dense(node.get()) && !depthwise(node.get())) {
        if (is_pool(node->op()) && channel_by_channel(node.get()))
          for (const Value* v : {node->input(0), node->output()}) place(v, 1, known_dim(v, 1));
        continue;
      }
      const Shape& w = node->input(kW)->constant().shape();
      const bool gemm = node->op_name() == "octet.Gemm";
      const auto axis_of = [&](const Value* v) { return !gemm ? 1 : v->type().ranked() ? v->type().rank() - 1 : -1; };
      place(node->output(), axis_of(node->output()), w[0]);
      place(node->input(kX), axis_of(node->input(kX)), depthwise(node.get()) ? w[0] : w[1]);
      if (depthwise(node.get())) continue;
      class_of(node->output()).writers.push_back(node.get());
      class_of(node->input(kX)).readers.push_back(node.get());
    }
    for (auto& [i, c] : classes_) c.fixed = c.fixed || fixed_[i] || c.axis < 0;
  }

  void choose() {
    std::vector<ChannelClass*> by_gain;  // in order of the first writer
    std::set<const ChannelClass*> seen;
    for (const auto& node : graph_.nodes()) {
      if (!dense(node.get())) continue;
      ChannelClass& c = class_of(node->output());
      if (!c.fixed && !c.readers.empty() && seen.insert(&c).second) by_gain.push_back(&c);
    }
    std::reverse(by_gain.begin(), by_gain.end());
    std::stable_partition(by_gain.begin(), by_gain.end(), [](const ChannelClass* c) { return c->readers.size() == 1; });
    for (ChannelClass* c : by_gain) {
      const bool within_panels =
          std::any_of(c->writers.begin(), c->writers.end(), [&](const Node* w) { return class_of(w->input(kX)).chosen; });
      std::vector<ChannelUse> uses;
      for (const Node* reader : c->readers)
        uses.push_back({&reader->input(kW)->constant(), class_of(reader->output()).order});
      c->order = choose_(uses, c->channels, columns_, within_panels);
      c->chosen = true;
    }
  }

  int apply(Node* node) {
    const bool per_channel = depthwise(node);
    if (!per_channel && !dense(node)) return 0;
    const std::vector<int64_t>&outputs = class_of(node->output()).order, &channels = class_of(node->input(kX)).order;
    const bool rows = !outputs.empty() && !is_identity(outputs),
               columns = !per_channel && !channels.empty() && !is_identity(channels);
    if (!rows && !columns) return 0;
    const Value* w = node->input(kW);
    Tensor t = w->constant();
    if (rows) t = reordered(t, 0, outputs);
    if (columns) t = reordered(t, 1, channels);
    if (const QuantParams* q = w->quant())
      graph_.set_input(
          node, kW,
          quantized_constant(graph_, std::move(t), rows && !q->per_tensor() ? reordered(*q, outputs) : *q, w->name()));
    else
      graph_.set_input(node, kW, graph_.add_constant(std::move(t), w->name()));
    if (const Value* bias = node->input(kBias); bias && rows)
      graph_.set_input(node, kBias, graph_.add_constant(reordered(bias->constant(), 0, outputs), bias->name()));
    return 1;
  }

  Graph& graph_;
  int columns_;
  const ChooseChannelOrder& choose_;
  std::map<const Value*, size_t> index_;
  std::vector<size_t> parent_;
  std::vector<bool> fixed_;
  std::map<size_t, ChannelClass> classes_;  // by root
};

}  // namespace

int order_channels(Graph& graph, int columns, const ChooseChannelOrder& choose) {
  return Orders(graph, columns, choose).run();
}

}  // namespace octet::graph
