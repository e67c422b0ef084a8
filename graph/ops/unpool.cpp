// Back into an image: MaxUnpool puts pooled values where the indices say, Col2Im adds up overlapping blocks of columns.
#include <algorithm>

#include "graph/ops/families.h"
#include "graph/ops/window.h"

namespace octet::graph::ops {
namespace {

// --- MaxUnpool: indices count in the image that the pool's attributes imply; output_shape may give more room after it
// ------------
template <class Ctx>
std::optional<Dims> implied_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 3, 5);
  if (!x) return std::nullopt;
  const std::vector<int64_t> kernel = ctx.node().ints("kernel_shape");
  if (kernel.size() != x->size() - 2)
    fail(ctx, "kernel_shape has " + std::to_string(kernel.size()) + " entries; expected " + std::to_string(x->size() - 2));
  const Window w = window_of(ctx, kernel, nullptr);
  Dims out = *x;
  for (size_t i = 0; i < kernel.size(); ++i) {
    Dim& d = out[i + 2];
    if (d.known()) d = Dim((d.value - 1) * w.strides[i] + w.kernel[i] - w.pad_begin[i] - w.pad_end[i]);
    if (d.value < -1 || d == Dim(0)) fail(ctx, "pads leave nothing of spatial axis " + std::to_string(i));
  }
  return out;
}

template <class Ctx>
MaybeDims max_unpool_dims(const Ctx& ctx) {
  const std::optional<Dims> implied = implied_dims(ctx);
  if (!ctx.has(2)) return implied;
  const MaybeValues given = shape_values(ctx, 2);
  if (!given) return implied ? MaybeDims(Dims(implied->size())) : std::nullopt;
  Dims out;
  for (const ShapeValue& v : *given) out.push_back(v.dim());
  if (!implied) return out;
  if (out.size() != implied->size())
    fail(ctx, "output_shape has " + std::to_string(out.size()) + " entries; expected " + std::to_string(implied->size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const Dim& least = (*implied)[i];
    if (i < 2) out[i] = same_dim(ctx, out[i], least, "the batch or channels of output_shape and input");
    if (out[i].known() && least.known() && out[i].value < least.value)
      fail(ctx, "output_shape is " + describe(out) + "; expected at least " + describe(*implied));
  }
  return out;
}

void infer_max_unpool(InferContext& ctx) {
  expect_dtype(ctx, 1, {DType::s64});
  set_dims(ctx, 0, dtype_of(ctx, 0), max_unpool_dims(ctx));
}

void eval_max_unpool(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &indices = ctx.in(1);
  const Shape implied = to_shape(*implied_dims(ctx)), shape = to_shape(*max_unpool_dims(ctx));
  if (indices.shape() != x.shape())
    fail(ctx, "indices have shape " + octet::to_string(indices.shape()) + "; expected that of the input, " +
                  octet::to_string(x.shape()));
  const Strides from = strides_of(implied), to = strides_of(shape);
  Tensor y(x.dtype(), shape);
  with_bytes(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < x.size(); ++i) {
      const int64_t index = indices.as<int64_t>()[i];
      if (index < 0 || index >= element_count(implied))
        ctx.fail(ErrorCode::invalid_argument, "index " + std::to_string(index) + " is out of range; expected 0 to " +
                                                  std::to_string(element_count(implied) - 1));
      int64_t place = 0;
      for (size_t a = 0; a < shape.size(); ++a) place += index / from[a] % implied[a] * to[a];
      y.mutable_as<T>()[place] = x.as<T>()[i];
    }
  });
  ctx.out() = y;
}

// --- Col2Im: [N, C * taps, blocks] to [N, C, image...]
// --------------------------------------------------------------------------
template <class Ctx>
MaybeDims col2im_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 3, 3);
  const MaybeValues image = shape_values(ctx, 1);
  if (!image) return std::nullopt;
  Dims out(2);
  for (const ShapeValue& v : *image) out.push_back(v.dim());
  if (!x) return out;
  out[0] = (*x)[0];
  const auto block = int_values(ctx, 2);
  if (!block) return out;
  if (block->size() != image->size())
    fail(ctx, "image_shape and block_shape differ in length; expected one size an axis in both");
  int64_t taps = 1;
  for (const int64_t b : *block) {
    if (b < 1) fail(ctx, "block_shape holds " + std::to_string(b) + "; expected positive sizes");
    taps *= b;
  }
  if ((*x)[1].known() && (*x)[1].value % taps != 0)
    fail(ctx, "axis 1 has size " + std::to_string((*x)[1].value) + "; expected a multiple of the block's " +
                  std::to_string(taps) + " elements");
  if ((*x)[1].known()) out[1] = Dim((*x)[1].value / taps);
  return out;
}
void infer_col2im(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 0), col2im_dims(ctx)); }

void eval_col2im(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape shape = to_shape(*col2im_dims(ctx));
  const Shape image(shape.begin() + 2, shape.end()), block = ctx.in(2).to_s64();
  const Window w = window_of(ctx, block, nullptr);
  Shape blocks;  // how many along each axis
  for (size_t a = 0; a < image.size(); ++a) {
    const int64_t span = image[a] + w.pad_begin[a] + w.pad_end[a] - w.extent(a);
    if (span < 0) fail(ctx, "the block exceeds the padded image along axis " + std::to_string(a));
    blocks.push_back(span / w.strides[a] + 1);
  }
  if (element_count(blocks) != x.shape()[2])
    fail(ctx, "axis 2 has size " + std::to_string(x.shape()[2]) + "; expected " + std::to_string(element_count(blocks)) +
                  ", the number of blocks");
  const Strides block_strides = strides_of(block), blocks_strides = strides_of(blocks), image_strides = strides_of(image);
  const int64_t taps = element_count(block), count = element_count(blocks), plane = element_count(image);
  Tensor y(x.dtype(), shape);
  with_number(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    std::vector<C> sums(static_cast<size_t>(element_count(shape)), C{});
    for (int64_t row = 0; row < x.shape()[0] * x.shape()[1]; ++row)
      for (int64_t b = 0; b < count; ++b) {
        int64_t place = 0;
        bool inside = true;
        for (size_t a = 0; a < image.size(); ++a) {
          const int64_t at = b / blocks_strides[a] % blocks[a] * w.strides[a] +
                             row % taps / block_strides[a] % block[a] * w.dilations[a] - w.pad_begin[a];
          inside = inside && at >= 0 && at < image[a];
          place += at * image_strides[a];
        }
        if (!inside) continue;
        C& sum = sums[static_cast<size_t>(row / taps * plane + place)];
        sum = static_cast<C>(sum + static_cast<C>(x.as<T>()[row * count + b]));
      }
    for (size_t i = 0; i < sums.size(); ++i) y.mutable_as<T>()[i] = static_cast<T>(sums[i]);
  });
  ctx.out() = y;
}

std::vector<OpDef> define() {
  constexpr AttrKind ints = AttrKind::ints;
  return {
      {.name = "MaxUnpool",
       .inputs = {{"X"}, {"I"}, {"output_shape", true}},
       .attrs = {{"kernel_shape", ints, true}, {"pads", ints}, {"strides", ints}},
       .infer = infer_max_unpool,
       .eval = eval_max_unpool},
      {.name = "Col2Im",
       .inputs = {{"input"}, {"image_shape"}, {"block_shape"}},
       .attrs = {{"dilations", ints}, {"pads", ints}, {"strides", ints}},
       .infer = infer_col2im,
       .eval = eval_col2im},
  };
}

}  // namespace

std::span<const OpDef> unpool_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
