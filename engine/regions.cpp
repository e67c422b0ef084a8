#include "engine/regions.h"

#include <algorithm>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "graph/op_def.h"

namespace octet {

using graph::Graph;
using graph::Node;
using graph::Tensor;
using graph::Value;

bool is_static(const Value* value) { return !value || (value->type().static_shape() && size_of(value->dtype()) > 0); }

bool is_static(const Node& node) {
  return std::all_of(node.inputs().begin(), node.inputs().end(), [](const Value* v) { return is_static(v); }) &&
         std::all_of(node.outputs().begin(), node.outputs().end(), [](const Value* v) { return is_static(v); });
}

namespace {

bool plain_tensor(const Value* v) {
  return !v || (v->type().is_tensor() && v->dtype() != DType::string && v->dtype() != DType::undefined);
}

// Evaluated by itself, whatever is around it.
bool stands_alone(const Node& node) {
  if (!node.subgraphs().empty()) return true;
  const auto& in = node.inputs();
  const auto& out = node.outputs();
  if (!std::all_of(in.begin(), in.end(), plain_tensor) || !std::all_of(out.begin(), out.end(), plain_tensor)) return true;
  return std::all_of(in.begin(), in.end(), [](const Value* v) { return is_static(v); });
}

// The stage of every dynamic node: one more than that of whatever it waits for, except that nodes of one region share
// theirs. Stages follow each other, and nothing in a stage depends on another member of it but within the region.
std::map<int, std::vector<Node*>> regions_by_stage(const Graph& graph) {
  std::unordered_map<const Value*, int> behind;  // the last stage a value depends on
  std::unordered_set<const Node*> gathered;
  std::map<int, std::vector<Node*>> regions;
  for (const auto& owned : graph.nodes()) {
    Node* node = owned.get();
    int stage = 0;
    const bool dynamic = !is_static(*node), region = dynamic && !stands_alone(*node);
    for (const Value* v : node->inputs()) {
      const auto found = v ? behind.find(v) : behind.end();
      if (found == behind.end()) continue;
      const bool joins = region && v->producer() && gathered.contains(v->producer());
      stage = std::max(stage, found->second + (dynamic && !joins ? 1 : 0));
    }
    if (dynamic) stage = std::max(stage, 1);
    if (region) {
      gathered.insert(node);
      regions[stage].push_back(node);
    }
    if (stage > 0)
      for (const Value* v : node->outputs()) behind[v] = stage;
  }
  return regions;
}

// Takes the nodes out of the graph and puts one octet.Region in their place.
void gather(Graph& graph, const std::vector<Node*>& nodes) {
  const std::unordered_set<const Node*> inside(nodes.begin(), nodes.end());
  auto body = std::make_shared<Graph>();
  body->name = "region";
  body->file = graph.file;
  std::unordered_map<const Value*, Value*> mapped{{nullptr, nullptr}};
  std::vector<Value*> inputs, outputs;
  for (Node* node : nodes) {
    std::vector<Value*> operands;
    for (Value* v : node->inputs()) {
      if (!mapped.contains(v)) {
        mapped[v] = v->is_constant() ? body->add_constant(v->constant(), v->name()) : body->add_input(v->name(), v->type());
        mapped[v]->set_type(v->type());
        if (!v->is_constant()) inputs.push_back(v);
      }
      operands.push_back(mapped.at(v));
    }
    Node* copy = body->add_node(node->op(), std::move(operands), node->outputs().size(), node->name());
    for (const auto& [key, value] : node->attrs()) copy->set_attr(key, value);
    copy->why = node->why;
    for (size_t i = 0; i < node->outputs().size(); ++i) {
      Value* v = node->output(i);
      mapped[v] = copy->output(i);
      copy->output(i)->set_type(v->type());
      const bool leaves = graph.is_output(v) || std::any_of(v->uses().begin(), v->uses().end(),
                                                            [&](const graph::Use& u) { return !inside.contains(u.node); });
      if (leaves) outputs.push_back(v);
    }
  }
  for (const Value* v : outputs) body->add_output(mapped.at(v), v->name());
  Node* region = graph.add_node("octet.Region", inputs, outputs.size(), nodes.front()->name());
  region->set_attr("body", body);
  for (size_t i = 0; i < outputs.size(); ++i) {
    region->output(i)->set_type(outputs[i]->type());
    graph.replace_uses(outputs[i], region->output(i));
  }
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) graph.erase(*node);
}

}  // namespace

void form_regions(Graph& graph) {
  const auto regions = regions_by_stage(graph);
  if (regions.empty()) return;
  for (const auto& [stage, nodes] : regions) gather(graph, nodes);
  graph.sort();
}

bool has_products(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(),
                     [](const auto& node) { return node->op().quant == graph::QuantRole::product; });
}

bool worth_a_plan(bool has_products, std::span<const Tensor> inputs) {
  constexpr int64_t kManyElements = 1 << 16;
  int64_t elements = 0;
  for (const Tensor& t : inputs) elements += t.size();
  return has_products || elements >= kManyElements;
}

}  // namespace octet
