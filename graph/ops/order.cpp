// Order and position: TopK, CumSum, CumProd, NonZero, ReverseSequence.
#include <algorithm>
#include <numeric>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

template <class Ctx>
size_t axis_of(const Ctx& ctx, int64_t axis, size_t rank) {
  return static_cast<size_t>(normalize_axis(ctx, axis, static_cast<int64_t>(rank)));
}

// --- TopK: equal elements in the order of their indices
// --------------------------------------------------------------------------
void infer_top_k(InferContext& ctx) {
  MaybeDims dims = dims_of(ctx, 0);
  if (dims) {
    Dim& d = (*dims)[axis_of(ctx, ctx.node().attr("axis", int64_t{-1}), dims->size())];
    const auto k = int_values(ctx, 1);
    if (k && k->size() == 1 && d.known() && (*k)[0] > d.value)
      fail(ctx,
           "K is " + std::to_string((*k)[0]) + "; expected at most " + std::to_string(d.value) + ", the size of the axis");
    d = k && k->size() == 1 ? Dim((*k)[0]) : Dim();
  }
  set_moved(ctx, 0, 0, dims);
  if (ctx.node().outputs().size() > 1) set_dims(ctx, 1, DType::s64, dims);
}
void eval_top_k(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const size_t axis = axis_of(ctx, ctx.node().attr("axis", int64_t{-1}), x.shape().size());
  const int64_t n = x.shape()[axis], k = scalar_s64(ctx, 1);
  if (k < 0 || k > n)
    fail(ctx, "K is " + std::to_string(k) + "; expected 0 to " + std::to_string(n) + ", the size of the axis");
  const bool largest = ctx.node().attr("largest", int64_t{1}) != 0;
  const int64_t outer = product(x.shape(), 0, axis), inner = product(x.shape(), axis + 1, x.shape().size());
  Shape shape = x.shape();
  shape[axis] = k;
  Tensor values(x.dtype(), shape), indices(DType::s64, shape);
  with_number(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    std::vector<int64_t> order(static_cast<size_t>(n));
    for (int64_t line = 0; line < outer * inner; ++line) {
      const T* from = x.as<T>() + line / inner * n * inner + line % inner;
      const auto at = [&](int64_t i) { return static_cast<C>(from[i * inner]); };
      std::iota(order.begin(), order.end(), int64_t{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return largest ? at(a) > at(b) : at(a) < at(b); });
      for (int64_t i = 0; i < k; ++i) {
        const int64_t to = (line / inner * k + i) * inner + line % inner;
        values.mutable_as<T>()[to] = from[order[static_cast<size_t>(i)] * inner];
        indices.mutable_as<int64_t>()[to] = order[static_cast<size_t>(i)];
      }
    }
  });
  ctx.out(0) = values;
  if (ctx.output_count() > 1) ctx.out(1) = indices;
}

// --- CumSum, CumProd: one sum or product after the other, in order
// -------------------------------------------------------------------
void infer_cumulative(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 0), dims_of(ctx, 0)); }
// Integers wrap.
template <bool sums, class C>
C accumulated(C acc, C v) {
  if constexpr (std::is_floating_point_v<C>)
    return sums ? acc + v : acc * v;
  else
    return static_cast<C>(sums ? static_cast<uint64_t>(acc) + static_cast<uint64_t>(v)
                               : static_cast<uint64_t>(acc) * static_cast<uint64_t>(v));
}
template <bool sums>
void eval_cumulative(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const size_t axis = axis_of(ctx, scalar_s64(ctx, 1), x.shape().size());
  const int64_t n = x.shape()[axis];
  const int64_t outer = product(x.shape(), 0, axis), inner = product(x.shape(), axis + 1, x.shape().size());
  const bool exclusive = ctx.node().attr("exclusive", int64_t{0}) != 0;
  const bool reverse = ctx.node().attr("reverse", int64_t{0}) != 0;
  Tensor y(x.dtype(), x.shape());
  with_number(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    for (int64_t line = 0; line < outer * inner; ++line) {
      const int64_t base = line / inner * n * inner + line % inner;
      C acc = sums ? C{0} : C{1};
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = base + (reverse ? n - 1 - i : i) * inner;
        const auto v = static_cast<C>(x.as<T>()[at]);
        const C next = accumulated<sums>(acc, v);
        y.mutable_as<T>()[at] = static_cast<T>(exclusive ? acc : next);
        acc = next;
      }
    }
  });
  ctx.out() = y;
}

// --- NonZero: coordinates, one column an element; how many, only the data tell
// ---------------------------------------------------
void infer_non_zero(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  set_dims(ctx, 0, DType::s64, Dims{x ? Dim(static_cast<int64_t>(x->size())) : Dim(), Dim()});
}
void eval_non_zero(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (size_of(x.dtype()) == 0) fail_dtype(ctx, x.dtype());
  std::vector<int64_t> found;
  for (int64_t i = 0; i < x.size(); ++i)
    if (x.at_f64(i) != 0) found.push_back(i);
  const auto count = static_cast<int64_t>(found.size());
  const Strides strides = strides_of(x.shape());
  Tensor y(DType::s64, {static_cast<int64_t>(strides.size()), count});
  for (size_t a = 0; a < strides.size(); ++a)
    for (int64_t i = 0; i < count; ++i)
      y.mutable_as<int64_t>()[static_cast<int64_t>(a) * count + i] =
          found[static_cast<size_t>(i)] / strides[a] % x.shape()[a];
  ctx.out() = y;
}

// --- ReverseSequence
// -----------------------------------------------------------------------------------------------------------
void infer_reverse(InferContext& ctx) {
  expect_rank(ctx, 0, dims_of(ctx, 0), 2, 8);
  expect_rank(ctx, 1, dims_of(ctx, 1), 1, 1);
  infer_same_as_input(ctx);
}
void eval_reverse(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const auto batch = static_cast<size_t>(ctx.node().attr("batch_axis", int64_t{1}));
  const auto time = static_cast<size_t>(ctx.node().attr("time_axis", int64_t{0}));
  if (batch > 1 || time > 1 || batch == time) fail(ctx, "batch_axis and time_axis are not 0 and 1 in some order");
  const Shape& shape = x.shape();
  const int64_t inner = product(shape, 2, shape.size());
  if (ctx.in(1).size() != shape[batch])
    fail(ctx,
         "sequence_lens has " + std::to_string(ctx.in(1).size()) + " elements; expected " + std::to_string(shape[batch]));
  Tensor y(x.dtype(), shape);
  with_bytes(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t b = 0; b < shape[batch]; ++b) {
      const int64_t length = ctx.in(1).at_s64(b);
      if (length < 0 || length > shape[time])
        fail(ctx, "a sequence has length " + std::to_string(length) + "; expected at most " + std::to_string(shape[time]));
      for (int64_t t = 0; t < shape[time]; ++t) {
        const int64_t from = t < length ? length - 1 - t : t;
        const int64_t read = batch == 0 ? b * shape[1] + from : from * shape[1] + b;
        const int64_t write = batch == 0 ? b * shape[1] + t : t * shape[1] + b;
        std::copy_n(x.as<T>() + read * inner, inner, y.mutable_as<T>() + write * inner);
      }
    }
  });
  ctx.out() = y;
}

OpDef cumulative(std::string name, void (*eval)(EvalContext&)) {
  return {.name = std::move(name),
          .inputs = {{"x"}, {"axis"}},
          .attrs = {{"exclusive", AttrKind::i}, {"reverse", AttrKind::i}},
          .infer = infer_cumulative,
          .eval = eval};
}

std::vector<OpDef> define() {
  constexpr AttrKind i = AttrKind::i;
  return {
      {.name = "TopK",
       .inputs = {{"X"}, {"K"}},
       .attrs = {{"axis", i}, {"largest", i}, {"sorted", i}},
       .max_outputs = 2,
       .infer = infer_top_k,
       .eval = eval_top_k},
      cumulative("CumSum", eval_cumulative<true>),
      cumulative("CumProd", eval_cumulative<false>),
      {.name = "NonZero", .inputs = {{"X"}}, .attrs = {}, .infer = infer_non_zero, .eval = eval_non_zero},
      {.name = "ReverseSequence",
       .inputs = {{"input"}, {"sequence_lens"}},
       .attrs = {{"batch_axis", i}, {"time_axis", i}},
       .infer = infer_reverse,
       .eval = eval_reverse},
  };
}

}  // namespace

std::span<const OpDef> order_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
