// Cutting and joining: Slice, Split, Concat, Pad, CenterCropPad, DepthToSpace, SpaceToDepth. Quantized bytes pass through;
// the constant that Pad puts around a quantized value is given as a quantum.
#include <algorithm>
#include <climits>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

// --- Slice
// -----------------------------------------------------------------------------------------------------------------
struct Range {
  int64_t start = 0, step = 1, count = 0;
};
// ONNX: negative positions count from the end; then both are clamped to what the step can reach.
Range slice_range(int64_t start, int64_t end, int64_t step, int64_t n) {
  if (n == 0) return {0, step, 0};
  const auto place = [n](int64_t v, int64_t least, int64_t most) { return std::clamp(v < 0 ? v + n : v, least, most); };
  if (step > 0) {
    start = place(start, 0, n);
    end = place(end, 0, n);
    return {start, step, end > start ? (end - start + step - 1) / step : 0};
  }
  start = place(start, 0, n - 1);
  end = end < -n ? -1 : place(end, -1, n - 1);
  return {start, step, start > end ? (start - end - step - 1) / -step : 0};
}

struct SliceInputs {
  std::vector<int64_t> axes;  // normalised
  std::optional<std::vector<int64_t>> starts, ends, steps;
};
// Absent when the axes themselves are not known.
template <class Ctx>
std::optional<SliceInputs> slice_inputs(const Ctx& ctx, size_t rank) {
  SliceInputs s{{}, int_values(ctx, 1), int_values(ctx, 2), std::nullopt};
  const size_t count = s.starts ? s.starts->size() : s.ends ? s.ends->size() : 0;
  if (ctx.has(3)) {
    const auto axes = int_values(ctx, 3);
    if (!axes) return std::nullopt;
    s.axes = *axes;
  } else {
    if (count == 0 && !s.starts && !s.ends) return std::nullopt;
    for (size_t i = 0; i < count; ++i) s.axes.push_back(static_cast<int64_t>(i));
  }
  s.axes = normalize_axes(ctx, s.axes, static_cast<int64_t>(rank));
  s.steps = ctx.has(4) ? int_values(ctx, 4) : std::vector<int64_t>(s.axes.size(), 1);
  for (const auto* list : {&s.starts, &s.ends, &s.steps})
    if (*list && (*list)->size() != s.axes.size())
      fail(ctx, "starts, ends, axes and steps differ in length; expected " + std::to_string(s.axes.size()) + " of each");
  if (s.steps)
    for (const int64_t step : *s.steps)
      if (step == 0) fail(ctx, "a step is 0; expected another number");
  return s;
}

void infer_slice(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  if (!x) return set_moved(ctx, 0, 0, std::nullopt);
  const auto s = slice_inputs(ctx, x->size());
  if (!s) return set_moved(ctx, 0, 0, Dims(x->size()));
  Dims out = *x;
  for (size_t i = 0; i < s->axes.size(); ++i) {
    Dim& d = out[static_cast<size_t>(s->axes[i])];
    const bool given = s->starts && s->ends && s->steps;
    if (given && d.known()) {
      d = Dim(slice_range((*s->starts)[i], (*s->ends)[i], (*s->steps)[i], d.value).count);
    } else if (!(given && (*s->starts)[i] == 0 && (*s->steps)[i] == 1 && (*s->ends)[i] >= INT_MAX)) {
      d = Dim();
    }
  }
  set_moved(ctx, 0, 0, out);
}

void eval_slice(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const SliceInputs s = *slice_inputs(ctx, x.shape().size());
  Shape shape = x.shape();
  Strides strides = strides_of(shape);
  int64_t base = 0;
  for (size_t i = 0; i < s.axes.size(); ++i) {
    const auto axis = static_cast<size_t>(s.axes[i]);
    const Range r = slice_range((*s.starts)[i], (*s.ends)[i], (*s.steps)[i], shape[axis]);
    base += r.start * strides[axis];
    strides[axis] *= r.step;
    shape[axis] = r.count;
  }
  ctx.out() = gather_strided(ctx, x, shape, strides, element_count(shape) ? base : 0);
}

// --- Split
// ----------------------------------------------------------------------------------------------------------------- Sizes
// along the axis; absent when they cannot be told. Without explicit sizes all parts are equal but the last.
template <class Ctx>
std::optional<std::vector<int64_t>> split_sizes(const Ctx& ctx, const Dim& dim) {
  const size_t parts = ctx.node().outputs().size();
  if (ctx.has(1)) {
    const auto sizes = int_values(ctx, 1);
    if (!sizes) return std::nullopt;
    int64_t total = 0;
    for (const int64_t v : *sizes) total += v;
    if (sizes->size() != parts || (dim.known() && total != dim.value))
      fail(ctx, std::to_string(sizes->size()) + " sizes with sum " + std::to_string(total) + " given; expected " +
                    std::to_string(parts) + " with sum " + (dim.known() ? std::to_string(dim.value) : "unknown"));
    return sizes;
  }
  const int64_t wanted = ctx.node().attr("num_outputs", static_cast<int64_t>(parts));
  if (wanted != static_cast<int64_t>(parts))
    fail(ctx,
         "num_outputs is " + std::to_string(wanted) + "; expected " + std::to_string(parts) + ", the number of outputs");
  if (!dim.known()) return std::nullopt;
  const int64_t chunk = (dim.value + wanted - 1) / wanted;
  std::vector<int64_t> sizes(parts, chunk);
  sizes.back() = dim.value - chunk * (wanted - 1);
  if (sizes.back() < 0)
    fail(ctx, "size " + std::to_string(dim.value) + " does not split into " + std::to_string(wanted) + " parts");
  return sizes;
}

void infer_split(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  const size_t parts = ctx.node().outputs().size();
  if (!x) {
    for (size_t i = 0; i < parts; ++i) set_moved(ctx, i, 0, std::nullopt);
    return;
  }
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(x->size())));
  const auto sizes = split_sizes(ctx, (*x)[axis]);
  for (size_t i = 0; i < parts; ++i) {
    Dims out = *x;
    out[axis] = sizes ? Dim((*sizes)[i]) : Dim();
    set_moved(ctx, i, 0, out);
  }
}

void eval_split(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(x.shape().size())));
  const std::vector<int64_t> sizes = *split_sizes(ctx, Dim(x.shape()[axis]));
  const Strides strides = strides_of(x.shape());
  int64_t base = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    Shape shape = x.shape();
    shape[axis] = sizes[i];
    ctx.out(i) = gather_strided(ctx, x, shape, strides, base);
    base += sizes[i] * strides[axis];
  }
}

// --- Concat
// ------------------------------------------------------------------------------------------------------------------
template <class Ctx>
MaybeDims concat_dims(const Ctx& ctx) {
  MaybeDims out = dims_of(ctx, 0);
  if (!out) {
    for (size_t i = 1; i < count_inputs(ctx) && !out; ++i)
      if (const MaybeDims other = dims_of(ctx, i)) out = Dims(other->size());
    if (!out) return std::nullopt;
  }
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(out->size())));
  Dim total = (*out)[axis];
  for (size_t i = 1; i < count_inputs(ctx); ++i) {
    const MaybeDims x = dims_of(ctx, i);
    if (!x) {
      total = Dim();
      continue;
    }
    if (x->size() != out->size())
      fail(ctx, "input " + std::to_string(i) + " has shape " + describe(*x) + "; expected rank " +
                    std::to_string(out->size()) + " as the first");
    for (size_t a = 0; a < x->size(); ++a) {
      if (a != axis) (*out)[a] = same_dim(ctx, (*out)[a], (*x)[a], "dimensions of the inputs");
    }
    total = total.known() && (*x)[axis].known() ? Dim(total.value + (*x)[axis].value) : Dim();
  }
  (*out)[axis] = total;
  return out;
}

void infer_concat(InferContext& ctx) {
  bool same = true;  // parameters of quantized inputs; where they differ yet, the output keeps its own
  const auto quant = [&](size_t i) { return ctx.node().input(i)->quant(); };
  for (size_t i = 1; i < count_inputs(ctx); ++i) {
    expect_same_dtype(ctx, 0, i);
    same = same && (quant(i) == quant(0) || (quant(i) && quant(0) && *quant(i) == *quant(0)));
  }
  if (same) return set_moved(ctx, 0, 0, concat_dims(ctx));
  set_keeping_quant(ctx, 0, dtype_of(ctx, 0), concat_dims(ctx));
}

void eval_concat(EvalContext& ctx) {
  const Shape shape = to_shape(*concat_dims(ctx));
  const DType dtype = ctx.in(0).dtype();
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(shape.size())));
  Tensor y(dtype, shape);
  const int64_t outer = product(shape, 0, axis);
  const int64_t inner = product(shape, axis, shape.size());
  with_bytes(ctx, dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = y.mutable_as<T>();
    for (size_t i = 0; i < ctx.input_count(); ++i) {
      const Tensor& x = ctx.in(i);
      const int64_t run = product(x.shape(), axis, shape.size());
      for (int64_t o = 0; o < outer; ++o) std::copy_n(x.as<T>() + o * run, run, to + o * inner);
      to += run;
    }
  });
  ctx.out() = y;
}

// --- Pad
// -----------------------------------------------------------------------------------------------------------------------
struct Padding {
  std::vector<int64_t> begin, end;  // one each an axis of the input
};
template <class Ctx>
std::optional<Padding> padding_of(const Ctx& ctx, size_t rank) {
  const auto pads = int_values(ctx, 1);
  if (!pads) return std::nullopt;
  std::vector<int64_t> axes;
  if (ctx.has(3)) {
    const auto given = int_values(ctx, 3);
    if (!given) return std::nullopt;
    axes = normalize_axes(ctx, *given, static_cast<int64_t>(rank));
  } else {
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (pads->size() != 2 * axes.size())
    fail(ctx, "pads has " + std::to_string(pads->size()) + " entries; expected " + std::to_string(2 * axes.size()));
  Padding p{std::vector<int64_t>(rank, 0), std::vector<int64_t>(rank, 0)};
  for (size_t i = 0; i < axes.size(); ++i) {
    p.begin[static_cast<size_t>(axes[i])] = (*pads)[i];
    p.end[static_cast<size_t>(axes[i])] = (*pads)[i + axes.size()];
  }
  return p;
}

void infer_pad(InferContext& ctx) {
  const std::string mode = ctx.node().attr("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap")
    fail(ctx, "mode is '" + mode + "'; expected constant, reflect, edge or wrap");
  const MaybeDims x = dims_of(ctx, 0);
  if (!x) return set_moved(ctx, 0, 0, std::nullopt);
  const auto p = padding_of(ctx, x->size());
  if (!p) return set_moved(ctx, 0, 0, Dims(x->size()));
  Dims out = *x;
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t more = p->begin[i] + p->end[i];
    if (out[i].known() && out[i].value + more < 0) fail(ctx, "padding makes axis " + std::to_string(i) + " negative");
    if (more != 0 || p->begin[i] != 0) out[i] = out[i].known() ? Dim(out[i].value + more) : Dim();
  }
  set_moved(ctx, 0, 0, out);
}

// Source index of position i - begin along an axis of size n; -1 for the constant.
int64_t pad_source(const std::string& mode, int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  if (mode == "constant") return -1;
  if (mode == "edge") return std::clamp<int64_t>(i, 0, n - 1);
  if (mode == "wrap") return (i % n + n) % n;
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  const int64_t m = (i % period + period) % period;
  return m < n ? m : period - m;
}

void eval_pad(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const std::string mode = ctx.node().attr("mode", "constant");
  const Padding p = *padding_of(ctx, x.shape().size());
  std::vector<std::vector<int64_t>> maps;
  for (size_t a = 0; a < x.shape().size(); ++a) {
    const int64_t n = x.shape()[a];
    if (n == 0 && mode != "constant" && p.begin[a] + p.end[a] > 0)
      fail(ctx, "cannot extend an axis of size 0 in mode " + mode);
    std::vector<int64_t> map;
    for (int64_t i = -p.begin[a]; i < n + p.end[a]; ++i) map.push_back(pad_source(mode, i, n));
    maps.push_back(std::move(map));
  }
  if (ctx.has(2) && (ctx.in(2).dtype() != x.dtype() || ctx.in(2).size() != 1))
    fail(ctx, "constant_value is not one element of the data's type");
  ctx.out() = gather_mapped(ctx, x, maps, ctx.has(2) ? &ctx.in(2) : nullptr);
}

// --- CenterCropPad: the middle of each axis, or the axis in the middle of zeros
// ----------------------------------------------------
template <class Ctx>
MaybeDims crop_dims(const Ctx& ctx) {
  MaybeDims out = dims_of(ctx, 0);
  if (!out) return std::nullopt;
  std::vector<int64_t> axes = ctx.node().ints("axes");
  if (axes.empty())
    for (size_t i = 0; i < out->size(); ++i) axes.push_back(static_cast<int64_t>(i));
  axes = normalize_axes(ctx, axes, static_cast<int64_t>(out->size()));
  const MaybeValues sizes = shape_values(ctx, 1);
  if (sizes && sizes->size() != axes.size())
    fail(ctx, "shape has " + std::to_string(sizes->size()) + " entries; expected " + std::to_string(axes.size()));
  for (size_t i = 0; i < axes.size(); ++i) {
    if (sizes && (*sizes)[i].number && *(*sizes)[i].number < 0)
      fail(ctx, "shape holds " + std::to_string(*(*sizes)[i].number) + "; expected sizes");
    (*out)[static_cast<size_t>(axes[i])] = sizes ? (*sizes)[i].dim() : Dim();
  }
  return out;
}
void infer_crop(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 0), crop_dims(ctx)); }
void eval_crop(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape shape = to_shape(*crop_dims(ctx));
  std::vector<std::vector<int64_t>> maps;
  for (size_t a = 0; a < shape.size(); ++a) {
    const int64_t in = x.shape()[a], out = shape[a];
    const int64_t first = in > out ? (in - out) / 2 : -((out - in) / 2);
    std::vector<int64_t> map;
    for (int64_t i = first; i < first + out; ++i) map.push_back(i < in ? std::max<int64_t>(i, -1) : -1);
    maps.push_back(std::move(map));
  }
  ctx.out() = gather_mapped(ctx, x, maps);
}

// --- DepthToSpace, SpaceToDepth
// ----------------------------------------------------------------------------------------------------
int64_t block_of(const InferContext& ctx) {
  const int64_t block = ctx.node().attr("blocksize", int64_t{0});
  if (block < 1) fail(ctx, "blocksize is " + std::to_string(block) + "; expected at least 1");
  return block;
}
Dim divided(const InferContext& ctx, const Dim& d, int64_t by) {
  if (!d.known()) return by == 1 ? d : Dim();
  if (d.value % by != 0) fail(ctx, "size " + std::to_string(d.value) + " does not divide by " + std::to_string(by));
  return Dim(d.value / by);
}
Dim times(const Dim& d, int64_t by) { return d.known() ? Dim(d.value * by) : by == 1 ? d : Dim(); }

void infer_depth_to_space(InferContext& ctx) {
  const std::string mode = ctx.node().attr("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") fail(ctx, "mode is '" + mode + "'; expected DCR or CRD");
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 4, 4);
  const int64_t b = block_of(ctx);
  if (!x) return set_moved(ctx, 0, 0, Dims(4));
  set_moved(ctx, 0, 0, Dims{(*x)[0], divided(ctx, (*x)[1], b * b), times((*x)[2], b), times((*x)[3], b)});
}
void eval_depth_to_space(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape& s = x.shape();
  const int64_t b = ctx.node().attr("blocksize", int64_t{1});
  const int64_t c = s[1] / (b * b), h = s[2], w = s[3], plane = h * w;
  const bool depth_first = ctx.node().attr("mode", "DCR") == "DCR";
  const int64_t row = depth_first ? b * c * plane : b * plane;
  const int64_t column = depth_first ? c * plane : plane;
  const int64_t channel = depth_first ? plane : b * b * plane;
  ctx.out() = gather_strided(ctx, x, {s[0], c, h, b, w, b}, {s[1] * plane, channel, w, row, 1, column})
                  .reshaped({s[0], c, h * b, w * b});
}
void infer_space_to_depth(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 4, 4);
  const int64_t b = block_of(ctx);
  if (!x) return set_moved(ctx, 0, 0, Dims(4));
  set_moved(ctx, 0, 0, Dims{(*x)[0], times((*x)[1], b * b), divided(ctx, (*x)[2], b), divided(ctx, (*x)[3], b)});
}
void eval_space_to_depth(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape& s = x.shape();
  const int64_t b = ctx.node().attr("blocksize", int64_t{1});
  const int64_t c = s[1], h = s[2] / b, w = s[3] / b;
  ctx.out() = gather_strided(ctx, x, {s[0], b, b, c, h, w}, {c * s[2] * s[3], s[3], 1, s[2] * s[3], b * s[3], b})
                  .reshaped({s[0], c * b * b, h, w});
}

OpDef mover(std::string name, std::vector<InputSchema> inputs, std::vector<AttrSchema> attrs, void (*infer)(InferContext&),
            void (*eval)(EvalContext&), LayoutRole layout = LayoutRole::plain_only, int max_outputs = 1) {
  return {.name = std::move(name),
          .inputs = std::move(inputs),
          .attrs = std::move(attrs),
          .max_outputs = max_outputs,
          .infer = infer,
          .eval = eval,
          .quant = QuantRole::transparent,
          .layout = layout};
}

std::vector<OpDef> define() {
  return {
      mover("Slice", {{"data"}, {"starts"}, {"ends"}, {"axes", true}, {"steps", true}}, {}, infer_slice, eval_slice,
            LayoutRole::any),
      mover("Split", {{"input"}, {"split", true}}, {{"axis", AttrKind::i}, {"num_outputs", AttrKind::i}}, infer_split,
            eval_split, LayoutRole::any, INT_MAX),
      mover("Concat", {{.name = "inputs", .optional = false, .variadic = true}}, {{"axis", AttrKind::i, true}}, infer_concat,
            eval_concat, LayoutRole::any),
      mover("Pad", {{"data"}, {"pads"}, {"constant_value", true}, {"axes", true}}, {{"mode", AttrKind::s}}, infer_pad,
            eval_pad, LayoutRole::any),
      mover("DepthToSpace", {{"input"}}, {{"blocksize", AttrKind::i, true}, {"mode", AttrKind::s}}, infer_depth_to_space,
            eval_depth_to_space),
      {.name = "CenterCropPad",
       .inputs = {{"input_data"}, {"shape"}},
       .attrs = {{"axes", AttrKind::ints}},
       .infer = infer_crop,
       .eval = eval_crop},
      mover("SpaceToDepth", {{"input"}}, {{"blocksize", AttrKind::i, true}}, infer_space_to_depth, eval_space_to_depth),
  };
}

}  // namespace

std::span<const OpDef> slice_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
