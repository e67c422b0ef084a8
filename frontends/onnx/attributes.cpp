#include "frontends/onnx/attributes.h"

#include <algorithm>

#include "frontends/onnx/scope.h"

namespace octet::onnx {

using graph::Attribute;
using graph::AttrKind;
using graph::OpDef;

namespace {

[[noreturn]] void fail(ErrorCode code, const std::string& file, const DraftNode& node, const std::string& message) {
  throw Error(code, file + ": " + describe(node) + ": " + message);
}

// The declared type, or for files older than IR version 2 the field that is filled.
int declared_type(const pb::AttributeProto& proto) {
  if (proto.has_type() && proto.type() != pb::AttributeProto::UNDEFINED) return proto.type();
  if (proto.has_f()) return pb::AttributeProto::FLOAT;
  if (proto.has_i()) return pb::AttributeProto::INT;
  if (proto.has_s()) return pb::AttributeProto::STRING;
  if (proto.has_t()) return pb::AttributeProto::TENSOR;
  if (proto.has_g()) return pb::AttributeProto::GRAPH;
  if (proto.floats_size() > 0) return pb::AttributeProto::FLOATS;
  if (proto.ints_size() > 0) return pb::AttributeProto::INTS;
  if (proto.strings_size() > 0) return pb::AttributeProto::STRINGS;
  return pb::AttributeProto::UNDEFINED;
}

// The type of an Optional that holds nothing: {1 for a sequence, element type}.
Attribute type_of(const pb::AttributeProto& proto, const DraftNode& node, const Origin& origin) {
  const pb::TypeProto* type = &proto.tp();
  if (type->has_optional_type()) type = &type->optional_type().elem_type();
  const bool sequence = type->has_sequence_type();
  if (sequence) type = &type->sequence_type().elem_type();
  if (!type->has_tensor_type())
    fail(ErrorCode::unsupported, origin.file, node,
         "attribute '" + printable(proto.name()) + "' is neither the type of a tensor nor of a sequence of tensors");
  return std::vector<int64_t>{sequence ? 1 : 0, type->tensor_type().elem_type()};
}

Attribute attribute_of(const pb::AttributeProto& proto, const DraftNode& node, const Origin& origin) {
  const std::string what = "attribute '" + printable(proto.name()) + "'";
  if (proto.has_ref_attr_name() && !proto.ref_attr_name().empty())
    fail(ErrorCode::invalid_model, origin.file, node, what + " refers to a function's attribute outside a function");
  switch (declared_type(proto)) {
    case pb::AttributeProto::FLOAT: return proto.f();
    case pb::AttributeProto::INT: return static_cast<int64_t>(proto.i());
    case pb::AttributeProto::STRING: return proto.s();
    case pb::AttributeProto::TENSOR: {
      if (!proto.has_t()) fail(ErrorCode::invalid_model, origin.file, node, what + " holds no tensor");
      return tensor_of(proto.t(), {origin.file, origin.folder, describe(node) + ": " + what});
    }
    case pb::AttributeProto::FLOATS: return std::vector<float>(proto.floats().begin(), proto.floats().end());
    case pb::AttributeProto::INTS: return std::vector<int64_t>(proto.ints().begin(), proto.ints().end());
    case pb::AttributeProto::STRINGS: return std::vector<std::string>(proto.strings().begin(), proto.strings().end());
    case pb::AttributeProto::GRAPH:
      if (!proto.has_g()) fail(ErrorCode::invalid_model, origin.file, node, what + " holds no graph");
      return std::make_shared<graph::Graph>();  // filled in once what it captures is known (import.cpp)
    case pb::AttributeProto::TYPE_PROTO: return type_of(proto, node, origin);
    case pb::AttributeProto::GRAPHS:
      fail(ErrorCode::unsupported, origin.file, node, what + " is a list of subgraphs, which no operator has");
    case pb::AttributeProto::UNDEFINED:
      fail(ErrorCode::invalid_model, origin.file, node, what + " has neither a type nor a value");
    default:
      fail(ErrorCode::unsupported, origin.file, node,
           what + " has kind " + std::to_string(declared_type(proto)) +
               "; expected float, int, string, tensor or a list of floats, ints or strings");
  }
}

// Activations fused into an operator are ours, and how subgraphs are tied in: no file may speak of them.
bool is_internal(const OpDef& op, std::string_view attr) {
  const auto nests = [](const graph::AttrSchema& a) { return a.kind == AttrKind::graph; };
  if (std::any_of(op.attrs.begin(), op.attrs.end(), nests) && attr == "captures") return true;
  const auto fuses = [](const graph::AttrSchema& a) { return a.name == "act"; };
  if (std::none_of(op.attrs.begin(), op.attrs.end(), fuses)) return false;
  return attr == "act" || attr == "act_min" || attr == "act_max" || attr == "alpha";
}

std::string list_of(const OpDef& op) {
  std::string names;
  for (const auto& a : op.attrs)
    if (!is_internal(op, a.name)) names += (names.empty() ? "" : ", ") + std::string(a.name);
  return names.empty() ? "no attributes" : names;
}

std::string count_text(size_t n, const char* noun) { return std::to_string(n) + " " + noun + (n == 1 ? "" : "s"); }

void check_inputs(const OpDef& op, const DraftNode& node, const std::string& file) {
  const bool variadic = !op.inputs.empty() && op.inputs.back().variadic;
  if (!variadic && node.inputs.size() > op.inputs.size())
    fail(ErrorCode::invalid_model, file, node,
         "has " + count_text(node.inputs.size(), "input") + ", expected at most " + std::to_string(op.inputs.size()));
  for (size_t i = 0; i < op.inputs.size(); ++i)
    if (!op.inputs[i].optional && (i >= node.inputs.size() || node.inputs[i].empty()))
      fail(ErrorCode::invalid_model, file, node,
           "input " + std::to_string(i) + " ('" + std::string(op.inputs[i].name) + "') is missing");
  for (size_t i = op.inputs.size(); i < node.inputs.size(); ++i)
    if (node.inputs[i].empty()) fail(ErrorCode::invalid_model, file, node, "input " + std::to_string(i) + " is missing");
}

void check_outputs(const OpDef& op, const DraftNode& node, const std::string& file) {
  const auto least = static_cast<size_t>(op.min_outputs), most = static_cast<size_t>(op.max_outputs);
  if (node.outputs.size() < least || node.outputs.size() > most)
    fail(ErrorCode::invalid_model, file, node,
         "has " + count_text(node.outputs.size(), "output") + ", expected " +
             (least == most ? "" : std::to_string(least) + " to ") + std::to_string(most));
}

}  // namespace

AttrKind kind_of(const Attribute& value) {
  constexpr AttrKind kKinds[] = {AttrKind::i,    AttrKind::f,      AttrKind::s,       AttrKind::tensor,
                                 AttrKind::ints, AttrKind::floats, AttrKind::strings, AttrKind::graph};
  return kKinds[value.index()];
}

std::string_view to_string(AttrKind kind) {
  constexpr std::string_view kNames[] = {"int",          "float",          "string",          "tensor",
                                         "list of ints", "list of floats", "list of strings", "graph"};
  return kNames[static_cast<size_t>(kind)];
}

Attributes attributes_of(const pb::NodeProto& proto, const DraftNode& node, const Origin& origin) {
  Attributes attrs;
  for (const auto& a : proto.attribute()) {
    if (a.name().empty()) fail(ErrorCode::invalid_model, origin.file, node, "has an attribute without a name");
    if (!attrs.emplace(a.name(), attribute_of(a, node, origin)).second)
      fail(ErrorCode::invalid_model, origin.file, node, "attribute '" + printable(a.name()) + "' is given twice");
  }
  return attrs;
}

void attribute_to_proto(const std::string& name, const Attribute& value, pb::AttributeProto& proto) {
  proto.set_name(name);
  switch (kind_of(value)) {
    case AttrKind::i:
      proto.set_type(pb::AttributeProto::INT);
      proto.set_i(std::get<int64_t>(value));
      break;
    case AttrKind::f:
      proto.set_type(pb::AttributeProto::FLOAT);
      proto.set_f(std::get<float>(value));
      break;
    case AttrKind::s:
      proto.set_type(pb::AttributeProto::STRING);
      proto.set_s(std::get<std::string>(value));
      break;
    case AttrKind::tensor:
      proto.set_type(pb::AttributeProto::TENSOR);
      tensor_to_proto(std::get<graph::Tensor>(value), {}, *proto.mutable_t());
      break;
    case AttrKind::ints:
      proto.set_type(pb::AttributeProto::INTS);
      for (int64_t v : std::get<std::vector<int64_t>>(value)) proto.add_ints(v);
      break;
    case AttrKind::floats:
      proto.set_type(pb::AttributeProto::FLOATS);
      for (float v : std::get<std::vector<float>>(value)) proto.add_floats(v);
      break;
    case AttrKind::strings:
      proto.set_type(pb::AttributeProto::STRINGS);
      for (const std::string& v : std::get<std::vector<std::string>>(value)) proto.add_strings(v);
      break;
    case AttrKind::graph:
      throw Error(ErrorCode::unsupported, "attribute '" + name + "' is a subgraph, which cannot be exported");
  }
}

const OpDef& checked_op(const DraftNode& node, const std::string& file) {
  const OpDef* op = node.op.starts_with("octet.") ? nullptr : graph::find_op(node.op);
  if (op == nullptr) {
    const std::string_view why = out_of_scope(node.op);
    fail(ErrorCode::unsupported, file, node,
         why.empty() ? "operator '" + printable(node.op) + "' is not supported" : std::string(why));
  }
  check_inputs(*op, node, file);
  check_outputs(*op, node, file);
  for (const auto& [name, value] : node.attrs) {
    const auto schema =
        std::find_if(op->attrs.begin(), op->attrs.end(), [&key = name](const auto& a) { return a.name == key; });
    if (schema == op->attrs.end() || is_internal(*op, name))
      fail(ErrorCode::invalid_model, file, node, "attribute '" + printable(name) + "' is unknown; expected " + list_of(*op));
    if (schema->kind != kind_of(value))
      fail(ErrorCode::invalid_model, file, node,
           "attribute '" + name + "' is " + std::string(to_string(kind_of(value))) + ", expected " +
               std::string(to_string(schema->kind)));
  }
  for (const auto& a : op->attrs)
    if (a.required && !node.attrs.contains(a.name))
      fail(ErrorCode::invalid_model, file, node,
           "attribute '" + std::string(a.name) + "' (" + std::string(to_string(a.kind)) + ") is missing");
  return *op;
}

}  // namespace octet::onnx
