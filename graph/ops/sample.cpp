// Sampling where a grid or offsets say: AffineGrid, GridSample, DeformConv.
//
//   GridSample  a grid's row (x, y[, z]) in -1..1 names a place of the image; the value there is a sum over taps, the
//   product
//               of one short list of (index, weight) an axis: 1 tap for nearest (half to even), 2 linear, 4 cubic (a =
//               -0.75)
//   DeformConv  Conv whose every tap is moved by an offset of its own, read bilinearly, 0 outside, times a mask
//
// Places are computed in float, as the grid is; sums in double, rounded once.
#include <algorithm>
#include <cmath>

#include "graph/ops/conv.h"
#include "graph/ops/families.h"

namespace octet::graph::ops {
namespace {

// --- AffineGrid: theta [N, d, d + 1] times the homogeneous places of an image of `size` [N, C, spatial...]
// -----------------------
template <class Ctx>
MaybeDims affine_grid_dims(const Ctx& ctx) {
  const MaybeDims theta = dims_of(ctx, 0);
  expect_rank(ctx, 0, theta, 3, 3);
  const MaybeValues size = shape_values(ctx, 1);
  if (!size) return std::nullopt;
  if (size->size() != 4 && size->size() != 5)
    fail(ctx, "size has " + std::to_string(size->size()) + " entries; expected 4 (N, C, H, W) or 5");
  const auto spatial = static_cast<int64_t>(size->size()) - 2;
  if (theta) {
    same_dim(ctx, (*theta)[1], Dim(spatial), "the rows of theta and the spatial axes");
    same_dim(ctx, (*theta)[2], Dim(spatial + 1), "the columns of theta and the spatial axes plus one");
  }
  Dims out{theta ? same_dim(ctx, (*theta)[0], (*size)[0].dim(), "the batches of theta and size") : (*size)[0].dim()};
  for (size_t i = 2; i < size->size(); ++i) out.push_back((*size)[i].dim());
  out.emplace_back(spatial);
  return out;
}
void infer_affine_grid(InferContext& ctx) {
  expect_real(ctx, 0);
  set_dims(ctx, 0, dtype_of(ctx, 0), affine_grid_dims(ctx));
}
void eval_affine_grid(EvalContext& ctx) {
  const Shape shape = to_shape(*affine_grid_dims(ctx));
  const size_t axes = shape.size() - 2;
  const bool corners = ctx.node().attr("align_corners", int64_t{0}) != 0;
  const auto place = [corners](int64_t i, int64_t n) {
    if (corners) return n == 1 ? 0.0 : 2 * static_cast<double>(i) / static_cast<double>(n - 1) - 1;
    return static_cast<double>(2 * i + 1) / static_cast<double>(n) - 1;
  };
  const std::vector<double> theta = to_f64(ctx.in(0));
  const Shape spatial(shape.begin() + 1, shape.end() - 1);
  const Strides strides = strides_of(spatial);
  std::vector<double> out;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t p = 0; p < element_count(spatial); ++p)
      for (size_t row = 0; row < axes; ++row) {
        const double* m = theta.data() + (static_cast<size_t>(n) * axes + row) * (axes + 1);
        double v = m[axes];
        // Column 0 is x, the last spatial axis.
        for (size_t column = 0; column < axes; ++column) {
          const size_t axis = axes - 1 - column;
          v += m[column] * place(p / strides[axis] % spatial[axis], spatial[axis]);
        }
        out.push_back(v);
      }
  ctx.out() = from_f64(ctx, out, ctx.in(0).dtype(), shape);
}

// --- GridSample
// ---------------------------------------------------------------------------------------------------------------
struct Tap {
  int64_t index;
  double weight;
};
using Taps = std::vector<Tap>;

enum class Outside : uint8_t { zeros, border, reflection };
enum class Interpolation : uint8_t { nearest, linear, cubic };
struct Sampling {
  Interpolation mode = Interpolation::linear;
  Outside outside = Outside::zeros;
  bool corners = false;
};

template <class Ctx>
Sampling sampling_of(const Ctx& ctx) {
  Sampling s;
  const std::string mode = ctx.node().attr("mode", "linear"), outside = ctx.node().attr("padding_mode", "zeros");
  if (mode == "nearest")
    s.mode = Interpolation::nearest;
  else if (mode == "cubic")
    s.mode = Interpolation::cubic;
  else if (mode != "linear")
    fail(ctx, "mode is '" + mode + "'; expected linear, nearest or cubic");
  if (outside == "border")
    s.outside = Outside::border;
  else if (outside == "reflection")
    s.outside = Outside::reflection;
  else if (outside != "zeros")
    fail(ctx, "padding_mode is '" + outside + "'; expected zeros, border or reflection");
  s.corners = ctx.node().attr("align_corners", int64_t{0}) != 0;
  return s;
}

template <class Ctx>
MaybeDims grid_sample_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0), grid = dims_of(ctx, 1);
  expect_rank(ctx, 0, x, 3, 5);
  expect_rank(ctx, 1, grid, 3, 5);
  if (!x || !grid) return std::nullopt;
  if (x->size() != grid->size())
    fail(ctx, "the image has shape " + describe(*x) + " and the grid " + describe(*grid) + "; expected the same rank");
  same_dim(ctx, grid->back(), Dim(static_cast<int64_t>(x->size()) - 2), "the grid's last axis and the spatial axes");
  Dims out(grid->begin(), grid->end() - 1);
  out[0] = same_dim(ctx, (*x)[0], (*grid)[0], "the batches of image and grid");
  out.insert(out.begin() + 1, (*x)[1]);
  return out;
}
void infer_grid_sample(InferContext& ctx) {
  sampling_of(ctx);
  expect_real(ctx, 0);
  set_dims(ctx, 0, dtype_of(ctx, 0), grid_sample_dims(ctx));
}

// There and back again between two mirrors.
float reflect(float v, float low, float high) {
  const float range = high - low;
  if (range <= 0) return low;
  const float from_low = std::fabs(v - low);
  const float turns = std::floor(from_low / range);
  const float rest = from_low - turns * range;
  return std::fmod(turns, 2.0f) == 0 ? low + rest : high - rest;
}

Taps taps_at(const Sampling& s, float at, int64_t n) {
  const auto size = static_cast<float>(n);
  const float low = s.corners ? 0.0f : -0.5f, high = s.corners ? size - 1 : size - 0.5f;
  float x = s.corners ? (at + 1) / 2 * (size - 1) : ((at + 1) * size - 1) / 2;
  if (!(x > -1e9f && x < 1e9f)) return {};  // NaN too: no place of the image
  if (s.mode == Interpolation::nearest) x = std::nearbyint(x);
  if (x < low || x > high) {
    if (s.outside == Outside::border) x = std::clamp(x, 0.0f, size - 1);
    if (s.outside == Outside::reflection) x = reflect(x, low, high);
  }
  Taps taps;
  const auto add = [&](int64_t index, double weight) {
    if (index < 0 || index >= n) {
      if (s.outside == Outside::zeros) return;
      if (s.outside == Outside::reflection) index = static_cast<int64_t>(reflect(static_cast<float>(index), low, high));
      index = std::clamp<int64_t>(index, 0, n - 1);
    }
    taps.push_back({index, weight});
  };
  if (s.mode == Interpolation::nearest) {
    add(static_cast<int64_t>(x), 1);
    return taps;
  }
  const float floor = std::floor(x);
  const auto first = static_cast<int64_t>(floor);
  const auto t = static_cast<double>(x - floor);
  if (s.mode == Interpolation::linear) {
    add(first, 1 - t);
    add(first + 1, t);
    return taps;
  }
  const double a = -0.75;
  const auto near = [a](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [a](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  add(first - 1, far(1 + t));
  add(first, near(t));
  add(first + 1, near(1 - t));
  add(first + 2, far(2 - t));
  return taps;
}

void eval_grid_sample(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Sampling sampling = sampling_of(ctx);
  const Shape shape = to_shape(*grid_sample_dims(ctx));
  const Image image = image_of(x.shape());
  const size_t axes = x.shape().size() - 2;
  const int64_t places = product(shape, 2, shape.size());
  const std::vector<double> values = to_f64(x), grid = to_f64(ctx.in(1));
  std::vector<double> out(static_cast<size_t>(element_count(shape)), 0.0);
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t p = 0; p < places; ++p) {
      std::array<Taps, 3> taps{Taps{{0, 1}}, Taps{{0, 1}}, Taps{{0, 1}}};  // depth, row, column
      const double* row = grid.data() + (n * places + p) * static_cast<int64_t>(axes);
      for (size_t a = 0; a < axes; ++a) taps[2 - a] = taps_at(sampling, static_cast<float>(row[a]), image.size[2 - a]);
      Taps all;
      for (const Tap& d : taps[0])
        for (const Tap& h : taps[1])
          for (const Tap& w : taps[2])
            all.push_back({(d.index * image.size[1] + h.index) * image.size[2] + w.index, d.weight * h.weight * w.weight});
      for (int64_t c = 0; c < image.c; ++c) {
        const double* plane = values.data() + (n * image.c + c) * image.plane();
        double sum = 0;
        for (const Tap& tap : all) sum += tap.weight * plane[tap.index];
        out[static_cast<size_t>((n * image.c + c) * places + p)] = sum;
      }
    }
  ctx.out() = from_f64(ctx, out, x.dtype(), shape);
}

// --- DeformConv
// ---------------------------------------------------------------------------------------------------------------
template <class Ctx>
MaybeDims deform_conv_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0), w = dims_of(ctx, 1);
  if ((x && x->size() != 4) || (w && w->size() != 4)) fail(ctx, "works on images of rank 4; expected N, C, H, W");
  MaybeDims out = conv_dims(ctx, 0, 1);
  const int64_t groups = ctx.node().attr("offset_group", int64_t{1});
  if (groups < 1 || (x && (*x)[1].known() && (*x)[1].value % groups != 0))
    fail(ctx, "offset_group is " + std::to_string(groups) + "; expected a divisor of the number of channels");
  if (!out || !w || !(*w)[2].known() || !(*w)[3].known()) return out;
  const int64_t taps = (*w)[2].value * (*w)[3].value * groups;
  const auto check = [&](size_t i, int64_t channels, const char* what) {
    const MaybeDims dims = dims_of(ctx, i);
    expect_rank(ctx, i, dims, 4, 4);
    if (!dims) return;
    same_dim(ctx, (*dims)[1], Dim(channels), what);
    for (const size_t a : {size_t{0}, size_t{2}, size_t{3}}) (*out)[a] = same_dim(ctx, (*out)[a], (*dims)[a], what);
  };
  check(2, 2 * taps, "the output's shape and that of offset");
  if (ctx.has(4)) check(4, taps, "the output's shape and that of mask");
  return out;
}
void infer_deform_conv(InferContext& ctx) {
  expect_real(ctx, 0);
  set_dims(ctx, 0, dtype_of(ctx, 0), deform_conv_dims(ctx));
}

double bilinear(const double* plane, int64_t height, int64_t width, double y, double x) {
  if (!(y > -1 && y < static_cast<double>(height) && x > -1 && x < static_cast<double>(width))) return 0;
  const auto top = static_cast<int64_t>(std::floor(y)), left = static_cast<int64_t>(std::floor(x));
  const double dy = y - static_cast<double>(top), dx = x - static_cast<double>(left);
  const auto at = [&](int64_t h, int64_t w) {
    return h < 0 || h >= height || w < 0 || w >= width ? 0.0 : plane[h * width + w];
  };
  return (1 - dy) * ((1 - dx) * at(top, left) + dx * at(top, left + 1)) +
         dy * ((1 - dx) * at(top + 1, left) + dx * at(top + 1, left + 1));
}

void eval_deform_conv(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape shape = to_shape(*deform_conv_dims(ctx));
  const ConvGeometry g = conv_geometry(ctx, 0, 1, shape);
  const Dims spatial = to_dims({x.shape()[2], x.shape()[3]});
  const Window k = window_of(ctx, {ctx.in(1).shape()[2], ctx.in(1).shape()[3]}, &spatial);
  const int64_t height = x.shape()[2], width = x.shape()[3], taps = k.kernel[0] * k.kernel[1];
  const int64_t offset_groups = ctx.node().attr("offset_group", int64_t{1});
  const int64_t places = shape[2] * shape[3];
  const std::vector<double> values = to_f64(x), weights = to_f64(ctx.in(1)), offset = to_f64(ctx.in(2));
  const std::vector<double> bias = ctx.has(3) ? to_f64(ctx.in(3)) : std::vector<double>(static_cast<size_t>(shape[1]), 0.0);
  const std::vector<double> mask = ctx.has(4) ? to_f64(ctx.in(4)) : std::vector<double>();
  if (static_cast<int64_t>(bias.size()) != shape[1]) fail(ctx, "the bias does not have one element an output channel");
  std::vector<double> out(static_cast<size_t>(element_count(shape)));
  std::vector<double> patch(static_cast<size_t>(g.x.c * taps));  // the moved taps of one output place
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t p = 0; p < places; ++p) {
      for (int64_t c = 0; c < g.x.c; ++c)
        for (int64_t t = 0; t < taps; ++t) {
          const int64_t tap = (n * offset_groups + c / (g.x.c / offset_groups)) * taps + t;
          const double y =
              static_cast<double>(p / shape[3] * k.strides[0] + t / k.kernel[1] * k.dilations[0] - k.pad_begin[0]) +
              offset[static_cast<size_t>(2 * tap * places + p)];
          const double z =
              static_cast<double>(p % shape[3] * k.strides[1] + t % k.kernel[1] * k.dilations[1] - k.pad_begin[1]) +
              offset[static_cast<size_t>((2 * tap + 1) * places + p)];
          const double m = mask.empty() ? 1.0 : mask[static_cast<size_t>(tap * places + p)];
          patch[static_cast<size_t>(c * taps + t)] =
              m * bilinear(values.data() + (n * g.x.c + c) * height * width, height, width, y, z);
        }
      for (int64_t o = 0; o < shape[1]; ++o) {
        const int64_t run = g.group_inputs() * taps;
        const double* from = patch.data() + o / (shape[1] / g.groups) * run;
        double sum = bias[static_cast<size_t>(o)];
        for (int64_t i = 0; i < run; ++i) sum += from[i] * weights[static_cast<size_t>(o * run + i)];
        out[static_cast<size_t>((n * shape[1] + o) * places + p)] = sum;
      }
    }
  ctx.out() = from_f64(ctx, out, x.dtype(), shape);
}

std::vector<OpDef> define() {
  constexpr AttrKind i = AttrKind::i, s = AttrKind::s, ints = AttrKind::ints;
  return {
      {.name = "AffineGrid",
       .inputs = {{"theta"}, {"size"}},
       .attrs = {{"align_corners", i}},
       .infer = infer_affine_grid,
       .eval = eval_affine_grid},
      {.name = "GridSample",
       .inputs = {{"X"}, {"grid"}},
       .attrs = {{"align_corners", i}, {"mode", s}, {"padding_mode", s}},
       .infer = infer_grid_sample,
       .eval = eval_grid_sample},
      {.name = "DeformConv",
       .inputs = {{"X"}, {"W"}, {"offset"}, {"B", true}, {"mask", true}},
       .attrs = {{"dilations", ints},
                 {"group", i},
                 {"kernel_shape", ints},
                 {"offset_group", i},
                 {"pads", ints},
                 {"strides", ints}},
       .infer = infer_deform_conv,
       .eval = eval_deform_conv},
  };
}

}  // namespace

std::span<const OpDef> sample_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
