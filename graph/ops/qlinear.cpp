// Products of quantized tensors as ONNX writes them, with scales and zero points as inputs.
//
//   ConvInteger, MatMulInteger   the exact sum of (x - zx) * (w - zw)
//   QLinearConv, QLinearMatMul   requantize(sum + bias, (sx * sw[n]) / sy, zy), saturated to the type of y
#include "graph/ops/families.h"
#include "graph/ops/integer_products.h"

namespace octet::graph::ops {
namespace {

void expect_byte(const InferContext& ctx, size_t i) { expect_dtype(ctx, i, {DType::u8, DType::s8}); }

// --- convolution
// ---------------------------------------------------------------------------------------------------------------
void infer_conv_integer(InferContext& ctx) {
  expect_byte(ctx, 0);
  expect_byte(ctx, 1);
  set_dims(ctx, 0, DType::s32, conv_dims(ctx, 0, 1));
}
void eval_conv_integer(EvalContext& ctx) {
  const Shape shape = to_shape(*conv_dims(ctx, 0, 1));
  const ConvGeometry g = conv_geometry(ctx, 0, 1, shape);
  const auto zx = ctx.has(2) ? static_cast<int32_t>(scalar_s64(ctx, 2)) : 0;
  const auto zw = per_slice<int32_t>(ctx, 3, g.y.c, 0);
  Tensor y(DType::s32, shape);
  for (int64_t p = 0; p < g.y.n * g.y.c; ++p)
    integer_conv_plane(ctx, g, ctx.in(0), ctx.in(1), zx, zw[p % g.y.c], p / g.y.c, p % g.y.c,
                       y.mutable_as<int32_t>() + p * g.y.plane());
  ctx.out() = y;
}

void infer_qlinear_conv(InferContext& ctx) {
  expect_byte(ctx, 0);
  expect_byte(ctx, 3);
  expect_byte(ctx, 7);
  if (ctx.has(8)) expect_dtype(ctx, 8, {DType::s32});
  set_dims(ctx, 0, dtype_of(ctx, 7), conv_dims(ctx, 0, 3));
}
void eval_qlinear_conv(EvalContext& ctx) {
  const Shape shape = to_shape(*conv_dims(ctx, 0, 3));
  const ConvGeometry g = conv_geometry(ctx, 0, 3, shape);
  const float sx = scalar_f32(ctx, 1), sy = scalar_f32(ctx, 6);
  const auto zx = static_cast<int32_t>(scalar_s64(ctx, 2));
  const auto sw = per_slice<float>(ctx, 4, g.y.c, 1.0f);
  const auto zw = per_slice<int32_t>(ctx, 5, g.y.c, 0);
  const auto bias = per_slice<int32_t>(ctx, 8, g.y.c, 0);
  const DType dtype = ctx.in(7).dtype();
  const QuantStore store(sy, static_cast<int32_t>(scalar_s64(ctx, 7)), dtype);
  Tensor y(dtype, shape);
  std::vector<int32_t> sums(static_cast<size_t>(g.y.plane()));
  auto* out = y.mutable_as<uint8_t>();
  for (int64_t p = 0; p < g.y.n * g.y.c; ++p) {
    const int64_t o = p % g.y.c;
    integer_conv_plane(ctx, g, ctx.in(0), ctx.in(3), zx, zw[o], p / g.y.c, o, sums.data());
    const float multiplier = (sx * sw[o]) / sy;
    for (const int32_t sum : sums) *out++ = static_cast<uint8_t>(store(static_cast<float>(sum + bias[o]) * multiplier));
  }
  ctx.out() = y;
}

// --- matrix product
// --------------------------------------------------------------------------------------------------------------
void infer_matmul_integer(InferContext& ctx) {
  expect_byte(ctx, 0);
  expect_byte(ctx, 1);
  set_dims(ctx, 0, DType::s32, matmul_dims(ctx, 0, 1));
}
void eval_matmul_integer(EvalContext& ctx) {
  ctx.out() = Tensor::of(DType::s32, to_shape(*matmul_dims(ctx, 0, 1)),
                         integer_matmul(ctx, ctx.in(0), value_of(ctx, 2), ctx.in(1), value_of(ctx, 3)));
}

void infer_qlinear_matmul(InferContext& ctx) {
  expect_byte(ctx, 0);
  expect_byte(ctx, 3);
  expect_byte(ctx, 7);
  set_keeping_quant(ctx, 0, dtype_of(ctx, 7), matmul_dims(ctx, 0, 3));
}
void eval_qlinear_matmul(EvalContext& ctx) {
  const Shape shape = to_shape(*matmul_dims(ctx, 0, 3));
  const int64_t n = ctx.in(3).shape().size() == 1 ? 1 : ctx.in(3).shape().back();
  const int64_t m = ctx.in(0).shape().size() == 1 ? 1 : ctx.in(0).shape()[ctx.in(0).shape().size() - 2];
  const auto sa = per_slice<float>(ctx, 1, m, 1.0f);
  const auto sb = per_slice<float>(ctx, 4, n, 1.0f);
  const QuantStore store(scalar_f32(ctx, 6), static_cast<int32_t>(scalar_s64(ctx, 7)), ctx.in(7).dtype());
  const std::vector<int32_t> sums = integer_matmul(ctx, ctx.in(0), value_of(ctx, 2), ctx.in(3), value_of(ctx, 5));
  Tensor y(ctx.in(7).dtype(), shape);
  for (int64_t i = 0; i < y.size(); ++i) {
    const float multiplier = (sa[i / n % m] * sb[i % n]) / store.scale;
    y.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(store(static_cast<float>(sums[static_cast<size_t>(i)]) * multiplier));
  }
  ctx.out() = y;
}

std::vector<OpDef> define() {
  const std::vector<AttrSchema> window = {{"auto_pad", AttrKind::s}, {"dilations", AttrKind::ints},
                                          {"group", AttrKind::i},    {"kernel_shape", AttrKind::ints},
                                          {"pads", AttrKind::ints},  {"strides", AttrKind::ints}};
  return {
      {.name = "ConvInteger",
       .inputs = {{"x"}, {"w"}, {"x_zero_point", true}, {"w_zero_point", true}},
       .attrs = window,
       .infer = infer_conv_integer,
       .eval = eval_conv_integer,
       .types = kBytes},
      {.name = "QLinearConv",
       .inputs = {{"x"},
                  {"x_scale"},
                  {"x_zero_point"},
                  {"w"},
                  {"w_scale"},
                  {"w_zero_point"},
                  {"y_scale"},
                  {"y_zero_point"},
                  {"B", true}},
       .attrs = window,
       .infer = infer_qlinear_conv,
       .eval = eval_qlinear_conv,
       .types = kBytes},
      {.name = "MatMulInteger",
       .inputs = {{"A"}, {"B"}, {"a_zero_point", true}, {"b_zero_point", true}},
       .attrs = {},
       .infer = infer_matmul_integer,
       .eval = eval_matmul_integer,
       .types = kBytes},
      {.name = "QLinearMatMul",
       .inputs = {{"a"}, {"a_scale"}, {"a_zero_point"}, {"b"}, {"b_scale"}, {"b_zero_point"}, {"y_scale"}, {"y_zero_point"}},
       .attrs = {},
       .infer = infer_qlinear_matmul,
       .eval = eval_qlinear_matmul,
       .types = kBytes},
  };
}

}  // namespace

std::span<const OpDef> qlinear_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
