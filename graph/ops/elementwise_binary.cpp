// Arithmetic of two (or, for Max, Min, Sum, Mean, any number of) tensors with numpy broadcasting, on every numeric type.
//
// Add, Sub and Mul of two quantized values into a quantized value, za, zb, zy the zero points and sa, sb, sy the scales:
//   add, sub   v = fma(float(a - za), sa / sy, ±(float(b - zb) * (sb / sy)))
//   mul        v = float((a - za) * (b - zb)) * ((sa * sb) / sy)
// then rounded, moved by zy, saturated, clamped by `act`. Integers wrap; a division by zero gives 0, as no integer is right.
#include <cmath>
#include <limits>

#include "graph/ops/activation_quanta.h"
#include "graph/ops/families.h"

namespace octet::graph::ops {
namespace {

// Wrapping integer arithmetic: in 64 bits unsigned, cut to the type.
template <class T>
uint64_t wide(T v) {
  return static_cast<uint64_t>(v);
}

struct Add {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return a + b;
    else
      return static_cast<T>(wide(a) + wide(b));
  }
};
struct Sub {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return a - b;
    else
      return static_cast<T>(wide(a) - wide(b));
  }
};
struct Mul {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return a * b;
    else
      return static_cast<T>(wide(a) * wide(b));
  }
};
struct Div {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a / b;
    } else {
      if (b == T{0}) return T{0};
      if constexpr (std::is_signed_v<T>)
        if (b == static_cast<T>(-1)) return static_cast<T>(uint64_t{0} - wide(a));
      return static_cast<T>(a / b);
    }
  }
};
struct Max {
  template <class T>
  static T apply(T a, T b) {
    return numerics::larger(a, b);
  }
};
struct Min {
  template <class T>
  static T apply(T a, T b) {
    return numerics::smaller(a, b);
  }
};
// The sign follows the divisor, as in Python.
struct Mod {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      const T r = std::fmod(a, b);
      if (r == T{0}) return std::copysign(T{0}, b);
      return (r < T{0}) != (b < T{0}) ? r + b : r;
    } else {
      if (b == T{0}) return T{0};
      if constexpr (std::is_signed_v<T>) {
        if (b == static_cast<T>(-1)) return T{0};
        const T r = static_cast<T>(a % b);
        return r != T{0} && (r < T{0}) != (b < T{0}) ? static_cast<T>(r + b) : r;
      } else {
        return static_cast<T>(a % b);
      }
    }
  }
};
// The sign follows the dividend, as in C.
struct Fmod {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if (b == T{0}) return T{0};
      if constexpr (std::is_signed_v<T>)
        if (b == static_cast<T>(-1)) return T{0};
      return static_cast<T>(a % b);
    }
  }
};

template <class F>
Tensor combine(EvalContext& ctx, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype())
    fail(ctx, "operands have element types " + std::string(to_string(a.dtype())) + " and " +
                  std::string(to_string(b.dtype())) + "; expected one type");
  const Shape shape = to_shape(*broadcast(ctx, to_dims(a.shape()), to_dims(b.shape())));
  Tensor y(a.dtype(), shape);
  with_number(ctx, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    const T* pa = a.as<T>();
    const T* pb = b.as<T>();
    T* py = y.mutable_as<T>();
    for_each_run<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                    [&](const auto& at, int64_t length, const auto& step) {
                      for (int64_t i = 0; i < length; ++i)
                        *py++ = static_cast<T>(
                            F::apply(static_cast<C>(pa[at[0] + i * step[0]]), static_cast<C>(pb[at[1] + i * step[1]])));
                    });
  });
  return y;
}

// --- inference -----------------------------------------------------------------------------------------------------------
void infer_arithmetic(InferContext& ctx) {
  expect_same_dtype(ctx, 0, 1);
  if (act_of(ctx).kind == Act::Kind::gelu) fail(ctx, "act is 'gelu'; expected relu, clip or leaky_relu");
  const DType dtype = dtype_of(ctx, 0) == DType::undefined ? dtype_of(ctx, 1) : dtype_of(ctx, 0);
  set_keeping_quant(ctx, 0, dtype, broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 1)));
}

void infer_pow(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 0), broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 1))); }

void infer_many(InferContext& ctx) {
  MaybeDims dims = dims_of(ctx, 0);
  for (size_t i = 1; i < count_inputs(ctx); ++i) {
    expect_same_dtype(ctx, 0, i);
    dims = broadcast(ctx, dims, dims_of(ctx, i));
  }
  set_dims(ctx, 0, dtype_of(ctx, 0), dims);
}

void infer_shift(InferContext& ctx) {
  const std::string direction = ctx.node().attr("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") fail(ctx, "direction is '" + direction + "'; expected LEFT or RIGHT");
  expect_same_dtype(ctx, 0, 1);
  set_dims(ctx, 0, dtype_of(ctx, 0), broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 1)));
}

// --- evaluation ----------------------------------------------------------------------------------------------------------
template <class F>
float quantized_value(int32_t a, int32_t b, float sa, float sb, float sy) {
  if constexpr (std::is_same_v<F, Mul>) {
    return static_cast<float>(a * b) * ((sa * sb) / sy);
  } else {
    const float right = static_cast<float>(b) * (sb / sy);
    return std::fma(static_cast<float>(a), sa / sy, std::is_same_v<F, Sub> ? -right : right);
  }
}

template <class F>
void eval_arithmetic(EvalContext& ctx) {
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(1);
  const Act act = act_of(ctx);
  if (!ctx.in_quant(0) || !ctx.in_quant(1) || !ctx.out_quant()) {
    Tensor y = combine<F>(ctx, a, b);
    if (act.kind != Act::Kind::none) {
      if (y.dtype() != DType::f32) fail_dtype(ctx, y.dtype());
      float* v = y.mutable_as<float>();
      for (int64_t i = 0; i < y.size(); ++i) v[i] = act.apply(v[i]);
    }
    ctx.out() = y;
    return;
  }
  const QuantParams& qa = *ctx.in_quant(0);
  const QuantParams& qb = *ctx.in_quant(1);
  if (!qa.per_tensor() || !qb.per_tensor() || size_of(a.dtype()) != 1 || size_of(b.dtype()) != 1)
    ctx.fail(ErrorCode::unsupported, "arithmetic on quantized values wants 8-bit elements and one scale a tensor");
  const QuantStore store(*ctx.out_quant(), a.dtype(), act);
  const Shape shape = to_shape(*broadcast(ctx, to_dims(a.shape()), to_dims(b.shape())));
  Tensor y(a.dtype(), shape);
  auto* out = y.mutable_as<uint8_t>();
  for_each_run<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                  [&](const auto& at, int64_t length, const auto& step) {
                    for (int64_t i = 0; i < length; ++i) {
                      const int32_t va = quantum(a, at[0] + i * step[0]) - qa.zero_point[0];
                      const int32_t vb = quantum(b, at[1] + i * step[1]) - qb.zero_point[0];
                      *out++ =
                          static_cast<uint8_t>(store(quantized_value<F>(va, vb, qa.scale[0], qb.scale[0], store.scale)));
                    }
                  });
  ctx.out() = y;
}

template <class F>
void eval_pair(EvalContext& ctx) {
  ctx.out() = combine<F>(ctx, ctx.in(0), ctx.in(1));
}

void eval_mod(EvalContext& ctx) {
  if (ctx.node().attr("fmod", int64_t{0}) != 0) return eval_pair<Fmod>(ctx);
  eval_pair<Mod>(ctx);
}

template <class F>
void eval_many(EvalContext& ctx) {
  Tensor y = ctx.in(0);
  for (size_t i = 1; i < ctx.input_count(); ++i) y = combine<F>(ctx, y, ctx.in(i));
  ctx.out() = y;
}

void eval_mean(EvalContext& ctx) {
  Tensor y = ctx.in(0);
  for (size_t i = 1; i < ctx.input_count(); ++i) y = combine<Add>(ctx, y, ctx.in(i));
  const auto count = static_cast<float>(ctx.input_count());
  with_float(ctx, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    Tensor mean(y.dtype(), y.shape());
    for (int64_t i = 0; i < y.size(); ++i)
      mean.mutable_as<T>()[i] = static_cast<T>(static_cast<C>(y.as<T>()[i]) / static_cast<C>(count));
    ctx.out() = mean;
  });
}

// Pow: the exponent has its own type. Reals in double, rounded once; integers by repeated multiplication, wrapping.
template <class T>
T integer_power(T base, int64_t exponent) {
  if (exponent < 0) {
    if (base == T{1}) return T{1};
    if constexpr (std::is_signed_v<T>)
      if (base == static_cast<T>(-1)) return exponent % 2 ? base : T{1};
    return T{0};
  }
  uint64_t result = 1;
  uint64_t factor = wide(base);
  for (auto e = static_cast<uint64_t>(exponent); e != 0; e >>= 1) {
    if (e & 1) result *= factor;
    factor *= factor;
  }
  return static_cast<T>(result);
}

void eval_pow(EvalContext& ctx) {
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(1);
  const Shape shape = to_shape(*broadcast(ctx, to_dims(a.shape()), to_dims(b.shape())));
  Tensor y(a.dtype(), shape);
  with_number(ctx, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* py = y.mutable_as<T>();
    for_each_run<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                    [&](const auto& at, int64_t length, const auto& step) {
                      for (int64_t i = 0; i < length; ++i) {
                        const T base = a.as<T>()[at[0] + i * step[0]];
                        const int64_t where = at[1] + i * step[1];
                        if constexpr (std::is_integral_v<T>) {
                          *py++ = is_float(b.dtype()) ? static_cast<T>(std::pow(static_cast<double>(base), b.at_f64(where)))
                                                      : integer_power(base, b.at_s64(where));
                        } else {
                          *py++ = static_cast<T>(static_cast<Compute<T>>(
                              std::pow(static_cast<double>(static_cast<Compute<T>>(base)), b.at_f64(where))));
                        }
                      }
                    });
  });
  ctx.out() = y;
}

// By a negative amount, or by all bits and more: what is left of the sign. Right shifts keep the sign.
struct ShiftLeft {
  template <class T>
  static T apply(T a, T b) {
    return wide(b) >= sizeof(T) * 8 ? T{0} : static_cast<T>(wide(a) << wide(b));
  }
};
struct ShiftRight {
  template <class T>
  static T apply(T a, T b) {
    if (wide(b) >= sizeof(T) * 8) return a < T{0} ? static_cast<T>(-1) : T{0};
    return static_cast<T>(a >> b);
  }
};
template <class F>
void eval_integers(EvalContext& ctx) {
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(1);
  const Shape shape = to_shape(*broadcast(ctx, to_dims(a.shape()), to_dims(b.shape())));
  Tensor y(a.dtype(), shape);
  with_integer(ctx, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* py = y.mutable_as<T>();
    for_each_run<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                    [&](const auto& at, int64_t length, const auto& step) {
                      for (int64_t i = 0; i < length; ++i)
                        *py++ = F::apply(a.as<T>()[at[0] + i * step[0]], b.as<T>()[at[1] + i * step[1]]);
                    });
  });
  ctx.out() = y;
}
void eval_shift(EvalContext& ctx) {
  if (ctx.node().attr("direction", "") == "LEFT") return eval_integers<ShiftLeft>(ctx);
  eval_integers<ShiftRight>(ctx);
}

struct BitAnd {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct BitOr {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct BitXor {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};
// --- definitions
// -----------------------------------------------------------------------------------------------------------
OpDef arithmetic(std::string name, void (*eval)(EvalContext&)) {
  return {.name = std::move(name),
          .inputs = {{"A"}, {"B"}},
          .attrs = {{"act", AttrKind::s}, {"act_min", AttrKind::f}, {"act_max", AttrKind::f}, {"alpha", AttrKind::f}},
          .infer = infer_arithmetic,
          .eval = eval,
          .quant = QuantRole::binary,
          .layout = LayoutRole::any,
          .types = kNumbers};
}
OpDef pair(std::string name, TypeSet types, void (*infer)(InferContext&), void (*eval)(EvalContext&),
           std::vector<AttrSchema> attrs = {}) {
  return {.name = std::move(name),
          .inputs = {{"A"}, {"B"}},
          .attrs = std::move(attrs),
          .infer = infer,
          .eval = eval,
          .layout = LayoutRole::any,
          .types = types};
}
OpDef many(std::string name, TypeSet types, void (*eval)(EvalContext&)) {
  return {.name = std::move(name),
          .inputs = {{.name = "data", .optional = false, .variadic = true}},
          .attrs = {},
          .infer = infer_many,
          .eval = eval,
          .layout = LayoutRole::any,
          .types = types};
}

std::vector<OpDef> define() {
  return {
      arithmetic("Add", eval_arithmetic<Add>),
      arithmetic("Sub", eval_arithmetic<Sub>),
      arithmetic("Mul", eval_arithmetic<Mul>),
      pair("Div", kNumbers, infer_many, eval_pair<Div>),
      pair("Pow", kNumbers, infer_pow, eval_pow),
      pair("Mod", kNumbers, infer_many, eval_mod, {{"fmod", AttrKind::i}}),
      many("Max", kNumbers, eval_many<Max>),
      many("Min", kNumbers, eval_many<Min>),
      many("Sum", kNumbers, eval_many<Add>),
      many("Mean", kFloats, eval_mean),
      pair("BitShift", kIntegers, infer_shift, eval_shift, {{"direction", AttrKind::s, true}}),
      pair("BitwiseAnd", kIntegers, infer_many, eval_integers<BitAnd>),
      pair("BitwiseOr", kIntegers, infer_many, eval_integers<BitOr>),
      pair("BitwiseXor", kIntegers, infer_many, eval_integers<BitXor>),
  };
}

}  // namespace

std::span<const OpDef> elementwise_binary_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
