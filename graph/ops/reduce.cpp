// Reductions. The reduced axes are walked as one, in row-major order: sums of float in 16 virtual lanes (numerics::sum16)
// over that index, in double and integers in order. Products, maxima and minima in order; acc = acc > x ? acc : x as
// MaxPool.
//
//   ReduceMean sum / float(n)     ReduceL1 sum |x|     ReduceL2 sqrt(sum x*x)     ReduceSumSquare sum x*x
//   ReduceLogSum log(sum)         ReduceLogSumExp m + log(sum exp(x - m)) with m the maximum
//
// axes is an optional input; absent or empty it means all axes, or none with noop_with_empty_axes.
#include <cmath>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

// The axes to reduce, marked; absent: not known yet.
template <class Ctx>
std::optional<std::vector<bool>> reduced_axes(const Ctx& ctx, size_t rank) {
  std::vector<int64_t> axes;
  if (ctx.has(1)) {
    const auto given = int_values(ctx, 1);
    if (!given) return std::nullopt;
    axes = normalize_axes(ctx, *given, static_cast<int64_t>(rank));
  }
  if (axes.empty()) return std::vector<bool>(rank, ctx.node().attr("noop_with_empty_axes", int64_t{0}) == 0);
  std::vector<bool> marked(rank, false);
  for (const int64_t a : axes) marked[static_cast<size_t>(a)] = true;
  return marked;
}

Dims without(const Dims& dims, const std::vector<bool>& reduced, bool keep) {
  Dims out;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (!reduced[i])
      out.push_back(dims[i]);
    else if (keep)
      out.emplace_back(1);
  }
  return out;
}

void infer_reduce(InferContext& ctx) {
  const MaybeDims dims = dims_of(ctx, 0);
  const bool keep = ctx.node().attr("keepdims", int64_t{1}) != 0;
  if (!dims) return set_dims(ctx, 0, dtype_of(ctx, 0), std::nullopt);
  const auto reduced = reduced_axes(ctx, dims->size());
  if (reduced) return set_dims(ctx, 0, dtype_of(ctx, 0), without(*dims, *reduced, keep));
  const int64_t count = known_length(ctx, 1);
  if (count > static_cast<int64_t>(dims->size())) ctx.fail("axes name more axes than the input has");
  if (keep) return set_dims(ctx, 0, dtype_of(ctx, 0), Dims(dims->size()));
  if (count > 0) return set_dims(ctx, 0, dtype_of(ctx, 0), Dims(dims->size() - static_cast<size_t>(count)));
  set_dims(ctx, 0, dtype_of(ctx, 0), std::nullopt);
}

// Offsets of the elements of one group, and of the groups, in row-major order.
struct Groups {
  std::vector<int64_t> within, start;
};
Groups groups_of(const Shape& shape, const std::vector<bool>& reduced) {
  const Strides strides = strides_of(shape);
  Shape in_shape, out_shape;
  Strides in_strides, out_strides;
  for (size_t i = 0; i < shape.size(); ++i) {
    (reduced[i] ? in_shape : out_shape).push_back(shape[i]);
    (reduced[i] ? in_strides : out_strides).push_back(strides[i]);
  }
  const auto list = [](const Shape& s, const Strides& st) {
    std::vector<int64_t> offsets;
    offsets.reserve(static_cast<size_t>(element_count(s)));
    for_each_run<1>(s, {st}, [&](const auto& at, int64_t length, const auto& step) {
      for (int64_t i = 0; i < length; ++i) offsets.push_back(at[0] + i * step[0]);
    });
    return offsets;
  };
  return {list(in_shape, in_strides), list(out_shape, out_strides)};
}

// f(n, at) reduces the n elements at(0..n-1), given in the computing type.
template <class F>
void reduce(EvalContext& ctx, F f) {
  const Tensor& x = ctx.in(0);
  const std::vector<bool> reduced = *reduced_axes(ctx, x.shape().size());
  const bool keep = ctx.node().attr("keepdims", int64_t{1}) != 0;
  const Groups groups = groups_of(x.shape(), reduced);
  Tensor y(x.dtype(), to_shape(without(to_dims(x.shape()), reduced, keep)));
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    const T* from = x.as<T>();
    T* to = y.mutable_as<T>();
    const auto n = static_cast<int64_t>(groups.within.size());
    for (const int64_t start : groups.start)
      *to++ = static_cast<T>(
          f(n, [&](int64_t i) { return static_cast<C>(from[start + groups.within[static_cast<size_t>(i)]]); }));
  };
  if (x.dtype() == DType::boolean) {
    run(Tag<uint8_t>{});
  } else {
    with_number(ctx, x.dtype(), run);
  }
  ctx.out() = y;
}

template <class At>
using Element = decltype(std::declval<At>()(int64_t{0}));

template <class C>
C in_double(double (*f)(double), C v) {
  return static_cast<C>(f(static_cast<double>(v)));
}
float exponential(float v) { return numerics::exp(v); }
double exponential(double v) { return std::exp(v); }

template <class C, class At>
C maximum(int64_t n, At at) {
  if (n == 0)
    return std::numeric_limits<C>::has_infinity ? -std::numeric_limits<C>::infinity() : std::numeric_limits<C>::lowest();
  C acc = at(0);
  for (int64_t i = 1; i < n; ++i) {
    const C v = at(i);
    acc = numerics::larger(acc, v);
  }
  return acc;
}

void eval_sum(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) { return sum_of<Element<decltype(at)>>(n, at); });
}
void eval_mean(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) {
    using C = Element<decltype(at)>;
    const C sum = sum_of<C>(n, at);
    if constexpr (std::is_floating_point_v<C>)
      return static_cast<C>(sum / static_cast<C>(n));
    else
      return n == 0 ? C{0} : static_cast<C>(static_cast<int64_t>(sum_of<int64_t>(n, at)) / n);
  });
}
void eval_l1(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) {
    using C = Element<decltype(at)>;
    return sum_of<C>(n, [&](int64_t i) {
      const C v = at(i);
      if constexpr (std::is_unsigned_v<C>)
        return v;
      else
        return static_cast<C>(v < C{0} ? -v : v);
    });
  });
}
void eval_sum_square(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) {
    using C = Element<decltype(at)>;
    return sum_of<C>(n, [&](int64_t i) { return static_cast<C>(at(i) * at(i)); });
  });
}
void eval_l2(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) {
    using C = Element<decltype(at)>;
    const C sum = sum_of<C>(n, [&](int64_t i) { return static_cast<C>(at(i) * at(i)); });
    if constexpr (std::is_floating_point_v<C>)
      return std::sqrt(sum);
    else
      return in_double(std::sqrt, sum);
  });
}
void eval_log_sum(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) { return in_double(std::log, sum_of<Element<decltype(at)>>(n, at)); });
}
void eval_log_sum_exp(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) {
    using C = Element<decltype(at)>;
    if constexpr (std::is_floating_point_v<C>) {
      const C m = maximum<C>(n, at);
      if (std::isinf(m)) return m;
      return static_cast<C>(m + in_double(std::log, sum_of<C>(n, [&](int64_t i) { return exponential(at(i) - m); })));
    } else {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(at(i)));
      return static_cast<C>(std::log(sum));
    }
  });
}
void eval_max(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) { return maximum<Element<decltype(at)>>(n, at); });
}
void eval_min(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) {
    using C = Element<decltype(at)>;
    if (n == 0)
      return std::numeric_limits<C>::has_infinity ? std::numeric_limits<C>::infinity() : std::numeric_limits<C>::max();
    C acc = at(0);
    for (int64_t i = 1; i < n; ++i) {
      const C v = at(i);
      acc = numerics::smaller(acc, v);
    }
    return acc;
  });
}
void eval_prod(EvalContext& ctx) {
  reduce(ctx, [](int64_t n, auto at) {
    using C = Element<decltype(at)>;
    if constexpr (std::is_floating_point_v<C>) {
      C acc = 1;
      for (int64_t i = 0; i < n; ++i) acc *= at(i);
      return acc;
    } else {
      uint64_t acc = 1;
      for (int64_t i = 0; i < n; ++i) acc *= static_cast<uint64_t>(at(i));
      return static_cast<C>(acc);
    }
  });
}

// --- ArgMax, ArgMin
// ----------------------------------------------------------------------------------------------------------
template <class Ctx>
std::vector<bool> arg_axis(const Ctx& ctx, size_t rank) {
  std::vector<bool> marked(rank, false);
  marked[static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(rank)))] = true;
  return marked;
}

void infer_arg(InferContext& ctx) {
  const MaybeDims dims = dims_of(ctx, 0);
  if (!dims) return set_dims(ctx, 0, DType::s64, std::nullopt);
  set_dims(ctx, 0, DType::s64, without(*dims, arg_axis(ctx, dims->size()), ctx.node().attr("keepdims", int64_t{1}) != 0));
}

template <bool largest>
void eval_arg(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const std::vector<bool> reduced = arg_axis(ctx, x.shape().size());
  const bool last = ctx.node().attr("select_last_index", int64_t{0}) != 0;
  const Groups groups = groups_of(x.shape(), reduced);
  if (groups.within.empty()) fail(ctx, "the axis has size 0; expected at least one element to choose from");
  Tensor y(DType::s64, to_shape(without(to_dims(x.shape()), reduced, ctx.node().attr("keepdims", int64_t{1}) != 0)));
  with_number(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    auto* to = y.mutable_as<int64_t>();
    for (const int64_t start : groups.start) {
      int64_t best = 0;
      auto value = static_cast<C>(x.as<T>()[start]);
      for (size_t i = 1; i < groups.within.size(); ++i) {
        const auto v = static_cast<C>(x.as<T>()[start + groups.within[i]]);
        const bool better = largest ? v > value : v < value;
        if (!better && !(last && v == value)) continue;
        best = static_cast<int64_t>(i);
        value = v;
      }
      *to++ = best;
    }
  });
  ctx.out() = y;
}

OpDef reduction(std::string name, void (*eval)(EvalContext&)) {
  return {.name = std::move(name),
          .inputs = {{"data"}, {"axes", true}},
          .attrs = {{"keepdims", AttrKind::i}, {"noop_with_empty_axes", AttrKind::i}},
          .infer = infer_reduce,
          .eval = eval,
          .types = kNumbers | kBool};
}
OpDef arg(std::string name, void (*eval)(EvalContext&)) {
  return {.name = std::move(name),
          .inputs = {{"data"}},
          .attrs = {{"axis", AttrKind::i}, {"keepdims", AttrKind::i}, {"select_last_index", AttrKind::i}},
          .infer = infer_arg,
          .eval = eval,
          .types = kNumbers};
}

std::vector<OpDef> define() {
  return {
      reduction("ReduceSum", eval_sum),        reduction("ReduceMean", eval_mean),
      reduction("ReduceMax", eval_max),        reduction("ReduceMin", eval_min),
      reduction("ReduceProd", eval_prod),      reduction("ReduceL1", eval_l1),
      reduction("ReduceL2", eval_l2),          reduction("ReduceSumSquare", eval_sum_square),
      reduction("ReduceLogSum", eval_log_sum), reduction("ReduceLogSumExp", eval_log_sum_exp),
      arg("ArgMax", eval_arg<true>),           arg("ArgMin", eval_arg<false>),
  };
}

}  // namespace

std::span<const OpDef> reduce_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
