// Choosing and making elements: Where, Range, OneHot, Trilu, EyeLike.
#include <algorithm>
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

// --- Where
// -----------------------------------------------------------------------------------------------------------------
void infer_where(InferContext& ctx) {
  expect_dtype(ctx, 0, {DType::boolean});
  expect_same_dtype(ctx, 1, 2);
  set_dims(ctx, 0, dtype_of(ctx, 1), broadcast(ctx, broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 1)), dims_of(ctx, 2)));
}
void eval_where(EvalContext& ctx) {
  const Tensor &condition = ctx.in(0), &a = ctx.in(1), &b = ctx.in(2);
  const Shape shape = to_shape(*broadcast(ctx, broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 1)), dims_of(ctx, 2)));
  Tensor y(a.dtype(), shape);
  with_bytes(ctx, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = y.mutable_as<T>();
    for_each_run<3>(shape,
                    {broadcast_strides(condition.shape(), shape), broadcast_strides(a.shape(), shape),
                     broadcast_strides(b.shape(), shape)},
                    [&](const auto& at, int64_t length, const auto& step) {
                      for (int64_t i = 0; i < length; ++i)
                        *to++ = condition.as<uint8_t>()[at[0] + i * step[0]] ? a.as<T>()[at[1] + i * step[1]]
                                                                             : b.as<T>()[at[2] + i * step[2]];
                    });
  });
  ctx.out() = y;
}

// --- Range
// -------------------------------------------------------------------------------------------------------------------
int64_t range_count(double start, double limit, double delta) {
  const double n = std::ceil((limit - start) / delta);
  return n > 0 ? static_cast<int64_t>(n) : 0;
}
template <class Ctx>
int64_t range_count(const Ctx& ctx, const Tensor& start, const Tensor& limit, const Tensor& delta) {
  if (delta.at_f64(0) == 0) fail(ctx, "delta is 0; expected another number");
  return range_count(start.at_f64(0), limit.at_f64(0), delta.at_f64(0));
}
void infer_range(InferContext& ctx) {
  expect_same_dtype(ctx, 0, 1);
  expect_same_dtype(ctx, 0, 2);
  const Tensor *start = ctx.constant(0), *limit = ctx.constant(1), *delta = ctx.constant(2);
  const MaybeValues limits = shape_values(ctx, 1);
  Dim count;
  if (start && limit && delta) {
    count = Dim(range_count(ctx, *start, *limit, *delta));
  } else if (start && delta && limits && limits->size() == 1 && start->at_f64(0) == 0 && delta->at_f64(0) == 1) {
    count = (*limits)[0].dim();
  }
  set_dims(ctx, 0, dtype_of(ctx, 0), Dims{count});
}
void eval_range(EvalContext& ctx) {
  const int64_t n = range_count(ctx, ctx.in(0), ctx.in(1), ctx.in(2));
  Tensor y(ctx.in(0).dtype(), {n});
  with_number(ctx, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    const auto start = static_cast<C>(*ctx.in(0).as<T>()), delta = static_cast<C>(*ctx.in(2).as<T>());
    for (int64_t i = 0; i < n; ++i) y.mutable_as<T>()[i] = static_cast<T>(static_cast<C>(start + static_cast<C>(i) * delta));
  });
  ctx.out() = y;
}

// --- OneHot
// --------------------------------------------------------------------------------------------------------------------
void infer_one_hot(InferContext& ctx) {
  const MaybeDims indices = dims_of(ctx, 0);
  if (!indices) return set_dims(ctx, 0, dtype_of(ctx, 2), std::nullopt);
  const int64_t axis = normalize_axis(ctx, ctx.node().attr("axis", int64_t{-1}), static_cast<int64_t>(indices->size()) + 1);
  Dims out = *indices;
  const auto depth = int_values(ctx, 1);
  out.insert(out.begin() + axis, depth && depth->size() == 1 ? Dim((*depth)[0]) : Dim());
  set_dims(ctx, 0, dtype_of(ctx, 2), out);
}
void eval_one_hot(EvalContext& ctx) {
  const Tensor& indices = ctx.in(0);
  const int64_t depth = scalar_s64(ctx, 1);
  if (depth < 0) fail(ctx, "depth is " + std::to_string(depth) + "; expected at least 0");
  const Tensor& values = ctx.in(2);
  if (values.size() != 2) fail(ctx, "values has " + std::to_string(values.size()) + " elements; expected 2");
  const auto rank = static_cast<int64_t>(indices.shape().size());
  const auto axis = static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{-1}), rank + 1));
  Shape shape = indices.shape();
  const int64_t inner = product(shape, axis, shape.size());
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), depth);
  Tensor y(values.dtype(), shape);
  with_bytes(ctx, values.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T off = values.as<T>()[0], on = values.as<T>()[1];
    T* to = y.mutable_as<T>();
    std::fill_n(to, y.size(), off);
    for (int64_t i = 0; i < indices.size(); ++i) {
      int64_t hot = indices.at_s64(i);
      if (hot < 0) hot += depth;
      if (hot >= 0 && hot < depth) to[(i / inner * depth + hot) * inner + i % inner] = on;
    }
  });
  ctx.out() = y;
}

// --- Trilu, EyeLike
// --------------------------------------------------------------------------------------------------------------
void infer_trilu(InferContext& ctx) {
  expect_rank(ctx, 0, dims_of(ctx, 0), 2, 8);
  infer_same_as_input(ctx);
}
void eval_trilu(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const bool upper = ctx.node().attr("upper", int64_t{1}) != 0;
  const int64_t k = ctx.has(1) ? scalar_s64(ctx, 1) : 0;
  const int64_t rows = x.shape()[x.shape().size() - 2], columns = x.shape().back();
  Tensor y(x.dtype(), x.shape());
  with_bytes(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < x.size(); ++i) {
      const int64_t column = i % columns, row = i / columns % rows;
      if (upper ? column - row >= k : column - row <= k) y.mutable_as<T>()[i] = x.as<T>()[i];
    }
  });
  ctx.out() = y;
}

template <class Ctx>
DType eye_dtype(const Ctx& ctx) {
  if (!ctx.node().has_attr("dtype")) return dtype_of(ctx, 0);
  const DType dtype = dtype_from_onnx(ctx.node().attr("dtype", int64_t{0}));
  if (size_of(dtype) == 0) fail(ctx, "attribute dtype is not the code of a numeric element type");
  return dtype;
}
void infer_eye_like(InferContext& ctx) {
  expect_rank(ctx, 0, dims_of(ctx, 0), 2, 2);
  set_dims(ctx, 0, eye_dtype(ctx), dims_of(ctx, 0));
}
void eval_eye_like(EvalContext& ctx) {
  const Shape& shape = ctx.in(0).shape();
  const int64_t k = ctx.node().attr("k", int64_t{0});
  Tensor y(eye_dtype(ctx), shape);
  const auto fill = [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t row = 0; row < shape[0]; ++row)
      if (row + k >= 0 && row + k < shape[1])
        y.mutable_as<T>()[row * shape[1] + row + k] = static_cast<T>(static_cast<Compute<T>>(1));
  };
  if (y.dtype() == DType::boolean) {
    fill(Tag<uint8_t>{});
  } else {
    with_number(ctx, y.dtype(), fill);
  }
  ctx.out() = y;
}

std::vector<OpDef> define() {
  return {
      {.name = "Where",
       .inputs = {{"condition"}, {"X"}, {"Y"}},
       .attrs = {},
       .infer = infer_where,
       .eval = eval_where,
       .types = kAnyType,
       .typed = 1},
      {.name = "Range",
       .inputs = {{"start"}, {"limit"}, {"delta"}},
       .attrs = {},
       .infer = infer_range,
       .eval = eval_range,
       .types = kNumbers},
      {.name = "OneHot",
       .inputs = {{"indices"}, {"depth"}, {"values"}},
       .attrs = {{"axis", AttrKind::i}},
       .infer = infer_one_hot,
       .eval = eval_one_hot,
       .types = kAnyType,
       .typed = 2},
      {.name = "Trilu",
       .inputs = {{"input"}, {"k", true}},
       .attrs = {{"upper", AttrKind::i}},
       .infer = infer_trilu,
       .eval = eval_trilu},
      {.name = "EyeLike",
       .inputs = {{"input"}},
       .attrs = {{"dtype", AttrKind::i}, {"k", AttrKind::i}},
       .infer = infer_eye_like,
       .eval = eval_eye_like},
  };
}

}  // namespace

std::span<const OpDef> select_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
