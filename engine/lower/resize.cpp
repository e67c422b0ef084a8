// Resize of images along height and width: nearest of any type, linear of f32 and u8.
#include <algorithm>
#include <memory>

#include "engine/lower/families.h"
#include "graph/ops/resize.h"
#include "kernels/resize.h"

namespace octet {
namespace {

using graph::Layout;
using graph::Node;
using graph::Value;
using graph::ops::ResizeAxis;

bool is_linear(const Node& node) { return node.attr("mode", "nearest") == std::string("linear"); }

bool takes_resize(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  const Value *x = node.input(0), *y = node.output();
  if (!x->type().static_shape() || !y->type().static_shape()) return no("its shape is not known");
  if (x->type().rank() != 4) return no("only images have a kernel");
  if (element_count(x->type().shape()) == 0 || element_count(y->type().shape()) == 0) return no("the tensor is empty");
  if (x->type().shape()[0] != y->type().shape()[0] || x->type().shape()[1] != y->type().shape()[1])
    return no("only height and width are resized by kernels");
  for (size_t i = 1; i < node.inputs().size(); ++i)
    if (node.input(i) && !node.input(i)->is_constant()) return no("sizes known only at run time");
  const std::string mode = node.attr("mode", "nearest");
  if (mode != "nearest" && mode != "linear") return no("only nearest and linear have kernels");
  if (node.attr("coordinate_transformation_mode", "") == std::string("tf_crop_and_resize"))
    return no("crops have no kernel");
  if (size_of(x->dtype()) == 0) return no("strings are not moved by kernels");
  const std::vector<ResizeAxis> axes = graph::ops::resize_axes(node);
  for (const size_t a : {size_t{0}, size_t{1}}) {
    bool kept = axes[a].taps.empty();
    for (size_t i = 0; i < axes[a].nearest.size(); ++i) kept = kept && axes[a].nearest[i] == static_cast<int64_t>(i);
    if (!kept) return no("only height and width are resized by kernels");
  }
  if (!is_linear(node)) return true;
  if (x->dtype() != DType::f32 && x->dtype() != DType::u8) return no("element types without kernels");
  for (const ResizeAxis& axis : axes)
    for (const auto& taps : axis.taps)
      if (taps.empty() || taps.size() > 2) return no("only two taps an axis have a kernel");
  return true;
}

// Along one axis; `kept` when linear interpolation leaves it alone.
std::vector<kernels::ResizeTaps> taps_of(const ResizeAxis& axis, bool linear, bool& kept) {
  std::vector<kernels::ResizeTaps> list(static_cast<size_t>(axis.size));
  kept = linear && axis.taps.empty();
  for (size_t i = 0; i < list.size(); ++i) {
    kernels::ResizeTaps& t = list[i];
    if (!linear || kept) {
      t.index[0] = kept ? static_cast<int64_t>(i) : axis.nearest[i];
      continue;
    }
    t.count = static_cast<int>(axis.taps[i].size());
    for (size_t k = 0; k < axis.taps[i].size(); ++k)
      t.index[k] = axis.taps[i][k].index, t.weight[k] = axis.taps[i][k].weight;
  }
  return list;
}

void lower_resize(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  if (x->is_constant() || x->layout != Layout::channels_last || y->layout != Layout::channels_last)
    return lower_eval(lowering, node);
  const std::vector<ResizeAxis> axes = graph::ops::resize_axes(node);
  const Shape s = x->type().shape();
  kernels::ResizeProblem p;
  p.linear = is_linear(node);
  p.dtype = x->dtype();
  p.element = static_cast<int64_t>(size_of(x->dtype()));
  p.n = s[0], p.c = s[1];
  p.rows = taps_of(axes[2], p.linear, p.keeps_rows);
  p.columns = taps_of(axes[3], p.linear, p.keeps_columns);
  if (p.keeps_rows && p.keeps_columns) p.linear = false;
  p.x = lowering.place(x).strides;
  p.y = lowering.place(y).strides;
  std::shared_ptr<const kernels::Resize> kernel = kernels::make_resize(lowering.isa(), p);
  lowering.need_workspace(kernel->workspace_bytes());
  const Location from = lowering.location(x), to = lowering.location(y);
  lowering.add_step(node, kernel->name(), [kernel, from, to](const RunContext& context, int part, int parts) {
    kernel->run(from.in(context), to.in(context), context.workspace(part), part, parts);
  });
}

}  // namespace

std::span<const LowerDef> resize_lowerings() {
  static const LowerDef kDefs[] = {{"Resize", takes_resize, lower_resize}};
  return kDefs;
}

}  // namespace octet
