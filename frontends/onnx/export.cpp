#include <algorithm>
#include <limits>
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
  Exporter(const Graph& graph, const ExportOptions& options, std::string file)
      : graph_(graph), options_(options), file_(std::move(file)) {
    if (options_.opset < kOldestOpset || options_.opset > kNewestOpset)
      throw Error(ErrorCode::invalid_argument, file_ + ": opset " + std::to_string(options_.opset) + " cannot be written; expected " +
                                                   std::to_string(kOldestOpset) + " to " + std::to_string(kNewestOpset));
    name_values();
    make_drafts();
  }

  size_t weight_bytes() const {
    size_t bytes = 0;
    for (const Value* c : constants_) bytes += c->constant().bytes();
    return bytes;
  }

  pb::ModelProto run(ExternalWriter* external) {
    pb::ModelProto model;
    int opset = options_.opset;
    for (const DraftNode& draft : drafts_) opset = std::max(opset, required_opset(draft, opset, around_));
    model.set_ir_version(ir_version_of(opset));
    model.set_producer_name("octet");
    const auto import = [&](const std::string& domain, int version) {
      auto* entry = model.add_opset_import();
      entry->set_domain(domain);
      entry->set_version(version);
    };
    import("", opset);
    for (const std::string& domain : other_domains()) import(domain, 1);

    pb::GraphProto& proto = *model.mutable_graph();
    proto.set_name(graph_.name.empty() ? "graph" : graph_.name);
    for (const Value* input : graph_.inputs()) value_info(names_.at(input), input->type(), *proto.add_input());
    for (size_t i = 0; i < graph_.outputs().size(); ++i)
      value_info(graph_.output_names()[i], graph_.outputs()[i]->type(), *proto.add_output());
    std::unordered_set<std::string> used(graph_.output_names().begin(), graph_.output_names().end());
    for (const DraftNode& draft : drafts_) {
      const DraftNode spelled = denormalise(draft, opset, around_);
      used.insert(spelled.inputs.begin(), spelled.inputs.end());
      node_to_proto(spelled, *proto.add_node());
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
    return model;
  }

 private:
  [[noreturn]] void refuse(const std::string& message) const { throw Error(ErrorCode::unsupported, file_ + ": " + message); }

  std::string unique(const std::string& stem) {
    std::string name = stem;
    for (int i = 0; !taken_.insert(name).second; ++i) name = stem + "_" + std::to_string(i);
    return name;
  }

  // A value behind an output goes by the output's name; whoever else has that name gets another.
  void name_values() {
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

  void make_drafts() {
    for (const auto& node : graph_.nodes()) {
      DraftNode draft;
      draft.index = drafts_.size();
      draft.op = node->op_name();
      draft.name = node->name();
      for (const Value* v : node->inputs()) draft.inputs.push_back(v ? names_.at(v) : std::string());
      for (const Value* v : node->outputs()) draft.outputs.push_back(names_.at(v));
      draft.attrs = node->attrs();
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

  std::vector<std::string> other_domains() const {
    std::vector<std::string> domains;
    for (const DraftNode& draft : drafts_)
      if (const size_t dot = draft.op.rfind('.'); dot != std::string::npos) domains.push_back(draft.op.substr(0, dot));
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
      if (kind_of(value) == graph::AttrKind::graph) refuse(describe(node) + ": attribute '" + key + "' is a subgraph");
      attribute_to_proto(key, value, *proto.add_attribute());
    }
  }

  static void value_info(const std::string& name, const Type& type, pb::ValueInfoProto& proto) {
    proto.set_name(name);
    auto& tensor = *proto.mutable_type()->mutable_tensor_type();
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
