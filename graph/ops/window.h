// The sliding window of convolutions and pools: kernel, strides, dilations, padding, and the sizes that follow.
//
// Attributes may be absent (strides and dilations 1, padding 0), padding may be given by rule (auto_pad), and sizes may be
// unknown. Evaluation always runs over three spatial axes: fewer are led by axes of size 1.
#pragma once

#include "graph/ops/helpers.h"

namespace octet::graph::ops {

struct Window {
  std::vector<int64_t> kernel, strides, dilations, pad_begin, pad_end;  // one each a spatial axis
  size_t rank() const { return kernel.size(); }
  int64_t extent(size_t axis) const { return (kernel[axis] - 1) * dilations[axis] + 1; }
};

// Kernel sizes given; strides, dilations, pads and auto_pad read from the node. `spatial` (null: not known) is needed for
// SAME_UPPER and SAME_LOWER; where a size is unknown the padding is left at 0.
template <class Ctx>
Window window_of(const Ctx& ctx, std::vector<int64_t> kernel, const Dims* spatial) {
  const Node& node = ctx.node();
  const size_t rank = kernel.size();
  Window w;
  w.kernel = std::move(kernel);
  const auto list = [&](const char* key, size_t size, int64_t fallback, int64_t least) {
    std::vector<int64_t> v = node.ints(key);
    if (v.empty()) v.assign(size, fallback);
    if (v.size() != size)
      fail(ctx, "attribute " + std::string(key) + " has " + std::to_string(v.size()) + " entries; expected " +
                    std::to_string(size));
    for (const int64_t e : v)
      if (e < least)
        fail(ctx, "attribute " + std::string(key) + " holds " + std::to_string(e) + "; expected at least " +
                      std::to_string(least));
    return v;
  };
  for (const int64_t k : w.kernel)
    if (k < 1) fail(ctx, "the kernel has size " + std::to_string(k) + "; expected at least 1");
  w.strides = list("strides", rank, 1, 1);
  w.dilations = list("dilations", rank, 1, 1);
  const std::string rule = node.attr("auto_pad", "NOTSET");
  if (rule == "NOTSET" || rule.empty()) {
    const std::vector<int64_t> pads = list("pads", 2 * rank, 0, 0);
    w.pad_begin.assign(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(rank));
    w.pad_end.assign(pads.begin() + static_cast<std::ptrdiff_t>(rank), pads.end());
    return w;
  }
  w.pad_begin.assign(rank, 0);
  w.pad_end.assign(rank, 0);
  if (rule == "VALID") return w;
  if (rule != "SAME_UPPER" && rule != "SAME_LOWER")
    fail(ctx, "auto_pad is '" + rule + "'; expected NOTSET, VALID, SAME_UPPER or SAME_LOWER");
  for (size_t i = 0; i < rank && spatial; ++i) {
    if (!(*spatial)[i].known()) continue;
    const int64_t in = (*spatial)[i].value;
    const int64_t out = (in + w.strides[i] - 1) / w.strides[i];
    const int64_t total = std::max<int64_t>(0, (out - 1) * w.strides[i] + w.extent(i) - in);
    const int64_t small = total / 2;
    w.pad_begin[i] = rule == "SAME_UPPER" ? small : total - small;
    w.pad_end[i] = total - w.pad_begin[i];
  }
  return w;
}

// Output size along one axis. With ceil_mode the last window must still start inside the image or its leading padding.
template <class Ctx>
Dim window_output(const Ctx& ctx, const Window& w, size_t axis, const Dim& in, bool ceil_mode = false) {
  const std::string rule = ctx.node().attr("auto_pad", "NOTSET");
  const bool same = rule == "SAME_UPPER" || rule == "SAME_LOWER";
  const int64_t stride = w.strides[axis];
  if (!in.known()) {
    const bool keeps = stride == 1 && (same || w.pad_begin[axis] + w.pad_end[axis] == w.extent(axis) - 1);
    return keeps ? in : Dim();
  }
  if (same) return Dim((in.value + stride - 1) / stride);
  const int64_t span = in.value + w.pad_begin[axis] + w.pad_end[axis] - w.extent(axis);
  if (span < 0)
    fail(ctx, "the window of " + std::to_string(w.extent(axis)) + " exceeds the padded size " +
                  std::to_string(in.value + w.pad_begin[axis] + w.pad_end[axis]) + " along spatial axis " +
                  std::to_string(axis));
  if (!ceil_mode) return Dim(span / stride + 1);
  int64_t out = (span + stride - 1) / stride + 1;
  if ((out - 1) * stride >= in.value + w.pad_begin[axis]) --out;
  return Dim(out);
}

// N, C and the spatial sizes as three axes, with the window to match.
struct Image {
  int64_t n = 1, c = 1;
  std::array<int64_t, 3> size{1, 1, 1};
  int64_t plane() const { return size[0] * size[1] * size[2]; }
};
struct Window3 {
  std::array<int64_t, 3> kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1}, pad{0, 0, 0}, pad_end{0, 0, 0};
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};
inline Image image_of(const Shape& shape) {
  Image image{shape[0], shape[1], {1, 1, 1}};
  const size_t lead = 5 - shape.size();
  for (size_t i = 2; i < shape.size(); ++i) image.size[lead + i - 2] = shape[i];
  return image;
}
inline Window3 three_axes(const Window& w) {
  Window3 out;
  const size_t lead = 3 - w.rank();
  for (size_t i = 0; i < w.rank(); ++i) {
    out.kernel[lead + i] = w.kernel[i];
    out.stride[lead + i] = w.strides[i];
    out.dilation[lead + i] = w.dilations[i];
    out.pad[lead + i] = w.pad_begin[i];
    out.pad_end[lead + i] = w.pad_end[i];
  }
  return out;
}

}  // namespace octet::graph::ops
