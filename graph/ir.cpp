#include "graph/ir.h"

#include <algorithm>
#include <cassert>
#include <unordered_map>
#include <unordered_set>

#include "graph/op_def.h"

namespace octet::graph {

Type Type::known(DType dtype, const Shape& shape) {
  Type t{dtype, std::vector<Dim>(shape.begin(), shape.end()), nullptr};
  return t;
}

bool Type::static_shape() const {
  return is_tensor() && ranked() && std::all_of(dims->begin(), dims->end(), [](const Dim& d) { return d.known(); });
}

Shape Type::shape() const {
  Shape s;
  for (const Dim& d : *dims) s.push_back(d.value);
  return s;
}

std::string_view Node::op_name() const { return op_->name; }

const Attribute* Node::find_attr(std::string_view key) const {
  const auto it = attrs_.find(key);
  return it == attrs_.end() ? nullptr : &it->second;
}

int64_t Node::attr(std::string_view key, int64_t fallback) const {
  const Attribute* a = find_attr(key);
  return a ? std::get<int64_t>(*a) : fallback;
}

float Node::attr(std::string_view key, float fallback) const {
  const Attribute* a = find_attr(key);
  return a ? std::get<float>(*a) : fallback;
}

std::string Node::attr(std::string_view key, const char* fallback) const {
  const Attribute* a = find_attr(key);
  return a ? std::get<std::string>(*a) : std::string(fallback);
}

std::vector<int64_t> Node::ints(std::string_view key) const {
  const Attribute* a = find_attr(key);
  return a ? std::get<std::vector<int64_t>>(*a) : std::vector<int64_t>{};
}

std::vector<float> Node::floats(std::string_view key) const {
  const Attribute* a = find_attr(key);
  return a ? std::get<std::vector<float>>(*a) : std::vector<float>{};
}

std::vector<Graph*> Node::subgraphs() const {
  std::vector<Graph*> graphs;
  for (const auto& [key, value] : attrs_)
    if (const auto* g = std::get_if<std::shared_ptr<Graph>>(&value); g && *g) graphs.push_back(g->get());
  return graphs;
}

void Node::erase_attr(std::string_view key) {
  const auto it = attrs_.find(key);
  if (it != attrs_.end()) attrs_.erase(it);
}

std::vector<Node*> Graph::node_list() const {
  std::vector<Node*> list;
  list.reserve(nodes_.size());
  for (const auto& n : nodes_) list.push_back(n.get());
  return list;
}

std::string Graph::fresh_name(std::string_view stem) {
  std::string candidate;
  do {
    candidate = std::string(stem) + "_" + std::to_string(next_name_++);
  } while (by_name_.contains(candidate));
  return candidate;
}

Value* Graph::new_value(std::string value_name) {
  if (value_name.empty()) value_name = fresh_name("v");
  if (by_name_.contains(value_name)) value_name = fresh_name(value_name);
  values_.push_back(std::make_unique<Value>());
  Value* v = values_.back().get();
  v->name_ = value_name;
  by_name_[std::move(value_name)] = v;
  return v;
}

Value* Graph::add_input(std::string input_name, Type type) {
  Value* v = new_value(std::move(input_name));
  v->type_ = std::move(type);
  inputs_.push_back(v);
  return v;
}

Value* Graph::add_constant(Tensor tensor, std::string constant_name) {
  Value* v = new_value(constant_name.empty() ? fresh_name("c") : std::move(constant_name));
  set_constant(v, std::move(tensor));
  return v;
}

void Graph::set_constant(Value* value, Tensor tensor) {
  value->type_ = Type::known(tensor.dtype(), tensor.shape());
  value->type_.kind = tensor.kind();
  if (!tensor.is_tensor()) value->type_.dims.reset();
  value->constant_ = std::move(tensor);
}

void Graph::add_output(Value* value, std::string output_name) {
  output_names_.push_back(output_name.empty() ? value->name() : std::move(output_name));
  outputs_.push_back(value);
}

void Graph::set_output(size_t index, Value* value) { outputs_[index] = value; }

Node* Graph::add_node(const OpDef& op, std::vector<Value*> inputs, size_t outputs, std::string node_name, Node* before) {
  auto owned = std::make_unique<Node>();
  Node* node = owned.get();
  node->op_ = &op;
  node->name_ = std::move(node_name);
  node->position_ = nodes_.insert(before ? before->position_ : nodes_.end(), std::move(owned));
  while (!inputs.empty() && inputs.back() == nullptr) inputs.pop_back();
  for (size_t i = 0; i < inputs.size(); ++i) set_input(node, i, inputs[i]);
  for (size_t i = 0; i < outputs; ++i) {
    Value* v = new_value({});
    v->producer_ = node;
    node->outputs_.push_back(v);
  }
  return node;
}

Node* Graph::add_node(std::string_view op, std::vector<Value*> inputs, size_t outputs, std::string node_name, Node* before) {
  const OpDef* def = find_op(op);
  assert(def != nullptr && "operator is not in the list");
  return add_node(*def, std::move(inputs), outputs, std::move(node_name), before);
}

void Graph::drop_use(Value* value, const Node* node, int index) {
  auto& uses = value->uses_;
  uses.erase(std::find_if(uses.begin(), uses.end(), [&](const Use& u) { return u.node == node && u.index == index; }));
}

void Graph::set_input(Node* node, size_t index, Value* value) {
  if (index >= node->inputs_.size()) node->inputs_.resize(index + 1, nullptr);
  if (Value* old = node->inputs_[index]) drop_use(old, node, static_cast<int>(index));
  node->inputs_[index] = value;
  if (value) value->uses_.push_back({node, static_cast<int>(index)});
  while (!node->inputs_.empty() && node->inputs_.back() == nullptr) node->inputs_.pop_back();
}

void Graph::drop_input(size_t index) {
  Value* v = inputs_[index];
  assert(v->uses_.empty() && !is_output(v));
  inputs_.erase(inputs_.begin() + static_cast<std::ptrdiff_t>(index));
  by_name_.erase(v->name_);
  std::erase_if(values_, [&](const auto& owned) { return owned.get() == v; });
}

void Graph::drop_operand(Node* node, size_t index) {
  std::vector<Value*> rest(node->inputs_.begin() + static_cast<std::ptrdiff_t>(index) + 1, node->inputs_.end());
  while (node->inputs_.size() > index) set_input(node, node->inputs_.size() - 1, nullptr);
  for (size_t i = 0; i < rest.size(); ++i) set_input(node, index + i, rest[i]);
}

void Graph::rename(Value* value, std::string new_name) {
  by_name_.erase(value->name_);
  if (by_name_.contains(new_name)) new_name = fresh_name(new_name);
  value->name_ = new_name;
  by_name_[std::move(new_name)] = value;
}

void Graph::replace_uses(Value* from, Value* to) {
  if (from == to) return;
  const std::vector<Use> uses = from->uses_;
  for (const Use& u : uses) set_input(u.node, static_cast<size_t>(u.index), to);
  for (Value*& output : outputs_)
    if (output == from) output = to;
}

void Graph::erase(Node* node) {
  for (size_t i = 0; i < node->inputs_.size(); ++i)
    if (Value* v = node->inputs_[i]) drop_use(v, node, static_cast<int>(i));
  std::unordered_set<const Value*> dead;
  for (Value* v : node->outputs_) {
    assert(v->uses_.empty() && !is_output(v));
    by_name_.erase(v->name_);
    dead.insert(v);
  }
  std::erase_if(values_, [&](const auto& v) { return dead.contains(v.get()); });
  nodes_.erase(node->position_);
}

void Graph::move_before(Node* node, Node* before) {
  nodes_.splice(before ? before->position_ : nodes_.end(), nodes_, node->position_);
}

bool Graph::comes_before(const Node* a, const Node* b) const {
  for (const auto& n : nodes_) {
    if (n.get() == b) return false;
    if (n.get() == a) return true;
  }
  return false;
}

void Graph::drop_unused_constants() {
  std::erase_if(values_, [&](const auto& v) {
    if (v->producer_ || !v->uses_.empty() || !v->is_constant() || is_output(v.get())) return false;
    by_name_.erase(v->name_);
    return true;
  });
}

void Graph::sort() {
  std::unordered_map<const Node*, size_t> waiting;
  for (const auto& n : nodes_) {
    size_t count = 0;
    for (const Value* v : n->inputs_) count += v && v->producer_ ? 1 : 0;
    waiting[n.get()] = count;
  }
  std::list<std::unique_ptr<Node>> sorted;
  std::vector<Node*> order = node_list();
  std::unordered_map<const Node*, size_t> rank;
  for (size_t i = 0; i < order.size(); ++i) rank[order[i]] = i;
  const auto later = [&](const Node* a, const Node* b) { return rank[a] > rank[b]; };
  std::vector<Node*> ready;
  for (Node* n : order)
    if (waiting[n] == 0) ready.push_back(n);
  std::make_heap(ready.begin(), ready.end(), later);
  while (!ready.empty()) {
    std::pop_heap(ready.begin(), ready.end(), later);
    Node* n = ready.back();
    ready.pop_back();
    sorted.splice(sorted.end(), nodes_, n->position_);
    for (const Value* v : n->outputs_)
      for (const Use& u : v->uses_)
        if (--waiting[u.node] == 0) {
          ready.push_back(u.node);
          std::push_heap(ready.begin(), ready.end(), later);
        }
  }
  if (!nodes_.empty()) {
    const Node& stuck = *nodes_.front();
    throw Error(ErrorCode::invalid_model, file + ": node '" + stuck.name() + "' (" + stuck.op().name +
                                              ") is part of a cycle or follows one; expected an acyclic graph");
  }
  nodes_ = std::move(sorted);
}

Value* Graph::find_value(std::string_view value_name) const {
  const auto it = by_name_.find(value_name);
  return it == by_name_.end() ? nullptr : it->second;
}

bool Graph::is_output(const Value* value) const {
  return std::find(outputs_.begin(), outputs_.end(), value) != outputs_.end();
}

std::unique_ptr<Graph> Graph::clone() const {
  auto copy = std::make_unique<Graph>();
  copy->name = name;
  copy->file = file;
  copy->next_name_ = next_name_;
  std::unordered_map<const Value*, Value*> map{{nullptr, nullptr}};
  const auto copy_value = [&](const Value* v) {
    Value* c = copy->new_value(v->name_);
    c->type_ = v->type_;
    c->constant_ = v->constant_;
    c->layout = v->layout;
    map[v] = c;
    return c;
  };
  for (const auto& v : values_)
    if (!v->producer_) copy_value(v.get());
  for (const auto& n : nodes_) {
    std::vector<Value*> in;
    for (const Value* v : n->inputs_) in.push_back(map.at(v));
    Node* c = copy->add_node(*n->op_, std::move(in), 0, n->name_);
    c->attrs_ = n->attrs_;
    for (auto& [key, value] : c->attrs_)
      if (auto* g = std::get_if<std::shared_ptr<Graph>>(&value); g && *g) *g = (*g)->clone();
    c->why = n->why;
    for (const Value* v : n->outputs_) {
      Value* o = copy_value(v);
      o->producer_ = c;
      c->outputs_.push_back(o);
    }
  }
  for (const Value* v : inputs_) copy->inputs_.push_back(map.at(v));
  for (const Value* v : outputs_) copy->outputs_.push_back(map.at(v));
  copy->output_names_ = output_names_;
  return copy;
}

std::vector<Value*> splice(Graph& graph, const Graph& body, const std::vector<Value*>& inputs, Node* before) {
  std::unordered_map<const Value*, Value*> map{{nullptr, nullptr}};
  for (size_t i = 0; i < inputs.size(); ++i) map[body.inputs()[i]] = inputs[i];
  const auto mapped = [&](const Value* v) {
    if (v && v->is_constant() && !map.contains(v)) {
      map[v] = graph.add_constant(v->constant(), v->name());
      map[v]->set_type(v->type());
    }
    return map.at(v);
  };
  for (const auto& node : body.nodes()) {
    std::vector<Value*> operands;
    for (const Value* v : node->inputs()) operands.push_back(mapped(v));
    Node* copy = graph.add_node(node->op(), std::move(operands), node->outputs().size(), node->name(), before);
    for (const auto& [key, value] : node->attrs()) {
      const auto* inner = std::get_if<std::shared_ptr<Graph>>(&value);
      copy->set_attr(key, inner && *inner ? Attribute(std::shared_ptr<Graph>((*inner)->clone())) : value);
    }
    copy->why = node->why;
    for (size_t i = 0; i < node->outputs().size(); ++i) {
      const Value* v = node->output(i);
      Value* c = copy->output(i);
      graph.rename(c, v->name());
      c->set_type(v->type());
      map[v] = c;
    }
  }
  std::vector<Value*> outputs;
  for (const Value* v : body.outputs()) outputs.push_back(mapped(v));
  return outputs;
}

}  // namespace octet::graph
