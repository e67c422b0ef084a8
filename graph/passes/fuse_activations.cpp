// Activations that exporters spell out become the operator they are, however they are spelled.
//
//   Mul(x, Sigmoid(x))                                   →  Swish(x)
//   Mul(x, Tanh(Softplus(x)))                            →  Mish(x)
//   Div(Clip(Add(x, 3), 0, 6), 6), Clip(x/6 + 1/2, 0, 1) →  HardSigmoid(x) {1/6, 0.5}
//   Mul(x, HardSigmoid(x)), Div(Mul(x, Clip(x+3, 0, 6)), 6) →  HardSwish(x)
//   x · (1 + Erf(x / √2)) / 2                            →  Gelu(x)
//   x / 2 · (1 + Tanh(√(2/π) · (x + 0.044715 · x³)))     →  Gelu(x) {tanh}
//
// There are a dozen orders, groupings and ways to write a cube or a half for each, so the expression is recognised by its
// value: a region of element-wise nodes that depends on one value and on scalars only, closed (nothing inside is used
// outside), is evaluated at kProbes points from -1000 to 1000 and compared with each function. No two of these functions
// come near each other there. float32 only. Swish and HardSwish of HardSigmoid change no bit; the others differ in the last.
#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "graph/eval.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

constexpr size_t kMostNodes = 14;
constexpr float kTolerance = 1e-5f;

const std::vector<float>& probes() {
  static const std::vector<float> kProbes = [] {
    std::vector<float> points;
    for (int i = -192; i <= 192; ++i) points.push_back(static_cast<float>(i) * 0.0625f);
    for (const float far : {13.7f, 20.0f, 50.0f, 100.0f, 1000.0f}) points.insert(points.end(), {far, -far});
    return points;
  }();
  return kProbes;
}

Tensor probe_tensor() { return Tensor::of<float>(DType::f32, {static_cast<int64_t>(probes().size())}, probes()); }

struct Function {
  std::string op;
  std::vector<std::pair<std::string, Attribute>> attrs;
  std::vector<float> values = {};
};

std::vector<Function> make_functions() {
  std::vector<Function> list = {
      {"Swish", {}}, {"HardSwish", {}}, {"HardSigmoid", {{"alpha", 1.0f / 6.0f}, {"beta", 0.5f}}},
      {"Mish", {}},  {"Gelu", {}},      {"Gelu", {{"approximate", std::string("tanh")}}},
  };
  for (Function& f : list) {
    Graph graph;
    const Tensor points = probe_tensor();
    Node* node = graph.add_node(f.op, {graph.add_input("x", Type::known(DType::f32, points.shape()))});
    for (const auto& [key, value] : f.attrs) node->set_attr(key, value);
    infer_types(graph, *node);
    f.values = evaluate(*node, std::vector<Tensor>{points})[0].to_f32();
  }
  return list;
}

const Function* find_function(const std::vector<float>& values) {
  static const std::vector<Function> kFunctions = make_functions();
  for (const Function& f : kFunctions) {
    bool equal = true;
    for (size_t i = 0; i < values.size() && equal; ++i)
      equal = std::fabs(values[i] - f.values[i]) <= kTolerance * std::max(1.0f, std::fabs(f.values[i]));  // false for NaN
    if (equal) return &f;
  }
  return nullptr;
}

// Element-wise, and sure to be: operators that take any layout and do not merely move elements.
bool is_elementwise(const Node& node) {
  const QuantRole role = node.op().quant;
  return node.op().layout == LayoutRole::any && node.op().eval && node.outputs().size() == 1 &&
         node.output()->dtype() == DType::f32 && role != QuantRole::transparent && role != QuantRole::quantize &&
         role != QuantRole::dequantize && !node.has_attr("act");
}

// The nodes between a value and the one that it depends on alone, growing backwards from `root`.
class Region {
 public:
  Region(const Graph& graph, Node* root, const std::unordered_map<const Node*, size_t>& order)
      : graph_(graph), root_(root), order_(order), frontier_{root->output()} {}

  // Takes in the latest value of the frontier; false when it cannot be inside.
  bool grow() {
    const auto latest = std::max_element(frontier_.begin(), frontier_.end(),
                                         [&](const Value* a, const Value* b) { return place(a) < place(b); });
    const Value* v = *latest;
    Node* node = v->producer();
    if (!node || nodes_.size() == kMostNodes || !is_elementwise(*node)) return false;
    const auto inside = [&](const Use& u) { return nodes_.contains(u.node); };
    if (node != root_ && (graph_.is_output(v) || !std::all_of(v->uses().begin(), v->uses().end(), inside))) return false;
    for (const Value* in : node->inputs())
      if (in && in->is_constant() && (in->dtype() != DType::f32 || in->constant().size() != 1)) return false;
    frontier_.erase(latest);
    nodes_.insert(node);
    for (Value* in : node->inputs())
      if (in && !in->is_constant() && std::find(frontier_.begin(), frontier_.end(), in) == frontier_.end())
        frontier_.push_back(in);
    return true;
  }

  // The one value that everything depends on; null while there are several.
  Value* source() const { return frontier_.size() == 1 ? frontier_[0] : nullptr; }
  size_t size() const { return nodes_.size(); }

  std::vector<float> values() const {
    std::vector<const Node*> order(nodes_.begin(), nodes_.end());
    std::sort(order.begin(), order.end(), [&](const Node* a, const Node* b) { return order_.at(a) < order_.at(b); });
    std::unordered_map<const Value*, Tensor> known{{source(), probe_tensor()}};
    for (const Node* node : order) {
      std::vector<Tensor> in;
      for (const Value* v : node->inputs())
        in.push_back(!v ? Tensor() : v->is_constant() ? v->constant().reshaped({}) : known.at(v));
      known[node->output()] = evaluate(*node, in)[0];
    }
    return known.at(root_->output()).to_f32();
  }

 private:
  size_t place(const Value* v) const { return v->producer() ? order_.at(v->producer()) + 1 : 0; }

  const Graph& graph_;
  const Node* root_;
  const std::unordered_map<const Node*, size_t>& order_;
  std::vector<Value*> frontier_;
  std::unordered_set<const Node*> nodes_;
};

struct Found {
  const Function* function;
  Value* x;
};

std::optional<Found> find(const Graph& graph, Node* root, const std::unordered_map<const Node*, size_t>& order) {
  Region region(graph, root, order);
  while (region.grow()) {
    Value* x = region.source();
    if (!x || region.size() < 2 || !same_shape(x, root->output()) || x->dtype() != DType::f32) continue;
    if (const Function* f = find_function(region.values())) return Found{f, x};
  }
  return std::nullopt;
}

}  // namespace

int fuse_activations(Graph& graph) {
  int changes = 0;
  std::unordered_map<const Node*, size_t> order;
  for (const auto& node : graph.nodes()) order.emplace(node.get(), order.size());
  for (Node* node : graph.node_list()) {
    if (!is_elementwise(*node)) continue;
    const std::optional<Found> found = find(graph, node, order);
    if (!found) continue;
    Node* activation = graph.add_node(found->function->op, {found->x}, 1, node->name(), node);
    for (const auto& [key, value] : found->function->attrs) activation->set_attr(key, value);
    order[activation] = order.at(node);
    infer_types(graph, *activation);
    substitute(graph, node->output(), activation->output());
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
