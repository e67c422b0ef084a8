// Detection: NonMaxSuppression, RoiAlign, MaxRoiPool.
//
//   NonMaxSuppression  boxes by falling score (ties: the lower index first); one is kept unless it overlaps a kept one by
//   more
//                      than iou_threshold. How many are kept, only the data tell
//   RoiAlign           each bin of a region is sampled at a grid of points, bilinearly; their mean, or the largest weighted
//                      neighbour. In double, rounded once
//   MaxRoiPool         regions at whole pixels, ends included; an empty bin gives 0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

// --- NonMaxSuppression
// --------------------------------------------------------------------------------------------------------
struct Box {
  float y1, x1, y2, x2;
  float area() const { return (y2 - y1) * (x2 - x1); }
};

Box box_at(const float* b, bool centred) {
  if (centred) {
    const float half_w = b[2] / 2, half_h = b[3] / 2;
    return {b[1] - half_h, b[0] - half_w, b[1] + half_h, b[0] + half_w};
  }
  return {std::min(b[0], b[2]), std::min(b[1], b[3]), std::max(b[0], b[2]), std::max(b[1], b[3])};
}

bool overlaps(const Box& a, const Box& b, float threshold) {
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1), width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  if (height <= 0 || width <= 0) return false;
  const float both = height * width;
  const float either = a.area() + b.area() - both;
  return either > 0 && both / either > threshold;
}

void infer_non_max_suppression(InferContext& ctx) {
  expect_dtype(ctx, 0, {DType::f32});
  expect_dtype(ctx, 1, {DType::f32});
  const MaybeDims boxes = dims_of(ctx, 0), scores = dims_of(ctx, 1);
  expect_rank(ctx, 0, boxes, 3, 3);
  expect_rank(ctx, 1, scores, 3, 3);
  if (boxes) same_dim(ctx, (*boxes)[2], Dim(4), "the last axis of boxes and 4, the coordinates of one,");
  if (boxes && scores) {
    same_dim(ctx, (*boxes)[0], (*scores)[0], "the batches of boxes and scores");
    same_dim(ctx, (*boxes)[1], (*scores)[2], "the numbers of boxes and of scores");
  }
  set_dims(ctx, 0, DType::s64, Dims{Dim(), Dim(3)});
}

void eval_non_max_suppression(EvalContext& ctx) {
  const Shape& scores = ctx.in(1).shape();
  const int64_t batches = scores[0], classes = scores[1], count = scores[2];
  if (ctx.in(0).shape() != Shape{batches, count, 4})
    fail(ctx, "boxes have shape " + octet::to_string(ctx.in(0).shape()) + "; expected " +
                  octet::to_string(Shape{batches, count, 4}));
  const int64_t most = ctx.has(2) ? std::max<int64_t>(scalar_s64(ctx, 2), 0) : 0;
  const float overlap = ctx.has(3) ? scalar_f32(ctx, 3) : 0.0f;
  const float least = ctx.has(4) ? scalar_f32(ctx, 4) : -INFINITY;
  const bool centred = ctx.node().attr("center_point_box", int64_t{0}) != 0;
  std::vector<int64_t> selected;
  for (int64_t line = 0; line < batches * classes; ++line) {
    const float* score = ctx.in(1).as<float>() + line * count;
    const float* boxes = ctx.in(0).as<float>() + line / classes * count * 4;
    std::vector<int64_t> order;
    for (int64_t i = 0; i < count; ++i)
      if (!ctx.has(4) || score[i] > least) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score[a] > score[b]; });
    std::vector<Box> kept;
    for (const int64_t i : order) {
      if (static_cast<int64_t>(kept.size()) >= most) break;
      const Box box = box_at(boxes + i * 4, centred);
      if (std::any_of(kept.begin(), kept.end(), [&](const Box& k) { return overlaps(k, box, overlap); })) continue;
      kept.push_back(box);
      selected.insert(selected.end(), {line / classes, line % classes, i});
    }
  }
  ctx.out() = Tensor::of<int64_t>(DType::s64, {static_cast<int64_t>(selected.size()) / 3, 3}, selected);
}

// --- RoiAlign
// -----------------------------------------------------------------------------------------------------------------
// Rows of `rois` are regions; outputs are [regions, channels, height, width].
template <class Ctx>
MaybeDims roi_dims(const Ctx& ctx, int64_t columns, int64_t height, int64_t width) {
  const MaybeDims x = dims_of(ctx, 0), rois = dims_of(ctx, 1);
  expect_rank(ctx, 0, x, 4, 4);
  expect_rank(ctx, 1, rois, 2, 2);
  if (rois) same_dim(ctx, (*rois)[1], Dim(columns), "the columns of rois and the coordinates of a region");
  if (height < 1 || width < 1) fail(ctx, "the pooled size is not positive; expected at least 1 by 1");
  return Dims{rois ? (*rois)[0] : Dim(), x ? (*x)[1] : Dim(), Dim(height), Dim(width)};
}
template <class Ctx>
MaybeDims roi_align_dims(const Ctx& ctx) {
  return roi_dims(ctx, 4, ctx.node().attr("output_height", int64_t{1}), ctx.node().attr("output_width", int64_t{1}));
}

void infer_roi_align(InferContext& ctx) {
  const std::string mode = ctx.node().attr("mode", "avg");
  if (mode != "avg" && mode != "max") fail(ctx, "mode is '" + mode + "'; expected avg or max");
  const std::string coordinates = ctx.node().attr("coordinate_transformation_mode", "half_pixel");
  if (coordinates != "half_pixel" && coordinates != "output_half_pixel")
    fail(ctx, "coordinate_transformation_mode is '" + coordinates + "'; expected half_pixel or output_half_pixel");
  expect_real(ctx, 0);
  const MaybeDims batch = dims_of(ctx, 2);
  expect_rank(ctx, 2, batch, 1, 1);
  MaybeDims out = roi_align_dims(ctx);
  if (batch) (*out)[0] = same_dim(ctx, (*out)[0], (*batch)[0], "the numbers of rois and of batch_indices");
  set_dims(ctx, 0, dtype_of(ctx, 0), out);
}

// The four neighbours of a point and their weights; all weights 0 where the point lies outside.
struct Sample {
  std::array<int64_t, 4> at{};
  std::array<double, 4> weight{};
};
Sample sample_at(double y, double x, int64_t height, int64_t width) {
  Sample s;
  if (y < -1 || y > static_cast<double>(height) || x < -1 || x > static_cast<double>(width)) return s;
  const auto side = [](double v, int64_t n) {
    v = std::max(v, 0.0);
    const auto low = static_cast<int64_t>(v);
    if (low >= n - 1) return std::tuple(n - 1, n - 1, 0.0);
    return std::tuple(low, low + 1, v - static_cast<double>(low));
  };
  const auto [top, bottom, dy] = side(y, height);
  const auto [left, right, dx] = side(x, width);
  s.at = {top * width + left, top * width + right, bottom * width + left, bottom * width + right};
  s.weight = {(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx};
  return s;
}

void eval_roi_align(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape shape = to_shape(*roi_align_dims(ctx));
  const int64_t channels = shape[1], height = x.shape()[2], width = x.shape()[3];
  if (ctx.in(2).size() != shape[0]) fail(ctx, "rois and batch_indices differ in number");
  const Node& node = ctx.node();
  const bool mean = node.attr("mode", "avg") == "avg";
  const bool half_pixel = node.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel";
  const int64_t ratio = node.attr("sampling_ratio", int64_t{0});
  const auto scale = static_cast<double>(node.attr("spatial_scale", 1.0f));
  const std::vector<double> values = to_f64(x), rois = to_f64(ctx.in(1));
  std::vector<double> out(static_cast<size_t>(element_count(shape)), 0.0);
  for (int64_t n = 0; n < shape[0]; ++n) {
    const int64_t batch = ctx.in(2).at_s64(n);
    if (batch < 0 || batch >= x.shape()[0])
      ctx.fail(ErrorCode::invalid_argument, "batch index " + std::to_string(batch) + " is out of range; expected 0 to " +
                                                std::to_string(x.shape()[0] - 1));
    const auto side = [&](size_t i, int64_t bins) {
      const double shift = half_pixel ? 0.5 : 0.0;
      const double start = rois[static_cast<size_t>(n) * 4 + i] * scale - shift;
      double size = rois[static_cast<size_t>(n) * 4 + i + 2] * scale - shift - start;
      if (!half_pixel) size = std::max(size, 1.0);
      const double bin = size / static_cast<double>(bins);
      if (!(std::fabs(start) < 1e9 && std::fabs(size) < 1e9))
        fail(ctx, "a region has a coordinate that is no sensible number");
      return std::tuple(start, bin, ratio > 0 ? ratio : static_cast<int64_t>(std::ceil(bin)));
    };
    const auto [left, bin_width, columns] = side(0, shape[3]);
    const auto [top, bin_height, rows] = side(1, shape[2]);
    if (rows * columns > (int64_t{1} << 24)) fail(ctx, "a region is too large to be sampled; expected one within the image");
    for (int64_t ph = 0; ph < shape[2]; ++ph)
      for (int64_t pw = 0; pw < shape[3]; ++pw) {
        std::vector<Sample> samples;
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < columns; ++c)
            samples.push_back(sample_at(
                top + (static_cast<double>(ph) + (static_cast<double>(r) + 0.5) / static_cast<double>(rows)) * bin_height,
                left + (static_cast<double>(pw) + (static_cast<double>(c) + 0.5) / static_cast<double>(columns)) * bin_width,
                height, width));
        for (int64_t c = 0; c < channels; ++c) {
          const double* plane = values.data() + (batch * channels + c) * height * width;
          double sum = 0, largest = samples.empty() ? 0 : -INFINITY;
          for (const Sample& s : samples)
            for (size_t k = 0; k < 4; ++k) {
              const double v = s.weight[k] * plane[s.at[k]];
              sum += v;
              largest = std::max(largest, v);
            }
          out[static_cast<size_t>(((n * channels + c) * shape[2] + ph) * shape[3] + pw)] =
              mean ? sum / static_cast<double>(std::max<size_t>(samples.size(), 1)) : largest;
        }
      }
  }
  ctx.out() = from_f64(ctx, out, x.dtype(), shape);
}

// --- MaxRoiPool: regions are rows (batch, x1, y1, x2, y2)
// -----------------------------------------------------------------------
template <class Ctx>
MaybeDims max_roi_dims(const Ctx& ctx) {
  const std::vector<int64_t> pooled = ctx.node().ints("pooled_shape");
  if (pooled.size() != 2) fail(ctx, "pooled_shape has " + std::to_string(pooled.size()) + " entries; expected 2");
  return roi_dims(ctx, 5, pooled[0], pooled[1]);
}
void infer_max_roi_pool(InferContext& ctx) {
  expect_real(ctx, 0);
  set_dims(ctx, 0, dtype_of(ctx, 0), max_roi_dims(ctx));
}
void eval_max_roi_pool(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape shape = to_shape(*max_roi_dims(ctx));
  const int64_t channels = shape[1], height = x.shape()[2], width = x.shape()[3];
  const auto scale = static_cast<double>(ctx.node().attr("spatial_scale", 1.0f));
  const std::vector<double> values = to_f64(x), rois = to_f64(ctx.in(1));
  std::vector<double> out;
  for (int64_t n = 0; n < shape[0]; ++n) {
    const double* roi = rois.data() + n * 5;
    if (!(roi[0] >= 0 && roi[0] < static_cast<double>(x.shape()[0])))
      ctx.fail(ErrorCode::invalid_argument,
               "a region's batch index is out of range; expected 0 to " + std::to_string(x.shape()[0] - 1));
    const auto batch = static_cast<int64_t>(roi[0]);
    // First and last pixel of bin `i` of `bins` along one axis of the image.
    const auto range = [&](double from, double to, int64_t i, int64_t bins, int64_t limit) {
      const double start = std::round(from * scale);
      const double size = std::max(std::round(to * scale) - start + 1, 1.0) / static_cast<double>(bins);
      const auto clip = [&](double v) { return static_cast<int64_t>(std::clamp(v, 0.0, static_cast<double>(limit))); };
      return std::pair(clip(start + std::floor(static_cast<double>(i) * size)),
                       clip(start + std::ceil(static_cast<double>(i + 1) * size)));
    };
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t ph = 0; ph < shape[2]; ++ph)
        for (int64_t pw = 0; pw < shape[3]; ++pw) {
          const auto [top, bottom] = range(roi[2], roi[4], ph, shape[2], height);
          const auto [left, right] = range(roi[1], roi[3], pw, shape[3], width);
          const double* plane = values.data() + (batch * channels + c) * height * width;
          double largest = top < bottom && left < right ? -INFINITY : 0.0;
          for (int64_t h = top; h < bottom; ++h)
            for (int64_t w = left; w < right; ++w) largest = std::max(largest, plane[h * width + w]);
          out.push_back(largest);
        }
  }
  ctx.out() = from_f64(ctx, out, x.dtype(), shape);
}

std::vector<OpDef> define() {
  constexpr AttrKind f = AttrKind::f, i = AttrKind::i, s = AttrKind::s;
  return {
      {.name = "NonMaxSuppression",
       .inputs =
           {{"boxes"}, {"scores"}, {"max_output_boxes_per_class", true}, {"iou_threshold", true}, {"score_threshold", true}},
       .attrs = {{"center_point_box", i}},
       .infer = infer_non_max_suppression,
       .eval = eval_non_max_suppression},
      {.name = "RoiAlign",
       .inputs = {{"X"}, {"rois"}, {"batch_indices"}},
       .attrs = {{"coordinate_transformation_mode", s},
                 {"mode", s},
                 {"output_height", i},
                 {"output_width", i},
                 {"sampling_ratio", i},
                 {"spatial_scale", f}},
       .infer = infer_roi_align,
       .eval = eval_roi_align},
      {.name = "MaxRoiPool",
       .inputs = {{"X"}, {"rois"}},
       .attrs = {{"pooled_shape", AttrKind::ints, true}, {"spatial_scale", f}},
       .infer = infer_max_roi_pool,
       .eval = eval_max_roi_pool},
  };
}

}  // namespace

std::span<const OpDef> detection_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
