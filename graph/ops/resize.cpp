// Resize: nearest, linear, cubic, with every coordinate mode of ONNX.
//
// It is separable. Each axis that changes has, for every output position, a short list of taps (source index, weight); the
// axes are done from the last to the first, each output one FMA chain over its taps in the order of the source. Coordinates
// and weights are computed in float. Nearest is a pure selection. On 8-bit values linear and cubic interpolate quanta and
// round half to even, which for quantized values means what it means for the reals they stand for.
#include "graph/ops/resize.h"

#include <algorithm>
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

struct Axis {
  int64_t in = 1, out = 1;
  float scale = 1;
  float length = 1;  // of the output before it was rounded down
  float roi_start = 0, roi_end = 1;
  bool resized() const { return in != out || scale != 1.0f; }
};

template <class Ctx>
std::vector<int64_t> axes_of(const Ctx& ctx, size_t rank) {
  const std::vector<int64_t> given = ctx.node().ints("axes");
  if (!given.empty()) return normalize_axes(ctx, given, static_cast<int64_t>(rank));
  std::vector<int64_t> all(rank);
  for (size_t i = 0; i < rank; ++i) all[i] = static_cast<int64_t>(i);
  return all;
}

// An input that is present, and has elements: ONNX writes an absent one as an empty tensor too.
template <class Ctx>
bool given(const Ctx& ctx, size_t i) {
  if (!ctx.has(i)) return false;
  const MaybeDims dims = dims_of(ctx, i);
  return !(dims && dims->size() == 1 && (*dims)[0] == Dim(0));
}

template <class Ctx>
void expect_count(const Ctx& ctx, const char* what, size_t count, size_t wanted) {
  if (count != wanted)
    fail(ctx, std::string(what) + " has " + std::to_string(count) + " elements; expected " + std::to_string(wanted));
}

// Output size and scale of each axis where they can be told (size -1: not). keep_aspect_ratio_policy chooses one scale for
// all.
template <class Ctx>
std::vector<Axis> plan_axes(const Ctx& ctx, const Dims& x) {
  std::vector<Axis> plan(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    plan[i].in = plan[i].out = x[i].value;
    plan[i].length = static_cast<float>(plan[i].out);
  }
  const std::vector<int64_t> axes = axes_of(ctx, x.size());
  const bool by_scale = given(ctx, 2);
  if (by_scale == given(ctx, 3)) fail(ctx, "both or neither of scales and sizes are given; expected one of them");
  if (by_scale) {
    const Tensor* scales = value_of(ctx, 2);
    if (scales) expect_count(ctx, "scales", static_cast<size_t>(scales->size()), axes.size());
    for (size_t i = 0; i < axes.size(); ++i) {
      Axis& a = plan[static_cast<size_t>(axes[i])];
      a.scale = scales ? static_cast<float>(scales->at_f64(static_cast<int64_t>(i))) : 0.0f;
      if (scales && !(a.scale > 0)) fail(ctx, "a scale is " + std::to_string(a.scale) + "; expected a positive number");
      a.length = static_cast<float>(a.in) * a.scale;
      a.out = a.in < 0 || !scales ? -1 : static_cast<int64_t>(std::floor(a.length));
    }
    return plan;
  }
  const MaybeValues sizes = shape_values(ctx, 3);
  if (sizes) expect_count(ctx, "sizes", sizes->size(), axes.size());
  const std::string policy = ctx.node().attr("keep_aspect_ratio_policy", "stretch");
  float common = 0;
  bool known = sizes.has_value();
  for (size_t i = 0; i < axes.size(); ++i) {
    Axis& a = plan[static_cast<size_t>(axes[i])];
    const bool told = sizes && (*sizes)[i].number;
    a.out = told ? *(*sizes)[i].number : -1;
    known = known && told && a.in > 0;
    if (told && a.out < 1) fail(ctx, "a size is " + std::to_string(a.out) + "; expected at least 1");
    a.length = static_cast<float>(a.out);
    a.scale = a.in > 0 && told ? static_cast<float>(a.out) / static_cast<float>(a.in) : 0.0f;
    if (i == 0 || (policy == "not_larger" ? a.scale < common : a.scale > common)) common = a.scale;
  }
  if (policy == "stretch") return plan;
  for (const int64_t axis : axes) {
    Axis& a = plan[static_cast<size_t>(axis)];
    a.scale = common;
    a.length = common * static_cast<float>(a.in);
    a.out = known ? static_cast<int64_t>(std::floor(a.length + 0.5f)) : -1;
  }
  return plan;
}

template <class Ctx>
void expect_one_of(const Ctx& ctx, const char* key, const char* fallback, std::initializer_list<const char*> names) {
  const std::string value = ctx.node().attr(key, fallback);
  std::string list;
  for (const char* name : names) {
    if (value == name) return;
    list += (list.empty() ? "" : ", ") + std::string(name);
  }
  fail(ctx, std::string(key) + " is '" + value + "'; expected one of " + list);
}

void infer_resize(InferContext& ctx) {
  expect_one_of(ctx, "mode", "nearest", {"nearest", "linear", "cubic"});
  expect_one_of(ctx, "nearest_mode", "round_prefer_floor", {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});
  expect_one_of(ctx, "keep_aspect_ratio_policy", "stretch", {"stretch", "not_larger", "not_smaller"});
  expect_one_of(ctx, "coordinate_transformation_mode", "half_pixel",
                {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                 "tf_crop_and_resize", "tf_half_pixel_for_nn"});
  const MaybeDims x = dims_of(ctx, 0);
  if (!x) return set_moved(ctx, 0, 0, std::nullopt);
  const std::vector<Axis> plan = plan_axes(ctx, *x);
  const MaybeValues sizes = given(ctx, 3) && ctx.node().ints("axes").empty() ? shape_values(ctx, 3) : std::nullopt;
  Dims out;
  for (size_t i = 0; i < plan.size(); ++i) {
    const bool kept = !(*x)[i].known() && plan[i].out < 0 && plan[i].scale == 1.0f;
    out.push_back(kept ? (*x)[i] : plan[i].out >= 0 ? Dim(plan[i].out) : sizes ? (*sizes)[i].dim() : Dim());
  }
  set_moved(ctx, 0, 0, out);
}

// --- coordinates
// -------------------------------------------------------------------------------------------------------------
float source_coordinate(const std::string& mode, const Axis& a, int64_t i) {
  const auto x = static_cast<float>(i), in = static_cast<float>(a.in), out = a.length;
  if (mode == "asymmetric") return x / a.scale;
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5f) / a.scale;
  if (mode == "pytorch_half_pixel") return a.out > 1 ? (x + 0.5f) / a.scale - 0.5f : 0.0f;
  if (mode == "align_corners") return out == 1 ? 0.0f : x * (in - 1) / (out - 1);
  if (mode == "tf_crop_and_resize") {
    if (a.out == 1) return 0.5f * (a.roi_start + a.roi_end) * (in - 1);
    return a.roi_start * (in - 1) + x * (a.roi_end - a.roi_start) * (in - 1) / (out - 1);
  }
  if (mode == "half_pixel_symmetric") {
    const float adjustment = static_cast<float>(a.out) / out;
    return in / 2 * (1 - adjustment) + (x + 0.5f) / a.scale - 0.5f;
  }
  return (x + 0.5f) / a.scale - 0.5f;
}

int64_t nearest_index(const std::string& mode, float x, int64_t n) {
  const float r = mode == "floor"               ? std::floor(x)
                  : mode == "ceil"              ? std::ceil(x)
                  : mode == "round_prefer_ceil" ? std::floor(x + 0.5f)
                                                : std::ceil(x - 0.5f);
  return std::clamp<int64_t>(static_cast<int64_t>(r), 0, n - 1);
}

// --- taps
// --------------------------------------------------------------------------------------------------------------------
using Tap = ResizeTap;
using Taps = std::vector<Tap>;

float cubic_weight(float x, float a) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

struct Kernel {
  bool cubic = false, antialias = false, exclude_outside = false;
  float a = -0.75f;
};

// Around coordinate x: antialiasing widens the kernel by 1 / scale when the image shrinks. Indices outside are clamped to
// the edge, or left out and the rest scaled up.
Taps taps_at(const Kernel& kernel, float x, float scale, int64_t n) {
  const float shrink = kernel.antialias ? std::min(scale, 1.0f) : 1.0f;
  const float reach = kernel.cubic ? 2.0f : 1.0f;
  const float base = std::floor(x), ratio = x - base;
  const auto first = static_cast<int64_t>(std::floor(-reach / shrink)) + 1;
  const int64_t last = 1 - first;
  Taps taps;
  float total = 0;
  for (int64_t k = first; k <= last; ++k) {
    const float distance = (static_cast<float>(k) - ratio) * shrink;
    float weight = kernel.cubic ? cubic_weight(distance, kernel.a) : std::max(0.0f, 1.0f - std::fabs(distance));
    const int64_t index = static_cast<int64_t>(base) + k;
    const bool outside = index < 0 || index >= n;
    if (kernel.exclude_outside && outside) weight = 0;
    total += weight;
    if (weight != 0) taps.push_back({std::clamp<int64_t>(index, 0, n - 1), weight});
  }
  if (kernel.antialias || kernel.exclude_outside)
    for (Tap& tap : taps) tap.weight /= total;
  return taps;
}

// One axis: `outer` blocks of [in, inner] to [out, inner].
std::vector<float> interpolate(const std::vector<float>& x, int64_t outer, int64_t in, int64_t inner,
                               const std::vector<Taps>& taps) {
  const auto out = static_cast<int64_t>(taps.size());
  std::vector<float> y(static_cast<size_t>(outer * out * inner), 0.0f);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < out; ++i) {
      float* to = y.data() + (o * out + i) * inner;
      for (const Tap& tap : taps[static_cast<size_t>(i)]) {
        const float* from = x.data() + (o * in + tap.index) * inner;
        for (int64_t k = 0; k < inner; ++k) to[k] = std::fma(tap.weight, from[k], to[k]);
      }
    }
  return y;
}

Tensor stored(EvalContext& ctx, const std::vector<float>& v, DType dtype, const Shape& shape) {
  Tensor y(dtype, shape);
  if (is_float(dtype)) {
    with_float(ctx, dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (size_t i = 0; i < v.size(); ++i) y.mutable_as<T>()[i] = static_cast<T>(static_cast<Compute<T>>(v[i]));
    });
  } else if (dtype == DType::u8 || dtype == DType::s8) {
    const QuantRange range = quant_range(dtype);
    for (size_t i = 0; i < v.size(); ++i)
      y.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(numerics::quantize_scaled(v[i], 0, range.lo, range.hi));
  } else {
    fail_dtype(ctx, dtype);
  }
  return y;
}

// tf_crop_and_resize: what lies outside the image takes extrapolation_value.
void extrapolate(EvalContext& ctx, Tensor& y, const std::vector<std::vector<bool>>& outside) {
  const float value = ctx.node().attr("extrapolation_value", 0.0f);
  with_number(ctx, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Strides strides = strides_of(y.shape());
    for (int64_t i = 0; i < y.size(); ++i)
      for (size_t a = 0; a < strides.size(); ++a)
        if (outside[a][static_cast<size_t>(i / strides[a] % y.shape()[a])])
          y.mutable_as<T>()[i] = static_cast<T>(static_cast<Compute<T>>(value));
  });
}

void read_roi(EvalContext& ctx, std::vector<Axis>& plan) {
  if (!given(ctx, 1)) fail(ctx, "roi is missing; expected it with tf_crop_and_resize");
  const std::vector<int64_t> axes = axes_of(ctx, plan.size());
  const std::vector<float> roi = ctx.in(1).to_f32();
  expect_count(ctx, "roi", roi.size(), 2 * axes.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    plan[static_cast<size_t>(axes[i])].roi_start = roi[i];
    plan[static_cast<size_t>(axes[i])].roi_end = roi[i + axes.size()];
  }
}

struct Plan {
  std::vector<ResizeAxis> axes;
  std::vector<std::vector<bool>> outside;  // of the image, along each axis
  bool crop = false, nearest = false;
};

Plan plan_resize(EvalContext& ctx) {
  const Node& node = ctx.node();
  std::vector<Axis> axes = plan_axes(ctx, to_dims(ctx.in(0).shape()));
  const std::string coordinates = node.attr("coordinate_transformation_mode", "half_pixel");
  Plan plan;
  plan.crop = coordinates == "tf_crop_and_resize";
  if (plan.crop) read_roi(ctx, axes);
  const std::string mode = node.attr("mode", "nearest");
  plan.nearest = mode == "nearest";
  const std::string nearest = node.attr("nearest_mode", "round_prefer_floor");
  const Kernel kernel{mode == "cubic", node.attr("antialias", int64_t{0}) != 0,
                      node.attr("exclude_outside", int64_t{0}) != 0, node.attr("cubic_coeff_a", -0.75f)};
  plan.outside.resize(axes.size());
  for (size_t a = 0; a < axes.size(); ++a) {
    ResizeAxis& out = plan.axes.emplace_back();
    const bool cut = plan.crop && (axes[a].roi_start != 0.0f || axes[a].roi_end != 1.0f);
    for (int64_t i = 0; i < axes[a].out; ++i) {
      const float at = axes[a].resized() || cut ? source_coordinate(coordinates, axes[a], i) : static_cast<float>(i);
      plan.outside[a].push_back(plan.crop && (at < 0 || at > static_cast<float>(axes[a].in - 1)));
      if (plan.nearest)
        out.nearest.push_back(nearest_index(nearest, at, axes[a].in));
      else if (axes[a].resized() || cut)
        out.taps.push_back(taps_at(kernel, at, axes[a].scale, axes[a].in));
    }
    out.size = axes[a].out;
  }
  return plan;
}

void eval_resize(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Plan plan = plan_resize(ctx);
  const size_t rank = plan.axes.size();
  Shape shape;
  for (const ResizeAxis& a : plan.axes) shape.push_back(a.size);
  Tensor y;
  if (plan.nearest) {
    std::vector<std::vector<int64_t>> maps;
    for (const ResizeAxis& a : plan.axes) maps.push_back(a.nearest);
    y = gather_mapped(ctx, x, maps);
  } else {
    std::vector<float> v = x.to_f32();
    Shape now = x.shape();
    for (size_t a = rank; a-- > 0;) {
      if (plan.axes[a].taps.empty()) continue;
      v = interpolate(v, product(now, 0, a), now[a], product(now, a + 1, rank), plan.axes[a].taps);
      now[a] = shape[a];
    }
    y = stored(ctx, v, x.dtype(), shape);
  }
  if (plan.crop) extrapolate(ctx, y, plan.outside);
  ctx.out() = y;
}

std::vector<OpDef> define() {
  return {{.name = "Resize",
           .inputs = {{"X"}, {"roi", true}, {"scales", true}, {"sizes", true}},
           .attrs = {{"antialias", AttrKind::i},
                     {"axes", AttrKind::ints},
                     {"coordinate_transformation_mode", AttrKind::s},
                     {"cubic_coeff_a", AttrKind::f},
                     {"exclude_outside", AttrKind::i},
                     {"extrapolation_value", AttrKind::f},
                     {"keep_aspect_ratio_policy", AttrKind::s},
                     {"mode", AttrKind::s},
                     {"nearest_mode", AttrKind::s}},
           .infer = infer_resize,
           .eval = eval_resize,
           .quant = QuantRole::transparent,
           .layout = LayoutRole::channels_last}};
}

}  // namespace

std::vector<ResizeAxis> resize_axes(const Node& node) {
  std::vector<Tensor> inputs;
  for (const Value* v : node.inputs()) inputs.push_back(v && v->is_constant() ? v->constant() : Tensor());
  const Type& x = node.input(0)->type();
  inputs[0] = Tensor(x.dtype, x.shape(), std::shared_ptr<std::byte[]>());
  std::vector<Tensor> none(1);
  EvalContext ctx(node, inputs, none);
  return plan_resize(ctx).axes;
}

std::span<const OpDef> resize_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
