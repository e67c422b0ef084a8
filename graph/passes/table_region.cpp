#include "graph/passes/table_region.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "graph/eval.h"
#include "graph/passes/match.h"
#include "octet/numerics.h"

namespace octet::graph {

namespace {

// Element-wise, and sure to be: operators that take any layout and do not merely move elements.
bool is_elementwise(const Node& node) {
  return node.op().layout == LayoutRole::any && node.op().quant != QuantRole::transparent && node.outputs().size() == 1 &&
         node.op().eval && node.output()->dtype() == DType::f32 && node.op_name() != "octet.Table";
}

struct Search {
  const Graph& graph;
  TableRegion region;
  std::unordered_set<const Node*> inside;

  bool visit(const Value* v, int rank) {
    if (!v) return true;
    if (v->is_constant()) return v->constant().size() == 1 && static_cast<int>(v->constant().shape().size()) <= rank;
    if (const std::optional<Dequantize> dq = as_u8_dequantize(v); dq && dq->source->quant()) {
      if (region.source && region.source != dq->source) return false;
      region.source = dq->source;
      region.params = dq->params;
      return true;
    }
    Node* node = v->producer();
    if (!node || !is_elementwise(*node)) return false;
    if (!inside.insert(node).second) return true;
    return std::all_of(node->inputs().begin(), node->inputs().end(), [&](const Value* in) { return visit(in, rank); });
  }

  bool closed(const Node* end) const {
    for (const Node* n : inside) {
      const Value* v = n->output();
      if (graph.is_output(v)) return false;
      for (const Use& u : v->uses())
        if (u.node != end && !inside.contains(u.node)) return false;
    }
    return true;
  }
};

}  // namespace

std::optional<TableRegion> find_table_region(const Graph& graph, const Node* quantize) {
  const std::optional<Quantize> q = as_u8_quantize(quantize);
  if (!q || !q->source->type().ranked()) return std::nullopt;
  Search search{graph, {}, {}};
  if (!search.visit(q->source, q->source->type().rank()) || search.inside.empty()) return std::nullopt;
  if (!search.region.source || search.region.source->is_constant() || !search.closed(quantize)) return std::nullopt;
  for (const auto& n : graph.nodes())
    if (search.inside.contains(n.get())) search.region.nodes.push_back(n.get());
  return search.region;
}

Tensor table_of(const TableRegion& region, const Node* quantize) {
  std::vector<float> reals;
  for (int i = 0; i < 256; ++i)
    reals.push_back(numerics::dequantize(i, region.params.scale[0], region.params.zero_point[0]));
  const Tensor source = Tensor::of<float>(DType::f32, {256}, reals);
  std::unordered_map<const Value*, Tensor> values;
  for (const Node* node : region.nodes) {
    std::vector<Tensor> in;
    for (const Value* v : node->inputs()) {
      if (!v)
        in.emplace_back();
      else if (v->is_constant())
        in.push_back(v->constant().reshaped(v->constant().shape().empty() ? Shape{} : Shape{1}));
      else
        in.push_back(values.contains(v) ? values.at(v) : source);
    }
    values[node->output()] = evaluate(*node, in)[0];
  }
  const Tensor& result = values.at(quantize->input(0));
  const QuantParams params = as_u8_quantize(quantize)->params;
  std::vector<uint8_t> table;
  for (int64_t i = 0; i < 256; ++i) {
    const float v = result.as<float>()[result.size() == 1 ? 0 : i];
    table.push_back(static_cast<uint8_t>(numerics::quantize(v, params.scale[0], params.zero_point[0], 0, 255)));
  }
  return Tensor::of<uint8_t>(DType::u8, {256}, table);
}

}  // namespace octet::graph
