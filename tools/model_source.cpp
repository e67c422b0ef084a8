#include "tools/model_source.h"

#include <algorithm>
#include <filesystem>

#include "frontends/onnx/onnx.h"
#include "graph/op_def.h"

namespace octet::tools {
namespace {

constexpr std::string_view kZoo = "zoo:";

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }
bool ends_with(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

}  // namespace

std::string model_name(const std::string& argument) {
  if (starts_with(argument, kZoo)) return argument.substr(kZoo.size());
  const std::filesystem::path path = std::filesystem::absolute(argument).lexically_normal();
  if (path.filename() == "model.onnx" && path.parent_path().has_filename()) return path.parent_path().filename().string();
  return path.stem().string();
}

ModelSource open_model(const std::string& argument, const zoo::ZooOptions& network) {
  ModelSource source;
  source.name = model_name(argument);
  source.file = argument;
  source.from_zoo = starts_with(argument, kZoo);
  if (source.from_zoo) {
    source.graph = zoo::build(source.name, network);
    source.graph->file = argument;
    graph::infer_types(*source.graph);
  } else {
    if (network.sequence > 0 || network.past >= 0)
      throw Error(ErrorCode::invalid_argument,
                  argument + ": --seq and --past choose the tokens of a zoo network; expected --shape for a file");
    source.graph = onnx::import_model(argument);
  }
  source.quantized = has_quantized_activations(*source.graph) || has_packed_weights(*source.graph);
  return source;
}

bool has_quantized_activations(const graph::Graph& graph) {
  for (const auto& node : graph.nodes()) {
    const std::string_view op = node->op_name();
    const bool of_constant = node->input(0) && node->input(0)->is_constant();
    if (node->op().quant == graph::QuantRole::quantize && !of_constant) return true;
    if (starts_with(op, "QLinear") || starts_with(op, "com.microsoft.QLinear") || ends_with(op, "Integer")) return true;
  }
  return false;
}

bool has_packed_weights(const graph::Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(),
                     [](const auto& n) { return n->op_name() == "com.microsoft.MatMulNBits"; });
}

bool quantizes_dynamically(const graph::Graph& graph) {
  for (const auto& node : graph.nodes())
    if (node->op_name() == "DynamicQuantizeLinear") return true;
  return false;
}

}  // namespace octet::tools
