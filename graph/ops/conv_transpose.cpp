// ConvTranspose: the convolution's gradient with respect to its image. One FMA chain an output, as Conv; its order:
// conv_transposed.h.
#include <cmath>

#include "graph/ops/conv_transposed.h"
#include "graph/ops/families.h"

namespace octet::graph::ops {
namespace {

struct Transposed {
  Window window;
  Dims dims;  // of the output
};

// Sizes: out = (in - 1) * stride + output_padding + extent - pads. With output_shape or auto_pad SAME_* the padding follows.
template <class Ctx>
std::optional<Transposed> transposed(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  const MaybeDims w = dims_of(ctx, 1);
  expect_rank(ctx, 0, x, 3, 5);
  expect_rank(ctx, 1, w, 3, 5);
  if (!x || !w) return std::nullopt;
  const Node& node = ctx.node();
  const size_t rank = x->size();
  if (w->size() != rank) fail(ctx, "weights have shape " + describe(*w) + "; expected rank " + std::to_string(rank));
  const int64_t group = node.attr("group", int64_t{1});
  if (group < 1) fail(ctx, "group is " + std::to_string(group) + "; expected at least 1");
  same_dim(ctx, (*x)[1], (*w)[0], "channels of image and weights");
  if ((*w)[0].known() && (*w)[0].value % group != 0)
    fail(ctx, std::to_string((*w)[0].value) + " channels do not divide into " + std::to_string(group) + " groups");
  Transposed t;
  t.dims.resize(rank);
  t.dims[0] = (*x)[0];
  if ((*w)[1].known()) t.dims[1] = Dim((*w)[1].value * group);
  std::vector<int64_t> kernel = node.ints("kernel_shape");
  if (kernel.empty())
    for (size_t i = 2; i < rank; ++i) kernel.push_back((*w)[i].value);
  if (kernel.size() != rank - 2)
    fail(ctx, "kernel_shape has " + std::to_string(kernel.size()) + " entries; expected " + std::to_string(rank - 2));
  for (size_t i = 2; i < rank; ++i) {
    if (kernel[i - 2] < 0) return t;
    same_dim(ctx, (*w)[i], Dim(kernel[i - 2]), "kernel_shape and weights");
  }
  t.window = window_of(ctx, kernel, nullptr);
  std::vector<int64_t> extra = node.ints("output_padding");
  if (extra.empty()) extra.assign(rank - 2, 0);
  const std::vector<int64_t> wanted = node.ints("output_shape");
  if (extra.size() != rank - 2)
    fail(ctx, "output_padding has " + std::to_string(extra.size()) + " entries; expected " + std::to_string(rank - 2));
  if (!wanted.empty() && wanted.size() != rank - 2)
    fail(ctx, "output_shape has " + std::to_string(wanted.size()) + " entries; expected " + std::to_string(rank - 2));
  const std::string rule = node.attr("auto_pad", "NOTSET");
  const bool same = rule == "SAME_UPPER" || rule == "SAME_LOWER";
  for (size_t i = 0; i < rank - 2; ++i) {
    const Dim& in = (*x)[i + 2];
    if (!in.known()) {
      if (!wanted.empty()) t.dims[i + 2] = Dim(wanted[i]);
      continue;
    }
    const int64_t full = (in.value - 1) * t.window.strides[i] + extra[i] + t.window.extent(i);
    if (wanted.empty() && !same) {
      const int64_t out = full - t.window.pad_begin[i] - t.window.pad_end[i];
      if (out < 1)
        fail(ctx, "the output would have size " + std::to_string(out) + " along spatial axis " + std::to_string(i));
      t.dims[i + 2] = Dim(out);
      continue;
    }
    const int64_t out = wanted.empty() ? in.value * t.window.strides[i] : wanted[i];
    const int64_t total = std::max<int64_t>(0, full - out);
    const int64_t small = total / 2;
    t.window.pad_begin[i] = rule == "SAME_UPPER" ? small : total - small;
    t.window.pad_end[i] = total - t.window.pad_begin[i];
    t.dims[i + 2] = Dim(out);
  }
  return t;
}

void infer_conv_transpose(InferContext& ctx) {
  expect_real(ctx, 0);
  expect_same_dtype(ctx, 0, 1);
  const auto t = transposed(ctx);
  set_dims(ctx, 0, dtype_of(ctx, 0), t ? MaybeDims(t->dims) : std::nullopt);
}

template <class T>
Tensor convolve_transposed(EvalContext& ctx) {
  const Transposed t = *transposed(ctx);
  const Shape shape = to_shape(t.dims);
  const Image image = image_of(ctx.in(0).shape());
  const Image out = image_of(shape);
  const Window3 k = three_axes(t.window);
  const int64_t groups = ctx.node().attr("group", int64_t{1});
  const int64_t channels = image.c / groups;
  const int64_t outputs = out.c / groups;
  Tensor y(ctx.in(0).dtype(), shape);
  T* row = y.mutable_as<T>();
  for (int64_t n = 0; n < out.n; ++n)
    for (int64_t o = 0; o < out.c; ++o) {
      const int64_t group = o / outputs;
      const T* x = ctx.in(0).as<T>() + (n * image.c + group * channels) * image.plane();
      const T* w = ctx.in(1).as<T>() + (group * channels * outputs + o % outputs) * k.taps();
      for (int64_t d = 0; d < out.size[0]; ++d)
        for (int64_t h = 0; h < out.size[1]; ++h, row += out.size[2]) {
          add_transposed_row(image, out, k, x, w, outputs * k.taps(), channels, d, h, row,
                             [](T a, T b, T sum) { return std::fma(a, b, sum); });
          if (!ctx.has(2)) continue;
          for (int64_t i = 0; i < out.size[2]; ++i) row[i] += ctx.in(2).as<T>()[o];
        }
    }
  return y;
}

void eval_conv_transpose(EvalContext& ctx) {
  switch (ctx.in(0).dtype()) {
    case DType::f32: ctx.out() = convolve_transposed<float>(ctx); break;
    case DType::f64: ctx.out() = convolve_transposed<double>(ctx); break;
    default: fail_dtype(ctx, ctx.in(0).dtype());
  }
}

std::vector<OpDef> define() {
  return {{.name = "ConvTranspose",
           .inputs = {{"X"}, {"W"}, {"B", true}},
           .attrs = {{"auto_pad", AttrKind::s},
                     {"dilations", AttrKind::ints},
                     {"group", AttrKind::i},
                     {"kernel_shape", AttrKind::ints},
                     {"output_padding", AttrKind::ints},
                     {"output_shape", AttrKind::ints},
                     {"pads", AttrKind::ints},
                     {"strides", AttrKind::ints}},
           .infer = infer_conv_transpose,
           .eval = widen_small_floats<eval_conv_transpose>,
           .quant = QuantRole::product}};
}

}  // namespace

std::span<const OpDef> conv_transpose_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
