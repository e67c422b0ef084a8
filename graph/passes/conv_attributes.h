// The attributes of a convolution, made explicit.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

// The list of `count` integers, or `fallback` repeated when it is absent.
std::vector<int64_t> ints_or(const Node& node, std::string_view key, size_t count, int64_t fallback);

// The pads of a convolution with this kernel (spatial axes only): all begins, then all ends. SAME_UPPER and SAME_LOWER are
// resolved; nothing when they depend on an unknown size.
std::optional<std::vector<int64_t>> explicit_pads(const Node& node, const Shape& kernel);

}  // namespace octet::graph
