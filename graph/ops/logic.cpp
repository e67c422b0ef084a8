// Comparisons and logic: results are bool (one byte, 0 or 1).
#include <cmath>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

struct Equal {
  template <class T>
  static bool apply(T a, T b) {
    return a == b;
  }
};
struct Less {
  template <class T>
  static bool apply(T a, T b) {
    return a < b;
  }
};
struct LessOrEqual {
  template <class T>
  static bool apply(T a, T b) {
    return a <= b;
  }
};
struct Greater {
  template <class T>
  static bool apply(T a, T b) {
    return a > b;
  }
};
struct GreaterOrEqual {
  template <class T>
  static bool apply(T a, T b) {
    return a >= b;
  }
};
struct And {
  static bool apply(uint8_t a, uint8_t b) { return a && b; }
};
struct Or {
  static bool apply(uint8_t a, uint8_t b) { return a || b; }
};
struct Xor {
  static bool apply(uint8_t a, uint8_t b) { return (a != 0) != (b != 0); }
};

void infer_comparison(InferContext& ctx) {
  expect_same_dtype(ctx, 0, 1);
  set_dims(ctx, 0, DType::boolean, broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 1)));
}
template <class F, class T>
Tensor compare(const Tensor& a, const Tensor& b, const Shape& shape) {
  using C = Compute<T>;
  Tensor y(DType::boolean, shape);
  const T* pa = a.as<T>();
  const T* pb = b.as<T>();
  auto* py = y.mutable_as<uint8_t>();
  for_each_run<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                  [&](const auto& at, int64_t length, const auto& step) {
                    for (int64_t i = 0; i < length; ++i)
                      *py++ = F::apply(static_cast<C>(pa[at[0] + i * step[0]]), static_cast<C>(pb[at[1] + i * step[1]]));
                  });
  return y;
}

Tensor equal_strings(const Tensor& a, const Tensor& b, const Shape& shape) {
  Tensor y(DType::boolean, shape);
  auto* py = y.mutable_as<uint8_t>();
  for_each_run<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                  [&](const auto& at, int64_t length, const auto& step) {
                    for (int64_t i = 0; i < length; ++i)
                      *py++ = a.strings()[static_cast<size_t>(at[0] + i * step[0])] ==
                              b.strings()[static_cast<size_t>(at[1] + i * step[1])];
                  });
  return y;
}

template <class F>
void eval_comparison(EvalContext& ctx) {
  const Shape shape = to_shape(*broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 1)));
  if constexpr (std::is_same_v<F, Equal>)
    if (ctx.in(0).dtype() == DType::string && ctx.in(1).dtype() == DType::string) {
      ctx.out() = equal_strings(ctx.in(0), ctx.in(1), shape);
      return;
    }
  if (ctx.in(0).dtype() == DType::boolean) {
    ctx.out() = compare<F, uint8_t>(ctx.in(0), ctx.in(1), shape);
    return;
  }
  with_number(ctx, ctx.in(0).dtype(),
              [&](auto tag) { ctx.out() = compare<F, typename decltype(tag)::type>(ctx.in(0), ctx.in(1), shape); });
}

template <class F>
void eval_logic(EvalContext& ctx) {
  const Shape shape = to_shape(*broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 1)));
  ctx.out() = compare<F, uint8_t>(ctx.in(0), ctx.in(1), shape);
}

// --- one operand
// -----------------------------------------------------------------------------------------------------------
void infer_not(InferContext& ctx) { set_dims(ctx, 0, DType::boolean, dims_of(ctx, 0)); }
void eval_not(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  Tensor y(DType::boolean, x.shape());
  for (int64_t i = 0; i < x.size(); ++i) y.mutable_as<uint8_t>()[i] = x.as<uint8_t>()[i] == 0;
  ctx.out() = y;
}

void infer_bitwise_not(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 0), dims_of(ctx, 0)); }
void eval_bitwise_not(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  Tensor y(x.dtype(), x.shape());
  with_integer(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < x.size(); ++i) y.mutable_as<T>()[i] = static_cast<T>(~x.as<T>()[i]);
  });
  ctx.out() = y;
}

void infer_predicate(InferContext& ctx) { set_dims(ctx, 0, DType::boolean, dims_of(ctx, 0)); }
template <class F>
void eval_predicate(EvalContext& ctx, F f) {
  const Tensor& x = ctx.in(0);
  if (!is_float(x.dtype())) fail_dtype(ctx, x.dtype());
  Tensor y(DType::boolean, x.shape());
  for (int64_t i = 0; i < x.size(); ++i) y.mutable_as<uint8_t>()[i] = f(x.at_f64(i));
  ctx.out() = y;
}
void eval_is_nan(EvalContext& ctx) {
  eval_predicate(ctx, [](double v) { return std::isnan(v); });
}
void eval_is_inf(EvalContext& ctx) {
  const bool positive = ctx.node().attr("detect_positive", int64_t{1}) != 0;
  const bool negative = ctx.node().attr("detect_negative", int64_t{1}) != 0;
  eval_predicate(ctx, [&](double v) { return std::isinf(v) && (v > 0 ? positive : negative); });
}

OpDef pair(std::string name, TypeSet types, void (*infer)(InferContext&), void (*eval)(EvalContext&)) {
  return {.name = std::move(name),
          .inputs = {{"A"}, {"B"}},
          .attrs = {},
          .infer = infer,
          .eval = eval,
          .layout = LayoutRole::any,
          .types = types};
}
OpDef single(std::string name, TypeSet types, void (*infer)(InferContext&), void (*eval)(EvalContext&),
             std::vector<AttrSchema> attrs = {}) {
  return {.name = std::move(name),
          .inputs = {{"X"}},
          .attrs = std::move(attrs),
          .infer = infer,
          .eval = eval,
          .layout = LayoutRole::any,
          .types = types};
}

std::vector<OpDef> define() {
  return {
      pair("Equal", kNumbers | kBool | TypeSet{DType::string}, infer_comparison, eval_comparison<Equal>),
      pair("Less", kNumbers, infer_comparison, eval_comparison<Less>),
      pair("LessOrEqual", kNumbers, infer_comparison, eval_comparison<LessOrEqual>),
      pair("Greater", kNumbers, infer_comparison, eval_comparison<Greater>),
      pair("GreaterOrEqual", kNumbers, infer_comparison, eval_comparison<GreaterOrEqual>),
      pair("And", kBool, infer_comparison, eval_logic<And>),
      pair("Or", kBool, infer_comparison, eval_logic<Or>),
      pair("Xor", kBool, infer_comparison, eval_logic<Xor>),
      single("Not", kBool, infer_not, eval_not),
      single("BitwiseNot", kIntegers, infer_bitwise_not, eval_bitwise_not),
      single("IsNaN", kFloats, infer_predicate, eval_is_nan),
      single("IsInf", kFloats, infer_predicate, eval_is_inf,
             {{"detect_positive", AttrKind::i}, {"detect_negative", AttrKind::i}}),
  };
}

}  // namespace

std::span<const OpDef> logic_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
