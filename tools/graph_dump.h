// A graph for other programs: JSON, and Graphviz's dot.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "octet/octet.h"

namespace octet::tools {

// {"inputs": [value], "outputs": [value], "nodes": [{"name", "op", "inputs", "outputs": [value], "attributes", "why"}]}
// where a value is
// {"name", "type"}.
nlohmann::ordered_json graph_to_json(const graph::Graph& graph);
nlohmann::ordered_json steps_to_json(const std::vector<StepInfo>& steps);

// Green: gives quantized integers; white: all else; dashed: a reason is known why it stayed in float or unfused.
std::string graph_to_dot(const graph::Graph& graph);

}  // namespace octet::tools
