// octet's own operators: products with their fused epilogue, tables, changes of layout.
//
// octet.Conv, octet.ConvTranspose (images of two axes; w is [outputs, channels / group, kernel...] as for octet.Conv) and
// octet.Gemm: x, w, [bias], [residual], [x_scale], [x_zero_point]. The types decide the arithmetic, which is
// that of kernels/epilogue.h bit for bit:
//
//   float x, w         v = FMA chain (+ bias) (+ residual), act                                                          →
//   f32 integer x, w       acc = sum (x - zx) * (w - zw[n]) + bias_s32[n], exact → s32
//                      v = float(acc) * (sx * sw[n]) (+ bias_f32[n]) (+ residual, dequantized when u8), act              →
//                      f32 v = float(acc) * ((sx * sw[n]) / sy) (+ bias_f32[n] / sy), act, round, + zy, saturate → u8
//     u8 residual      v = fma(float(acc), (sx * sw[n]) / sy, float(r - zr) * (sr / sy)) (+ bias_f32[n] / sy)            →
//     u8
//       two roundings  c = quantize_scaled(float(acc) * ((sx * sw[n]) / sm) (+ bias_f32[n] / sm), zm)
//       (mid_scale)    v = fma(float(c - zm), sm / sy, float(r - zr) * (sr / sy))                                        →
//       u8
//     f32 residual     v = float(acc) * ((sx * sw[n]) / sy) (+ bias_f32[n] / sy) + r * (1 / sy)                          →
//     u8
//   x_scale            run-time quantization: sx and zx are inputs                                                       →
//   f32
//
// The output's element type is the one its value has; where it has none yet, s32 for integers without parameters, else f32.
#include <cmath>
#include <cstring>

#include "graph/ops/conv_transposed.h"
#include "graph/ops/families.h"
#include "graph/ops/fused_norm.h"
#include "graph/ops/integer_products.h"

namespace octet::graph::ops {
namespace {

enum Input : size_t { kX, kW, kBias, kResidual, kXScale, kXZeroPoint };

bool integer_type(DType dtype) { return dtype == DType::u8 || dtype == DType::s8; }

DType fused_output_type(const InferContext& ctx) {
  const DType present = ctx.node().output()->dtype();
  const bool integer = integer_type(dtype_of(ctx, kX));
  if (present == DType::undefined) return !integer || ctx.has(kXScale) || ctx.type(kX).quantized() ? DType::f32 : DType::s32;
  const bool fits =
      present == DType::f32 || (integer && (present == DType::s32 || (integer_type(present) && !ctx.has(kXScale))));
  if (!fits) fail(ctx, "the output is " + std::string(to_string(present)) + ", which these inputs cannot give");
  return present;
}

void infer_fused(InferContext& ctx, const MaybeDims& dims, const Dim& channels) {
  expect_dtype(ctx, kX, {DType::f32, DType::u8, DType::s8});
  if (integer_type(dtype_of(ctx, kX)))
    expect_dtype(ctx, kW, {DType::s8, DType::u8});
  else
    expect_same_dtype(ctx, kX, kW);
  if (ctx.has(kBias)) {
    expect_dtype(ctx, kBias, {DType::f32, DType::s32});
    const MaybeDims bias = dims_of(ctx, kBias);
    expect_rank(ctx, kBias, bias, 1, 1);
    if (bias) same_dim(ctx, (*bias)[0], channels, "bias size and output channels");
  }
  if (ctx.has(kResidual)) {
    const MaybeDims residual = dims_of(ctx, kResidual);
    if (residual && dims) {
      expect_rank(ctx, kResidual, residual, dims->size(), dims->size());
      for (size_t i = 0; i < dims->size(); ++i)
        same_dim(ctx, (*residual)[i], (*dims)[i], "dimensions of residual and output");
    }
  }
  act_of(ctx);
  set_keeping_quant(ctx, 0, fused_output_type(ctx), dims);
}

void infer_fused_conv(InferContext& ctx) {
  const MaybeDims dims = conv_dims(ctx, kX, kW);
  infer_fused(ctx, dims, dims ? (*dims)[1] : Dim());
}

// Output: (in - 1) * stride + output_padding + extent - pads along each axis.
struct TransposedConv {
  Window window;
  Dims dims;
};
template <class Ctx>
std::optional<TransposedConv> fused_transposed(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, kX), w = dims_of(ctx, kW);
  expect_rank(ctx, kX, x, 4, 4);
  expect_rank(ctx, kW, w, 4, 4);
  if (!x || !w) return std::nullopt;
  const int64_t group = ctx.node().attr("group", int64_t{1});
  if (group < 1) fail(ctx, "group is " + std::to_string(group) + "; expected at least 1");
  std::vector<int64_t> extra = ctx.node().ints("output_padding");
  if (extra.empty()) extra.assign(2, 0);
  if (extra.size() != 2) fail(ctx, "output_padding has " + std::to_string(extra.size()) + " entries; expected 2");
  for (size_t i = 0; i < 4; ++i)
    if (!(*w)[i].known()) fail(ctx, "the shape of its weights is not known");
  if ((*w)[0].value % group != 0)
    fail(ctx, std::to_string((*w)[0].value) + " output channels do not divide into " + std::to_string(group) + " groups");
  same_dim(ctx, (*x)[1], Dim((*w)[1].value * group), "channels of image and weights");
  TransposedConv t{window_of(ctx, {(*w)[2].value, (*w)[3].value}, nullptr), Dims{(*x)[0], (*w)[0], Dim(), Dim()}};
  for (size_t i = 0; i < 2; ++i) {
    const Dim& in = (*x)[i + 2];
    if (!in.known()) continue;
    const int64_t out =
        (in.value - 1) * t.window.strides[i] + extra[i] + t.window.extent(i) - t.window.pad_begin[i] - t.window.pad_end[i];
    if (out < 1) fail(ctx, "the output would have size " + std::to_string(out) + " along spatial axis " + std::to_string(i));
    t.dims[i + 2] = Dim(out);
  }
  return t;
}
void infer_fused_transposed(InferContext& ctx) {
  const auto t = fused_transposed(ctx);
  infer_fused(ctx, t ? MaybeDims(t->dims) : std::nullopt, t ? t->dims[1] : Dim());
}

template <class Ctx>
MaybeDims fused_gemm_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, kX), w = dims_of(ctx, kW);
  expect_rank(ctx, kW, w, 2, 2);
  if (x && x->empty()) fail(ctx, "x is a scalar; expected rank 1 or more");
  if (!x) return std::nullopt;
  if (w) same_dim(ctx, x->back(), (*w)[1], "inner dimensions of x and w");
  Dims out = *x;
  out.back() = w ? (*w)[0] : Dim();
  return out;
}
void infer_fused_gemm(InferContext& ctx) {
  const MaybeDims dims = fused_gemm_dims(ctx);
  infer_fused(ctx, dims, dims ? dims->back() : Dim());
}

// --- the epilogue
// -------------------------------------------------------------------------------------------------------------- What the
// quantized forms need of an operand; a raw integer has scale 1 and zero point 0.
struct Operand {
  PerSlice<float> scale{{1.0f}};
  PerSlice<int32_t> zero_point{{0}};
};
Operand operand(const QuantParams* quant) {
  Operand o;
  if (quant) o = {{quant->scale}, {quant->zero_point}};
  return o;
}

class Epilogue {
 public:
  explicit Epilogue(EvalContext& ctx)
      : act_(act_of(ctx)),
        dtype_(ctx.node().output()->dtype()),
        x_(operand(ctx.in_quant(kX))),
        w_(operand(ctx.in_quant(kW))) {
    integer_ = integer_type(ctx.in(kX).dtype());
    if (ctx.has(kBias)) bias_ = &ctx.in(kBias);
    if (ctx.has(kResidual)) {
      residual_ = &ctx.in(kResidual);
      if (const QuantParams* quant = ctx.in_quant(kResidual)) r_ = operand(quant);
    }
    if (ctx.has(kXScale)) x_.scale = {{scalar_f32(ctx, kXScale)}};
    if (ctx.has(kXZeroPoint)) x_.zero_point = {{static_cast<int32_t>(scalar_s64(ctx, kXZeroPoint))}};
    if (const QuantParams* quant = ctx.out_quant(); quant && integer_type(dtype_)) store_.emplace(*quant, dtype_, act_);
    if (integer_type(dtype_) && !store_)
      ctx.fail(ErrorCode::invalid_model, "the 8-bit output has no quantization parameters");
    if (ctx.node().has_attr("mid_scale") && store_)
      mid_.emplace(ctx.node().attr("mid_scale", 1.0f), static_cast<int32_t>(ctx.node().attr("mid_zero_point", int64_t{0})),
                   dtype_);
  }

  DType dtype() const { return dtype_; }
  bool integer() const { return integer_; }
  int32_t x_zero_point() const { return x_.zero_point[0]; }
  int32_t w_zero_point(int64_t n) const { return w_.zero_point[n]; }

  // Stores the result for sum `acc` of output channel n as element `at` of y.
  void store(int32_t acc, int64_t n, int64_t at, Tensor& y) const {
    if (bias_ && bias_->dtype() == DType::s32) acc += bias_->as<int32_t>()[n];
    if (dtype_ == DType::s32)
      y.mutable_as<int32_t>()[at] = acc;
    else if (dtype_ == DType::f32)
      y.mutable_as<float>()[at] = act_.apply(finish(static_cast<float>(acc) * (x_.scale[0] * w_.scale[n]), n, at));
    else
      y.mutable_as<uint8_t>()[at] = static_cast<uint8_t>(quantized(acc, n, at));
  }
  void store(float sum, int64_t n, int64_t at, Tensor& y) const {
    y.mutable_as<float>()[at] = act_.apply(finish(sum, n, at));
  }

 private:
  bool float_bias() const { return bias_ && bias_->dtype() == DType::f32; }
  int32_t residual_offset(int64_t at) const { return quantum(*residual_, at) - r_.zero_point[0]; }

  float finish(float v, int64_t n, int64_t at) const {
    if (float_bias()) v += bias_->as<float>()[n];
    if (!residual_) return v;
    if (residual_->dtype() == DType::f32) return v + residual_->as<float>()[at];
    return v + numerics::dequantize(quantum(*residual_, at), r_.scale[0], r_.zero_point[0]);
  }

  int32_t quantized(int32_t acc, int64_t n, int64_t at) const {
    const float sy = store_->scale;
    const float sum = static_cast<float>(acc);
    const float sxw = x_.scale[0] * w_.scale[n];
    float v = 0;
    if (residual_ && residual_->dtype() != DType::f32) {
      const float r = static_cast<float>(residual_offset(at)) * (r_.scale[0] / sy);
      if (mid_) {
        float c = sum * (sxw / mid_->scale);
        if (float_bias()) c += bias_->as<float>()[n] / mid_->scale;
        v = std::fma(static_cast<float>((*mid_)(c)-mid_->zero_point), mid_->scale / sy, r);
      } else {
        v = std::fma(sum, sxw / sy, r);
        if (float_bias()) v += bias_->as<float>()[n] / sy;
      }
    } else {
      v = sum * (sxw / sy);
      if (float_bias()) v += bias_->as<float>()[n] / sy;
      if (residual_) v += residual_->as<float>()[at] * (1.0f / sy);
    }
    if (act_.kind == Act::Kind::leaky_relu) v = v < 0.0f ? v * act_.alpha : v;
    return (*store_)(v);
  }

  Act act_;
  DType dtype_;
  Operand x_, w_, r_;
  bool integer_ = false;
  const Tensor* bias_ = nullptr;
  const Tensor* residual_ = nullptr;
  std::optional<QuantStore> store_, mid_;
};

// --- evaluation
// ----------------------------------------------------------------------------------------------------------------
void eval_fused_conv(EvalContext& ctx) {
  const Shape shape = to_shape(*conv_dims(ctx, kX, kW));
  const ConvGeometry g = conv_geometry(ctx, kX, kW, shape);
  const Epilogue epilogue(ctx);
  const Tensor &x = ctx.in(kX), &w = ctx.in(kW);
  const int64_t plane = g.y.plane();
  Tensor y(epilogue.dtype(), shape);
  std::vector<int32_t> integers(static_cast<size_t>(epilogue.integer() ? plane : 0));
  std::vector<float> floats(static_cast<size_t>(epilogue.integer() ? 0 : plane));
  for (int64_t p = 0; p < g.y.n * g.y.c; ++p) {
    const int64_t n = p / g.y.c, o = p % g.y.c;
    if (epilogue.integer()) {
      integer_conv_plane(ctx, g, x, w, epilogue.x_zero_point(), epilogue.w_zero_point(o), n, o, integers.data());
      for (int64_t i = 0; i < plane; ++i) epilogue.store(integers[static_cast<size_t>(i)], o, p * plane + i, y);
    } else {
      conv_plane(g, x.as<float>(), w.as<float>(), n, o, floats.data(),
                 [](float a, float b, float s) { return std::fma(a, b, s); });
      for (int64_t i = 0; i < plane; ++i) epilogue.store(floats[static_cast<size_t>(i)], o, p * plane + i, y);
    }
  }
  ctx.out() = y;
}

void eval_fused_transposed(EvalContext& ctx) {
  const TransposedConv t = *fused_transposed(ctx);
  const Shape shape = to_shape(t.dims);
  const Epilogue epilogue(ctx);
  const Tensor &x = ctx.in(kX), &w = ctx.in(kW);
  const Image image = image_of(x.shape()), out = image_of(shape);
  const Window3 k = three_axes(t.window);
  const int64_t groups = ctx.node().attr("group", int64_t{1}), channels = image.c / groups;
  Tensor y(epilogue.dtype(), shape);
  const auto planes = [&](auto zero, const auto* x_data, const auto* w_data, auto step) {
    std::vector<decltype(zero)> row(static_cast<size_t>(out.size[2]));
    int64_t at = 0;
    for (int64_t n = 0; n < out.n; ++n)
      for (int64_t o = 0; o < out.c; ++o)
        for (int64_t h = 0; h < out.size[1]; ++h) {
          std::fill(row.begin(), row.end(), zero);
          add_transposed_row(image, out, k, x_data + (n * image.c + o / (out.c / groups) * channels) * image.plane(),
                             w_data + o * channels * k.taps(), k.taps(), channels, 0, h, row.data(), step(o));
          for (int64_t i = 0; i < out.size[2]; ++i) epilogue.store(row[static_cast<size_t>(i)], o, at++, y);
        }
  };
  if (!epilogue.integer())
    planes(0.0f, x.as<float>(), w.as<float>(),
           [](int64_t) { return [](float a, float b, float sum) { return std::fma(a, b, sum); }; });
  else
    with_byte(ctx, x.dtype(), [&](auto x_tag) {
      with_byte(ctx, w.dtype(), [&](auto w_tag) {
        planes(int32_t{0}, x.as<typename decltype(x_tag)::type>(), w.as<typename decltype(w_tag)::type>(), [&](int64_t o) {
          return [zx = epilogue.x_zero_point(), zw = epilogue.w_zero_point(o)](int32_t a, int32_t b, int32_t sum) {
            return sum + (a - zx) * (b - zw);
          };
        });
      });
    });
  ctx.out() = y;
}

void eval_fused_gemm(EvalContext& ctx) {
  const Shape shape = to_shape(*fused_gemm_dims(ctx));
  const Epilogue epilogue(ctx);
  const Tensor &x = ctx.in(kX), &w = ctx.in(kW);
  const int64_t n = w.shape()[0], k = w.shape()[1];
  const int64_t m = product(shape, 0, shape.size() - 1);
  Tensor y(epilogue.dtype(), shape);
  const auto store_all = [&](const auto& sums) {
    for (int64_t i = 0; i < m * n; ++i) epilogue.store(sums[static_cast<size_t>(i)], i % n, i, y);
  };
  if (!epilogue.integer()) {
    std::vector<float> sums(static_cast<size_t>(m * n));
    const std::vector<float> columns = transposed_matrix(w.as<float>(), n, k);
    matmul_rows(m, n, k, x.as<float>(), columns.data(), sums.data(),
                [](float a, float b, float s) { return std::fma(a, b, s); });
    store_all(sums);
  } else {
    std::vector<int32_t> left(static_cast<size_t>(m * k)), right(static_cast<size_t>(k * n)),
        sums(static_cast<size_t>(m * n));
    for (int64_t i = 0; i < m * k; ++i) left[static_cast<size_t>(i)] = quantum(x, i) - epilogue.x_zero_point();
    for (int64_t o = 0; o < n; ++o)
      for (int64_t l = 0; l < k; ++l)
        right[static_cast<size_t>(l * n + o)] = quantum(w, o * k + l) - epilogue.w_zero_point(o);
    matmul_rows(m, n, k, left.data(), right.data(), sums.data(), integer_step);
    store_all(sums);
  }
  ctx.out() = y;
}

// --- octet.Table, octet.Reorder
// ------------------------------------------------------------------------------------------------- The byte of x is the
// index, whatever its sign; the table's type is the result's. So a table turns int8 into uint8 and back.
void infer_table(InferContext& ctx) {
  expect_dtype(ctx, 0, {DType::u8, DType::s8});
  expect_dtype(ctx, 1, {DType::u8, DType::s8});
  const MaybeDims table = dims_of(ctx, 1);
  expect_rank(ctx, 1, table, 1, 1);
  if (table) same_dim(ctx, (*table)[0], Dim(256), "entries of the table and values of a byte");
  set_keeping_quant(ctx, 0, dtype_of(ctx, 1), dims_of(ctx, 0));
}
void eval_table(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  Tensor y(ctx.in(1).dtype(), x.shape());
  for (int64_t i = 0; i < x.size(); ++i) y.mutable_as<uint8_t>()[i] = ctx.in(1).as<uint8_t>()[x.as<uint8_t>()[i]];
  ctx.out() = y;
}

void eval_reorder(EvalContext& ctx) { ctx.out() = ctx.in(0); }

// octet.Interleave: y[:, j * k + i] = x_i[:, j] for k images of one shape.
void infer_interleave(InferContext& ctx) {
  const size_t count = ctx.node().inputs().size();
  MaybeDims dims = dims_of(ctx, 0);
  for (size_t i = 1; i < count; ++i) {
    expect_same_dtype(ctx, 0, i);
    const MaybeDims other = dims_of(ctx, i);
    for (size_t d = 0; dims && other && d < dims->size(); ++d)
      same_dim(ctx, (*dims)[d], (*other)[d], "dimensions of all images");
  }
  if (dims && (*dims)[1].known()) (*dims)[1] = Dim((*dims)[1].value * static_cast<int64_t>(count));
  set_keeping_quant(ctx, 0, dtype_of(ctx, 0), dims);
}
void eval_interleave(EvalContext& ctx) {
  const Shape s = ctx.in(0).shape();
  const auto count = static_cast<int64_t>(ctx.input_count());
  Shape shape = s;
  shape[1] *= count;
  Tensor y(ctx.in(0).dtype(), shape);
  const auto plane = static_cast<size_t>(product(s, 2, s.size())) * size_of(y.dtype());
  for (int64_t n = 0; n < s[0]; ++n)
    for (int64_t c = 0; c < s[1]; ++c)
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(y.mutable_as<std::byte>() + static_cast<size_t>((n * s[1] + c) * count + i) * plane,
                    ctx.in(static_cast<size_t>(i)).as<std::byte>() + static_cast<size_t>(n * s[1] + c) * plane, plane);
  ctx.out() = y;
}

std::vector<OpDef> define() {
  const std::vector<InputSchema> inputs = {
      {"x"}, {"w"}, {"bias", true}, {"residual", true}, {"x_scale", true}, {"x_zero_point", true}};
  const std::vector<AttrSchema> epilogue = {{"act", AttrKind::s},       {"act_min", AttrKind::f},
                                            {"act_max", AttrKind::f},   {"alpha", AttrKind::f},
                                            {"mid_scale", AttrKind::f}, {"mid_zero_point", AttrKind::i}};
  std::vector<AttrSchema> window = {
      {"strides", AttrKind::ints}, {"pads", AttrKind::ints}, {"dilations", AttrKind::ints}, {"group", AttrKind::i}};
  window.insert(window.end(), epilogue.begin(), epilogue.end());
  std::vector<AttrSchema> transposed = window;
  transposed.push_back({"output_padding", AttrKind::ints});
  return {
      {.name = "octet.Conv",
       .inputs = inputs,
       .attrs = window,
       .infer = infer_fused_conv,
       .eval = eval_fused_conv,
       .quant = QuantRole::product,
       .layout = LayoutRole::channels_last},
      {.name = "octet.ConvTranspose",
       .inputs = inputs,
       .attrs = transposed,
       .infer = infer_fused_transposed,
       .eval = eval_fused_transposed,
       .quant = QuantRole::product,
       .layout = LayoutRole::channels_last},
      {.name = "octet.Gemm",
       .inputs = inputs,
       .attrs = epilogue,
       .infer = infer_fused_gemm,
       .eval = eval_fused_gemm,
       .quant = QuantRole::product},
      {.name = "octet.Table",
       .inputs = {{"x"}, {"table"}},
       .attrs = {},
       .infer = infer_table,
       .eval = eval_table,
       .layout = LayoutRole::any},
      {.name = "octet.Interleave",
       .inputs = {{.name = "inputs", .optional = false, .variadic = true}},
       .attrs = {},
       .infer = infer_interleave,
       .eval = eval_interleave,
       .quant = QuantRole::transparent,
       .layout = LayoutRole::any},
      {.name = "octet.Reorder",
       .inputs = {{"x"}},
       .attrs = {},
       .infer = infer_same_as_input,
       .eval = eval_reorder,
       .quant = QuantRole::transparent},
      fused_norm_op(),
  };
}

}  // namespace

std::span<const OpDef> fused_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
