#include "graph/quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "graph/op_def.h"
#include "graph/passes/attention_pattern.h"
#include "graph/passes/transparent.h"
#include "graph/quantize/parameters.h"
#include "graph/quantize/plan.h"
#include "graph/quantize/products.h"
#include "octet/numerics.h"

namespace octet::graph {

namespace {

Range checked_range(const Graph& graph, const Ranges& ranges, const std::string& name) {
  const std::string where = graph.file + ": value '" + name + "': ";
  const auto it = ranges.find(name);
  if (it == ranges.end())
    throw Error(ErrorCode::invalid_argument, where + "has no range; expected one for each value to calibrate");
  const Range r = it->second;
  if (!std::isfinite(r.min) || !std::isfinite(r.max) || r.min > r.max)
    throw Error(ErrorCode::invalid_argument, where + "has the range [" + std::to_string(r.min) + ", " +
                                                 std::to_string(r.max) + "], expected finite numbers in order");
  return r;
}

Range united(Range a, Range b) { return {std::min(a.min, b.min), std::max(a.max, b.max)}; }

class Writer {
 public:
  Writer(Graph& graph, const Ranges& ranges, const QuantizeOptions& options)
      : graph_(graph), ranges_(ranges), options_(options) {}

  void run() {
    const QuantPlan plan = make_plan(graph_, options_);
    if (options_.scope != QuantScope::products && plan.caches == 0)
      throw Error(ErrorCode::unsupported, graph_.file + ": it has no attention over a cache that could be quantized");
    if (options_.scope != QuantScope::caches && plan.products.empty()) refuse_if_products();
    // Before anything is rewired: what each product reads, and where in the order a value's nodes belong.
    std::unordered_map<const Value*, const QuantGroup*> group_of;
    for (const QuantGroup& g : plan.groups)
      for (const Value* v : g.values) group_of[v] = &g;
    for (const QuantizedProduct& p : plan.products) x_group_[p.node] = group_of.at(p.node->input(0));
    Node* first = graph_.nodes().empty() ? nullptr : graph_.nodes().front().get();
    Node* previous = nullptr;
    for (const auto& node : graph_.nodes()) {
      if (previous) behind_[previous] = node.get();
      previous = node.get();
    }
    for (const QuantGroup& g : plan.groups) {
      params_[&g] = group_params(g);
      for (Value* v : g.values) write_activation(v, params_[&g], first);
    }
    for (const QuantizedProduct& p : plan.products) write_weights_of(p, params_.at(x_group_.at(p.node)).scale);
    graph_.drop_unused_constants();
    infer_types(graph_);
  }

 private:
  void refuse_if_products() const {
    for (const auto& node : graph_.nodes())
      if (node->op().quant == QuantRole::product)
        throw Error(ErrorCode::unsupported, graph_.file + ": node '" + node->name() + "' (" + std::string(node->op_name()) +
                                                "): cannot be quantized, like every product of the graph: " + node->why);
  }

  ActivationParams group_params(const QuantGroup& group) const {
    Range range;
    for (const std::string& name : group.sources) range = united(range, checked_range(graph_, ranges_, name));
    for (const Range& r : group.known) range = united(range, r);
    return activation_params(range);
  }

  Value* add(std::string_view op, std::vector<Value*> inputs, const std::string& stem, const char* suffix, Node* before,
             int axis = -1) {
    Node* node = graph_.add_node(op, std::move(inputs), 1, stem + suffix, before);
    if (axis >= 0) node->set_attr("axis", int64_t{axis});
    graph_.rename(node->output(), stem + suffix);
    infer_types(graph_, *node);
    return node->output();
  }

  // The DequantizeLinear of the quantized value, before `before`; a constant is quantized here and now.
  Value* quantized(Value* v, const ActivationParams& params, Node* before) {
    const std::string name = v->name();
    Value* scale = graph_.add_constant(Tensor::scalar(params.scale), name + "_scale");
    Value* zero = graph_.add_constant(Tensor::of<uint8_t>(DType::u8, {}, {params.zero_point}), name + "_zero_point");
    Value* integers = v->is_constant() ? quantized_constant(v, params)
                                       : add("QuantizeLinear", {v, scale, zero}, name, "_quantized", before);
    return add("DequantizeLinear", {integers, scale, zero}, name, "_dequantized", before);
  }

  Value* quantized_constant(const Value* v, const ActivationParams& params) {
    const Tensor& t = v->constant();
    Tensor q(DType::u8, t.shape());
    for (int64_t i = 0; i < t.size(); ++i)
      q.mutable_as<uint8_t>()[i] =
          static_cast<uint8_t>(numerics::quantize(t.as<float>()[i], params.scale, params.zero_point, 0, 255));
    return graph_.add_constant(std::move(q), v->name() + "_quantized");
  }

  void write_activation(Value* v, const ActivationParams& params, Node* first) {
    const std::vector<Use> uses = v->uses();
    const bool is_output = graph_.is_output(v);
    if (v->is_constant()) {
      for (const Use& u : uses)
        if (is_transparent(*u.node)) graph_.set_input(u.node, static_cast<size_t>(u.index), quantized(v, params, u.node));
      return;
    }
    const bool cache = options_.scope != QuantScope::products && comes_from_outside(v);
    const bool gives_quanta = is_output && (options_.style == QuantStyle::portable || cache);
    if (uses.empty() && !gives_quanta) return;
    Node* before = v->producer() ? (behind_.contains(v->producer()) ? behind_.at(v->producer()) : nullptr) : first;
    Value* real = quantized(v, params, before);
    for (const Use& u : uses) graph_.set_input(u.node, static_cast<size_t>(u.index), real);
    if (!gives_quanta) return;
    for (size_t i = 0; i < graph_.outputs().size(); ++i)
      if (graph_.outputs()[i] == v) graph_.set_output(i, real);
  }

  void write_weights_of(const QuantizedProduct& product, float x_scale) {
    Node& node = *product.node;
    Value* w = node.input(1);
    Value* bias = product.bias.node ? product.bias.node->input(static_cast<size_t>(product.bias.index)) : nullptr;
    const int axis = weight_axis(node);
    const std::vector<float> b = bias ? bias->constant().to_f32() : std::vector<float>{};
    const WeightParams params = quantize_weights(w->constant(), axis, b, x_scale);
    const auto channels = static_cast<int64_t>(params.scale.size());
    const auto per_channel = [&](Tensor integers, const std::vector<float>& scale, Tensor zero, const std::string& name,
                                 int at) {
      Value* q = graph_.add_constant(std::move(integers), name + "_quantized");
      Value* s = graph_.add_constant(Tensor::of<float>(DType::f32, {channels}, scale), name + "_scale");
      Value* z = graph_.add_constant(std::move(zero), name + "_zero_point");
      return add("DequantizeLinear", {q, s, z}, name, "_dequantized", &node, at);
    };
    graph_.set_input(&node, 1, per_channel(params.integers, params.scale, Tensor(DType::s8, {channels}), w->name(), axis));
    if (!bias) return;
    const std::vector<float> scale = bias_scales(x_scale, params.scale);
    graph_.set_input(product.bias.node, static_cast<size_t>(product.bias.index),
                     per_channel(quantize_bias(b, scale), scale, Tensor(DType::s32, {channels}), bias->name(), 0));
  }

  Graph& graph_;
  const Ranges& ranges_;
  const QuantizeOptions options_;
  std::unordered_map<const Node*, const QuantGroup*> x_group_;
  std::unordered_map<const Node*, Node*> behind_;
  std::unordered_map<const QuantGroup*, ActivationParams> params_;
};

}  // namespace

std::vector<std::string> values_to_calibrate(const Graph& graph, QuantScope scope) {
  std::set<std::string> names;
  for (const QuantStyle style : {QuantStyle::fused, QuantStyle::portable}) {
    const std::unique_ptr<Graph> copy = graph.clone();
    for (const QuantGroup& group : make_plan(*copy, {style, scope}).groups)
      names.insert(group.sources.begin(), group.sources.end());
  }
  return {names.begin(), names.end()};
}

std::unique_ptr<Graph> quantize_static(const Graph& graph, const Ranges& ranges, const QuantizeOptions& options) {
  std::unique_ptr<Graph> copy = graph.clone();
  Writer(*copy, ranges, options).run();
  return copy;
}

}  // namespace octet::graph
