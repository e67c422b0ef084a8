// Cast, CastLike, BitCast, Constant, ConstantOfShape.
//
// Cast to an integer truncates towards zero in 64 bits and keeps the low bits; NaN and what 64 bits cannot hold give
// INT64_MIN first. To bool: anything but 0 is true. To the 16-bit floats: through float, rounded to nearest even.
#include <cmath>
#include <cstring>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

// 4-bit integers lie one to a byte.
template <class F>
bool visit_stored(DType dtype, F&& f) {
  if (dtype == DType::s4) return f(Tag<int8_t>{}), true;
  if (dtype == DType::u4 || dtype == DType::boolean) return f(Tag<uint8_t>{}), true;
  return visit_number(dtype, f);
}

template <class To, class From>
To converted(From v) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr double kLimit = 9223372036854775808.0;
    const auto d = static_cast<double>(v);
    if constexpr (std::is_same_v<To, uint64_t>)
      if (d >= kLimit && d < 2 * kLimit) return static_cast<uint64_t>(d);
    return static_cast<To>(d >= -kLimit && d < kLimit ? static_cast<int64_t>(d) : INT64_MIN);
  } else {
    return static_cast<To>(v);
  }
}

template <class T>
T four_bits(T v, DType dtype) {
  if (dtype == DType::u4) return static_cast<T>(v & 15);
  return static_cast<T>((static_cast<int>(v) & 15) - ((static_cast<int>(v) & 8) << 1));
}

Tensor cast(EvalContext& ctx, const Tensor& x, DType to) {
  if (x.dtype() == to) return x;
  if (size_of(to) == 0) fail_dtype(ctx, to);
  Tensor y(to, x.shape());
  const bool known = visit_stored(x.dtype(), [&](auto from_tag) {
    using From = typename decltype(from_tag)::type;
    using C = Compute<From>;
    const From* from = x.as<From>();
    visit_stored(to, [&](auto to_tag) {
      using To = typename decltype(to_tag)::type;
      To* out = y.mutable_as<To>();
      for (int64_t i = 0; i < x.size(); ++i) {
        const auto v = static_cast<C>(from[i]);
        if constexpr (std::is_integral_v<To>) {
          if (to == DType::boolean)
            out[i] = static_cast<To>(v != C{0});
          else if (to == DType::s4 || to == DType::u4)
            out[i] = four_bits(converted<To>(v), to);
          else
            out[i] = converted<To>(v);
        } else {
          out[i] = static_cast<To>(static_cast<Compute<To>>(v));
        }
      }
    });
  });
  if (!known) fail_dtype(ctx, x.dtype());
  return y;
}

template <class Ctx>
DType cast_target(const Ctx& ctx) {
  const int64_t code = ctx.node().attr("to", int64_t{0});
  const DType to = dtype_from_onnx(code);
  if (to == DType::undefined)
    fail(ctx, "attribute to is " + std::to_string(code) + "; expected the code of an element type octet knows");
  return to;
}

void infer_cast(InferContext& ctx) { set_dims(ctx, 0, cast_target(ctx), dims_of(ctx, 0)); }
void eval_cast(EvalContext& ctx) { ctx.out() = cast(ctx, ctx.in(0), cast_target(ctx)); }
void infer_cast_like(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 1), dims_of(ctx, 0)); }
void eval_cast_like(EvalContext& ctx) { ctx.out() = cast(ctx, ctx.in(0), ctx.in(1).dtype()); }

// The same bytes under another type of the same size.
void infer_bit_cast(InferContext& ctx) {
  const DType to = cast_target(ctx), from = dtype_of(ctx, 0);
  if (from != DType::undefined && (size_of(from) != size_of(to) || size_of(to) == 0))
    fail(ctx, "cannot take the bits of " + std::string(to_string(from)) + " for " + std::string(to_string(to)) +
                  "; expected a type of the same size");
  set_dims(ctx, 0, to, dims_of(ctx, 0));
}
void eval_bit_cast(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  Tensor y(cast_target(ctx), x.shape());
  if (y.bytes() != x.bytes()) fail_dtype(ctx, x.dtype());
  std::memcpy(y.mutable_as<std::byte>(), x.as<std::byte>(), x.bytes());
  ctx.out() = y;
}

// --- Constant: one of its attributes is the value
// ------------------------------------------------------------------------------
template <class Ctx>
Tensor constant_of(const Ctx& ctx) {
  const Node& node = ctx.node();
  if (const Attribute* a = node.find_attr("value")) return std::get<Tensor>(*a);
  if (node.has_attr("value_float")) return Tensor::scalar(node.attr("value_float", 0.0f));
  if (node.has_attr("value_int")) return Tensor::of<int64_t>(DType::s64, {}, {node.attr("value_int", int64_t{0})});
  if (node.has_attr("value_ints")) return Tensor::of_s64(node.ints("value_ints"));
  if (node.has_attr("value_floats")) {
    const std::vector<float> values = node.floats("value_floats");
    return Tensor::of<float>(DType::f32, {static_cast<int64_t>(values.size())}, values);
  }
  if (node.has_attr("value_string")) return Tensor({}, std::vector<std::string>{node.attr("value_string", "")});
  if (const Attribute* a = node.find_attr("value_strings")) {
    const auto& values = std::get<std::vector<std::string>>(*a);
    return Tensor({static_cast<int64_t>(values.size())}, values);
  }
  fail(ctx,
       "no value is given; expected one of value, value_float, value_floats, value_int, value_ints, value_string, "
       "value_strings");
}
void infer_constant(InferContext& ctx) {
  const Tensor value = constant_of(ctx);
  ctx.set(0, Type::known(value.dtype(), value.shape()));
}
void eval_constant(EvalContext& ctx) { ctx.out() = constant_of(ctx); }

// --- ConstantOfShape
// -------------------------------------------------------------------------------------------------------------
template <class Ctx>
Tensor fill_value(const Ctx& ctx) {
  const Attribute* a = ctx.node().find_attr("value");
  if (!a) return Tensor::scalar(0.0f);
  const Tensor& value = std::get<Tensor>(*a);
  if (value.size() != 1) fail(ctx, "value has " + std::to_string(value.size()) + " elements; expected one");
  return value;
}
void infer_constant_of_shape(InferContext& ctx) {
  const MaybeValues values = shape_values(ctx, 0);
  MaybeDims dims;
  if (values) {
    dims.emplace();
    for (const ShapeValue& v : *values) {
      if (v.number && *v.number < 0) fail(ctx, "the shape holds " + std::to_string(*v.number) + "; expected sizes");
      dims->push_back(v.dim());
    }
  }
  set_dims(ctx, 0, fill_value(ctx).dtype(), dims);
}
void eval_constant_of_shape(EvalContext& ctx) {
  const Tensor value = fill_value(ctx);
  const Shape shape = ctx.in(0).to_s64();
  for (const int64_t d : shape)
    if (d < 0) fail(ctx, "the shape holds " + std::to_string(d) + "; expected sizes");
  ctx.out() = gather_strided(ctx, value, shape, Strides(shape.size(), 0));
}

std::vector<OpDef> define() {
  return {
      {.name = "Cast",
       .inputs = {{"input"}},
       .attrs = {{"to", AttrKind::i, true}, {"saturate", AttrKind::i}, {"round_mode", AttrKind::s}},
       .infer = infer_cast,
       .eval = eval_cast,
       .layout = LayoutRole::any},
      {.name = "CastLike",
       .inputs = {{"input"}, {"target_type"}},
       .attrs = {{"saturate", AttrKind::i}, {"round_mode", AttrKind::s}},
       .infer = infer_cast_like,
       .eval = eval_cast_like},
      {.name = "BitCast",
       .inputs = {{"input"}},
       .attrs = {{"to", AttrKind::i, true}},
       .infer = infer_bit_cast,
       .eval = eval_bit_cast},
      {.name = "Constant",
       .inputs = {},
       .attrs = {{"value", AttrKind::tensor},
                 {"value_float", AttrKind::f},
                 {"value_floats", AttrKind::floats},
                 {"value_int", AttrKind::i},
                 {"value_ints", AttrKind::ints},
                 {"value_string", AttrKind::s},
                 {"value_strings", AttrKind::strings}},
       .infer = infer_constant,
       .eval = eval_constant},
      {.name = "ConstantOfShape",
       .inputs = {{"input"}},
       .attrs = {{"value", AttrKind::tensor}},
       .infer = infer_constant_of_shape,
       .eval = eval_constant_of_shape},
  };
}

}  // namespace

std::span<const OpDef> cast_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
