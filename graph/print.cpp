#include <charconv>
#include <type_traits>

#include "graph/ir.h"
#include "graph/op_def.h"

namespace octet::graph {

namespace {

// The shortest decimal form that reads back as the same float.
std::string to_text(float v) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, v);
  return {buffer, result.ptr};
}

std::string to_text(int64_t v) { return std::to_string(v); }
std::string to_text(const std::string& v) { return '"' + v + '"'; }

template <class T>
std::string to_text(const std::vector<T>& list) {
  std::string text = "[";
  for (size_t i = 0; i < list.size(); ++i) text += (i ? ", " : "") + to_text(list[i]);
  return text + "]";
}

std::string short_values(const Tensor& t) {
  if (t.dtype() == DType::string) return to_text(t.strings());
  if (!t.is_tensor()) return std::string(to_string(t.kind()));
  if (!is_float(t.dtype())) return to_text(t.to_s64());
  return to_text(t.to_f32());
}

constexpr int64_t kInlineElements = 8;

std::string to_text(const Tensor& t) {
  const std::string type = std::string(octet::to_string(t.dtype())) + octet::to_string(t.shape());
  return t.size() <= kInlineElements ? type + " " + short_values(t) : type;
}

std::string to_text(const std::shared_ptr<Graph>& g) { return "graph '" + g->name + "'"; }

std::string attributes(const Node& node) {
  std::string text;
  for (const auto& [key, value] : node.attrs())
    text += (text.empty() ? " {" : ", ") + key + " = " + std::visit([](const auto& v) { return to_text(v); }, value);
  return text.empty() ? text : text + "}";
}

// Small constants by content, others by name and type.
std::string operand(const Value* v) {
  if (!v) return "_";
  if (!v->is_constant()) return "%" + v->name();
  if (!v->type().is_tensor()) return "%" + v->name() + " : " + to_string(v->type());
  if (v->constant().size() == 1 && !v->type().quantized()) {
    const std::string values = short_values(v->constant());
    return values.substr(1, values.size() - 2);
  }
  if (v->constant().size() <= kInlineElements && !v->type().quantized()) return short_values(v->constant());
  return "%" + v->name() + " : " + to_string(v->type());
}

std::string indented(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    out += "    " + text.substr(at, end - at) + "\n";
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return out;
}

}  // namespace

std::string to_string(const Type& type) {
  std::string text = type.is_tensor() ? "" : std::string(to_string(type.kind)) + " of ";
  text += octet::to_string(type.dtype);
  if (!type.ranked()) {
    text += "[*]";
  } else {
    text += "[";
    for (size_t i = 0; i < type.dims->size(); ++i) {
      const Dim& d = (*type.dims)[i];
      text += (i ? "," : "") + (d.known() ? std::to_string(d.value) : d.symbol.empty() ? "?" : d.symbol);
    }
    text += "]";
  }
  if (const QuantParams* q = type.quant.get()) {
    if (q->per_tensor())
      text += " q(" + to_text(q->scale[0]) + "," + std::to_string(q->zero_point[0]) + ")";
    else
      text += " q(axis " + std::to_string(q->axis) + ")";
  }
  return text;
}

std::string print(const Graph& graph) {
  std::string text = "graph " + graph.name + "\n";
  const auto declare = [](const Value* v) {
    return "%" + v->name() + " : " + to_string(v->type()) + (v->layout == Layout::channels_last ? " channels_last" : "");
  };
  for (const Value* v : graph.inputs()) text += "input " + declare(v) + "\n";
  for (const auto& node : graph.nodes()) {
    for (size_t i = 0; i < node->outputs().size(); ++i) text += (i ? ", " : "") + declare(node->output(i));
    text += " = " + std::string(node->op_name()) + "(";
    for (size_t i = 0; i < node->inputs().size(); ++i) text += (i ? ", " : "") + operand(node->input(i));
    text += ")" + attributes(*node);
    if (!node->name().empty()) text += "  // " + node->name();
    text += "\n";
    for (const Graph* inner : node->subgraphs()) text += indented(print(*inner));
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i)
    text += "output " + graph.output_names()[i] + " = " + operand(graph.outputs()[i]) + "\n";
  return text;
}

}  // namespace octet::graph
