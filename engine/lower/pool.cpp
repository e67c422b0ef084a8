// MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool on channels-last images of f32 or u8.
#include <algorithm>
#include <memory>

#include "engine/lower/families.h"
#include "graph/ir.h"
#include "kernels/ops.h"

namespace octet {
namespace {

using graph::Layout;
using graph::Node;
using graph::Value;

bool is_global(const Node& node) { return node.op_name().starts_with("Global"); }
bool is_average(const Node& node) { return node.op_name().find("Average") != std::string_view::npos; }

bool takes_pool(const Node& node, std::string* why) {
  const Value *x = node.input(0), *y = node.output();
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  if (!x->type().static_shape() || !y->type().static_shape()) return no("its shape is not known");
  if (x->type().rank() != 4) return no("only two-dimensional pooling has kernels");
  if (element_count(y->type().shape()) == 0) return no("the tensor is empty");
  if (node.outputs().size() > 1) return no("MaxPool with indices has no kernel");
  if (x->dtype() != y->dtype() || (x->dtype() != DType::f32 && x->dtype() != DType::u8))
    return no("element types without kernels");
  if (x->dtype() == DType::u8 && is_average(node) && (!x->quant() || !y->quant()))
    return no("an average of integers without scale");
  const std::string auto_pad = node.attr("auto_pad", "NOTSET");
  if (!is_global(node) && auto_pad != "NOTSET" && auto_pad != "VALID") return no("auto_pad is not resolved");
  return true;
}

void lower_pool(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  if (x->layout != Layout::channels_last || y->layout != Layout::channels_last) {
    lower_eval(lowering, node);
    return;
  }
  const Shape xs = x->type().shape(), ys = y->type().shape();
  kernels::PoolProblem p;
  p.kind = is_average(node) ? kernels::PoolKind::average : kernels::PoolKind::max;
  p.dtype = x->dtype();
  p.n = xs[0], p.c = xs[1], p.ih = xs[2], p.iw = xs[3], p.oh = ys[2], p.ow = ys[3];
  if (is_global(node)) {
    p.kh = p.ih, p.kw = p.iw;
  } else {
    const auto kernel = node.ints("kernel_shape"), strides = node.ints("strides"), pads = node.ints("pads"),
               dilations = node.ints("dilations");
    p.kh = kernel.at(0), p.kw = kernel.at(1);
    if (strides.size() == 2) p.stride_h = strides[0], p.stride_w = strides[1];
    if (dilations.size() == 2) p.dilation_h = dilations[0], p.dilation_w = dilations[1];
    if (pads.size() == 4) p.pad_top = pads[0], p.pad_left = pads[1], p.pad_bottom = pads[2], p.pad_right = pads[3];
    p.count_include_pad = node.attr("count_include_pad", int64_t{0}) != 0;
  }
  p.x = lowering.place(x).strides;
  p.y = lowering.place(y).strides;
  if (const QuantParams* q = x->quant()) p.x_scale = q->scale[0], p.x_zero_point = q->zero_point[0];
  if (const QuantParams* q = y->quant()) p.y_scale = q->scale[0], p.y_zero_point = q->zero_point[0];
  std::shared_ptr<const kernels::Kernel> kernel = kernels::make_pool(lowering.isa(), p);
  const Location from = lowering.location(x), to = lowering.location(y);
  lowering.add_step(node, kernel->name(), [kernel, from, to](const RunContext& context, int part, int parts) {
    kernel->run({from.in(context), nullptr, to.in(context)}, part, parts);
  });
}

}  // namespace

std::span<const LowerDef> pool_lowerings() {
  static const LowerDef kDefs[] = {
      {"MaxPool", takes_pool, lower_pool},
      {"AveragePool", takes_pool, lower_pool},
      {"GlobalAveragePool", takes_pool, lower_pool},
      {"GlobalMaxPool", takes_pool, lower_pool},
  };
  return kDefs;
}

}  // namespace octet
