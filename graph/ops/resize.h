// What a Resize does along each axis, for the kernels: the same numbers that its scalar form uses.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/ir.h"

namespace octet::graph::ops {

struct ResizeTap {
  int64_t index;
  float weight;
};

struct ResizeAxis {
  int64_t size = 0;                          // of the output
  std::vector<int64_t> nearest;              // mode nearest: the source of each output
  std::vector<std::vector<ResizeTap>> taps;  // other modes: of each output; empty where the axis stays as it is
};

// Of every axis of x, whose shape must be known; roi, scales and sizes must be constants. Throws as the scalar form does.
std::vector<ResizeAxis> resize_axes(const Node& node);

}  // namespace octet::graph::ops
