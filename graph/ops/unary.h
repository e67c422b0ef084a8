// Element-wise functions of one tensor: the three forms that every one of them has.
//
//   float       y = f(x) in float (16-bit floats widened and rounded once) or in double
//   quantized   y = quantize(f(dequantize(x))), through a 256-entry table: what octet.Table will hold
//   integer     only where the function is made for integers (Relu, Abs, ...)
//
// A function is a struct made from the node, with operator() for float and for double. Functions that numerics.h does not
// define are computed in double by the C library and rounded to float.
#pragma once

#include <array>

#include "graph/ops/helpers.h"

namespace octet::graph::ops {

template <class F>
struct InDouble : F {
  explicit InDouble(const Node& node) : F(node) {}
  float operator()(float x) const { return static_cast<float>(F::operator()(static_cast<double>(x))); }
  double operator()(double x) const { return F::operator()(x); }
};

// Are the node's input and output quantized, so that its integers stand for real numbers?
inline bool quantized_unary(const EvalContext& ctx) { return ctx.in_quant(0) && ctx.out_quant(0); }

template <class F>
Tensor map_quantized(EvalContext& ctx, const F& f) {
  const Tensor& x = ctx.in(0);
  const QuantParams& qx = *ctx.in_quant(0);
  const QuantParams& qy = *ctx.out_quant(0);
  if (!qx.per_tensor() || !qy.per_tensor() || size_of(x.dtype()) != 1)
    ctx.fail(ErrorCode::unsupported, "a function of quantized values wants 8-bit elements and one scale a tensor");
  const QuantRange range = quant_range(x.dtype());
  std::array<uint8_t, 256> table{};
  for (int32_t q = range.lo; q <= range.hi; ++q) {
    const float v = f(numerics::dequantize(q, qx.scale[0], qx.zero_point[0]));
    table[static_cast<uint8_t>(q)] =
        static_cast<uint8_t>(numerics::quantize(v, qy.scale[0], qy.zero_point[0], range.lo, range.hi));
  }
  Tensor y(x.dtype(), x.shape());
  const auto* from = x.as<uint8_t>();
  auto* to = y.mutable_as<uint8_t>();
  for (int64_t i = 0; i < x.size(); ++i) to[i] = table[from[i]];
  return y;
}

template <class T, class F>
Tensor map_elements(const Tensor& x, const F& f) {
  Tensor y(x.dtype(), x.shape());
  const T* from = x.as<T>();
  T* to = y.mutable_as<T>();
  for (int64_t i = 0; i < x.size(); ++i) to[i] = static_cast<T>(f(static_cast<Compute<T>>(from[i])));
  return y;
}

template <class F>
void eval_real(EvalContext& ctx) {
  const F f(ctx.node());
  if (quantized_unary(ctx)) {
    ctx.out() = map_quantized(ctx, f);
    return;
  }
  with_float(ctx, ctx.in(0).dtype(),
             [&](auto tag) { ctx.out() = map_elements<typename decltype(tag)::type>(ctx.in(0), f); });
}

// Also on integers; f is a template over the element type.
template <class F>
void eval_number(EvalContext& ctx) {
  const F f(ctx.node());
  if (quantized_unary(ctx)) {
    ctx.out() = map_quantized(ctx, f);
    return;
  }
  with_number(ctx, ctx.in(0).dtype(),
              [&](auto tag) { ctx.out() = map_elements<typename decltype(tag)::type>(ctx.in(0), f); });
}

}  // namespace octet::graph::ops
