#include "frontends/onnx/draft.h"

namespace octet::onnx {

std::string printable(const std::string& text) {
  constexpr size_t kMaxLength = 160;
  std::string out = text.substr(0, kMaxLength);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text.size() > kMaxLength ? out + "..." : out;
}

std::string describe(const DraftNode& node) {
  const std::string op = " (" + printable(node.op) + ")";
  if (!node.name.empty()) return "node '" + printable(node.name) + "'" + op;
  const std::string text = "node #" + std::to_string(node.index) + op;
  return node.outputs.empty() || node.outputs[0].empty() ? text : text + " producing '" + printable(node.outputs[0]) + "'";
}

}  // namespace octet::onnx
