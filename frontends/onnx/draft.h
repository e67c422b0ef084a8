// A node on its way in or out: names and attributes as in the file, not yet (or no longer) bound to a schema.
//
// Differences between opsets are differences of spelling, so they are settled on drafts, before the schema of the newest
// opset is asked on the way in and after the graph has been left on the way out.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "graph/ir.h"

namespace octet::onnx {

using Attributes = std::map<std::string, graph::Attribute, std::less<>>;

struct DraftNode {
  std::string op;  // "Conv", "com.microsoft.QLinearAdd"
  std::string name;
  std::vector<std::string> inputs;  // an empty name is an absent operand
  std::vector<std::string> outputs;
  Attributes attrs;
  size_t index = 0;  // in the file
};

// "node 'conv1' (Conv)", or "node #12 (Conv) producing 'x'" when it has no name.
std::string describe(const DraftNode& node);

// Text from a file made fit for a one-line message: control characters replaced, length bounded.
std::string printable(const std::string& text);

// What the opset table may ask and do while it rewrites one node.
struct Surroundings {
  std::string file;
  std::function<const graph::Type*(const std::string&)> type_of;        // null: unknown
  std::function<const graph::Tensor*(const std::string&)> constant_of;  // null: not constant
  std::function<bool(const std::string&)> is_used;                      // by a node or as a graph output
  std::function<std::string(const std::string& stem, graph::Tensor)> add_constant;
  std::function<std::string(const std::string& stem)> new_name;
};

// Import: the node with the newest meaning, as one node or several in order. Throws Error.
std::vector<DraftNode> normalise(DraftNode node, int64_t opset, const Surroundings& around);

// Export: the smallest opset, at least `at_least`, whose spelling can say what the node says.
int required_opset(const DraftNode& node, int at_least, const Surroundings& around);
// Export: the node as `opset` spells it.
DraftNode denormalise(DraftNode node, int opset, const Surroundings& around);

}  // namespace octet::onnx
