// Attributes between AttributeProto and the graph, and the check of a node against its operator's schema.
#pragma once

#include "frontends/onnx/draft.h"
#include "frontends/onnx/proto.h"
#include "graph/op_def.h"

namespace octet::onnx {

// Throws Error naming the node and the attribute.
Attributes attributes_of(const pb::NodeProto& proto, const DraftNode& node, const Origin& origin);
void attribute_to_proto(const std::string& name, const graph::Attribute& value, pb::AttributeProto& proto);

graph::AttrKind kind_of(const graph::Attribute& value);
std::string_view to_string(graph::AttrKind kind);

// The definition of `node.op`, after arity, attribute names, kinds and presence have been checked against it.
const graph::OpDef& checked_op(const DraftNode& node, const std::string& file);

}  // namespace octet::onnx
