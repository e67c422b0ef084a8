// Normalisations. All sums are sum_of (float: 16 virtual lanes over the normalised elements in row-major order).
//
//   BatchNormalization      (x - mean) * (scale / sqrt(var + epsilon)) + bias, statistics given
//   Instance, Group         mean = sum(x) / n; var = sum((x - mean)^2) / n; inv = 1 / sqrt(var + epsilon);
//                           ((x - mean) * inv) * scale + bias
//   Layer, RMS              the same and inv = 1 / sqrt(sum(x*x) / n + epsilon); (x * inv) * scale. In float by
//                           octet/numerics_norm.h, which fixes where the FMAs are
//   LpNormalization         x / sum |x|, x / sqrt(sum x*x); 0 where the norm is 0
//   MeanVariance            (x - mean) / (sqrt(mean of squares - mean^2) + 1e-9)
//   LRN                     x / (bias + alpha / size * sum of squares of the neighbouring channels) ^ beta, the power in
//   double
#include <algorithm>
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"
#include "octet/numerics_norm.h"

namespace octet::graph::ops {
namespace {

template <void (*F)(EvalContext&, Tag<float>), void (*D)(EvalContext&, Tag<double>)>
void eval_float_or_double(EvalContext& ctx) {
  switch (ctx.in(0).dtype()) {
    case DType::f32: return F(ctx, {});
    case DType::f64: return D(ctx, {});
    default: fail_dtype(ctx, ctx.in(0).dtype());
  }
}

template <class Ctx>
void expect_per_channel(const Ctx& ctx, size_t i, const Dim& channels) {
  const MaybeDims dims = dims_of(ctx, i);
  expect_rank(ctx, i, dims, 1, 1);
  if (dims) same_dim(ctx, (*dims)[0], channels, "channels and the size of a per-channel input");
}

void infer_per_channel(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 2, 8);
  if (x)
    for (size_t i = 1; i < count_inputs(ctx); ++i) expect_per_channel(ctx, i, (*x)[1]);
  set_dims(ctx, 0, dtype_of(ctx, 0), x);
}

void infer_batch_norm(InferContext& ctx) {
  if (ctx.node().attr("training_mode", int64_t{0}) != 0) fail(ctx, "training_mode is 1; expected an inference graph");
  infer_per_channel(ctx);
}

template <class T>
void batch_norm(EvalContext& ctx, Tag<T>) {
  const Tensor& x = ctx.in(0);
  const Shape& shape = x.shape();
  const int64_t plane = product(shape, 2, shape.size());
  const auto epsilon = static_cast<T>(ctx.node().attr("epsilon", 1e-5f));
  Tensor y(x.dtype(), shape);
  for (int64_t p = 0; p < shape[0] * shape[1]; ++p) {
    const int64_t c = p % shape[1];
    const T mean = ctx.in(3).as<T>()[c];
    const T factor = ctx.in(1).as<T>()[c] / std::sqrt(ctx.in(4).as<T>()[c] + epsilon);
    const T bias = ctx.in(2).as<T>()[c];
    for (int64_t i = p * plane; i < (p + 1) * plane; ++i) y.mutable_as<T>()[i] = (x.as<T>()[i] - mean) * factor + bias;
  }
  ctx.out() = y;
}

template <class T>
struct Statistics {
  T mean, inverse;
};
template <class T>
Statistics<T> statistics(const T* x, int64_t n, T epsilon) {
  const T count = static_cast<T>(n);
  const T mean = sum_of<T>(n, [&](int64_t i) { return x[i]; }) / count;
  const T var = sum_of<T>(n, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / count;
  return {mean, T{1} / std::sqrt(var + epsilon)};
}

// --- InstanceNormalization, GroupNormalization: groups of channels of one image
// ----------------------------------------------
template <class T>
void normalize_groups(EvalContext& ctx, int64_t groups) {
  const Tensor& x = ctx.in(0);
  const Shape& shape = x.shape();
  const int64_t plane = product(shape, 2, shape.size());
  const int64_t channels = shape[1] / groups;
  const auto epsilon = static_cast<T>(ctx.node().attr("epsilon", 1e-5f));
  Tensor y(x.dtype(), shape);
  for (int64_t g = 0; g < shape[0] * groups; ++g) {
    const T* from = x.as<T>() + g * channels * plane;
    T* to = y.mutable_as<T>() + g * channels * plane;
    const auto [mean, inv] = statistics(from, channels * plane, epsilon);
    for (int64_t i = 0; i < channels * plane; ++i) {
      const int64_t c = g % groups * channels + i / plane;
      to[i] = ((from[i] - mean) * inv) * ctx.in(1).as<T>()[c] + ctx.in(2).as<T>()[c];
    }
  }
  ctx.out() = y;
}
template <class T>
void instance_norm(EvalContext& ctx, Tag<T>) {
  normalize_groups<T>(ctx, ctx.in(0).shape()[1]);
}
template <class T>
void group_norm(EvalContext& ctx, Tag<T>) {
  normalize_groups<T>(ctx, ctx.node().attr("num_groups", int64_t{1}));
}
void infer_group_norm(InferContext& ctx) {
  infer_per_channel(ctx);
  const int64_t groups = ctx.node().attr("num_groups", int64_t{1});
  const MaybeDims x = dims_of(ctx, 0);
  if (groups < 1 || (x && (*x)[1].known() && (*x)[1].value % groups != 0))
    fail(ctx, "num_groups is " + std::to_string(groups) + "; expected a divisor of the number of channels");
}

// --- LayerNormalization, RMSNormalization: the axes from `axis` on
// ---------------------------------------------------------
void infer_layer_norm(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  set_dims(ctx, 0, dtype_of(ctx, 0), x);
  if (!x) {
    for (size_t i = 1; i < ctx.node().outputs().size(); ++i) ctx.set_unranked(i, DType::f32);
    return;
  }
  const int64_t axis = normalize_axis(ctx, ctx.node().attr("axis", int64_t{-1}), static_cast<int64_t>(x->size()));
  for (size_t i = 1; i < count_inputs(ctx); ++i) broadcast(ctx, Dims(x->begin() + axis, x->end()), dims_of(ctx, i));
  Dims rest = *x;
  for (size_t i = static_cast<size_t>(axis); i < rest.size(); ++i) rest[i] = Dim(1);
  for (size_t i = 1; i < ctx.node().outputs().size(); ++i)
    set_dims(ctx, i, dtype_of(ctx, 0) == DType::f64 ? DType::f64 : DType::f32, rest);
}

// Element of a scale or bias that broadcasts to the normalised part.
std::vector<int64_t> broadcast_offsets(const Shape& from, const Shape& to) {
  std::vector<int64_t> offsets;
  for_each_run<1>(to, {broadcast_strides(from, to)}, [&](const auto& at, int64_t length, const auto& step) {
    for (int64_t i = 0; i < length; ++i) offsets.push_back(at[0] + i * step[0]);
  });
  return offsets;
}

template <bool centred>
numerics::Moments moments(const float* x, int64_t n, float epsilon) {
  const auto at = [x](size_t i) { return x[i]; };
  const auto count = static_cast<size_t>(n);
  if constexpr (centred) return numerics::layer_moments(count, at, epsilon);
  return numerics::rms_moments(count, at, epsilon);
}
template <bool centred>
Statistics<double> moments(const double* x, int64_t n, double epsilon) {
  if constexpr (centred) return statistics(x, n, epsilon);
  return {0, 1 / std::sqrt(sum_of<double>(n, [&](int64_t i) { return x[i] * x[i]; }) / static_cast<double>(n) + epsilon)};
}
double normalise(double x, const Statistics<double>& s, double scale, double bias) {
  return ((x - s.mean) * s.inverse) * scale + bias;
}
double normalise(double x, const Statistics<double>& s, double scale) { return ((x - s.mean) * s.inverse) * scale; }

template <class T, bool centred>
void normalize_tail(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape& shape = x.shape();
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{-1}), static_cast<int64_t>(shape.size())));
  const int64_t rows = product(shape, 0, axis), n = product(shape, axis, shape.size());
  const auto epsilon = static_cast<T>(ctx.node().attr("epsilon", 1e-5f));
  const Shape tail(shape.begin() + static_cast<std::ptrdiff_t>(axis), shape.end());
  const std::vector<int64_t> scale_at = broadcast_offsets(ctx.in(1).shape(), tail);
  const bool biased = centred && ctx.has(2);
  const std::vector<int64_t> bias_at = biased ? broadcast_offsets(ctx.in(2).shape(), tail) : std::vector<int64_t>{};
  Shape rest = shape;
  std::fill(rest.begin() + static_cast<std::ptrdiff_t>(axis), rest.end(), 1);
  Tensor y(x.dtype(), shape), means(x.dtype(), rest), invs(x.dtype(), rest);
  for (int64_t r = 0; r < rows; ++r) {
    const T* from = x.as<T>() + r * n;
    T* to = y.mutable_as<T>() + r * n;
    const auto s = moments<centred>(from, n, epsilon);
    means.mutable_as<T>()[r] = s.mean;
    invs.mutable_as<T>()[r] = s.inverse;
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      const T factor = ctx.in(1).as<T>()[scale_at[at]];
      to[i] = biased ? normalise(from[i], s, factor, ctx.in(2).as<T>()[bias_at[at]]) : normalise(from[i], s, factor);
    }
  }
  ctx.out(0) = y;
  if (ctx.output_count() > 1) ctx.out(1) = means;
  if (ctx.output_count() > 2) ctx.out(2) = invs;
}
template <class T>
void layer_norm(EvalContext& ctx, Tag<T>) {
  normalize_tail<T, true>(ctx);
}
template <class T>
void rms_norm(EvalContext& ctx, Tag<T>) {
  normalize_tail<T, false>(ctx);
}

// --- LpNormalization, LRN
// ------------------------------------------------------------------------------------------------------
void infer_lp_norm(InferContext& ctx) {
  const int64_t p = ctx.node().attr("p", int64_t{2});
  if (p != 1 && p != 2) fail(ctx, "p is " + std::to_string(p) + "; expected 1 or 2");
  const MaybeDims x = dims_of(ctx, 0);
  if (x) normalize_axis(ctx, ctx.node().attr("axis", int64_t{-1}), static_cast<int64_t>(x->size()));
  set_dims(ctx, 0, dtype_of(ctx, 0), x);
}
template <class T>
void lp_norm(EvalContext& ctx, Tag<T>) {
  const Tensor& x = ctx.in(0);
  const Shape& shape = x.shape();
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{-1}), static_cast<int64_t>(shape.size())));
  const int64_t outer = product(shape, 0, axis), n = shape[axis], inner = product(shape, axis + 1, shape.size());
  const bool squares = ctx.node().attr("p", int64_t{2}) == 2;
  Tensor y(x.dtype(), shape);
  for (int64_t line = 0; line < outer * inner; ++line) {
    const int64_t at = line / inner * n * inner + line % inner;
    const T* from = x.as<T>() + at;
    T* to = y.mutable_as<T>() + at;
    const T sum =
        sum_of<T>(n, [&](int64_t i) { return squares ? from[i * inner] * from[i * inner] : std::fabs(from[i * inner]); });
    const T norm = squares ? std::sqrt(sum) : sum;
    for (int64_t i = 0; i < n; ++i) to[i * inner] = norm == T{0} ? T{0} : from[i * inner] / norm;
  }
  ctx.out() = y;
}

void infer_lrn(InferContext& ctx) {
  expect_rank(ctx, 0, dims_of(ctx, 0), 2, 8);
  const int64_t size = ctx.node().attr("size", int64_t{0});
  if (size < 1) fail(ctx, "size is " + std::to_string(size) + "; expected at least 1");
  set_dims(ctx, 0, dtype_of(ctx, 0), dims_of(ctx, 0));
}
template <class T>
void lrn(EvalContext& ctx, Tag<T>) {
  const Tensor& x = ctx.in(0);
  const Shape& shape = x.shape();
  const int64_t plane = product(shape, 2, shape.size()), channels = shape[1];
  const int64_t size = ctx.node().attr("size", int64_t{1});
  const auto alpha = static_cast<T>(ctx.node().attr("alpha", 1e-4f));
  const auto bias = static_cast<T>(ctx.node().attr("bias", 1.0f));
  const auto beta = static_cast<double>(ctx.node().attr("beta", 0.75f));
  Tensor y(x.dtype(), shape);
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t first = std::max<int64_t>(0, c - (size - 1) / 2);
      const int64_t last = std::min(channels - 1, c + size / 2);
      for (int64_t i = 0; i < plane; ++i) {
        const T* column = x.as<T>() + n * channels * plane + i;
        T sum = 0;
        for (int64_t k = first; k <= last; ++k) sum += column[k * plane] * column[k * plane];
        const T base = bias + alpha / static_cast<T>(size) * sum;
        const T power = static_cast<T>(std::pow(static_cast<double>(base), beta));
        y.mutable_as<T>()[(n * channels + c) * plane + i] = column[c * plane] / power;
      }
    }
  ctx.out() = y;
}

// --- MeanVarianceNormalization: the same elements of all axes but `axes` share mean and variance; in double
// ----------------------
template <class Ctx>
std::vector<int64_t> variance_axes(const Ctx& ctx, size_t rank) {
  std::vector<int64_t> axes = ctx.node().ints("axes");
  if (!ctx.node().has_attr("axes")) axes = {0, 2, 3};
  return normalize_axes(ctx, axes, static_cast<int64_t>(rank));
}
void infer_mean_variance(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  if (x) variance_axes(ctx, x->size());
  set_dims(ctx, 0, dtype_of(ctx, 0), x);
}
void eval_mean_variance(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (!is_float(x.dtype())) fail_dtype(ctx, x.dtype());
  Shape kept = x.shape();
  for (const int64_t a : variance_axes(ctx, kept.size())) kept[static_cast<size_t>(a)] = 1;
  const std::vector<int64_t> group = broadcast_offsets(kept, x.shape());
  const std::vector<double> values = to_f64(x);
  const double count = static_cast<double>(x.size()) / static_cast<double>(std::max<int64_t>(element_count(kept), 1));
  std::vector<double> mean(static_cast<size_t>(element_count(kept)), 0.0), square = mean, out = values;
  for (size_t i = 0; i < values.size(); ++i) {
    mean[static_cast<size_t>(group[i])] += values[i] / count;
    square[static_cast<size_t>(group[i])] += values[i] * values[i] / count;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const double m = mean[static_cast<size_t>(group[i])];
    out[i] = (values[i] - m) / (std::sqrt(std::max(square[static_cast<size_t>(group[i])] - m * m, 0.0)) + 1e-9);
  }
  ctx.out() = from_f64(ctx, out, x.dtype(), x.shape());
}

OpDef norm(std::string name, std::vector<InputSchema> inputs, std::vector<AttrSchema> attrs, void (*infer)(InferContext&),
           void (*eval)(EvalContext&), int max_outputs = 1) {
  return {.name = std::move(name),
          .inputs = std::move(inputs),
          .attrs = std::move(attrs),
          .max_outputs = max_outputs,
          .infer = infer,
          .eval = eval,
          .types = kFloats};
}

template <void (*F)(EvalContext&, Tag<float>), void (*D)(EvalContext&, Tag<double>)>
constexpr auto kEval =
    widen_small_floats<eval_float_or_double<F, D>, 1>;  // further outputs are statistics, which stay float

std::vector<OpDef> define() {
  constexpr AttrKind f = AttrKind::f, i = AttrKind::i;
  return {
      norm("BatchNormalization", {{"X"}, {"scale"}, {"B"}, {"input_mean"}, {"input_var"}},
           {{"epsilon", f}, {"momentum", f}, {"training_mode", i}}, infer_batch_norm,
           kEval<batch_norm<float>, batch_norm<double>>),
      norm("InstanceNormalization", {{"input"}, {"scale"}, {"B"}}, {{"epsilon", f}}, infer_per_channel,
           kEval<instance_norm<float>, instance_norm<double>>),
      norm("GroupNormalization", {{"X"}, {"scale"}, {"bias"}}, {{"epsilon", f}, {"num_groups", i, true}, {"stash_type", i}},
           infer_group_norm, kEval<group_norm<float>, group_norm<double>>),
      norm("LayerNormalization", {{"X"}, {"Scale"}, {"B", true}}, {{"axis", i}, {"epsilon", f}, {"stash_type", i}},
           infer_layer_norm, kEval<layer_norm<float>, layer_norm<double>>, 3),
      norm("RMSNormalization", {{"X"}, {"scale"}}, {{"axis", i}, {"epsilon", f}, {"stash_type", i}}, infer_layer_norm,
           kEval<rms_norm<float>, rms_norm<double>>),
      norm("LpNormalization", {{"input"}}, {{"axis", i}, {"p", i}}, infer_lp_norm, kEval<lp_norm<float>, lp_norm<double>>),
      norm("MeanVarianceNormalization", {{"X"}}, {{"axes", AttrKind::ints}}, infer_mean_variance, eval_mean_variance),
      norm("LRN", {{"X"}}, {{"alpha", f}, {"beta", f}, {"bias", f}, {"size", i, true}}, infer_lrn,
           kEval<lrn<float>, lrn<double>>),
  };
}

}  // namespace

std::span<const OpDef> norm_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
