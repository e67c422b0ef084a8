// Random numbers: Bernoulli, Multinomial, RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike.
//
// octet promises the same bits in every run, so these are functions: element i of a node comes from the node's seed
// (attribute `seed`; absent: from its name) and i alone, through the splitmix64 finaliser. Numbers agree with no other
// engine's; only their type, shape and distribution are what ONNX asks for, and what `octet test` compares.
#include <bit>
#include <cmath>
#include <numbers>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

class Source {
 public:
  explicit Source(const Node& node) {
    if (node.has_attr("seed")) {
      seed_ = mixed(std::bit_cast<uint32_t>(node.attr("seed", 0.0f)));
    } else {
      for (const char c : node.name()) seed_ = mixed(seed_ ^ static_cast<unsigned char>(c));
    }
  }
  // In [0, 1), 53 bits; `draw` tells apart several numbers for one element.
  double uniform(int64_t i, uint64_t draw = 0) const {
    const uint64_t bits = mixed(seed_ ^ mixed(static_cast<uint64_t>(i) * 4 + draw));
    return static_cast<double>(bits >> 11) * 0x1p-53;
  }
  // Box and Muller.
  double normal(int64_t i) const {
    return std::sqrt(-2 * std::log(1 - uniform(i, 0))) * std::cos(2 * std::numbers::pi * uniform(i, 1));
  }

 private:
  static uint64_t mixed(uint64_t z) {
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint64_t seed_ = 0;
};

template <class Ctx>
DType dtype_attr(const Ctx& ctx, DType otherwise) {
  if (!ctx.node().has_attr("dtype")) return otherwise;
  const int64_t code = ctx.node().attr("dtype", int64_t{0});
  const DType dtype = dtype_from_onnx(code);
  if (dtype == DType::undefined || size_of(dtype) == 0)
    fail(ctx, "dtype is " + std::to_string(code) + "; expected the code of a numeric element type");
  return dtype;
}
template <class Ctx>
DType float_attr(const Ctx& ctx, DType otherwise) {
  const DType dtype = dtype_attr(ctx, otherwise);
  if (dtype != DType::undefined && !is_float(dtype))
    fail(ctx, "makes " + std::string(to_string(dtype)) + " numbers; expected a float type as dtype");
  return dtype;
}

// Elements draw(i); a type without numbers proper (bool) takes 0 and 1.
template <class F>
void fill(EvalContext& ctx, DType dtype, const Shape& shape, F draw) {
  std::vector<double> values(static_cast<size_t>(element_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = draw(static_cast<int64_t>(i));
  if (dtype != DType::boolean) {
    ctx.out() = from_f64(ctx, values, dtype, shape);
    return;
  }
  Tensor y(dtype, shape);
  for (size_t i = 0; i < values.size(); ++i) y.mutable_as<uint8_t>()[i] = values[i] != 0;
  ctx.out() = y;
}

// --- Bernoulli, Multinomial
// ---------------------------------------------------------------------------------------------------
void infer_bernoulli(InferContext& ctx) { set_dims(ctx, 0, dtype_attr(ctx, dtype_of(ctx, 0)), dims_of(ctx, 0)); }
void eval_bernoulli(EvalContext& ctx) {
  const Source source(ctx.node());
  const Tensor& p = ctx.in(0);
  fill(ctx, dtype_attr(ctx, p.dtype()), p.shape(), [&](int64_t i) { return source.uniform(i) < p.at_f64(i) ? 1.0 : 0.0; });
}

template <class Ctx>
int64_t sample_size(const Ctx& ctx) {
  const int64_t size = ctx.node().attr("sample_size", int64_t{1});
  if (size < 1) fail(ctx, "sample_size is " + std::to_string(size) + "; expected at least 1");
  return size;
}
void infer_multinomial(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 2, 2);
  const DType dtype = dtype_attr(ctx, DType::s32);
  if (dtype != DType::s32 && dtype != DType::s64)
    fail(ctx, "dtype is " + std::string(to_string(dtype)) + "; expected int32 or int64");
  set_dims(ctx, 0, dtype, Dims{x ? (*x)[0] : Dim(), Dim(sample_size(ctx))});
}
// Input: logarithms of the probabilities, not normalised.
void eval_multinomial(EvalContext& ctx) {
  const Source source(ctx.node());
  const Tensor& x = ctx.in(0);
  const int64_t classes = x.shape()[1], samples = sample_size(ctx);
  if (classes == 0) fail(ctx, "there are no classes; expected at least one to choose from");
  std::vector<double> sums;  // cumulated, a row after the other
  for (int64_t r = 0; r < x.shape()[0]; ++r) {
    double largest = -INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; ++c) largest = std::max(largest, x.at_f64(r * classes + c));
    for (int64_t c = 0; c < classes; ++c) sums.push_back(sum += std::exp(x.at_f64(r * classes + c) - largest));
  }
  fill(ctx, dtype_attr(ctx, DType::s32), {x.shape()[0], samples}, [&](int64_t i) {
    const double* row = sums.data() + i / samples * classes;
    const double at = source.uniform(i) * row[classes - 1];
    int64_t c = 0;
    while (c + 1 < classes && row[c] <= at) ++c;
    return static_cast<double>(c);
  });
}

// --- RandomNormal, RandomUniform, by attribute `shape` or like an input
// ------------------------------------------------------------
template <class Ctx>
Shape shape_attr(const Ctx& ctx) {
  Shape shape = ctx.node().ints("shape");
  for (const int64_t d : shape)
    if (d < 0) fail(ctx, "shape holds " + std::to_string(d) + "; expected sizes");
  return shape;
}
void infer_random(InferContext& ctx) { set_dims(ctx, 0, float_attr(ctx, DType::f32), to_dims(shape_attr(ctx))); }
void infer_random_like(InferContext& ctx) { set_dims(ctx, 0, float_attr(ctx, dtype_of(ctx, 0)), dims_of(ctx, 0)); }

void draw_normal(EvalContext& ctx, DType dtype, const Shape& shape) {
  const Source source(ctx.node());
  const auto mean = static_cast<double>(ctx.node().attr("mean", 0.0f)),
             scale = static_cast<double>(ctx.node().attr("scale", 1.0f));
  fill(ctx, dtype, shape, [&](int64_t i) { return mean + scale * source.normal(i); });
}
void draw_uniform(EvalContext& ctx, DType dtype, const Shape& shape) {
  const Source source(ctx.node());
  const auto low = static_cast<double>(ctx.node().attr("low", 0.0f)),
             high = static_cast<double>(ctx.node().attr("high", 1.0f));
  fill(ctx, dtype, shape, [&](int64_t i) { return low + (high - low) * source.uniform(i); });
}
template <void (*Draw)(EvalContext&, DType, const Shape&)>
void eval_random(EvalContext& ctx) {
  Draw(ctx, float_attr(ctx, DType::f32), shape_attr(ctx));
}
template <void (*Draw)(EvalContext&, DType, const Shape&)>
void eval_random_like(EvalContext& ctx) {
  Draw(ctx, float_attr(ctx, ctx.in(0).dtype()), ctx.in(0).shape());
}

OpDef random(std::string name, std::vector<InputSchema> inputs, std::vector<AttrSchema> attrs, void (*infer)(InferContext&),
             void (*eval)(EvalContext&), TypeSet types = kNumbers | kBool) {
  attrs.push_back({"dtype", AttrKind::i});
  attrs.push_back({"seed", AttrKind::f});
  return {.name = std::move(name),
          .inputs = std::move(inputs),
          .attrs = std::move(attrs),
          .infer = infer,
          .eval = eval,
          .types = types,
          .random = true};
}

std::vector<OpDef> define() {
  constexpr AttrKind f = AttrKind::f;
  const std::vector<AttrSchema> normal = {{"mean", f}, {"scale", f}}, uniform = {{"low", f}, {"high", f}};
  const auto shaped = [](std::vector<AttrSchema> attrs) {
    attrs.push_back({"shape", AttrKind::ints, true});
    return attrs;
  };
  return {
      random("Bernoulli", {{"input"}}, {}, infer_bernoulli, eval_bernoulli, kFloats),
      random("Multinomial", {{"input"}}, {{"sample_size", AttrKind::i}}, infer_multinomial, eval_multinomial, kFloats),
      random("RandomNormal", {}, shaped(normal), infer_random, eval_random<draw_normal>),
      random("RandomNormalLike", {{"input"}}, normal, infer_random_like, eval_random_like<draw_normal>),
      random("RandomUniform", {}, shaped(uniform), infer_random, eval_random<draw_uniform>),
      random("RandomUniformLike", {{"input"}}, uniform, infer_random_like, eval_random_like<draw_uniform>),
  };
}

}  // namespace

std::span<const OpDef> random_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
