#include <algorithm>
#include <limits>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "frontends/onnx/attributes.h"
#include "frontends/onnx/draft.h"
#include "frontends/onnx/files.h"
#include "frontends/onnx/onnx.h"
#include "frontends/onnx/proto.h"

namespace octet::onnx {

using graph::Graph;
using graph::Tensor;
using graph::Type;
using graph::Value;

namespace {

constexpr int64_t kOldestOpset = 1;

// The opset of the standard operators. Throws where a model gives none, or two.
int64_t opset_of(const pb::ModelProto& model, const std::string& file) {
  int64_t opset = 0;
  for (const auto& import : model.opset_import()) {
    if (!import.domain().empty() && import.domain() != "ai.onnx") continue;
    if (opset != 0 && opset != import.version())
      throw Error(ErrorCode::invalid_model, file + ": imports the standard operators twice, as opset " +
                                                std::to_string(opset) + " and " + std::to_string(import.version()));
    opset = import.version();
  }
  if (opset == 0) {
    const auto standard = [](const auto& n) { return n.domain().empty() || n.domain() == "ai.onnx"; };
    if (std::any_of(model.graph().node().begin(), model.graph().node().end(), standard))
      throw Error(ErrorCode::invalid_model, file + ": does not say which opset its operators are of; expected opset " +
                                                std::to_string(kOldestOpset) + " or later");
    return std::numeric_limits<int64_t>::max();
  }
  if (opset < kOldestOpset)
    throw Error(ErrorCode::unsupported, file + ": uses opset " + std::to_string(opset) + ", expected " +
                                            std::to_string(kOldestOpset) +
                                            " or later; convert it with onnx.version_converter");
  return opset;
}

// A value of the surroundings that a subgraph reads.
struct Capture {
  std::string name;
  Value* value;
};

// One graph: that of the model, or one among a node's attributes, which is given what it captures.
class Importer {
 public:
  Importer(pb::GraphProto& proto, int64_t opset, Origin origin, const std::vector<Capture>* captures = nullptr,
           int depth = 0)
      : proto_(proto), origin_(std::move(origin)), opset_(opset), captures_(captures), depth_(depth) {}

  std::unique_ptr<Graph> run() {
    check_graph();
    read_names();
    graph_->name = proto_.name();
    graph_->file = origin_.file;
    add_initializers_and_inputs();
    read_nodes();
    add_captures();
    for (const size_t i : topological_order()) {
      DraftNode& draft = drafts_[i];
      if (draft.op == "Constant") {
        add_constant_node(draft);
        continue;
      }
      for (DraftNode& node : normalise(std::move(draft), opset_, around_)) add_node(node);
    }
    add_outputs();
    graph_->drop_unused_constants();
    return std::move(graph_);
  }

 private:
  struct Subgraph {
    std::string attribute;
    pb::GraphProto* proto;
  };

  [[noreturn]] void fail(ErrorCode code, const std::string& message) const {
    throw Error(code, origin_.file + ": " + message);
  }
  [[noreturn]] void fail(const DraftNode& node, const std::string& message) const {
    fail(ErrorCode::invalid_model, describe(node) + ": " + message);
  }

  bool nested() const { return captures_ != nullptr; }

  void check_graph() {
    if (depth_ > kDeepest) fail(ErrorCode::unsupported, "nests subgraphs more than " + std::to_string(kDeepest) + " deep");
    if (proto_.sparse_initializer_size() > 0)
      fail(ErrorCode::unsupported, "has sparse initializers, which are not supported");
    if (proto_.output_size() == 0) fail(ErrorCode::invalid_model, "the graph has no outputs");
  }

  // Every name of the file must be known before helpers are named.
  void read_names() {
    for (const auto& t : proto_.initializer()) names_.insert(t.name());
    for (const auto& i : proto_.input()) names_.insert(i.name());
    for (const auto& n : proto_.node()) {
      for (const auto& i : n.input()) {
        names_.insert(i);
        used_.insert(i);
      }
      for (const std::string& name : free_names(n)) {
        names_.insert(name);
        used_.insert(name);
      }
      for (const auto& o : n.output()) names_.insert(o);
    }
    for (const auto& o : proto_.output()) used_.insert(o.name());
  }

  std::string new_name(const std::string& stem) {
    std::string name = stem;
    for (int i = 0; !names_.insert(name).second; ++i) name = stem + "_" + std::to_string(i);
    return name;
  }

  Type type_of_input(const pb::ValueInfoProto& info) const {
    const std::string what = "input '" + printable(info.name()) + "'";
    // What goes into a subgraph is known from the node that has it.
    if (nested() && info.type().tensor_type().elem_type() == 0 && !info.type().has_sequence_type() &&
        !info.type().has_optional_type())
      return {};
    if (info.type().has_sequence_type() || info.type().has_optional_type()) return type_of_holder(info.type(), what);
    if (!info.type().has_tensor_type())
      fail(info.has_type() ? ErrorCode::unsupported : ErrorCode::invalid_model, what + " is not a tensor; expected one");
    const auto& tensor = info.type().tensor_type();
    Type type;
    type.dtype = dtype_of(tensor.elem_type());
    if (type.dtype == DType::undefined)
      fail(tensor.elem_type() <= 0 ? ErrorCode::invalid_model : ErrorCode::unsupported,
           what + " has element type " + std::to_string(tensor.elem_type()) + ", which is not supported");
    if (!tensor.has_shape()) return type;
    constexpr int64_t kMaxElements = int64_t{1} << 48;
    int64_t elements = 1;
    type.dims.emplace();
    for (const auto& d : tensor.shape().dim()) {
      // Some exporters write -1 for a size that is not known.
      if (!d.has_dim_value() || d.dim_value() == -1) {
        type.dims->push_back(graph::Dim(d.dim_param()));
        continue;
      }
      if (d.dim_value() < 0)
        fail(ErrorCode::invalid_model, what + " has the negative dimension " + std::to_string(d.dim_value()));
      if (d.dim_value() > kMaxElements / std::max<int64_t>(elements, 1))
        fail(ErrorCode::invalid_model, what + " has dimensions whose product overflows");
      elements *= d.dim_value();
      type.dims->push_back(graph::Dim(d.dim_value()));
    }
    return type;
  }

  // A sequence, an optional tensor or an optional sequence. Shapes of elements are told by the elements.
  Type type_of_holder(const pb::TypeProto& proto, const std::string& what) const {
    const pb::TypeProto* inner = &proto;
    const bool optional = inner->has_optional_type();
    if (optional) inner = &inner->optional_type().elem_type();
    const bool sequence = inner->has_sequence_type();
    if (sequence) inner = &inner->sequence_type().elem_type();
    Type type;
    type.dtype = inner->has_tensor_type() ? dtype_of(inner->tensor_type().elem_type()) : DType::undefined;
    if (type.dtype == DType::undefined)
      fail(ErrorCode::unsupported, what + " is neither a tensor, a sequence of tensors, nor an optional of one of these");
    type.kind =
        optional ? sequence ? graph::ValueKind::optional_sequence : graph::ValueKind::optional : graph::ValueKind::sequence;
    return type;
  }

  void define(const std::string& name, Value* value) { values_[name] = value; }

  // Behind the operands of the graph's own; a constant is one in here, too.
  void add_captures() {
    if (!nested()) return;
    for (const Capture& capture : *captures_) {
      const bool shadowed = values_.contains(capture.name) || producer_.contains(capture.name);
      const std::string name = shadowed ? new_name(capture.name) : capture.name;
      // Sizes are left to the operator around: a branch that is not taken may be wrong for them.
      graph::Type type = capture.value->type();
      if (type.ranked()) type.dims.emplace(type.dims->size());
      Value* value = capture.value->is_constant() ? graph_->add_constant(capture.value->constant(), name)
                                                  : graph_->add_input(name, std::move(type));
      if (!shadowed) define(name, value);
    }
  }

  // The names a node's subgraphs read from around them, in order of first use.
  static std::vector<std::string> free_names(const pb::NodeProto& node) {
    std::vector<std::string> names;
    std::unordered_set<std::string> seen;
    for (const auto& a : node.attribute())
      if (a.has_g()) collect_free(a.g(), names, seen, 0);
    return names;
  }

  static void collect_free(const pb::GraphProto& graph, std::vector<std::string>& names,
                           std::unordered_set<std::string>& seen, int depth) {
    if (depth > kDeepest) return;  // refused when that graph is reached
    std::unordered_set<std::string> local;
    for (const auto& i : graph.input()) local.insert(i.name());
    for (const auto& t : graph.initializer()) local.insert(t.name());
    for (const auto& n : graph.node()) local.insert(n.output().begin(), n.output().end());
    const auto use = [&](const std::string& name) {
      if (!name.empty() && !local.contains(name) && seen.insert(name).second) names.push_back(name);
    };
    for (const auto& n : graph.node()) {
      for (const auto& input : n.input()) use(input);
      std::vector<std::string> inner;
      std::unordered_set<std::string> inner_seen;
      for (const auto& a : n.attribute())
        if (a.has_g()) collect_free(a.g(), inner, inner_seen, depth + 1);
      for (const std::string& name : inner) use(name);
    }
    for (const auto& o : graph.output()) use(o.name());
  }

  void add_initializers_and_inputs() {
    std::unordered_set<std::string> initialized, seen;
    for (const auto& t : proto_.initializer())
      if (!initialized.insert(t.name()).second)
        fail(ErrorCode::invalid_model, "initializer '" + printable(t.name()) + "' is defined twice");
    for (const auto& input : proto_.input()) {
      if (input.name().empty()) fail(ErrorCode::invalid_model, "an input of the graph has no name");
      if (!seen.insert(input.name()).second)
        fail(ErrorCode::invalid_model, "input '" + printable(input.name()) + "' is defined twice");
      if (!initialized.contains(input.name())) define(input.name(), graph_->add_input(input.name(), type_of_input(input)));
    }
    for (auto& t : *proto_.mutable_initializer()) {
      if (t.name().empty()) fail(ErrorCode::invalid_model, "an initializer has no name");
      Tensor tensor = tensor_of(t, {origin_.file, origin_.folder, "initializer '" + printable(t.name()) + "'"});
      const std::string name = t.name();
      delete t.release_raw_data();
      define(name, graph_->add_constant(std::move(tensor), name));
    }
  }

  void read_nodes() {
    drafts_.reserve(static_cast<size_t>(proto_.node_size()));
    for (auto& n : *proto_.mutable_node()) {
      DraftNode draft;
      draft.index = drafts_.size();
      draft.name = n.name();
      const bool standard = n.domain().empty() || n.domain() == "ai.onnx";
      draft.op = standard ? n.op_type() : n.domain() + "." + n.op_type();
      draft.inputs.assign(n.input().begin(), n.input().end());
      draft.outputs.assign(n.output().begin(), n.output().end());
      while (!draft.inputs.empty() && draft.inputs.back().empty()) draft.inputs.pop_back();
      while (!draft.outputs.empty() && draft.outputs.back().empty()) draft.outputs.pop_back();
      if (standard && draft.op.find('.') != std::string::npos)
        fail(ErrorCode::unsupported, describe(draft) + ": no such operator in the standard domain");
      if (draft.outputs.empty()) fail(draft, "produces nothing");
      for (const std::string& output : draft.outputs)
        if (!output.empty() && (values_.contains(output) || !producer_.emplace(output, draft.index).second))
          fail(draft, "output '" + printable(output) + "' is defined twice");
      draft.attrs = attributes_of(n, draft, origin_);
      for (auto& a : *n.mutable_attribute())
        if (a.has_g() && !a.has_t()) subgraphs_[draft.index].push_back({a.name(), a.mutable_g()});
      if (subgraphs_.contains(draft.index)) captured_[draft.index] = free_names(n);
      drafts_.push_back(std::move(draft));
    }
  }

  // Drafts in an order in which every operand comes before its use, that of the file where it is one already.
  std::vector<size_t> topological_order() const {
    std::vector<size_t> waiting(drafts_.size(), 0);
    std::vector<std::vector<size_t>> consumers(drafts_.size());
    for (const DraftNode& draft : drafts_) {
      for (size_t i = 0; i < draft.inputs.size(); ++i) {
        const std::string& input = draft.inputs[i];
        if (input.empty() || values_.contains(input)) continue;
        const auto it = producer_.find(input);
        if (it == producer_.end())
          fail(draft, "input " + std::to_string(i) + " '" + printable(input) +
                          "' is neither an input of the graph, an initializer nor the output of a node");
        consumers[it->second].push_back(draft.index);
        ++waiting[draft.index];
      }
      const auto captured = captured_.find(draft.index);
      if (captured == captured_.end()) continue;
      for (const std::string& name : captured->second) {
        if (values_.contains(name)) continue;
        const auto it = producer_.find(name);
        if (it == producer_.end())
          fail(draft, "a subgraph reads '" + printable(name) + "', which is defined neither in it nor around it");
        consumers[it->second].push_back(draft.index);
        ++waiting[draft.index];
      }
    }
    std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
    for (size_t i = 0; i < drafts_.size(); ++i)
      if (waiting[i] == 0) ready.push(i);
    std::vector<size_t> order;
    while (!ready.empty()) {
      order.push_back(ready.top());
      ready.pop();
      for (const size_t c : consumers[order.back()])
        if (--waiting[c] == 0) ready.push(c);
    }
    if (order.size() != drafts_.size()) fail(on_cycle(waiting), "is part of a cycle; expected an acyclic graph");
    return order;
  }

  // Walks from any node that was never ready to what it waits for; the first one met twice is on a cycle.
  const DraftNode& on_cycle(const std::vector<size_t>& waiting) const {
    size_t at = 0;
    while (waiting[at] == 0) ++at;
    std::unordered_set<size_t> seen;
    while (seen.insert(at).second) {
      std::vector<std::string> reads = drafts_[at].inputs;
      if (const auto captured = captured_.find(at); captured != captured_.end())
        reads.insert(reads.end(), captured->second.begin(), captured->second.end());
      for (const std::string& input : reads) {
        const auto it = producer_.find(input);
        if (it == producer_.end() || waiting[it->second] == 0) continue;
        at = it->second;
        break;
      }
    }
    return drafts_[at];
  }

  void add_constant_node(const DraftNode& draft) {
    if (draft.attrs.size() != 1 || !draft.inputs.empty() || draft.outputs.size() != 1)
      fail(draft, "expected one attribute that gives the value, no inputs and one output");
    const auto& [key, value] = *draft.attrs.begin();
    const auto count = [](const auto& list) { return Shape{static_cast<int64_t>(list.size())}; };
    Tensor tensor;
    if (const auto* t = std::get_if<Tensor>(&value); t && key == "value") tensor = *t;
    if (const auto* f = std::get_if<float>(&value); f && key == "value_float") tensor = Tensor::scalar(*f);
    if (const auto* i = std::get_if<int64_t>(&value); i && key == "value_int")
      tensor = Tensor::of<int64_t>(DType::s64, {}, {*i});
    if (const auto* s = std::get_if<std::string>(&value); s && key == "value_string") tensor = Tensor({}, {*s});
    if (const auto* f = std::get_if<std::vector<float>>(&value); f && key == "value_floats")
      tensor = Tensor::of<float>(DType::f32, count(*f), *f);
    if (const auto* i = std::get_if<std::vector<int64_t>>(&value); i && key == "value_ints") tensor = Tensor::of_s64(*i);
    if (const auto* s = std::get_if<std::vector<std::string>>(&value); s && key == "value_strings")
      tensor = Tensor(count(*s), *s);
    if (!tensor.defined())
      fail(draft,
           "attribute '" + printable(key) + "' is " + std::string(to_string(kind_of(value))) +
               "; expected value (tensor), value_float, value_floats, value_int, value_ints, value_string or value_strings");
    define(draft.outputs[0], graph_->add_constant(std::move(tensor), draft.outputs[0]));
  }

  void add_node(const DraftNode& draft) {
    const graph::OpDef& op = checked_op(draft, origin_.file);
    std::vector<Value*> inputs;
    for (const std::string& name : draft.inputs) inputs.push_back(name.empty() ? nullptr : values_.at(name));
    Attributes attrs = draft.attrs;
    if (const auto found = subgraphs_.find(draft.index); found != subgraphs_.end())
      import_subgraphs(op, draft, found->second, inputs, attrs);
    graph::Node* node = graph_->add_node(op, std::move(inputs), draft.outputs.size(), draft.name);
    for (const auto& [key, value] : attrs) node->set_attr(key, value);
    // First out of each other's way: the graph gave the outputs names that may be names of the file.
    for (size_t i = 0; i < draft.outputs.size(); ++i) graph_->rename(node->output(i), new_name(draft.outputs[0] + "_out"));
    for (size_t i = 0; i < draft.outputs.size(); ++i) {
      if (draft.outputs[i].empty()) continue;
      graph_->rename(node->output(i), draft.outputs[i]);
      define(draft.outputs[i], node->output(i));
    }
    infer(draft, *node);
  }

  // All subgraphs of a node take the same captures, behind the node's own operands.
  void import_subgraphs(const graph::OpDef& op, const DraftNode& draft, const std::vector<Subgraph>& subgraphs,
                        std::vector<Value*>& inputs, Attributes& attrs) {
    std::vector<Capture> captures;
    for (const std::string& name : captured_.at(draft.index)) captures.push_back({name, values_.at(name)});
    for (const Subgraph& s : subgraphs) {
      Origin origin = origin_;
      attrs[s.attribute] =
          std::shared_ptr<Graph>(Importer(*s.proto, opset_, std::move(origin), &captures, depth_ + 1).run());
    }
    std::erase_if(captures, [](const Capture& c) { return c.value->is_constant(); });
    if (captures.empty()) return;
    // Absent operands at the end are kept where more follow.
    const auto own =
        static_cast<size_t>(std::count_if(op.inputs.begin(), op.inputs.end(), [](const auto& i) { return !i.variadic; }));
    if (inputs.size() < own) inputs.resize(own, nullptr);
    for (const Capture& c : captures) inputs.push_back(c.value);
    attrs["captures"] = static_cast<int64_t>(captures.size());
  }

  // Inference speaks of nodes by name and quotes attributes as they are; files may have neither names nor manners.
  void infer(const DraftNode& draft, graph::Node& node) {
    try {
      graph::infer_types(*graph_, node);
    } catch (const Error& e) {
      std::string message = e.what();
      const std::string unnamed = "node '' (" + draft.op + ")";
      if (const size_t at = message.find(unnamed); at != std::string::npos)
        message.replace(at, unnamed.size(), describe(draft));
      for (char& c : message) c = static_cast<unsigned char>(c) < 0x20 ? '?' : c;
      throw Error(e.code(), message);
    }
  }

  void add_outputs() {
    std::unordered_set<std::string> seen;
    for (const auto& output : proto_.output()) {
      const std::string what = "output '" + printable(output.name()) + "'";
      if (!seen.insert(output.name()).second && !nested()) fail(ErrorCode::invalid_model, what + " is listed twice");
      const auto it = values_.find(output.name());
      if (it == values_.end()) fail(ErrorCode::invalid_model, what + " of the graph is produced by no node");
      const DType declared =
          output.type().has_tensor_type() ? dtype_of(output.type().tensor_type().elem_type()) : DType::undefined;
      const DType inferred = it->second->dtype();
      if (declared != DType::undefined && inferred != DType::undefined && declared != inferred)
        fail(ErrorCode::invalid_model, what + " is declared " + std::string(to_string(declared)) +
                                           ", but the graph computes " + std::string(to_string(inferred)));
      graph_->add_output(it->second, output.name());
    }
  }

  static constexpr int kDeepest = 32;

  pb::GraphProto& proto_;
  Origin origin_;
  int64_t opset_;
  const std::vector<Capture>* captures_;
  int depth_;
  std::unique_ptr<Graph> graph_ = std::make_unique<Graph>();
  std::unordered_set<std::string> names_, used_;
  std::unordered_map<std::string, Value*> values_;
  std::unordered_map<std::string, size_t> producer_;  // output name → draft
  std::vector<DraftNode> drafts_;
  std::unordered_map<size_t, std::vector<Subgraph>> subgraphs_;    // of a draft, as the file has them
  std::unordered_map<size_t, std::vector<std::string>> captured_;  // what these read of this graph and those around it
  const Surroundings around_{.file = origin_.file,
                             .type_of =
                                 [this](const std::string& name) {
                                   const auto it = values_.find(name);
                                   return it == values_.end() ? nullptr : &it->second->type();
                                 },
                             .constant_of =
                                 [this](const std::string& name) {
                                   const auto it = values_.find(name);
                                   return it == values_.end() || !it->second->is_constant() ? nullptr
                                                                                            : &it->second->constant();
                                 },
                             .is_used = [this](const std::string& name) { return used_.contains(name); },
                             .add_constant =
                                 [this](const std::string& stem, Tensor tensor) {
                                   const std::string name = new_name(stem);
                                   define(name, graph_->add_constant(std::move(tensor), name));
                                   return name;
                                 },
                             .new_name = [this](const std::string& stem) { return new_name(stem); }};
};

std::unique_ptr<Graph> import_proto(pb::ModelProto& model, const std::string& file, const std::string& folder) {
  if (!model.has_graph()) throw Error(ErrorCode::invalid_model, file + ": is not an ONNX model: it contains no graph");
  return Importer(*model.mutable_graph(), opset_of(model, file), {file, folder, {}}).run();
}

void parse(const void* data, size_t size, const std::string& file, pb::ModelProto& model) {
  if (size == 0) throw Error(ErrorCode::invalid_model, file + ": is empty, expected an ONNX model");
  if (size > std::numeric_limits<int32_t>::max() || !model.ParseFromArray(data, static_cast<int>(size)))
    throw Error(ErrorCode::invalid_model, file + ": is not an ONNX model: its protobuf data is damaged or truncated");
}

}  // namespace

std::unique_ptr<Graph> import_bytes(std::span<const std::byte> bytes, const std::string& file_label,
                                    const std::string& folder) {
  pb::ModelProto model;
  parse(bytes.data(), bytes.size(), file_label, model);
  return import_proto(model, file_label, folder);
}

std::unique_ptr<Graph> import_model(const std::string& path) {
  pb::ModelProto model;
  {
    const std::string bytes = read_file(path, std::numeric_limits<int32_t>::max());
    parse(bytes.data(), bytes.size(), path, model);
  }
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  return import_proto(model, path, folder);
}

}  // namespace octet::onnx
