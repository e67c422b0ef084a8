#include "tools/graph_dump.h"

#include <fmt/format.h>

namespace octet::tools {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const graph::Value* value) {
  if (!value) return nullptr;
  return {{"name", value->name()}, {"type", graph::to_string(value->type())}};
}

Json to_json(const graph::Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> Json {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, graph::Tensor>)
          return std::string(to_string(value.dtype())) + to_string(value.shape());
        else if constexpr (std::is_same_v<T, std::shared_ptr<graph::Graph>>)
          return "graph " + value->name;
        else
          return value;
      },
      attribute);
}

std::string dot_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

Json graph_to_json(const graph::Graph& graph) {
  Json json;
  json["inputs"] = Json::array();
  for (const graph::Value* v : graph.inputs()) json["inputs"].push_back(to_json(v));
  json["outputs"] = Json::array();
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    json["outputs"].push_back(to_json(graph.outputs()[i]));
    json["outputs"].back()["name"] = graph.output_names()[i];
  }
  json["nodes"] = Json::array();
  for (const auto& node : graph.nodes()) {
    Json n = {{"name", node->name()}, {"op", node->op_name()}, {"inputs", Json::array()}, {"outputs", Json::array()}};
    for (const graph::Value* v : node->inputs()) n["inputs"].push_back(v ? Json(v->name()) : Json(nullptr));
    for (const graph::Value* v : node->outputs()) n["outputs"].push_back(to_json(v));
    n["attributes"] = Json::object();
    for (const auto& [key, value] : node->attrs()) n["attributes"][key] = to_json(value);
    if (!node->why.empty()) n["why"] = node->why;
    json["nodes"].push_back(n);
  }
  return json;
}

Json steps_to_json(const std::vector<StepInfo>& steps) {
  Json json = Json::array();
  for (const StepInfo& s : steps) {
    Json step = {{"node", s.node}, {"op", s.op},     {"kernel", s.kernel}, {"type", s.type},
                 {"int8", s.int8}, {"gmac", s.gmac}, {"bytes", s.bytes},   {"ms", s.ms}};
    if (!s.why.empty()) step["why"] = s.why;
    json.push_back(step);
  }
  return json;
}

std::string graph_to_dot(const graph::Graph& graph) {
  std::string dot = "digraph octet {\n  node [shape=box, style=filled, fillcolor=white, fontname=\"sans-serif\"];\n";
  std::map<const graph::Node*, size_t> ids;
  for (size_t i = 0; i < graph.inputs().size(); ++i)
    dot += fmt::format("  in{} [shape=oval, label={}];\n", i,
                       dot_text(graph.inputs()[i]->name() + "  " + graph::to_string(graph.inputs()[i]->type())));
  const auto source = [&](const graph::Value* v) -> std::string {
    if (v->producer()) return fmt::format("n{}", ids.at(v->producer()));
    for (size_t i = 0; i < graph.inputs().size(); ++i)
      if (graph.inputs()[i] == v) return fmt::format("in{}", i);
    return "";  // a constant
  };
  for (const auto& node : graph.nodes()) {
    const size_t id = ids.size();
    ids[node.get()] = id;
    const bool int8 = node->output() && node->output()->quant() != nullptr;
    dot += fmt::format("  n{} [label={}{}{}];\n", id, dot_text(std::string(node->op_name()) + "  " + node->name()),
                       int8 ? ", fillcolor=palegreen" : "",
                       node->why.empty() ? "" : ", style=\"filled,dashed\", tooltip=" + dot_text(node->why));
    for (const graph::Value* v : node->inputs()) {
      const std::string from = v ? source(v) : "";
      if (!from.empty()) dot += fmt::format("  {} -> n{} [label={}];\n", from, id, dot_text(graph::to_string(v->type())));
    }
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    dot += fmt::format("  out{} [shape=oval, label={}];\n", i, dot_text(graph.output_names()[i]));
    const std::string from = source(graph.outputs()[i]);
    if (!from.empty())
      dot += fmt::format("  {} -> out{} [label={}];\n", from, i, dot_text(graph::to_string(graph.outputs()[i]->type())));
  }
  return dot + "}\n";
}

}  // namespace octet::tools
