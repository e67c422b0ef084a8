// Sums of products of 8-bit integers, common to ConvInteger, MatMulInteger, the QLinear forms and the fused operators:
// exact, sum (x - zx) * (w - zw) in int32, and their requantization.
#pragma once

#include "graph/ops/activation_quanta.h"
#include "graph/ops/conv.h"
#include "graph/ops/matmul.h"

namespace octet::graph::ops {

template <class F>
void with_byte(EvalContext& ctx, DType dtype, F&& f) {
  if (dtype == DType::u8) return f(Tag<uint8_t>{});
  if (dtype == DType::s8) return f(Tag<int8_t>{});
  fail_dtype(ctx, dtype);
}

// The int32 sums of image n, output channel o.
inline void integer_conv_plane(EvalContext& ctx, const ConvGeometry& g, const Tensor& x, const Tensor& w,
                               int32_t x_zero_point, int32_t w_zero_point, int64_t n, int64_t o, int32_t* sums) {
  with_byte(ctx, x.dtype(), [&](auto x_tag) {
    with_byte(ctx, w.dtype(), [&](auto w_tag) {
      conv_plane(g, x.as<typename decltype(x_tag)::type>(), w.as<typename decltype(w_tag)::type>(), n, o, sums,
                 [=](int32_t a, int32_t b, int32_t sum) { return sum + (a - x_zero_point) * (b - w_zero_point); });
    });
  });
}

// One value a tensor or one a slice: a scalar, or a rank-1 input of `count` elements. Absent: `fallback` for all.
template <class T>
struct PerSlice {
  std::vector<T> values;
  T operator[](int64_t i) const { return values[values.size() == 1 ? 0 : static_cast<size_t>(i)]; }
};
template <class T>
PerSlice<T> per_slice(const EvalContext& ctx, size_t input, int64_t count, T fallback) {
  PerSlice<T> out{{fallback}};
  if (!ctx.has(input)) return out;
  const Tensor& t = ctx.in(input);
  if (t.size() != 1 && t.size() != count)
    fail(ctx, "input " + std::to_string(input) + " has " + std::to_string(t.size()) + " elements; expected 1 or " +
                  std::to_string(count));
  out.values.resize(static_cast<size_t>(t.size()));
  for (int64_t i = 0; i < t.size(); ++i) {
    if constexpr (std::is_same_v<T, float>)
      out.values[static_cast<size_t>(i)] = static_cast<float>(t.at_f64(i));
    else
      out.values[static_cast<size_t>(i)] = static_cast<T>(t.at_s64(i));
  }
  return out;
}

// Elements minus a zero point that broadcasts to them, as dense int32.
inline std::vector<int32_t> centred(EvalContext& ctx, const Tensor& x, const Tensor* zero_point,
                                    const Shape& zero_point_shape) {
  std::vector<int32_t> out(static_cast<size_t>(x.size()));
  const Tensor none = Tensor::of<uint8_t>(DType::u8, {}, {0});
  const Tensor& zp = zero_point ? *zero_point : none;
  with_byte(ctx, x.dtype(), [&](auto) {});
  size_t i = 0;
  for_each_run<1>(x.shape(), {broadcast_strides(zero_point ? zero_point_shape : Shape{}, x.shape())},
                  [&](const auto& at, int64_t length, const auto& step) {
                    for (int64_t k = 0; k < length; ++k, ++i)
                      out[i] = quantum(x, static_cast<int64_t>(i)) - static_cast<int32_t>(zp.at_s64(at[0] + k * step[0]));
                  });
  return out;
}

inline int32_t integer_step(int32_t a, int32_t b, int32_t sum) { return sum + a * b; }

// The int32 sums of all matrices. A zero point may be absent, one number, one a row of a (rank 1), or of a shape that
// broadcasts.
inline std::vector<int32_t> integer_matmul(EvalContext& ctx, const Tensor& a, const Tensor* a_zero, const Tensor& b,
                                           const Tensor* b_zero) {
  const auto zero_shape = [&](const Tensor* zero, const Tensor& x, bool rows) {
    Shape shape = !zero || zero->size() == 1 ? Shape{} : zero->shape();
    if (rows && shape.size() == 1 && x.shape().size() > 1) shape.push_back(1);
    if (to_shape(*broadcast(ctx, to_dims(shape), to_dims(x.shape()))) != x.shape())
      fail(ctx,
           "a scale or zero point of shape " + octet::to_string(shape) + " does not fit " + octet::to_string(x.shape()));
    return shape;
  };
  const std::vector<int32_t> left = centred(ctx, a, a_zero, zero_shape(a_zero, a, true));
  const std::vector<int32_t> right = centred(ctx, b, b_zero, zero_shape(b_zero, b, false));
  std::vector<int32_t> sums;
  for_each_matrix(a.shape(), b.shape(), [&](int64_t at_a, int64_t at_b, int64_t at_y, int64_t m, int64_t n, int64_t k) {
    if (static_cast<size_t>(at_y + m * n) > sums.size()) sums.resize(static_cast<size_t>(at_y + m * n));
    matmul_rows(m, n, k, left.data() + at_a, right.data() + at_b, sums.data() + at_y, integer_step);
  });
  return sums;
}

}  // namespace octet::graph::ops
