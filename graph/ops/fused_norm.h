// octet.Norm, which fused.cpp lists with its kind, and which results one gives: attributes gives_q (absent: 0), gives_y
// (absent: 1) and gives_sum (absent: 0); its outputs in that order.
#pragma once

#include <string_view>

#include "graph/op_def.h"

namespace octet::graph::ops {

OpDef fused_norm_op();

inline constexpr std::string_view kNormResults[] = {"gives_q", "gives_y", "gives_sum"};

// The position among the outputs; -1: not given.
inline int norm_output(const Node& node, std::string_view result) {
  int at = 0;
  for (const std::string_view r : kNormResults) {
    const bool given = node.attr(r, int64_t{r == "gives_y"}) != 0;
    if (r == result) return given ? at : -1;
    at += given ? 1 : 0;
  }
  return -1;
}

}  // namespace octet::graph::ops
