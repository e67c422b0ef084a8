// octet.ConvTranspose as one convolution a phase.
//
// The outputs whose row and column are r_h, r_w modulo the strides are a convolution of stride 1: of the taps k with
// (r + pad - k * dilation) divisible by the stride, in falling order, tap k reading input q + (r + pad - k * dilation) /
// stride for output q * stride + r. So no zero is inserted and none multiplied, every family of kernels serves, and the
// phases are woven together by the strides with which each writes:
//
//      stride 2, kernel 4, pad 1, along one axis     y: 0 1 0 1 0 1      phase 0: taps 3, 1 on x[q - 1], x[q]
//                                                                        phase 1: taps 2, 0 on x[q], x[q + 1]
#include <algorithm>
#include <cstring>
#include <numeric>

#include "engine/lower/families.h"
#include "engine/lower/product.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;

// One phase along one axis.
struct Phase {
  std::vector<int64_t> taps;    // of the kernel, falling
  int64_t first = 0, step = 1;  // input read by the first tap of output 0; between taps
  int64_t outputs = 0;
  int64_t last() const { return first + (static_cast<int64_t>(taps.size()) - 1) * step; }
};

struct Axis {
  int64_t in, out, kernel, stride, dilation, pad;
};

Axis axis_of(const Node& node, size_t i) {
  const auto at = [&](const char* key, size_t k, int64_t fallback) {
    const std::vector<int64_t> v = node.ints(key);
    return k < v.size() ? v[k] : fallback;
  };
  return {node.input(kX)->type().shape()[i + 2],
          node.output()->type().shape()[i + 2],
          node.input(kW)->type().shape()[i + 2],
          at("strides", i, 1),
          at("dilations", i, 1),
          at("pads", i, 0)};
}

Phase phase_of(const Axis& a, int64_t r) {
  Phase p;
  const int64_t common = std::gcd(a.dilation, a.stride);
  p.step = a.dilation / common;
  for (int64_t k = a.kernel; k-- > 0;)
    if ((r + a.pad - k * a.dilation) % a.stride == 0) p.taps.push_back(k);
  if (!p.taps.empty()) p.first = (r + a.pad - p.taps[0] * a.dilation) / a.stride;
  p.outputs = std::max<int64_t>(0, (a.out - r + a.stride - 1) / a.stride);
  return p;
}

std::vector<Phase> phases_of(const Axis& a) {
  std::vector<Phase> phases;
  for (int64_t r = 0; r < a.stride; ++r) phases.push_back(phase_of(a, r));
  return phases;
}

bool takes_transposed(const Node& node, std::string* why) {
  if (!takes_product(node, why)) return false;
  for (const size_t i : {size_t{0}, size_t{1}})
    for (const Phase& p : phases_of(axis_of(node, i)))
      if (p.outputs > 0 && p.taps.empty()) return *why = "some of its outputs read no input, which has no kernel", false;
  return true;
}

Halo transposed_halo(const Node& node) {
  int before[2] = {0, 0}, after[2] = {0, 0};
  for (const size_t i : {size_t{0}, size_t{1}}) {
    const Axis a = axis_of(node, i);
    for (const Phase& p : phases_of(a)) {
      if (p.outputs == 0) continue;
      before[i] = std::max(before[i], static_cast<int>(-p.first));
      after[i] = std::max(after[i], static_cast<int>(p.outputs - 1 + p.last() - (a.in - 1)));
    }
  }
  return {before[0], before[1], after[0], after[1]};
}

// The taps of a phase out of [outputs][channels][kernel rows][kernel columns].
graph::Tensor cut_taps(const graph::Tensor& w, const Phase& rows, const Phase& columns) {
  const Shape& s = w.shape();
  const auto kh = static_cast<int64_t>(rows.taps.size()), kw = static_cast<int64_t>(columns.taps.size());
  graph::Tensor out(w.dtype(), {s[0], s[1], kh, kw});
  const size_t element = size_of(w.dtype());
  auto* to = out.mutable_as<std::byte>();
  for (int64_t plane = 0; plane < s[0] * s[1]; ++plane)
    for (const int64_t y : rows.taps)
      for (const int64_t x : columns.taps) {
        std::memcpy(to, w.as<std::byte>() + static_cast<size_t>((plane * s[2] + y) * s[3] + x) * element, element);
        to += element;
      }
  return out;
}

void lower_transposed(Lowering& lowering, const Node& node) {
  if (!product_in_images(node)) return lower_eval(lowering, node);
  const Axis vertical = axis_of(node, 0), horizontal = axis_of(node, 1);
  const Shape x = node.input(kX)->type().shape(), y = node.output()->type().shape();
  kernels::ConvProblem problem;
  problem.x_dtype = node.input(kX)->dtype();
  problem.x = product_layout(lowering, node.input(kX), x[1]);
  problem.epilogue = make_epilogue(node, y[1]);
  const auto spread = [&](kernels::ImageLayout layout) {
    return kernels::ImageLayout{layout.pixel * horizontal.stride, layout.row * vertical.stride, layout.image};
  };
  const kernels::ImageLayout to = product_layout(lowering, node.output(), y[1]);
  kernels::ImageLayout residual;
  if (const Value* r = node.input(kResidual)) residual = product_layout(lowering, r, y[1]);
  problem.y = spread(to);
  problem.residual = spread(residual);

  std::vector<BoundConv> convs;
  std::string name;
  for (int64_t r_h = 0; r_h < vertical.stride; ++r_h)
    for (int64_t r_w = 0; r_w < horizontal.stride; ++r_w) {
      const Phase rows = phase_of(vertical, r_h), columns = phase_of(horizontal, r_w);
      if (rows.outputs == 0 || columns.outputs == 0) continue;
      kernels::ConvShape& s = problem.shape;
      s.n = x[0], s.ic = x[1], s.ih = x[2], s.iw = x[3];
      s.oc = y[1], s.oh = rows.outputs, s.ow = columns.outputs;
      s.kh = static_cast<int64_t>(rows.taps.size()), s.kw = static_cast<int64_t>(columns.taps.size());
      s.dilation_h = rows.step, s.dilation_w = columns.step;
      s.pad_top = -rows.first, s.pad_left = -columns.first;
      s.groups = node.attr("group", int64_t{1});
      const WeightPart part{std::to_string(r_h) + "," + std::to_string(r_w) + " of " + std::to_string(vertical.stride) +
                                "x" + std::to_string(horizontal.stride) + " pad " + std::to_string(vertical.pad) + "," +
                                std::to_string(horizontal.pad) + " dilation " + std::to_string(vertical.dilation) + "," +
                                std::to_string(horizontal.dilation),
                            [&](const graph::Tensor& w) { return cut_taps(w, rows, columns); }};
      const auto weights = pack_product(lowering, node, s, &part);
      std::string reason;
      std::shared_ptr<kernels::Conv> conv =
          kernels::make_conv(lowering.isa(), problem, weights, lowering.threads(), &reason);
      if (!conv) return lower_eval(lowering, node);
      if (name.empty()) name = conv->name() + ", " + kernels::describe(*weights);
      convs.push_back({std::move(conv), r_h * to.row + r_w * to.pixel, r_h * residual.row + r_w * residual.pixel});
    }
  const std::string count = std::to_string(convs.size()) + " phase" + (convs.size() == 1 ? "" : "s") + " of ";
  add_product_step(lowering, node, std::move(convs), count + name);
}

}  // namespace

std::span<const LowerDef> conv_transpose_lowerings() {
  static const LowerDef kDefs[] = {
      {"octet.ConvTranspose", takes_transposed, lower_transposed, transposed_halo, product_in_place},
  };
  return kDefs;
}

}  // namespace octet
