// QuantizeLinear, DequantizeLinear (a tensor, a slice along an axis, or blocks along an axis share a scale), and
// DynamicQuantizeLinear.
//
//   QuantizeLinear     saturate(round(x / scale) + zero_point), a true division, half to even
//   DequantizeLinear   float(q - zero_point) * scale, in the scale's element type
//   Dynamic            lo = min(0, min x), hi = max(0, max x); scale = (hi - lo) / 255, 1 when that is 0;
//                      zero_point = round(clamp(0 - lo / scale, 0, 255))
#include <cmath>

#include "graph/ops/activation_quanta.h"
#include "graph/ops/dynamic_quantize.h"
#include "graph/ops/families.h"

namespace octet::graph::ops {
namespace {

template <class Ctx>
DType quantized_type(const Ctx& ctx) {
  if (ctx.has(2)) return dtype_of(ctx, 2);
  const int64_t code = ctx.node().attr("output_dtype", int64_t{0});
  if (code == 0) return DType::u8;
  const DType dtype = dtype_from_onnx(code);
  if (dtype == DType::undefined) fail(ctx, "output_dtype " + std::to_string(code) + " is not a quantized type octet knows");
  return dtype;
}

// Which scale belongs to element i.
struct ScaleMap {
  int64_t inner = 1, length = 1, block = 1, count = 1;  // count: scales along the axis
  bool single = true;
  size_t operator()(int64_t i) const {
    if (single) return 0;
    const int64_t at = i / inner % length;
    return static_cast<size_t>(block == 1 ? at : i / (inner * length) * count * inner + at / block * inner + i % inner);
  }
};

template <class Ctx>
void check_scale(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0), scale = dims_of(ctx, 1);
  if (ctx.has(2)) {
    const MaybeDims zero = dims_of(ctx, 2);
    if (scale && zero && product(*scale, 0, scale->size()).known() && product(*zero, 0, zero->size()).known() &&
        product(*scale, 0, scale->size()).value != product(*zero, 0, zero->size()).value)
      fail(ctx, "scale has shape " + describe(*scale) + " and zero point " + describe(*zero) + "; expected the same");
  }
  if (!x || !scale || scale->empty() || (scale->size() == 1 && (*scale)[0] == Dim(1))) return;
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{1}), static_cast<int64_t>(x->size())));
  const int64_t block = ctx.node().attr("block_size", int64_t{0});
  if (block == 0) {
    expect_rank(ctx, 1, scale, 1, 1);
    same_dim(ctx, (*scale)[0], (*x)[axis], "the number of scales and the size of the axis");
  } else if (block < 0 || scale->size() != x->size()) {
    fail(ctx, "block_size is " + std::to_string(block) + " and the scale's shape " + describe(*scale) +
                  "; expected the input's rank");
  }
}

ScaleMap scale_map(const EvalContext& ctx) {
  const Shape& x = ctx.in(0).shape();
  ScaleMap map;
  map.single = ctx.in(1).size() == 1;
  if (map.single) return map;
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{1}), static_cast<int64_t>(x.size())));
  map.inner = product(x, axis + 1, x.size());
  map.length = x[axis];
  const int64_t block = ctx.node().attr("block_size", int64_t{0});
  if (block > 0) {
    map.block = block;
    map.count = (x[axis] + block - 1) / block;
    if (ctx.in(1).size() != product(x, 0, axis) * map.count * map.inner)
      fail(ctx, "scale has shape " + octet::to_string(ctx.in(1).shape()) + ", which does not fit blocks of " +
                    std::to_string(block));
    if (block == 1) fail(ctx, "block_size is 1; expected a larger block");
  }
  return map;
}

// --- QuantizeLinear
// ----------------------------------------------------------------------------------------------------------
void infer_quantize(InferContext& ctx) {
  expect_dtype(ctx, 0, {DType::f32, DType::f16, DType::bf16, DType::s32});
  const DType dtype = quantized_type(ctx);
  const bool known = dtype == DType::u8 || dtype == DType::s8 || dtype == DType::u16 || dtype == DType::s16 ||
                     dtype == DType::u4 || dtype == DType::s4 || dtype == DType::undefined;
  if (!known) fail(ctx, "cannot quantize to " + std::string(to_string(dtype)) + "; expected an integer of at most 16 bits");
  check_scale(ctx);
  set_keeping_quant(ctx, 0, dtype, dims_of(ctx, 0));
}

void eval_quantize(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const DType dtype = quantized_type(ctx);
  const QuantRange range = quant_range(dtype);
  const ScaleMap map = scale_map(ctx);
  const std::vector<float> scale = ctx.in(1).to_f32();
  Tensor y(dtype, x.shape());
  const auto quantum_of = [&](int64_t i) {
    const size_t at = map(i);
    const auto zero = ctx.has(2) ? static_cast<int32_t>(ctx.in(2).at_s64(static_cast<int64_t>(at))) : 0;
    return numerics::quantize(static_cast<float>(x.at_f64(i)), scale[at], zero, range.lo, range.hi);
  };
  if (size_of(dtype) == 1) {
    for (int64_t i = 0; i < x.size(); ++i) y.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(quantum_of(i));
  } else {
    for (int64_t i = 0; i < x.size(); ++i) y.mutable_as<uint16_t>()[i] = static_cast<uint16_t>(quantum_of(i));
  }
  ctx.out() = y;
}

// --- DequantizeLinear
// --------------------------------------------------------------------------------------------------------
void infer_dequantize(InferContext& ctx) {
  expect_dtype(ctx, 0, {DType::u8, DType::s8, DType::u16, DType::s16, DType::s32, DType::u4, DType::s4});
  expect_dtype(ctx, 1, {DType::f32, DType::f16, DType::bf16});
  if (ctx.has(2)) expect_same_dtype(ctx, 0, 2);
  check_scale(ctx);
  set_dims(ctx, 0, dtype_of(ctx, 1), dims_of(ctx, 0));
}

void eval_dequantize(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const ScaleMap map = scale_map(ctx);
  const std::vector<float> scale = ctx.in(1).to_f32();
  Tensor y(ctx.in(1).dtype(), x.shape());
  with_float(ctx, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < x.size(); ++i) {
      const size_t at = map(i);
      const auto zero = ctx.has(2) ? static_cast<int32_t>(ctx.in(2).at_s64(static_cast<int64_t>(at))) : 0;
      const float v = numerics::dequantize(static_cast<int32_t>(x.at_s64(i)), scale[at], zero);
      y.mutable_as<T>()[i] = static_cast<T>(static_cast<Compute<T>>(v));
    }
  });
  ctx.out() = y;
}

// --- DynamicQuantizeLinear
// -----------------------------------------------------------------------------------------------------
void infer_dynamic(InferContext& ctx) {
  expect_dtype(ctx, 0, {DType::f32});
  set_dims(ctx, 0, DType::u8, dims_of(ctx, 0));
  set_dims(ctx, 1, DType::f32, Dims{});
  set_dims(ctx, 2, DType::u8, Dims{});
}

void eval_dynamic(EvalContext& ctx) {
  const DynamicallyQuantized q = quantize_dynamically(ctx.in(0));
  ctx.out(0) = q.integers;
  if (ctx.output_count() > 1) ctx.out(1) = Tensor::scalar(q.scale);
  if (ctx.output_count() > 2) ctx.out(2) = Tensor::of<uint8_t>(DType::u8, {}, {static_cast<uint8_t>(q.zero_point)});
}

std::vector<OpDef> define() {
  return {
      {.name = "QuantizeLinear",
       .inputs = {{"x"}, {"y_scale"}, {"y_zero_point", true}},
       .attrs = {{"axis", AttrKind::i},
                 {"block_size", AttrKind::i},
                 {"output_dtype", AttrKind::i},
                 {"precision", AttrKind::i},
                 {"saturate", AttrKind::i}},
       .infer = infer_quantize,
       .eval = eval_quantize,
       .quant = QuantRole::quantize,
       .layout = LayoutRole::any},
      {.name = "DequantizeLinear",
       .inputs = {{"x"}, {"x_scale"}, {"x_zero_point", true}},
       .attrs = {{"axis", AttrKind::i}, {"block_size", AttrKind::i}, {"output_dtype", AttrKind::i}},
       .infer = infer_dequantize,
       .eval = eval_dequantize,
       .quant = QuantRole::dequantize,
       .layout = LayoutRole::any},
      {.name = "DynamicQuantizeLinear",
       .inputs = {{"x"}},
       .attrs = {},
       .min_outputs = 3,
       .max_outputs = 3,
       .infer = infer_dynamic,
       .eval = eval_dynamic,
       .quant = QuantRole::quantize,
       .layout = LayoutRole::any},
  };
}

}  // namespace

std::span<const OpDef> quantize_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
