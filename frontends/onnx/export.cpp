#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "frontends/onnx/attributes.h"
#include "frontends/onnx/draft.h"
#include "frontends/onnx/files.h"
#include "frontends/onnx/onnx.h"
#include "frontends/onnx/proto.h"
#include "graph/op_def.h"

namespace octet::onnx {

using graph::Graph;
using graph::Node;
using graph::Tensor;
using graph::Type;
using graph::Value;

namespace {

constexpr int kOldestOpset = 13;
constexpr int kNewestOpset = 24;
// Room below protobuf's 2 GB for everything that is not weights.
constexpr size_t kMaxInlineWeights = size_t{1900} << 20;
// Smaller tensors stay in the model file: shapes and scalars are read while it is loaded.
constexpr size_t kMinExternalBytes = 1024;
constexpr size_t kExternalAlignment = 64;

// From the ONNX table of versions (docs/Versioning.md).
int ir_version_of(int opset) {
  if (opset <= 14) return 7;
  if (opset <= 18) return 8;
  if (opset <= 20) return 9;
  if (opset <= 22) return 10;
  return 11;
}

// Operators that ONNX defines on reals only; the others move or make quanta and mean the same in a file.
bool computes(graph::QuantRole role) {
  using graph::QuantRole;
  return role == QuantRole::clamp || role == QuantRole::unary || role == QuantRole::product || role == QuantRole::binary ||
         role == QuantRole::average;
}

struct ExternalWriter {
  std::string location;
  AtomicFile file;
  uint64_t offset = 0;

  ExternalWriter(const std::string& path, std::string name) : location(std::move(name)), file(path) {}

  void append(const Tensor& tensor, const std::string& name, pb::TensorProto& proto) {
    const std::string padding((kExternalAlignment - offset % kExternalAlignment) % kExternalAlignment, '\0');
    file.write(padding);
    offset += padding.size();
    const std::string bytes = raw_data(tensor);
    file.write(bytes);
    describe_tensor(tensor, name, proto);
    proto.set_data_location(pb::TensorProto::EXTERNAL);
    const auto entry = [&](const char* key, std::string value) {
      auto* e = proto.add_external_data();
      e->set_key(key);
      e->set_value(std::move(value));
    };
    entry("location", location);
    entry("offset", std::to_string(offset));
    entry("length", std::to_string(bytes.size()));
    offset += bytes.size();
  }
};

class Exporter {
 public:
  // `outer`: of a subgraph, the exporter of the graph around it, and the names there of its last inputs, which it captures.
  Exporter(const Graph& graph, const ExportOptions& options, std::string file, const Exporter* outer = nullptr,
           std::vector<std::string> captured = {})
      : graph_(graph), options_(options), file_(std::move(file)), outer_(outer), captured_(std::move(captured)) {
    if (options_.opset < kOldestOpset || options_.opset > kNewestOpset)
      throw Error(ErrorCode::invalid_argument, file_ + ": opset " + std::to_string(options_.opset) +
                                                   " cannot be written; expected " + std::to_string(kOldestOpset) + " to " +
                                                   std::to_string(kNewestOpset));
    name_values();
    make_drafts();
  }

  size_t weight_bytes() const {
    size_t bytes = 0;
    for (const Value* c : constants_) bytes += c->constant().bytes();
    return bytes;
  }

  int least_opset(int opset) const {
    for (const DraftNode& draft : drafts_) opset = std::max(opset, required_opset(draft, opset, around_));
    for (const auto& [index, inner] : inner_)
      for (const auto& [name, exporter] : inner) opset = std::max(opset, exporter->least_opset(opset));
    return opset;
  }

  pb::ModelProto run(ExternalWriter* external) {
    pb::ModelProto model;
    const int opset = least_opset(options_.opset);
    model.set_ir_version(ir_version_of(opset));
    model.set_producer_name("octet");
    const auto import = [&](const std::string& domain, int version) {
      auto* entry = model.add_opset_import();
      entry->set_domain(domain);
      entry->set_version(version);
    };
    import("", opset);
    for (const std::string& domain : other_domains()) import(domain, 1);

    write(*model.mutable_graph(), opset, external);
    return model;
  }

 private:
  void write(pb::GraphProto& proto, int opset, ExternalWriter* external) const {
    proto.set_name(graph_.name.empty() ? "graph" : graph_.name);
    for (size_t i = 0; i + captured_.size() < graph_.inputs().size(); ++i)
      value_info(names_.at(graph_.inputs()[i]), graph_.inputs()[i]->type(), *proto.add_input());
    for (size_t i = 0; i < graph_.outputs().size(); ++i)
      value_info(output_names_[i], graph_.outputs()[i]->type(), *proto.add_output());
    std::unordered_set<std::string> used(output_names_.begin(), output_names_.end());
    for (const DraftNode& draft : drafts_) {
      const DraftNode spelled = denormalise(draft, opset, around_);
      used.insert(spelled.inputs.begin(), spelled.inputs.end());
      pb::NodeProto& node = *proto.add_node();
      node_to_proto(spelled, node);
      const auto inner = inner_.find(draft.index);
      if (inner == inner_.end()) continue;
      for (const auto& [name, exporter] : inner->second) {
        pb::AttributeProto& attribute = *node.add_attribute();
        attribute.set_name(name);
        attribute.set_type(pb::AttributeProto::GRAPH);
        exporter->write(*attribute.mutable_g(), opset, nullptr);
      }
    }
    for (const Value* c : constants_) {
      const std::string& name = names_.at(c);
      if (!used.contains(name)) continue;
      const bool outside = external && c->dtype() != DType::string && c->constant().bytes() >= kMinExternalBytes;
      if (outside)
        external->append(c->constant(), name, *proto.add_initializer());
      else
        tensor_to_proto(c->constant(), name, *proto.add_initializer());
    }
  }

  [[noreturn]] void refuse(const std::string& message) const { throw Error(ErrorCode::unsupported, file_ + ": " + message); }

  // Free here and in the graphs around: a name of theirs would be hidden.
  bool free_everywhere(const std::string& name) const {
    return !taken_.contains(name) && (outer_ == nullptr || outer_->free_everywhere(name));
  }

  std::string unique(const std::string& stem) {
    std::string name = stem;
    for (int i = 0; !free_everywhere(name); ++i) name = stem + "_" + std::to_string(i);
    taken_.insert(name);
    return name;
  }

  // Inside, no name means anything but to the graph; an output that is an input, or that two of them share, is copied.
  void name_values_inside() {
    const size_t own = graph_.inputs().size() - captured_.size();
    for (size_t i = 0; i < graph_.inputs().size(); ++i)
      names_[graph_.inputs()[i]] = i < own ? unique(graph_.inputs()[i]->name()) : captured_[i - own];
    std::unordered_set<const Value*> seen(graph_.inputs().begin(), graph_.inputs().end());
    for (const Value* v : graph_.outputs()) {
      const bool copied = v->is_constant() || !seen.insert(v).second;
      output_names_.push_back(unique(v->name()));
      if (copied)
        outputs_by_identity_[output_names_.back()] = v;
      else
        names_[v] = output_names_.back();
    }
  }

  // A value behind an output goes by the output's name; whoever else has that name gets another.
  void name_values() {
    if (outer_)
      name_values_inside();
    else
      name_interface();
    const auto visit = [&](const Value* v) {
      if (v == nullptr) return;
      if (!names_.contains(v)) names_[v] = unique(v->name());
      if (v->is_constant() && constant_seen_.insert(v).second) constants_.push_back(v);
      by_name_[names_.at(v)] = v;
    };
    for (const Value* v : graph_.inputs()) visit(v);
    for (const auto& node : graph_.nodes()) {
      for (const Value* v : node->inputs()) visit(v);
      for (const Value* v : node->outputs()) visit(v);
    }
    for (const Value* v : graph_.outputs()) visit(v);
  }

  void name_interface() {
    output_names_ = graph_.output_names();
    std::unordered_set<std::string> outputs;
    for (const std::string& name : graph_.output_names())
      if (!outputs.insert(name).second) refuse("output '" + printable(name) + "' is listed twice");
    for (const Value* input : graph_.inputs()) {
      names_[input] = input->name();
      taken_.insert(input->name());
    }
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const Value* value = graph_.outputs()[i];
      const std::string& name = graph_.output_names()[i];
      const bool unnamed = !names_.contains(value);
      if (unnamed && taken_.insert(name).second)
        names_[value] = name;
      else if (unnamed || names_.at(value) != name)
        outputs_by_identity_[name] = value;
    }
    for (const auto& [name, value] : outputs_by_identity_)
      if (!taken_.insert(name).second) refuse("output '" + printable(name) + "' has the name of an input that it is not");
  }

  void make_drafts() {
    for (const auto& node : graph_.nodes()) {
      DraftNode draft;
      draft.index = drafts_.size();
      draft.op = node->op_name();
      draft.name = node->name();
      for (const Value* v : node->inputs()) draft.inputs.push_back(v ? names_.at(v) : std::string());
      for (const Value* v : node->outputs()) draft.outputs.push_back(names_.at(v));
      draft.attrs = node->attrs();
      if (!node->subgraphs().empty()) export_subgraphs(*node, draft);
      if (draft.op == "Optional" && draft.attrs.contains("type"))
        refuse(describe(draft) + ": an optional that holds nothing cannot be written");
      if (draft.op.starts_with("octet."))
        refuse(describe(draft) + ": is no ONNX operator; export the graph before it is optimized for execution");
      for (const Value* v : node->outputs())
        if (v->type().quantized() && computes(node->op().quant))
          refuse(describe(draft) + ": computes on quantized values; export the graph before it is optimized for execution");
      drafts_.push_back(std::move(draft));
    }
    for (const auto& [name, value] : outputs_by_identity_) {
      DraftNode draft;
      draft.index = drafts_.size();
      draft.op = "Identity";
      draft.inputs = {names_.at(value)};
      draft.outputs = {name};
      drafts_.push_back(std::move(draft));
    }
  }

  // What they capture is no operand in a file: it goes by its name.
  void export_subgraphs(const Node& node, DraftNode& draft) {
    if (node.attr("batched", int64_t{0}) != 0)
      refuse(describe(draft) + ": is a Scan of opset 8, which newer opsets cannot say");
    const auto captures = static_cast<size_t>(node.attr("captures", int64_t{0}));
    const std::vector<std::string> captured(draft.inputs.end() - static_cast<std::ptrdiff_t>(captures), draft.inputs.end());
    draft.inputs.resize(draft.inputs.size() - captures);
    while (!draft.inputs.empty() && draft.inputs.back().empty()) draft.inputs.pop_back();
    draft.attrs.erase("captures");
    draft.attrs.erase("batched");
    for (const auto& [key, value] : node.attrs()) {
      const auto* inner = std::get_if<std::shared_ptr<Graph>>(&value);
      if (!inner) continue;
      draft.attrs.erase(key);
      inner_[draft.index].emplace_back(key, std::make_unique<Exporter>(**inner, options_, file_, this, captured));
    }
  }

  std::vector<std::string> other_domains() const {
    std::vector<std::string> domains;
    for (const DraftNode& draft : drafts_)
      if (const size_t dot = draft.op.rfind('.'); dot != std::string::npos) domains.push_back(draft.op.substr(0, dot));
    for (const auto& [index, inner] : inner_)
      for (const auto& [name, exporter] : inner)
        for (std::string& domain : exporter->other_domains()) domains.push_back(std::move(domain));
    std::sort(domains.begin(), domains.end());
    domains.erase(std::unique(domains.begin(), domains.end()), domains.end());
    return domains;
  }

  void node_to_proto(const DraftNode& node, pb::NodeProto& proto) const {
    const size_t dot = node.op.rfind('.');
    proto.set_op_type(dot == std::string::npos ? node.op : node.op.substr(dot + 1));
    if (dot != std::string::npos) proto.set_domain(node.op.substr(0, dot));
    if (!node.name.empty()) proto.set_name(node.name);
    for (const std::string& name : node.inputs) proto.add_input(name);
    for (const std::string& name : node.outputs) proto.add_output(name);
    for (const auto& [key, value] : node.attrs) {
      attribute_to_proto(key, value, *proto.add_attribute());
    }
  }

  static void value_info(const std::string& name, const Type& type, pb::ValueInfoProto& proto) {
    proto.set_name(name);
    pb::TypeProto* holder = proto.mutable_type();
    if (type.kind == graph::ValueKind::optional || type.kind == graph::ValueKind::optional_sequence)
      holder = holder->mutable_optional_type()->mutable_elem_type();
    if (type.kind == graph::ValueKind::sequence || type.kind == graph::ValueKind::optional_sequence)
      holder = holder->mutable_sequence_type()->mutable_elem_type();
    auto& tensor = *holder->mutable_tensor_type();
    tensor.set_elem_type(data_type_of(type.dtype));
    if (!type.ranked()) return;
    auto& shape = *tensor.mutable_shape();
    for (const graph::Dim& d : *type.dims) {
      auto* dim = shape.add_dim();
      if (d.known())
        dim->set_dim_value(d.value);
      else if (!d.symbol.empty())
        dim->set_dim_param(d.symbol);
    }
  }

  const Graph& graph_;
  const ExportOptions& options_;
  const std::string file_;
  const Exporter* outer_;
  const std::vector<std::string> captured_;
  std::vector<std::string> output_names_;
  std::map<size_t, std::vector<std::pair<std::string, std::unique_ptr<Exporter>>>> inner_;  // of a draft, by attribute
  std::unordered_map<const Value*, std::string> names_;
  std::unordered_map<std::string, const Value*> by_name_;
  std::unordered_set<std::string> taken_;
  std::map<std::string, const Value*> outputs_by_identity_;
  std::vector<const Value*> constants_;
  std::unordered_set<const Value*> constant_seen_;
  std::vector<DraftNode> drafts_;
  const Surroundings around_{.file = file_,
                             .type_of =
                                 [this](const std::string& name) {
                                   const auto it = by_name_.find(name);
                                   return it == by_name_.end() ? nullptr : &it->second->type();
                                 },
                             .constant_of =
                                 [this](const std::string& name) {
                                   const auto it = by_name_.find(name);
                                   const bool known = it != by_name_.end() && it->second->is_constant();
                                   return known ? &it->second->constant() : nullptr;
                                 },
                             .is_used = {},
                             .add_constant = {},
                             .new_name = {}};
};

std::string serialise(const pb::ModelProto& model, const std::string& file) {
  std::string bytes;
  if (model.ByteSizeLong() > static_cast<size_t>(std::numeric_limits<int32_t>::max()) || !model.SerializeToString(&bytes))
    throw Error(ErrorCode::unsupported, file + ": does not fit into protobuf's 2 GB; export it with external data");
  return bytes;
}

}  // namespace

std::string export_bytes(const Graph& graph, const ExportOptions& options) {
  const std::string file = graph.file.empty() ? "graph" : graph.file;
  return serialise(Exporter(graph, options, file).run(nullptr), file);
}

void export_model(const Graph& graph, const std::string& path, const ExportOptions& options) {
  Exporter exporter(graph, options, path);
  if (!options.external_data && exporter.weight_bytes() <= kMaxInlineWeights) {
    const std::string bytes = serialise(exporter.run(nullptr), path);
    AtomicFile file(path);
    file.write(bytes);
    file.commit();
    return;
  }
  const size_t slash = path.rfind('/');
  ExternalWriter external(path + ".data", (slash == std::string::npos ? path : path.substr(slash + 1)) + ".data");
  const std::string bytes = serialise(exporter.run(&external), path);
  AtomicFile file(path);
  file.write(bytes);
  external.file.commit();
  file.commit();
}

}  // namespace octet::onnx
