// The intermediate representation: a typed SSA graph with use lists.
//
//   Graph ── owns ──▶ Node ── produces ──▶ Value ── uses ──▶ (Node, input index)
//
// A Node is one application of an operator (`OpDef`) with attributes. Nodes stand in topological order in `Graph::nodes()`;
// every rewrite keeps that order. A Value is produced once: by a node, as a graph input, or as a constant (then `constant()`
// is defined). An absent optional input is a null Value.
//
// A Value's Type says element type, dimensions (known or symbolic), and, where its integers stand for real numbers, the
// quantization parameters. So one operator serves float and INT8: `Add` of two quantized values into a quantized value is
// the quantized add, and its definition says what that means. The logical shape of an image is always N, C, H, W; how it
// lies in memory is the value's `layout`, set by the layout pass and read by lowering.
//
// Operators of the standard ONNX domain are named as there, with the meaning of the newest opset: the importer normalises
// older ones. Operators of our own carry the prefix "octet." and come into being in passes:
//   octet.Conv    x, w, [bias], [residual], [x_scale], [x_zero_point]: convolution with its fused epilogue
//   octet.Gemm    the same for a matrix product x[..., K] * w[K, N]; octet.ConvTranspose for a transposed convolution
//   octet.Table   u8 -> u8 by a 256-entry table; octet.Attention and octet.Norm: ops/fused_attention.h and ops/fused_norm.h
//   octet.Reorder a change of layout; octet.Interleave the channels of several images by turns
//   octet.Region  a part of the graph whose shapes are known only at run time (engine/regions.h)
//
// A graph may be an attribute: the branches of If, the bodies of Loop, Scan and SequenceMap. Such a graph is closed: what it
// reads of its surroundings is an input of it, behind the inputs that the operator defines (`captures` of them, in the order
// in which the node lists them behind its own operands). So no rewrite outside need look inside, and the use lists tell the
// truth.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "graph/tensor.h"
#include "octet/types.h"

namespace octet::graph {

struct OpDef;
class Graph;
class Node;

// A dimension: known (value >= 0), or symbolic (value == -1; equal names are equal sizes, an empty name is unknown).
struct Dim {
  int64_t value = -1;
  std::string symbol;

  Dim() = default;
  Dim(int64_t v) : value(v) {}  // NOLINT: implicit, a known dimension is written as a number
  explicit Dim(std::string name) : symbol(std::move(name)) {}
  bool known() const { return value >= 0; }
  bool operator==(const Dim& other) const {
    return known() ? value == other.value : !other.known() && !symbol.empty() && symbol == other.symbol;
  }
};

struct Type {
  DType dtype = DType::undefined;
  std::optional<std::vector<Dim>> dims;  // absent: rank unknown
  std::shared_ptr<const QuantParams> quant;
  // Of a sequence or an optional, `dtype` and `dims` are those of the tensors inside.
  ValueKind kind = ValueKind::tensor;

  static Type known(DType dtype, const Shape& shape);
  bool ranked() const { return dims.has_value(); }
  int rank() const { return static_cast<int>(dims->size()); }
  bool is_tensor() const { return kind == ValueKind::tensor; }
  bool static_shape() const;  // a tensor, all of whose dimensions are known
  Shape shape() const;        // only when static_shape()
  bool quantized() const { return quant != nullptr; }
};
std::string to_string(const Type& type);  // "uint8[N,3,224,224] q(0.0078,128)"

// How an image of logical shape N, C, H, W lies in memory. Values that are no images are `plain`.
enum class Layout : uint8_t { plain, channels_last };

using Attribute = std::variant<int64_t, float, std::string, Tensor, std::vector<int64_t>, std::vector<float>,
                               std::vector<std::string>, std::shared_ptr<Graph>>;

struct Use {
  Node* node;
  int index;
};

class Value {
 public:
  const std::string& name() const { return name_; }
  const Type& type() const { return type_; }
  void set_type(Type type) { type_ = std::move(type); }
  DType dtype() const { return type_.dtype; }
  const QuantParams* quant() const { return type_.quant.get(); }
  Node* producer() const { return producer_; }  // null for inputs and constants
  const std::vector<Use>& uses() const { return uses_; }
  bool is_constant() const { return constant_.defined(); }
  const Tensor& constant() const { return constant_; }
  Layout layout = Layout::plain;

 private:
  friend class Graph;
  std::string name_;
  Type type_;
  Node* producer_ = nullptr;
  std::vector<Use> uses_;
  Tensor constant_;
};

class Node {
 public:
  const OpDef& op() const { return *op_; }
  std::string_view op_name() const;
  const std::string& name() const { return name_; }
  const std::vector<Value*>& inputs() const { return inputs_; }
  const std::vector<Value*>& outputs() const { return outputs_; }
  Value* input(size_t i) const { return i < inputs_.size() ? inputs_[i] : nullptr; }
  Value* output(size_t i = 0) const { return i < outputs_.size() ? outputs_[i] : nullptr; }

  bool has_attr(std::string_view key) const { return attrs_.find(key) != attrs_.end(); }
  // The attribute, or the given default. A wrong kind is a bug: the importer checks kinds against the schema.
  int64_t attr(std::string_view key, int64_t fallback) const;
  float attr(std::string_view key, float fallback) const;
  std::string attr(std::string_view key, const char* fallback) const;
  std::vector<int64_t> ints(std::string_view key) const;  // empty when absent
  std::vector<float> floats(std::string_view key) const;
  const Attribute* find_attr(std::string_view key) const;
  const std::map<std::string, Attribute, std::less<>>& attrs() const { return attrs_; }
  void set_attr(std::string key, Attribute value) { attrs_[std::move(key)] = std::move(value); }
  void erase_attr(std::string_view key);

  // The graphs among the attributes, in the attributes' order.
  std::vector<Graph*> subgraphs() const;

  // Why this node stayed in float or unfused; written by passes and lowering, shown by `octet inspect --why`.
  std::string why;

 private:
  friend class Graph;
  const OpDef* op_ = nullptr;
  std::string name_;
  std::vector<Value*> inputs_;
  std::vector<Value*> outputs_;
  std::map<std::string, Attribute, std::less<>> attrs_;
  std::list<std::unique_ptr<Node>>::iterator position_;
};

class Graph {
 public:
  std::string name;
  std::string file;  // where it came from, for messages

  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  std::unique_ptr<Graph> clone() const;

  const std::list<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  std::vector<Node*> node_list() const;  // a copy of the order, safe to walk while rewriting
  const std::vector<Value*>& inputs() const { return inputs_; }
  const std::vector<Value*>& outputs() const { return outputs_; }
  const std::vector<std::string>& output_names() const { return output_names_; }

  Value* add_input(std::string name, Type type);
  Value* add_constant(Tensor tensor, std::string name = {});
  // Names of outputs are kept apart from values, so that a rewrite may put another value behind an output's name.
  void add_output(Value* value, std::string name = {});
  void set_output(size_t index, Value* value);

  // A node before `before` (null: at the end), with `outputs` fresh values whose types infer_types fills in.
  Node* add_node(const OpDef& op, std::vector<Value*> inputs, size_t outputs = 1, std::string name = {},
                 Node* before = nullptr);
  Node* add_node(std::string_view op, std::vector<Value*> inputs, size_t outputs = 1, std::string name = {},
                 Node* before = nullptr);

  void set_input(Node* node, size_t index, Value* value);  // grows the list when needed
  void set_constant(Value* value, Tensor tensor);          // replaces a constant's content and type
  void rename(Value* value, std::string name);
  // Without uses left, an input leaves the interface; a node's operands behind `index` move up.
  void drop_input(size_t index);
  void drop_operand(Node* node, size_t index);
  // Every use of `from`, graph outputs included, becomes a use of `to`.
  void replace_uses(Value* from, Value* to);
  // The node must have no uses left. Inputs without any other use stay, for dead-code elimination.
  void erase(Node* node);
  void move_before(Node* node, Node* before);
  bool comes_before(const Node* a, const Node* b) const;  // linear in the number of nodes
  // Values without producer, uses or part in the interface.
  void drop_unused_constants();
  // Puts the nodes in topological order, stably; throws Error invalid_model naming a node on a cycle.
  void sort();

  Value* find_value(std::string_view name) const;
  bool is_output(const Value* value) const;
  // One use and not a graph output.
  bool single_use(const Value* value) const { return value->uses().size() == 1 && !is_output(value); }

 private:
  Value* new_value(std::string name);
  void drop_use(Value* value, const Node* node, int index);
  std::string fresh_name(std::string_view stem);

  std::vector<std::unique_ptr<Value>> values_;
  std::map<std::string, Value*, std::less<>> by_name_;
  std::list<std::unique_ptr<Node>> nodes_;
  std::vector<Value*> inputs_;
  std::vector<Value*> outputs_;
  std::vector<std::string> output_names_;
  int64_t next_name_ = 0;
};

// Forgets the dimensions of what nodes produce, in subgraphs too, so that inference starts from the inputs alone.
void forget_dims(Graph& graph);

// Fills in the types of all outputs by the definitions' inference, in order; throws Error naming the node.
void infer_types(Graph& graph);
void infer_types(Graph& graph, Node& node);

// Copies the nodes of `body` in front of `before` (null: to the end); `inputs` stand for its inputs. Gives what its outputs
// became.
std::vector<Value*> splice(Graph& graph, const Graph& body, const std::vector<Value*>& inputs, Node* before);

// Checks what every pass must keep: order, use lists, arity, attribute kinds, types that inference confirms.
// Throws std::logic_error naming the first violation: it is a bug of ours.
void verify(const Graph& graph);

// One line a node: `%y : uint8[1,64,56,56] q(0.02,0) = octet.Conv(%x, %w, %b) {strides = [1, 1]}  // name`
std::string print(const Graph& graph);

}  // namespace octet::graph
