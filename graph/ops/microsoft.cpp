// The com.microsoft operators that ONNX Runtime's quantizer writes: scales and zero points are inputs. They mean what the
// quantized form of the plain operator means; an absent zero point is 0.
#include <array>
#include <cmath>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/integer_products.h"
#include "graph/ops/pool.h"

namespace octet::graph::ops {
namespace {

struct Affine {
  float scale = 1;
  int32_t zero_point = 0;
};
Affine affine(const EvalContext& ctx, size_t scale, size_t zero_point) {
  return {scalar_f32(ctx, scale), ctx.has(zero_point) ? static_cast<int32_t>(scalar_s64(ctx, zero_point)) : 0};
}
QuantStore store_of(const Affine& a, DType dtype) { return {a.scale, a.zero_point, dtype}; }

void expect_byte(const InferContext& ctx, size_t i) { expect_dtype(ctx, i, {DType::u8, DType::s8}); }
void expect_bytes(const EvalContext& ctx, size_t i) {
  if (ctx.in(i).dtype() != DType::u8 && ctx.in(i).dtype() != DType::s8) fail_dtype(ctx, ctx.in(i).dtype());
}

// --- QLinearAdd, QLinearMul: A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point
// -----------------------------
void infer_binary(InferContext& ctx) {
  expect_byte(ctx, 0);
  expect_same_dtype(ctx, 0, 3);
  set_dims(ctx, 0, dtype_of(ctx, 0), broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 3)));
}
template <bool multiply>
void eval_binary(EvalContext& ctx) {
  expect_bytes(ctx, 0);
  const Tensor &a = ctx.in(0), &b = ctx.in(3);
  const Affine qa = affine(ctx, 1, 2), qb = affine(ctx, 4, 5), qc = affine(ctx, 6, 7);
  const QuantStore store = store_of(qc, a.dtype());
  const Shape shape = to_shape(*broadcast(ctx, dims_of(ctx, 0), dims_of(ctx, 3)));
  Tensor y(a.dtype(), shape);
  auto* out = y.mutable_as<uint8_t>();
  for_each_run<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                  [&](const auto& at, int64_t length, const auto& step) {
                    for (int64_t i = 0; i < length; ++i) {
                      const int32_t va = quantum(a, at[0] + i * step[0]) - qa.zero_point;
                      const int32_t vb = quantum(b, at[1] + i * step[1]) - qb.zero_point;
                      const float v = multiply ? static_cast<float>(va * vb) * ((qa.scale * qb.scale) / qc.scale)
                                               : std::fma(static_cast<float>(va), qa.scale / qc.scale,
                                                          static_cast<float>(vb) * (qb.scale / qc.scale));
                      *out++ = static_cast<uint8_t>(store(v));
                    }
                  });
  ctx.out() = y;
}

// --- QLinearSigmoid, QLinearLeakyRelu: X, X_scale, X_zero_point, Y_scale, Y_zero_point
// ------------------------------------------------
void infer_unary(InferContext& ctx) {
  expect_byte(ctx, 0);
  set_dims(ctx, 0, dtype_of(ctx, 0), dims_of(ctx, 0));
}
template <class F>
void eval_unary(EvalContext& ctx, F f) {
  expect_bytes(ctx, 0);
  const Tensor& x = ctx.in(0);
  const Affine qx = affine(ctx, 1, 2), qy = affine(ctx, 3, 4);
  const QuantRange range = quant_range(x.dtype());
  Tensor y(x.dtype(), x.shape());
  for (int64_t i = 0; i < x.size(); ++i) {
    const float v = f(numerics::dequantize(quantum(x, i), qx.scale, qx.zero_point));
    y.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(numerics::quantize(v, qy.scale, qy.zero_point, range.lo, range.hi));
  }
  ctx.out() = y;
}
void eval_sigmoid(EvalContext& ctx) {
  eval_unary(ctx, [](float v) { return numerics::sigmoid(v); });
}
void eval_leaky_relu(EvalContext& ctx) {
  const float alpha = ctx.node().attr("alpha", 0.01f);
  eval_unary(ctx, [alpha](float v) { return v < 0.0f ? v * alpha : v; });
}

// --- QLinearSoftmax: X, X_scale, X_zero_point, Y_scale, Y_zero_point. Before opset 13 over all axes from `axis` on.
// ------------------------------------------------
void eval_softmax(EvalContext& ctx) {
  expect_bytes(ctx, 0);
  const Tensor& x = ctx.in(0);
  const Affine qx = affine(ctx, 1, 2), qy = affine(ctx, 3, 4);
  const QuantRange range = quant_range(x.dtype());
  const auto rank = static_cast<int64_t>(x.shape().size());
  const bool flat = ctx.node().attr("opset", int64_t{13}) < 13;
  const auto axis = static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{-1}), rank));
  const int64_t length = flat ? product(x.shape(), axis, x.shape().size()) : x.shape()[axis];
  const int64_t inner = flat ? 1 : product(x.shape(), axis + 1, x.shape().size());
  Tensor y(x.dtype(), x.shape());
  std::vector<float> line(static_cast<size_t>(length));
  for (int64_t l = 0; length > 0 && l < x.size() / length; ++l) {
    const int64_t at = l / inner * length * inner + l % inner;
    float largest = -std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < length; ++i) {
      line[static_cast<size_t>(i)] = numerics::dequantize(quantum(x, at + i * inner), qx.scale, qx.zero_point);
      largest = std::max(largest, line[static_cast<size_t>(i)]);
    }
    for (float& v : line) v = numerics::exp(v - largest);
    const float sum = numerics::sum16(line.size(), [&](size_t i) { return line[i]; });
    for (int64_t i = 0; i < length; ++i)
      y.mutable_as<uint8_t>()[at + i * inner] = static_cast<uint8_t>(
          numerics::quantize(line[static_cast<size_t>(i)] / sum, qy.scale, qy.zero_point, range.lo, range.hi));
  }
  ctx.out() = y;
}

// --- QLinearAveragePool, QLinearGlobalAveragePool
// ----------------------------------------------------------------------------------- channels_last: the image lies N,
// spatial, C. Evaluated as N, C, spatial and turned back.
template <class Ctx>
bool channels_last(const Ctx& ctx) {
  return ctx.node().attr("channels_last", int64_t{0}) != 0;
}
MaybeDims channels_to_front(MaybeDims dims) {
  if (dims) std::rotate(dims->begin() + 1, dims->end() - 1, dims->end());
  return dims;
}
MaybeDims channels_to_back(MaybeDims dims) {
  if (dims) std::rotate(dims->begin() + 1, dims->begin() + 2, dims->end());
  return dims;
}
Tensor turned(EvalContext& ctx, const Tensor& x, bool to_front) {
  const Strides strides = strides_of(x.shape());
  Shape shape = x.shape();
  Strides walk = strides;
  const auto turn = [&](auto& v) {
    if (to_front)
      std::rotate(v.begin() + 1, v.end() - 1, v.end());
    else
      std::rotate(v.begin() + 1, v.begin() + 2, v.end());
  };
  turn(shape);
  turn(walk);
  return gather_strided(ctx, x, shape, walk);
}

void infer_average(InferContext& ctx, bool global) {
  expect_byte(ctx, 0);
  MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 3, 5);
  if (channels_last(ctx)) x = channels_to_front(x);
  if (global && x) std::fill(x->begin() + 2, x->end(), Dim(1));
  MaybeDims out = global ? x : pool_dims(ctx, x);
  set_dims(ctx, 0, dtype_of(ctx, 0), channels_last(ctx) ? channels_to_back(out) : out);
}
void infer_average_pool(InferContext& ctx) { infer_average(ctx, false); }
void infer_global_average_pool(InferContext& ctx) { infer_average(ctx, true); }

template <bool global>
void eval_average(EvalContext& ctx) {
  expect_bytes(ctx, 0);
  const Affine qx = affine(ctx, 1, 2), qy = affine(ctx, 3, 4);
  const AverageQuant quant{qx.scale, qx.zero_point, qy.scale, qy.zero_point};
  const bool last = channels_last(ctx);
  const Tensor x = last ? turned(ctx, ctx.in(0), true) : ctx.in(0);
  const Tensor y = global ? global_average_pool_quantized(x, quant) : average_pool_quantized(ctx, x, quant);
  ctx.out() = last ? turned(ctx, y, false) : y;
}

// --- QLinearConcat: Y_scale, Y_zero_point, then tensor, scale, zero point for each part
// ------------------------------------------------
template <class Ctx>
size_t concat_parts(const Ctx& ctx) {
  const size_t count = count_inputs(ctx);
  if (count < 5 || (count - 2) % 3 != 0)
    fail(ctx, "has " + std::to_string(count) + " inputs; expected 2 and 3 for each part");
  return (count - 2) / 3;
}
template <class Ctx>
MaybeDims qlinear_concat_dims(const Ctx& ctx) {
  MaybeDims out = dims_of(ctx, 2);
  for (size_t p = 1; p < concat_parts(ctx); ++p) {
    const MaybeDims x = dims_of(ctx, 2 + 3 * p);
    if (!out || !x) return std::nullopt;
    expect_rank(ctx, 2 + 3 * p, x, out->size(), out->size());
    const auto axis =
        static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(out->size())));
    for (size_t i = 0; i < out->size(); ++i) {
      Dim& d = (*out)[i];
      if (i != axis)
        d = same_dim(ctx, d, (*x)[i], "dimensions of the parts");
      else
        d = d.known() && (*x)[i].known() ? Dim(d.value + (*x)[i].value) : Dim();
    }
  }
  return out;
}
void infer_concat(InferContext& ctx) {
  expect_byte(ctx, 2);
  for (size_t p = 1; p < concat_parts(ctx); ++p) expect_same_dtype(ctx, 2, 2 + 3 * p);
  set_dims(ctx, 0, dtype_of(ctx, 2), qlinear_concat_dims(ctx));
}
void eval_concat(EvalContext& ctx) {
  const Shape shape = to_shape(*qlinear_concat_dims(ctx));
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(shape.size())));
  const Affine qy = affine(ctx, 0, 1);
  const DType dtype = ctx.in(2).dtype();
  expect_bytes(ctx, 2);
  const QuantRange range = quant_range(dtype);
  const int64_t outer = product(shape, 0, axis), row = product(shape, axis, shape.size());
  Tensor y(dtype, shape);
  int64_t base = 0;
  for (size_t p = 0; p < concat_parts(ctx); ++p) {
    const Tensor& x = ctx.in(2 + 3 * p);
    const Affine qx = affine(ctx, 3 + 3 * p, 4 + 3 * p);
    const int64_t run = product(x.shape(), axis, shape.size());
    for (int64_t i = 0; i < outer * run; ++i) {
      const float v = numerics::dequantize(quantum(x, i), qx.scale, qx.zero_point);
      y.mutable_as<uint8_t>()[i / run * row + base + i % run] =
          static_cast<uint8_t>(numerics::quantize(v, qy.scale, qy.zero_point, range.lo, range.hi));
    }
    base += run;
  }
  ctx.out() = y;
}

// --- QGemm: A, a_scale, a_zero_point, B, b_scale, b_zero_point, [C s32], [y_scale], [y_zero_point]
// -------------------------------------- With y_scale the result is requantized by ((alpha * sa) * sb[n]) / sy, without it
// is float.
template <class Ctx>
Dims qgemm_dims(const Ctx& ctx) {
  const MaybeDims a = dims_of(ctx, 0), b = dims_of(ctx, 3);
  expect_rank(ctx, 0, a, 2, 2);
  expect_rank(ctx, 3, b, 2, 2);
  const size_t trans_a = ctx.node().attr("transA", int64_t{0}) != 0, trans_b = ctx.node().attr("transB", int64_t{0}) != 0;
  if (a && b) same_dim(ctx, (*a)[1 - trans_a], (*b)[trans_b], "inner dimensions");
  return {a ? (*a)[trans_a] : Dim(), b ? (*b)[1 - trans_b] : Dim()};
}
void infer_qgemm(InferContext& ctx) {
  expect_byte(ctx, 0);
  expect_byte(ctx, 3);
  if (ctx.has(6)) expect_dtype(ctx, 6, {DType::s32});
  set_dims(ctx, 0, ctx.has(7) ? dtype_of(ctx, 0) : DType::f32, qgemm_dims(ctx));
}
void eval_qgemm(EvalContext& ctx) {
  expect_bytes(ctx, 0);
  expect_bytes(ctx, 3);
  const Tensor &a = ctx.in(0), &b = ctx.in(3);
  const bool trans_a = ctx.node().attr("transA", int64_t{0}) != 0, trans_b = ctx.node().attr("transB", int64_t{0}) != 0;
  const Shape shape = to_shape(qgemm_dims(ctx));
  const int64_t m = shape[0], n = shape[1], k = a.shape()[trans_a ? 0 : 1];
  const Affine qa = affine(ctx, 1, 2);
  const auto sb = per_slice<float>(ctx, 4, n, 1.0f);
  const auto zb = per_slice<int32_t>(ctx, 5, n, 0);
  std::vector<int32_t> left(static_cast<size_t>(m * k)), right(static_cast<size_t>(k * n)), sums(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t l = 0; l < k; ++l)
      left[static_cast<size_t>(i * k + l)] = quantum(a, trans_a ? l * m + i : i * k + l) - qa.zero_point;
  for (int64_t l = 0; l < k; ++l)
    for (int64_t j = 0; j < n; ++j)
      right[static_cast<size_t>(l * n + j)] = quantum(b, trans_b ? j * k + l : l * n + j) - zb[j];
  matmul_rows(m, n, k, left.data(), right.data(), sums.data(), integer_step);
  if (ctx.has(6)) {
    const Strides step = broadcast_strides(ctx.in(6).shape(), shape);
    for (int64_t i = 0; i < m * n; ++i)
      sums[static_cast<size_t>(i)] += ctx.in(6).as<int32_t>()[i / n * step[0] + i % n * step[1]];
  }
  const float alpha = ctx.node().attr("alpha", 1.0f) * qa.scale;
  Tensor y(ctx.has(7) ? a.dtype() : DType::f32, shape);
  if (ctx.has(7)) {
    const QuantStore store = store_of(affine(ctx, 7, 8), a.dtype());
    for (int64_t i = 0; i < m * n; ++i)
      y.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(
          store(static_cast<float>(sums[static_cast<size_t>(i)]) * ((alpha * sb[i % n]) / store.scale)));
  } else {
    for (int64_t i = 0; i < m * n; ++i)
      y.mutable_as<float>()[i] = static_cast<float>(sums[static_cast<size_t>(i)]) * (alpha * sb[i % n]);
  }
  ctx.out() = y;
}

// --- definitions
// -----------------------------------------------------------------------------------------------------------------------
OpDef op(const char* name, std::vector<InputSchema> inputs, std::vector<AttrSchema> attrs, void (*infer)(InferContext&),
         void (*eval)(EvalContext&), int typed = 0) {
  return {.name = std::string("com.microsoft.") + name,
          .inputs = std::move(inputs),
          .attrs = std::move(attrs),
          .infer = infer,
          .eval = eval,
          .types = kBytes,
          .typed = typed};
}

std::vector<OpDef> define() {
  constexpr AttrKind f = AttrKind::f, i = AttrKind::i, s = AttrKind::s, l = AttrKind::ints;
  const std::vector<InputSchema> binary = {{"A"},       {"A_scale"},           {"A_zero_point", true},
                                           {"B"},       {"B_scale"},           {"B_zero_point", true},
                                           {"C_scale"}, {"C_zero_point", true}};
  const std::vector<InputSchema> unary = {{"X"}, {"X_scale"}, {"X_zero_point", true}, {"Y_scale"}, {"Y_zero_point", true}};
  return {
      op("QLinearAdd", binary, {}, infer_binary, eval_binary<false>),
      op("QLinearMul", binary, {}, infer_binary, eval_binary<true>),
      op("QLinearSigmoid", unary, {}, infer_unary, eval_sigmoid),
      op("QLinearLeakyRelu", unary, {{"alpha", f}}, infer_unary, eval_leaky_relu),
      op("QLinearSoftmax", unary, {{"axis", i}, {"opset", i, true}}, infer_unary, eval_softmax),
      op("QLinearAveragePool", unary,
         {{"auto_pad", s},
          {"ceil_mode", i},
          {"channels_last", i},
          {"count_include_pad", i},
          {"kernel_shape", l, true},
          {"pads", l},
          {"strides", l}},
         infer_average_pool, eval_average<false>),
      op("QLinearGlobalAveragePool", unary, {{"channels_last", i}}, infer_global_average_pool, eval_average<true>),
      op("QLinearConcat", {{"Y_scale"}, {"Y_zero_point"}, {.name = "inputs", .optional = false, .variadic = true}},
         {{"axis", i, true}}, infer_concat, eval_concat, 2),
      op("QGemm",
         {{"A"},
          {"a_scale"},
          {"a_zero_point"},
          {"B"},
          {"b_scale"},
          {"b_zero_point"},
          {"C", true},
          {"y_scale", true},
          {"y_zero_point", true}},
         {{"alpha", f}, {"transA", i}, {"transB", i}}, infer_qgemm, eval_qgemm),
  };
}

}  // namespace

std::span<const OpDef> microsoft_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
