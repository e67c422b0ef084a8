// Padding becomes an attribute of the image operator behind it.
//
//   octet.Conv(Pad(x, 0))                    → octet.Conv(x) {pads + …}
//   AveragePool(Pad(x, 0))                   → AveragePool(x) {pads + …, count_include_pad = 1}, unless it pads and does not
//   count MaxPool(Pad(x, -inf or float's lowest))  → MaxPool(x) {pads + …}
//
// Also on quantized integers, the value then being the real number that the quantum stands for. Only constant, non-negative
// padding of height and width; not under automatic padding or ceil_mode.
#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "octet/numerics.h"

namespace octet::graph {

namespace {

struct Padding {
  std::vector<int64_t> hw;  // top, left, bottom, right
  float value = 0;
};

std::optional<Padding> read_pad(const Node& pad) {
  const Value *x = pad.input(0), *amounts = pad.input(1);
  if (!is_rank(x, 4) || pad.attr("mode", "constant") != "constant") return std::nullopt;
  const QuantParams* quant = x->dtype() == DType::u8 && x->quant() && x->quant()->per_tensor() ? x->quant() : nullptr;
  if (x->dtype() != DType::f32 && !quant) return std::nullopt;
  if (!amounts || !amounts->is_constant()) return std::nullopt;
  std::vector<int64_t> p(8, 0);
  const std::vector<int64_t> given = amounts->constant().to_s64();
  std::vector<int64_t> axes{0, 1, 2, 3};
  if (const Value* a = pad.input(3)) {
    if (!a->is_constant()) return std::nullopt;
    axes = a->constant().to_s64();
  }
  if (given.size() != 2 * axes.size()) return std::nullopt;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(axes[i] < 0 ? axes[i] + 4 : axes[i]);
    p[axis] = given[i];
    p[axis + 4] = given[axes.size() + i];
  }
  if (std::any_of(p.begin(), p.end(), [](int64_t v) { return v < 0; })) return std::nullopt;
  if (p[0] || p[1] || p[4] || p[5]) return std::nullopt;
  Padding result{{p[2], p[3], p[6], p[7]}, 0.0f};
  if (pad.input(2)) {
    const std::optional<float> value = scalar_constant(pad.input(2));
    if (!value) return std::nullopt;
    result.value = *value;
  }
  if (quant) result.value = numerics::dequantize(static_cast<int32_t>(result.value), quant->scale[0], quant->zero_point[0]);
  return result;
}

// Why the padding cannot go into this consumer; empty when it can.
std::string obstacle(const Node& node, const Padding& padding, const std::vector<int64_t>& own) {
  if (node.attr("auto_pad", "NOTSET") != "NOTSET") return "the operator behind it pads automatically";
  const bool pads_itself = std::any_of(own.begin(), own.end(), [](int64_t v) { return v != 0; });
  if (node.input(0)->dtype() != DType::f32 && node.op_name() != "octet.Conv")
    return "the pooling behind it works on integers";
  if (node.op_name() == "octet.Conv") return padding.value == 0.0f ? "" : "its value is not zero";
  if (node.attr("ceil_mode", int64_t{0}) != 0) return "the pooling behind it rounds sizes up";
  const std::vector<int64_t> kernel = node.ints("kernel_shape");
  for (size_t i = 0; i < 4; ++i)
    if (padding.hw[i] + own[i] >= kernel[i % 2]) return "it is wider than the pooling window";
  if (node.op_name() == "AveragePool") {
    if (padding.value != 0.0f) return "its value is not zero";
    return pads_itself && node.attr("count_include_pad", int64_t{0}) == 0 ? "the pooling behind it does not count padding"
                                                                          : "";
  }
  return padding.value <= std::numeric_limits<float>::lowest() ? "" : "its value is not the lowest float";
}

bool takes_padding(const Node& node) {
  return node.op_name() == "octet.Conv" || node.op_name() == "AveragePool" || node.op_name() == "MaxPool";
}

}  // namespace

int fold_pad(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (!takes_padding(*node) || !node->input(0)->producer() || node->input(0)->producer()->op_name() != "Pad") continue;
    Node* pad = node->input(0)->producer();
    const std::optional<Padding> padding = read_pad(*pad);
    if (!padding) {
      pad->why = "it pads by amounts that are not constant, or more than height and width";
      continue;
    }
    std::vector<int64_t> own = node->ints("pads");
    if (own.empty()) own.assign(4, 0);
    pad->why = obstacle(*node, *padding, own);
    if (!pad->why.empty()) continue;
    for (size_t i = 0; i < 4; ++i) own[i] += padding->hw[i];
    node->set_attr("pads", own);
    if (node->op_name() == "AveragePool") node->set_attr("count_include_pad", int64_t{1});
    graph.set_input(node, 0, pad->input(0));
    erase_dead(graph, pad);
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
