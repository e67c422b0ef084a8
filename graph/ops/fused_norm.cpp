// octet.Norm: LayerNormalization (centred = 1) or RMSNormalization over the last axis, with what stands around it.
//
//   x, scale, [bias], [residual];  v = x + residual;  y = normalised v
//
// x and residual are float or u8 with quantization parameters, which are dequantized. The outputs are, in this order and as
// far as the attributes gives_q, gives_y and gives_sum ask for them: q, y quantized by the parameters of its value; y; and
// v, both in float. Bits: DequantizeLinear, Add, the normalisation and QuantizeLinear one after the other.
#include "graph/ops/fused_norm.h"

#include "graph/ops/helpers.h"
#include "octet/numerics_norm.h"

namespace octet::graph::ops {
namespace {

enum Input : size_t { kX, kScale, kBias, kResidual };

void infer_fused_norm(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, kX);
  expect_rank(ctx, kX, x, 1, 8);
  for (const size_t i : {size_t{kX}, size_t{kResidual}}) {
    if (!ctx.has(i)) continue;
    expect_dtype(ctx, i, {DType::f32, DType::u8});
    const MaybeDims dims = dims_of(ctx, i);
    if (!x || !dims) continue;
    expect_rank(ctx, i, dims, x->size(), x->size());
    for (size_t a = 0; a < x->size(); ++a) same_dim(ctx, (*x)[a], (*dims)[a], "dimensions of x and residual");
  }
  for (const size_t i : {size_t{kScale}, size_t{kBias}}) {
    if (!ctx.has(i)) continue;
    expect_dtype(ctx, i, {DType::f32});
    const MaybeDims dims = dims_of(ctx, i);
    expect_rank(ctx, i, dims, 1, 1);
    if (x && dims) same_dim(ctx, x->back(), (*dims)[0], "the last axis and the size of scale or bias");
  }
  int wanted = 0;
  for (const std::string_view r : kNormResults) {
    const int at = norm_output(ctx.node(), r);
    if (at < 0) continue;
    ++wanted;
    if (static_cast<size_t>(at) >= ctx.node().outputs().size()) continue;
    if (r == "gives_q")
      set_keeping_quant(ctx, static_cast<size_t>(at), DType::u8, x);
    else
      set_dims(ctx, static_cast<size_t>(at), DType::f32, x);
  }
  if (static_cast<size_t>(wanted) != ctx.node().outputs().size())
    fail(ctx, "gives " + std::to_string(wanted) + " results; expected one for each of its " +
                  std::to_string(ctx.node().outputs().size()) + " outputs");
}

void eval_fused_norm(EvalContext& ctx) {
  const Tensor& x = ctx.in(kX);
  const Node& node = ctx.node();
  const int q_at = norm_output(node, "gives_q"), y_at = norm_output(node, "gives_y"),
            sum_at = norm_output(node, "gives_sum");
  if (q_at >= 0 && !ctx.out_quant(static_cast<size_t>(q_at))) fail(ctx, "the 8-bit output has no quantization parameters");
  for (const size_t i : {size_t{kX}, size_t{kResidual}})
    if (ctx.has(i) && ctx.in(i).dtype() == DType::u8 && !ctx.in_quant(i))
      fail(ctx, "an 8-bit operand has no quantization parameters");
  const auto element = [&](size_t operand, int64_t i) {
    const Tensor& t = ctx.in(operand);
    if (t.dtype() == DType::f32) return t.as<float>()[i];
    const QuantParams& q = *ctx.in_quant(operand);
    return numerics::dequantize(t.as<uint8_t>()[i], q.scale[0], q.zero_point[0]);
  };
  const int64_t n = x.shape().back(), rows = n == 0 ? 0 : x.size() / n;
  const float epsilon = node.attr("epsilon", 1e-5f);
  const bool centred = node.attr("centred", int64_t{1}) != 0;
  Tensor q(DType::u8, x.shape()), y(DType::f32, x.shape()), sum(DType::f32, x.shape());
  for (int64_t r = 0; r < rows; ++r) {
    float* v = sum.mutable_as<float>() + r * n;
    for (int64_t i = 0; i < n; ++i) {
      v[i] = element(kX, r * n + i);
      if (ctx.has(kResidual)) v[i] += element(kResidual, r * n + i);
    }
    const auto at = [v](size_t i) { return v[i]; };
    const auto count = static_cast<size_t>(n);
    const numerics::Moments m =
        centred ? numerics::layer_moments(count, at, epsilon) : numerics::rms_moments(count, at, epsilon);
    for (int64_t i = 0; i < n; ++i) {
      const float scale = ctx.in(kScale).as<float>()[i];
      const float result = ctx.has(kBias) ? numerics::normalise(v[i], m, scale, ctx.in(kBias).as<float>()[i])
                                          : numerics::normalise(v[i], m, scale);
      y.mutable_as<float>()[r * n + i] = result;
      if (q_at < 0) continue;
      const QuantParams& p = *ctx.out_quant(static_cast<size_t>(q_at));
      q.mutable_as<uint8_t>()[r * n + i] =
          static_cast<uint8_t>(numerics::quantize(result, p.scale[0], p.zero_point[0], 0, 255));
    }
  }
  if (q_at >= 0) ctx.out(static_cast<size_t>(q_at)) = q;
  if (y_at >= 0) ctx.out(static_cast<size_t>(y_at)) = y;
  if (sum_at >= 0) ctx.out(static_cast<size_t>(sum_at)) = sum;
}

}  // namespace

OpDef fused_norm_op() {
  return {.name = "octet.Norm",
          .inputs = {{"x"}, {"scale"}, {"bias", true}, {"residual", true}},
          .attrs = {{"centred", AttrKind::i},
                    {"epsilon", AttrKind::f},
                    {"gives_q", AttrKind::i},
                    {"gives_y", AttrKind::i},
                    {"gives_sum", AttrKind::i}},
          .max_outputs = 3,
          .infer = infer_fused_norm,
          .eval = eval_fused_norm,
          .types = {DType::f32, DType::u8}};
}

}  // namespace octet::graph::ops
