#include "graph/passes/conv_attributes.h"

#include <algorithm>

#include "graph/passes/match.h"

namespace octet::graph {

std::vector<int64_t> ints_or(const Node& node, std::string_view key, size_t count, int64_t fallback) {
  std::vector<int64_t> v = node.ints(key);
  if (v.size() != count) v.assign(count, fallback);
  return v;
}

std::optional<std::vector<int64_t>> explicit_pads(const Node& node, const Shape& kernel) {
  const size_t spatial = kernel.size();
  const std::string mode = node.attr("auto_pad", "NOTSET");
  if (mode == "NOTSET") return ints_or(node, "pads", 2 * spatial, 0);
  std::vector<int64_t> pads(2 * spatial, 0);
  if (mode == "VALID") return pads;
  const std::vector<int64_t> strides = ints_or(node, "strides", spatial, 1),
                             dilations = ints_or(node, "dilations", spatial, 1);
  for (size_t i = 0; i < spatial; ++i) {
    const int64_t extent = (kernel[i] - 1) * dilations[i] + 1;
    int64_t total = extent - 1;
    if (strides[i] != 1) {
      const int64_t size = known_dim(node.input(0), static_cast<int>(i) + 2);
      if (size < 0) return std::nullopt;
      const int64_t out = (size + strides[i] - 1) / strides[i];
      total = std::max<int64_t>(0, (out - 1) * strides[i] + extent - size);
    }
    const int64_t small = total / 2, large = total - small;
    pads[i] = mode == "SAME_LOWER" ? large : small;
    pads[spatial + i] = mode == "SAME_LOWER" ? small : large;
  }
  return pads;
}

}  // namespace octet::graph
