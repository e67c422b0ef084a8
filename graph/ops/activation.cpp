// Activations: Relu, Clip and the smooth ones. Relu is 0 > v ? 0 : v and Clip min > v ? min : v, then max < v ? max : v, as
// vmaxps and vminps with the bound first give them: a NaN stays one, and so does the sign of zero.
#include <cmath>
#include <limits>
#include <type_traits>

#include "graph/ops/families.h"
#include "graph/ops/unary.h"
#include "octet/numerics_functions.h"

namespace octet::graph::ops {
namespace {

struct Relu {
  explicit Relu(const Node&) {}
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_same_v<T, float>) return numerics::at_least(0.0f, x);
    return T{0} > x ? T{0} : x;
  }
};
struct LeakyRelu {
  explicit LeakyRelu(const Node& node) : alpha(node.attr("alpha", 0.01f)) {}
  template <class T>
  T operator()(T x) const {
    return x < T{0} ? x * static_cast<T>(alpha) : x;
  }
  float alpha;
};
struct Sigmoid {
  explicit Sigmoid(const Node&) {}
  float operator()(float x) const { return numerics::sigmoid(x); }
  double operator()(double x) const { return 1.0 / (1.0 + std::exp(-x)); }
};
struct Tanh {
  explicit Tanh(const Node&) {}
  float operator()(float x) const { return numerics::tanh(x); }
  double operator()(double x) const { return std::tanh(x); }
};
template <class T>
T clamp_unit(T v) {
  v = T{1} < v ? T{1} : v;
  return T{0} > v ? T{0} : v;
}
struct HardSigmoid {
  explicit HardSigmoid(const Node& node) : alpha(node.attr("alpha", 0.2f)), beta(node.attr("beta", 0.5f)) {}
  template <class T>
  T operator()(T x) const {
    return clamp_unit(std::fma(static_cast<T>(alpha), x, static_cast<T>(beta)));
  }
  float alpha, beta;
};
// What QuantizeLinear and DequantizeLinear make of a real number, for widths beyond those that stay quantized.
struct FakeQuantize {
  explicit FakeQuantize(const Node& node)
      : scale(node.attr("scale", 1.0f)),
        zero_point(static_cast<int32_t>(node.attr("zero_point", int64_t{0}))),
        least(static_cast<int32_t>(node.attr("least", int64_t{0}))),
        most(static_cast<int32_t>(node.attr("most", int64_t{65535}))) {}
  float operator()(float x) const {
    return numerics::dequantize(numerics::quantize(x, scale, zero_point, least, most), scale, zero_point);
  }
  double operator()(double x) const { return (*this)(static_cast<float>(x)); }
  float scale;
  int32_t zero_point, least, most;
};
struct HardSwish {
  explicit HardSwish(const Node&) {}
  template <class T>
  T operator()(T x) const {
    return x * clamp_unit(std::fma(T{1} / T{6}, x, T{0.5}));
  }
};
struct Swish {
  explicit Swish(const Node& node) : alpha(node.attr("alpha", 1.0f)) {}
  float operator()(float x) const { return x * numerics::sigmoid(alpha * x); }
  double operator()(double x) const { return x / (1.0 + std::exp(-static_cast<double>(alpha) * x)); }
  float alpha;
};
struct Elu {
  explicit Elu(const Node& node) : alpha(node.attr("alpha", 1.0f)) {}
  float operator()(float x) const { return numerics::elu(x, alpha); }
  double operator()(double x) const { return x < 0 ? static_cast<double>(alpha) * std::expm1(x) : x; }
  float alpha;
};
struct Selu {
  explicit Selu(const Node& node)
      : alpha(static_cast<double>(node.attr("alpha", 1.67326319217681884765625f))),
        gamma(static_cast<double>(node.attr("gamma", 1.05070102214813232421875f))) {}
  double operator()(double x) const { return gamma * (x > 0 ? x : alpha * std::expm1(x)); }
  double alpha, gamma;
};
struct Celu {
  explicit Celu(const Node& node) : alpha(static_cast<double>(node.attr("alpha", 1.0f))) {}
  double operator()(double x) const { return x < 0 ? alpha * std::expm1(x / alpha) : x; }
  double alpha;
};
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
struct Softplus {
  explicit Softplus(const Node&) {}
  float operator()(float x) const { return numerics::softplus(x); }
  double operator()(double x) const { return softplus(x); }
};
struct Mish {
  explicit Mish(const Node&) {}
  float operator()(float x) const { return numerics::mish(x); }
  double operator()(double x) const { return x * std::tanh(softplus(x)); }
};
struct Softsign {
  explicit Softsign(const Node&) {}
  template <class T>
  T operator()(T x) const {
    return x / (T{1} + std::fabs(x));
  }
};
struct ThresholdedRelu {
  explicit ThresholdedRelu(const Node& node) : alpha(node.attr("alpha", 1.0f)) {}
  template <class T>
  T operator()(T x) const {
    return x > static_cast<T>(alpha) ? x : T{0};
  }
  float alpha;
};
struct Gelu {
  explicit Gelu(const Node& node) : tanh_form(node.attr("approximate", "none") == "tanh") {}
  float operator()(float x) const { return tanh_form ? numerics::gelu_tanh(x) : numerics::gelu(x); }
  double operator()(double x) const {
    if (!tanh_form) return 0.5 * x * (1.0 + std::erf(x * 0.70710678118654752440));
    return 0.5 * x * (1.0 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
  }
  bool tanh_form;
};
struct Shrink {
  explicit Shrink(const Node& node) : bias(node.attr("bias", 0.0f)), lambd(node.attr("lambd", 0.5f)) {}
  template <class T>
  T operator()(T x) const {
    const auto edge = static_cast<T>(lambd);
    const auto shift = static_cast<T>(bias);
    return x < -edge ? x + shift : x > edge ? x - shift : T{0};
  }
  float bias, lambd;
};

void infer_gelu(InferContext& ctx) {
  const std::string form = ctx.node().attr("approximate", "none");
  if (form != "none" && form != "tanh") fail(ctx, "approximate is '" + form + "'; expected none or tanh");
  infer_like_input(ctx);
}

// --- Clip: bounds are scalar inputs; an absent one is the smallest or largest value of the type ---------------------------
void infer_clip(InferContext& ctx) {
  for (size_t i = 1; i < 3; ++i) {
    if (!ctx.has(i)) continue;
    const MaybeDims dims = dims_of(ctx, i);
    if (dims && !dims->empty() && !(dims->size() == 1 && (*dims)[0] == Dim(1)))
      fail(ctx, "bound " + std::to_string(i) + " has shape " + describe(*dims) + "; expected a scalar");
    if (!ctx.type(0).quantized()) expect_same_dtype(ctx, 0, i);
  }
  infer_like_input(ctx);
}

template <class C>
struct Clip {
  C lo, hi;
  C operator()(C x) const {
    if constexpr (std::is_same_v<C, float>) return numerics::at_most(hi, numerics::at_least(lo, x));
    const C v = lo > x ? lo : x;
    return hi < v ? hi : v;
  }
};

template <class C>
Clip<C> clip_of(const EvalContext& ctx) {
  Clip<C> clip{std::numeric_limits<C>::lowest(), std::numeric_limits<C>::max()};
  const auto read = [&](size_t i, C& bound) {
    if (!ctx.has(i)) return;
    if constexpr (std::is_floating_point_v<C>) {
      bound = static_cast<C>(ctx.in(i).at_f64(0));
    } else {
      bound = static_cast<C>(ctx.in(i).at_s64(0));
    }
  };
  read(1, clip.lo);
  read(2, clip.hi);
  return clip;
}

void eval_clip(EvalContext& ctx) {
  if (quantized_unary(ctx)) {
    ctx.out() = map_quantized(ctx, clip_of<float>(ctx));
    return;
  }
  with_number(ctx, ctx.in(0).dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    ctx.out() = map_elements<T>(ctx.in(0), clip_of<Compute<T>>(ctx));
  });
}

// --- PRelu: slope broadcasts to x ---------------------------------------------------------------------------------------
void infer_prelu(InferContext& ctx) {
  expect_same_dtype(ctx, 0, 1);
  const MaybeDims x = dims_of(ctx, 0);
  const MaybeDims slope = dims_of(ctx, 1);
  if (x && slope && slope->size() > x->size())
    fail(ctx, "slope has shape " + describe(*slope) + "; expected one that broadcasts to " + describe(*x));
  broadcast(ctx, x, slope);
  set_dims(ctx, 0, dtype_of(ctx, 0), x);
}

void eval_prelu(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Tensor& slope = ctx.in(1);
  with_number(ctx, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    Tensor y(x.dtype(), x.shape());
    const T* px = x.as<T>();
    const T* ps = slope.as<T>();
    T* py = y.mutable_as<T>();
    for_each_run<2>(x.shape(), {strides_of(x.shape()), broadcast_strides(slope.shape(), x.shape())},
                    [&](const auto& at, int64_t length, const auto& step) {
                      for (int64_t i = 0; i < length; ++i) {
                        const auto v = static_cast<C>(px[at[0] + i * step[0]]);
                        const auto s = static_cast<C>(ps[at[1] + i * step[1]]);
                        *py++ = static_cast<T>(v < C{0} ? static_cast<C>(v * s) : v);
                      }
                    });
    ctx.out() = y;
  });
}

template <class F>
OpDef activation(std::string name, std::vector<AttrSchema> attrs = {}) {
  return {.name = std::move(name),
          .inputs = {{"X"}},
          .attrs = std::move(attrs),
          .infer = infer_like_input,
          .eval = eval_real<F>,
          .quant = QuantRole::unary,
          .layout = LayoutRole::any,
          .types = kFloats};
}

std::vector<OpDef> define() {
  constexpr AttrKind f = AttrKind::f;
  return {
      {.name = "Relu",
       .inputs = {{"X"}},
       .attrs = {},
       .infer = infer_like_input,
       .eval = eval_number<Relu>,
       .quant = QuantRole::clamp,
       .layout = LayoutRole::any,
       .types = kNumbers},
      {.name = "Clip",
       .inputs = {{"input"}, {"min", true}, {"max", true}},
       .attrs = {},
       .infer = infer_clip,
       .eval = eval_clip,
       .quant = QuantRole::clamp,
       .layout = LayoutRole::any,
       .types = kNumbers},
      activation<LeakyRelu>("LeakyRelu", {{"alpha", f}}),
      activation<Sigmoid>("Sigmoid"),
      activation<Tanh>("Tanh"),
      activation<HardSigmoid>("HardSigmoid", {{"alpha", f}, {"beta", f}}),
      activation<HardSwish>("HardSwish"),
      activation<Swish>("Swish", {{"alpha", f}}),
      activation<FakeQuantize>("octet.FakeQuantize",
                               {{"scale", f}, {"zero_point", AttrKind::i}, {"least", AttrKind::i}, {"most", AttrKind::i}}),
      activation<Elu>("Elu", {{"alpha", f}}),
      activation<InDouble<Selu>>("Selu", {{"alpha", f}, {"gamma", f}}),
      activation<InDouble<Celu>>("Celu", {{"alpha", f}}),
      activation<Softplus>("Softplus"),
      activation<Mish>("Mish"),
      activation<Softsign>("Softsign"),
      activation<ThresholdedRelu>("ThresholdedRelu", {{"alpha", f}}),
      {.name = "Gelu",
       .inputs = {{"X"}},
       .attrs = {{"approximate", AttrKind::s}},
       .infer = infer_gelu,
       .eval = eval_real<Gelu>,
       .quant = QuantRole::unary,
       .layout = LayoutRole::any,
       .types = kFloats},
      activation<Shrink>("Shrink", {{"bias", f}, {"lambd", f}}),
      {.name = "PRelu",
       .inputs = {{"X"}, {"slope"}},
       .attrs = {},
       .infer = infer_prelu,
       .eval = eval_prelu,
       .layout = LayoutRole::any,
       .types = kNumbers},
  };
}

}  // namespace

std::span<const OpDef> activation_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
