// Softmax, LogSoftmax, Hardmax along one axis.
//
//   Softmax      m = max; e = numerics::exp(x - m); y = e / sum16(e)
//   LogSoftmax   y = (x - m) - log(sum16(e)), the logarithm in double, rounded to float
//   Hardmax      1 at the first largest element
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

// Lines along `axis`: `outer` * `inner` of them, elements `inner` apart.
struct Lines {
  int64_t outer = 1, length = 1, inner = 1;
};
Lines lines_of(const EvalContext& ctx, int64_t default_axis) {
  const Shape& shape = ctx.in(0).shape();
  if (shape.empty()) return {};
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", default_axis), static_cast<int64_t>(shape.size())));
  return {product(shape, 0, axis), shape[axis], product(shape, axis + 1, shape.size())};
}

float exponential(float v) { return numerics::exp(v); }
double exponential(double v) { return std::exp(v); }

enum class Kind : uint8_t { softmax, log_softmax, hardmax };

template <Kind kind, class T>
void line(const T* x, T* y, int64_t length, int64_t step) {
  int64_t at = 0;
  T m = x[0];
  for (int64_t i = 1; i < length; ++i) {
    const T v = x[i * step];
    if (v > m) at = i;
    m = m > v ? m : v;
  }
  if constexpr (kind == Kind::hardmax) {
    for (int64_t i = 0; i < length; ++i) y[i * step] = i == at ? T{1} : T{0};
    return;
  }
  for (int64_t i = 0; i < length; ++i) y[i * step] = exponential(x[i * step] - m);
  const T sum = sum_of<T>(length, [&](int64_t i) { return y[i * step]; });
  if constexpr (kind == Kind::softmax) {
    for (int64_t i = 0; i < length; ++i) y[i * step] = y[i * step] / sum;
  } else {
    const T log = static_cast<T>(std::log(static_cast<double>(sum)));
    for (int64_t i = 0; i < length; ++i) y[i * step] = (x[i * step] - m) - log;
  }
}

template <Kind kind, class T>
void run(EvalContext& ctx) {
  const Lines lines = lines_of(ctx, -1);
  const Tensor& x = ctx.in(0);
  Tensor y(x.dtype(), x.shape());
  for (int64_t o = 0; o < lines.outer && lines.length > 0; ++o)
    for (int64_t i = 0; i < lines.inner; ++i) {
      const int64_t at = o * lines.length * lines.inner + i;
      line<kind>(x.as<T>() + at, y.mutable_as<T>() + at, lines.length, lines.inner);
    }
  ctx.out() = y;
}

template <Kind kind>
void eval(EvalContext& ctx) {
  switch (ctx.in(0).dtype()) {
    case DType::f32: return run<kind, float>(ctx);
    case DType::f64: return run<kind, double>(ctx);
    default: fail_dtype(ctx, ctx.in(0).dtype());
  }
}

void infer(InferContext& ctx) {
  const MaybeDims dims = dims_of(ctx, 0);
  if (dims && !dims->empty()) normalize_axis(ctx, ctx.node().attr("axis", int64_t{-1}), static_cast<int64_t>(dims->size()));
  set_dims(ctx, 0, dtype_of(ctx, 0), dims);
}

template <Kind kind>
OpDef op(std::string name) {
  return {.name = std::move(name),
          .inputs = {{"input"}},
          .attrs = {{"axis", AttrKind::i}},
          .infer = infer,
          .eval = widen_small_floats<eval<kind>>,
          .types = kFloats};
}

std::vector<OpDef> define() {
  return {op<Kind::softmax>("Softmax"), op<Kind::log_softmax>("LogSoftmax"), op<Kind::hardmax>("Hardmax")};
}

}  // namespace

std::span<const OpDef> softmax_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
