// com.microsoft matrix products of integers whose result is float32, as ONNX Runtime's own fusions write them.
//
//   MatMulIntegerToFloat(A, B, sa, sb, za, zb, bias)   float(sum (a - za) * (b - zb[n])) * (sa * sb[n]) (+ bias[n])
//   DynamicQuantizeMatMul(A:f32, B, sb, zb, bias)      the same, A quantized as DynamicQuantizeLinear does
#include "graph/ops/dynamic_quantize.h"
#include "graph/ops/families.h"
#include "graph/ops/integer_products.h"

namespace octet::graph::ops {
namespace {

// Scale, zero point and bias of B are one number, or one a column.
void store_real(EvalContext& ctx, const std::vector<int32_t>& sums, float a_scale, size_t b_scale, size_t bias) {
  const Shape shape = to_shape(*matmul_dims(ctx, 0, 1));
  const int64_t n = ctx.in(1).shape().size() == 1 ? 1 : ctx.in(1).shape().back();
  const auto sb = per_slice<float>(ctx, b_scale, n, 1.0f);
  const auto added = per_slice<float>(ctx, bias, n, 0.0f);
  Tensor y(DType::f32, shape);
  for (int64_t i = 0; i < y.size(); ++i) {
    const float v = static_cast<float>(sums[static_cast<size_t>(i)]) * (a_scale * sb[i % n]);
    y.mutable_as<float>()[i] = ctx.has(bias) ? v + added[i % n] : v;
  }
  ctx.out() = y;
}

void infer_integer_to_float(InferContext& ctx) {
  for (const size_t i : {size_t{0}, size_t{1}}) expect_dtype(ctx, i, {DType::u8, DType::s8});
  for (const size_t i : {size_t{2}, size_t{3}}) expect_dtype(ctx, i, {DType::f32});
  set_dims(ctx, 0, DType::f32, matmul_dims(ctx, 0, 1));
}
void eval_integer_to_float(EvalContext& ctx) {
  const std::vector<int32_t> sums = integer_matmul(ctx, ctx.in(0), value_of(ctx, 4), ctx.in(1), value_of(ctx, 5));
  store_real(ctx, sums, scalar_f32(ctx, 2), 3, 6);
}

void infer_dynamic_matmul(InferContext& ctx) {
  expect_dtype(ctx, 0, {DType::f32});
  expect_dtype(ctx, 1, {DType::u8, DType::s8});
  expect_dtype(ctx, 2, {DType::f32});
  set_dims(ctx, 0, DType::f32, matmul_dims(ctx, 0, 1));
}
void eval_dynamic_matmul(EvalContext& ctx) {
  const DynamicallyQuantized a = quantize_dynamically(ctx.in(0));
  const Tensor zero = Tensor::of<uint8_t>(DType::u8, {}, {static_cast<uint8_t>(a.zero_point)});
  store_real(ctx, integer_matmul(ctx, a.integers, &zero, ctx.in(1), value_of(ctx, 3)), a.scale, 2, 4);
}

std::vector<OpDef> define() {
  return {
      {.name = "com.microsoft.MatMulIntegerToFloat",
       .inputs = {{"A"}, {"B"}, {"a_scale"}, {"b_scale"}, {"a_zero_point", true}, {"b_zero_point", true}, {"bias", true}},
       .attrs = {},
       .infer = infer_integer_to_float,
       .eval = eval_integer_to_float,
       .types = kBytes},
      {.name = "com.microsoft.DynamicQuantizeMatMul",
       .inputs = {{"A"}, {"B"}, {"b_scale"}, {"b_zero_point", true}, {"bias", true}},
       .attrs = {},
       .infer = infer_dynamic_matmul,
       .eval = eval_dynamic_matmul,
       .types = TypeSet{DType::f32}},
  };
}

}  // namespace

std::span<const OpDef> microsoft_matmul_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
