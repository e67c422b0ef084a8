// Pooling. Windows are clipped to the image.
//
//   MaxPool        acc = the window's first element; then acc = acc > x ? acc : x, in row-major order (vmaxps acc, acc, x)
//   AveragePool    the sum over the window in row-major order, divided by float(count); quantized: see pool.h
//   Global*        one window over the whole image; the average is one sum in row-major order
//   LpPool         (sum of |x|^p)^(1/p), in double
#include "graph/ops/pool.h"

#include <cmath>

#include "graph/ops/activation_quanta.h"
#include "graph/ops/families.h"

namespace octet::graph::ops {

Tensor average_pool_quantized(EvalContext& ctx, const Tensor& x, const AverageQuant& quant) {
  const MaybeDims dims = to_dims(x.shape());
  const Image in = image_of(x.shape());
  const Shape shape = to_shape(*pool_dims(ctx, dims));
  const Window3 k = three_axes(*pool_window(ctx, dims));
  const bool with_padding = ctx.node().attr("count_include_pad", int64_t{0}) != 0;
  const QuantStore store(quant.y_scale, quant.y_zero_point, x.dtype());
  Tensor y(x.dtype(), shape);
  auto* out = y.mutable_as<uint8_t>();
  for_each_window(in, image_of(shape), [&](int64_t index, int64_t plane, int64_t d, int64_t h, int64_t w) {
    int32_t sum = 0;
    for_each_tap(in, k, d, h, w, [&](int64_t at) { sum += quantum(x, plane + at) - quant.x_zero_point; });
    const auto count = static_cast<float>(average_count(in, k, with_padding, d, h, w));
    out[index] = static_cast<uint8_t>(store(static_cast<float>(sum) * ((quant.x_scale / quant.y_scale) / count)));
  });
  return y;
}

Tensor global_average_pool_quantized(const Tensor& x, const AverageQuant& quant) {
  const Image in = image_of(x.shape());
  Shape shape = x.shape();
  std::fill(shape.begin() + 2, shape.end(), 1);
  const QuantStore store(quant.y_scale, quant.y_zero_point, x.dtype());
  Tensor y(x.dtype(), shape);
  const auto count = static_cast<float>(in.plane());
  for (int64_t p = 0; p < in.n * in.c; ++p) {
    int32_t sum = 0;
    for (int64_t i = 0; i < in.plane(); ++i) sum += quantum(x, p * in.plane() + i) - quant.x_zero_point;
    y.mutable_as<uint8_t>()[p] =
        static_cast<uint8_t>(store(static_cast<float>(sum) * ((quant.x_scale / quant.y_scale) / count)));
  }
  return y;
}

namespace {

// --- MaxPool
// ---------------------------------------------------------------------------------------------------------------
void infer_max_pool(InferContext& ctx) {
  const MaybeDims dims = pool_dims(ctx, dims_of(ctx, 0));
  set_moved(ctx, 0, 0, dims);
  if (ctx.node().outputs().size() > 1) set_dims(ctx, 1, DType::s64, dims);
}

void eval_max_pool(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const MaybeDims dims = dims_of(ctx, 0);
  const Image in = image_of(x.shape());
  const Shape shape = to_shape(*pool_dims(ctx, dims));
  const Image out = image_of(shape);
  const Window3 k = three_axes(*pool_window(ctx, dims));
  const bool column_major = ctx.node().attr("storage_order", int64_t{0}) != 0;
  Tensor y(x.dtype(), shape);
  Tensor indices(DType::s64, shape);
  with_number(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    for_each_window(in, out, [&](int64_t index, int64_t plane, int64_t d, int64_t h, int64_t w) {
      int64_t best = -1;
      C acc{};
      for_each_tap(in, k, d, h, w, [&](int64_t at) {
        const auto v = static_cast<C>(x.as<T>()[plane + at]);
        if (best >= 0 && acc > v) return;
        if (best < 0 || acc != v) best = at;
        acc = v;
      });
      if (best < 0) fail(ctx, "a window lies wholly on the padding");
      y.mutable_as<T>()[index] = static_cast<T>(numerics::flush_denormal(acc));
      if (column_major) {
        const int64_t xd = best / (in.size[1] * in.size[2]), xh = best / in.size[2] % in.size[1], xw = best % in.size[2];
        best = (xw * in.size[1] + xh) * in.size[0] + xd;
      }
      indices.mutable_as<int64_t>()[index] = plane + best;
    });
  });
  ctx.out(0) = y;
  if (ctx.output_count() > 1) ctx.out(1) = indices;
}

// --- AveragePool, LpPool
// ---------------------------------------------------------------------------------------------------
void infer_average_pool(InferContext& ctx) { set_keeping_quant(ctx, 0, dtype_of(ctx, 0), pool_dims(ctx, dims_of(ctx, 0))); }

std::optional<AverageQuant> average_quant(const EvalContext& ctx) {
  const QuantParams* x = ctx.in_quant(0);
  const QuantParams* y = ctx.out_quant();
  if (!x || !y) return std::nullopt;
  if (!x->per_tensor() || size_of(ctx.in(0).dtype()) != 1)
    ctx.fail(ErrorCode::unsupported, "an average of quantized values wants 8-bit elements and one scale a tensor");
  return AverageQuant{x->scale[0], x->zero_point[0], y->scale[0], y->zero_point[0]};
}

template <class T>
Tensor average(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const MaybeDims dims = dims_of(ctx, 0);
  const Image in = image_of(x.shape());
  const Shape shape = to_shape(*pool_dims(ctx, dims));
  const Window3 k = three_axes(*pool_window(ctx, dims));
  const bool with_padding = ctx.node().attr("count_include_pad", int64_t{0}) != 0;
  Tensor y(x.dtype(), shape);
  for_each_window(in, image_of(shape), [&](int64_t index, int64_t plane, int64_t d, int64_t h, int64_t w) {
    T sum = 0;
    for_each_tap(in, k, d, h, w, [&](int64_t at) { sum += x.as<T>()[plane + at]; });
    y.mutable_as<T>()[index] = sum / static_cast<T>(average_count(in, k, with_padding, d, h, w));
  });
  return y;
}

void eval_average_pool(EvalContext& ctx) {
  if (const auto quant = average_quant(ctx)) {
    ctx.out() = average_pool_quantized(ctx, ctx.in(0), *quant);
    return;
  }
  switch (ctx.in(0).dtype()) {
    case DType::f32: ctx.out() = average<float>(ctx); break;
    case DType::f64: ctx.out() = average<double>(ctx); break;
    default: fail_dtype(ctx, ctx.in(0).dtype());
  }
}

double lp_norm(double sum, int64_t p) {
  return p == 1 ? sum : p == 2 ? std::sqrt(sum) : std::pow(sum, 1.0 / static_cast<double>(p));
}
double lp_term(double v, int64_t p) {
  return p == 1 ? std::fabs(v) : p == 2 ? v * v : std::pow(std::fabs(v), static_cast<double>(p));
}

void infer_lp_pool(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 0), pool_dims(ctx, dims_of(ctx, 0))); }
void eval_lp_pool(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const MaybeDims dims = dims_of(ctx, 0);
  const Image in = image_of(x.shape());
  const Shape shape = to_shape(*pool_dims(ctx, dims));
  const Window3 k = three_axes(*pool_window(ctx, dims));
  const int64_t p = ctx.node().attr("p", int64_t{2});
  Tensor y(x.dtype(), shape);
  with_float(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each_window(in, image_of(shape), [&](int64_t index, int64_t plane, int64_t d, int64_t h, int64_t w) {
      double sum = 0;
      for_each_tap(in, k, d, h, w, [&](int64_t at) { sum += lp_term(x.at_f64(plane + at), p); });
      y.mutable_as<T>()[index] = static_cast<T>(static_cast<Compute<T>>(lp_norm(sum, p)));
    });
  });
  ctx.out() = y;
}

// --- over the whole image
// ----------------------------------------------------------------------------------------------------
MaybeDims global_dims(const InferContext& ctx) {
  MaybeDims dims = dims_of(ctx, 0);
  expect_rank(ctx, 0, dims, 3, 5);
  if (dims) std::fill(dims->begin() + 2, dims->end(), Dim(1));
  return dims;
}
void infer_global_average(InferContext& ctx) { set_keeping_quant(ctx, 0, dtype_of(ctx, 0), global_dims(ctx)); }
void infer_global_max(InferContext& ctx) { set_moved(ctx, 0, 0, global_dims(ctx)); }
void infer_global_lp(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 0), global_dims(ctx)); }

template <class T, class F>
Tensor over_planes(const Tensor& x, F f) {
  Shape shape = x.shape();
  std::fill(shape.begin() + 2, shape.end(), 1);
  const Image image = image_of(x.shape());
  Tensor y(x.dtype(), shape);
  for (int64_t p = 0; p < image.n * image.c; ++p)
    y.mutable_as<T>()[p] = static_cast<T>(f(x.as<T>() + p * image.plane(), image.plane()));
  return y;
}

void eval_global_average(EvalContext& ctx) {
  if (const auto quant = average_quant(ctx)) {
    ctx.out() = global_average_pool_quantized(ctx.in(0), *quant);
    return;
  }
  with_float(ctx, ctx.in(0).dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    ctx.out() = over_planes<T>(ctx.in(0), [](const T* v, int64_t n) {
      C sum{};
      for (int64_t i = 0; i < n; ++i) sum += static_cast<C>(v[i]);
      return sum / static_cast<C>(n);
    });
  });
}

void eval_global_max(EvalContext& ctx) {
  with_number(ctx, ctx.in(0).dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    ctx.out() = over_planes<T>(ctx.in(0), [](const T* v, int64_t n) {
      auto acc = numerics::flush_denormal(static_cast<C>(v[0]));
      for (int64_t i = 1; i < n; ++i) acc = numerics::larger(acc, static_cast<C>(v[i]));
      return acc;
    });
  });
}

void eval_global_lp(EvalContext& ctx) {
  const int64_t p = ctx.node().attr("p", int64_t{2});
  with_float(ctx, ctx.in(0).dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    ctx.out() = over_planes<T>(ctx.in(0), [p](const T* v, int64_t n) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += lp_term(static_cast<double>(static_cast<C>(v[i])), p);
      return static_cast<C>(lp_norm(sum, p));
    });
  });
}

// --- definitions
// -------------------------------------------------------------------------------------------------------------
std::vector<AttrSchema> window_attrs(std::vector<AttrSchema> more) {
  std::vector<AttrSchema> attrs = {{"auto_pad", AttrKind::s},     {"ceil_mode", AttrKind::i},
                                   {"dilations", AttrKind::ints}, {"kernel_shape", AttrKind::ints, true},
                                   {"pads", AttrKind::ints},      {"strides", AttrKind::ints}};
  attrs.insert(attrs.end(), more.begin(), more.end());
  return attrs;
}

OpDef pool(std::string name, TypeSet types, std::vector<AttrSchema> attrs, void (*infer)(InferContext&),
           void (*eval)(EvalContext&), QuantRole quant, LayoutRole layout, int max_outputs = 1) {
  return {.name = std::move(name),
          .inputs = {{"X"}},
          .attrs = std::move(attrs),
          .max_outputs = max_outputs,
          .infer = infer,
          .eval = eval,
          .quant = quant,
          .layout = layout,
          .types = types};
}

std::vector<OpDef> define() {
  constexpr LayoutRole last = LayoutRole::channels_last;
  constexpr LayoutRole plain = LayoutRole::plain_only;
  return {
      pool("MaxPool", kNumbers, window_attrs({{"storage_order", AttrKind::i}}), infer_max_pool, eval_max_pool,
           QuantRole::transparent, last, 2),
      pool("AveragePool", kFloats, window_attrs({{"count_include_pad", AttrKind::i}}), infer_average_pool,
           widen_small_floats<eval_average_pool>, QuantRole::average, last),
      pool("LpPool", kFloats, window_attrs({{"p", AttrKind::i}}), infer_lp_pool, eval_lp_pool, QuantRole::none, plain),
      pool("GlobalAveragePool", kFloats, {}, infer_global_average, eval_global_average, QuantRole::average, last),
      pool("GlobalMaxPool", kNumbers, {}, infer_global_max, eval_global_max, QuantRole::transparent, last),
      pool("GlobalLpPool", kFloats, {{"p", AttrKind::i}}, infer_global_lp, eval_global_lp, QuantRole::none, plain),
  };
}

}  // namespace

std::span<const OpDef> pool_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
