// Conv. Float: one FMA chain an output, the bias added after it.
#include <cmath>

#include "graph/ops/conv.h"
#include "graph/ops/families.h"

namespace octet::graph::ops {
namespace {

void infer_conv(InferContext& ctx) {
  expect_same_dtype(ctx, 0, 1);
  const MaybeDims dims = conv_dims(ctx, 0, 1);
  if (ctx.has(2)) {
    const MaybeDims bias = dims_of(ctx, 2);
    expect_rank(ctx, 2, bias, 1, 1);
    if (bias && dims) same_dim(ctx, (*bias)[0], (*dims)[1], "bias size and output channels");
  }
  set_keeping_quant(ctx, 0, dtype_of(ctx, 0), dims);
}

template <class T>
Tensor convolve(EvalContext& ctx) {
  const Shape shape = to_shape(*conv_dims(ctx, 0, 1));
  const ConvGeometry g = conv_geometry(ctx, 0, 1, shape);
  Tensor y(ctx.in(0).dtype(), shape);
  T* out = y.mutable_as<T>();
  const int64_t plane = g.y.plane();
  for (int64_t n = 0; n < g.y.n; ++n)
    for (int64_t o = 0; o < g.y.c; ++o, out += plane) {
      conv_plane(g, ctx.in(0).as<T>(), ctx.in(1).as<T>(), n, o, out, [](T a, T b, T sum) { return std::fma(a, b, sum); });
      if (!ctx.has(2)) continue;
      const T bias = ctx.in(2).as<T>()[o];
      for (int64_t i = 0; i < plane; ++i) out[i] += bias;
    }
  return y;
}

void eval_conv(EvalContext& ctx) {
  switch (ctx.in(0).dtype()) {
    case DType::f32: ctx.out() = convolve<float>(ctx); break;
    case DType::f64: ctx.out() = convolve<double>(ctx); break;
    default: fail_dtype(ctx, ctx.in(0).dtype());
  }
}

std::vector<OpDef> define() {
  return {{.name = "Conv",
           .inputs = {{"X"}, {"W"}, {"B", true}},
           .attrs = {{"auto_pad", AttrKind::s},
                     {"dilations", AttrKind::ints},
                     {"group", AttrKind::i},
                     {"kernel_shape", AttrKind::ints},
                     {"pads", AttrKind::ints},
                     {"strides", AttrKind::ints}},
           .infer = infer_conv,
           .eval = widen_small_floats<eval_conv>,
           .quant = QuantRole::product,
           .layout = LayoutRole::channels_last,
           .types = kFloats}};
}

}  // namespace

std::span<const OpDef> conv_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
