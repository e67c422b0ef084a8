// LSTM, GRU and RNN. Sums are those of two products, each one FMA chain from +0 with its bias added behind it
// (octet/numerics.h):
//
//   v = (h . R + Rb) + (x . W + Wb)          then + (p * c) where an LSTM has peepholes, then the clip, then the activation
//
//   LSTM   i, o, f, c~ = gates;   C = (f * C) + (i * c~);   H = o * h(C);   o's peephole sees the new C;   input_forget: f =
//   1 - i GRU    z, r, h~ = gates;      H = ((1 - z) * h~) + (z * H);   h~'s product is of r * h, or, linear_before_reset, r
//   scales
//          (h . R + Rb)
//   RNN    H = f(v)
//
// The step at which a sequence ends is that of its own length; behind it Y is 0 and Y_h, Y_c are those of its last step.
#include <algorithm>
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"
#include "graph/ops/recurrent.h"

namespace octet::graph::ops {
namespace {

size_t gates_of(const Node& node) { return node.op_name() == "LSTM" ? 4 : node.op_name() == "GRU" ? 3 : 1; }

void infer_recurrent(InferContext& ctx) {
  const Node& node = ctx.node();
  recurrent_activations(node);  // throws where they make no sense
  expect_real(ctx, 0);
  const bool batch_first = node.attr("layout", int64_t{0}) != 0;
  const MaybeDims x = dims_of(ctx, 0), r = dims_of(ctx, 2);
  expect_rank(ctx, 0, x, 3, 3);
  expect_rank(ctx, 1, dims_of(ctx, 1), 3, 3);
  expect_rank(ctx, 2, r, 3, 3);
  const Dim steps = x ? (*x)[batch_first ? 1 : 0] : Dim(), batch = x ? (*x)[batch_first ? 0 : 1] : Dim();
  const Dim directions(node.attr("direction", "forward") == "bidirectional" ? 2 : 1);
  Dim hidden = r ? (*r)[2] : Dim();
  if (node.has_attr("hidden_size"))
    hidden = same_dim(ctx, hidden, Dim(node.attr("hidden_size", int64_t{0})), "hidden sizes");
  if (x)
    if (const MaybeDims w = dims_of(ctx, 1)) same_dim(ctx, (*x)[2], (*w)[2], "input sizes");
  const DType dtype = dtype_of(ctx, 0);
  if (batch_first) {
    set_dims(ctx, 0, dtype, Dims{batch, steps, directions, hidden});
    for (size_t i = 1; i < node.outputs().size(); ++i) set_dims(ctx, i, dtype, Dims{batch, directions, hidden});
  } else {
    set_dims(ctx, 0, dtype, Dims{steps, directions, batch, hidden});
    for (size_t i = 1; i < node.outputs().size(); ++i) set_dims(ctx, i, dtype, Dims{directions, batch, hidden});
  }
}

float activate(const RecurrentActivation& a, float x) {
  const std::string& kind = a.kind;
  if (kind == "Sigmoid") return numerics::sigmoid(x);
  if (kind == "Tanh") return numerics::tanh(x);
  if (kind == "Relu") return x > 0.0f ? x : 0.0f;
  if (kind == "Affine") return a.alpha * x + a.beta;
  if (kind == "LeakyRelu") return x < 0.0f ? x * a.alpha : x;
  if (kind == "ThresholdedRelu") return x > a.alpha ? x : 0.0f;
  if (kind == "ScaledTanh") return a.alpha * numerics::tanh(a.beta * x);
  if (kind == "HardSigmoid") {
    const float v = std::fma(a.alpha, x, a.beta);
    const float low = v < 1.0f ? v : 1.0f;
    return low > 0.0f ? low : 0.0f;
  }
  if (kind == "Elu") return x < 0.0f ? a.alpha * (numerics::exp(x) - 1.0f) : x;
  if (kind == "Softsign") return x / (1.0f + std::fabs(x));
  return std::max(x, 0.0f) + std::log1p(numerics::exp(-std::fabs(x)));  // Softplus
}

// The operands of one node, dense float, with the sizes checked.
struct Recurrent {
  explicit Recurrent(const Node& recurrent) : node(recurrent) {}
  const Node& node;
  int64_t steps = 0, batch = 0, inputs = 0, hidden = 0, directions = 1, gates = 1;
  bool batch_first = false, lstm = false;
  const float *x = nullptr, *w = nullptr, *r = nullptr, *b = nullptr, *p = nullptr;
  std::vector<int64_t> lengths;
  std::vector<RecurrentActivation> activations;
  float clip = 0;

  int64_t x_row(int64_t t, int64_t n) const { return batch_first ? n * steps + t : t * batch + n; }
  int64_t y_row(int64_t t, int64_t d, int64_t n) const {
    return batch_first ? (n * steps + t) * directions + d : (t * directions + d) * batch + n;
  }
  int64_t state_row(int64_t d, int64_t n) const { return batch_first ? n * directions + d : d * batch + n; }
};

void expect_shape(EvalContext& ctx, size_t i, const Shape& shape) {
  if (ctx.has(i) && ctx.in(i).shape() != shape)
    fail(ctx, "input " + std::to_string(i) + " has shape " + octet::to_string(ctx.in(i).shape()) + "; expected " +
                  octet::to_string(shape));
}

Recurrent recurrent_of(EvalContext& ctx) {
  const Node& node = ctx.node();
  Recurrent rec(node);
  const Shape &x = ctx.in(0).shape(), &r = ctx.in(2).shape();
  if (x.size() != 3 || r.size() != 3) fail(ctx, "expected X and R of rank 3");
  rec.batch_first = node.attr("layout", int64_t{0}) != 0;
  rec.lstm = node.op_name() == "LSTM";
  rec.steps = x[rec.batch_first ? 1 : 0], rec.batch = x[rec.batch_first ? 0 : 1], rec.inputs = x[2], rec.hidden = r[2];
  rec.directions = node.attr("direction", "forward") == "bidirectional" ? 2 : 1;
  rec.gates = static_cast<int64_t>(gates_of(node));
  rec.activations = recurrent_activations(node);
  rec.clip = node.attr("clip", 0.0f);
  const int64_t rows = rec.gates * rec.hidden;
  const Shape state =
      rec.batch_first ? Shape{rec.batch, rec.directions, rec.hidden} : Shape{rec.directions, rec.batch, rec.hidden};
  expect_shape(ctx, 1, {rec.directions, rows, rec.inputs});
  expect_shape(ctx, 2, {rec.directions, rows, rec.hidden});
  expect_shape(ctx, 3, {rec.directions, 2 * rows});
  expect_shape(ctx, 4, {rec.batch});
  expect_shape(ctx, 5, state);
  if (rec.lstm) expect_shape(ctx, 6, state);
  if (rec.lstm) expect_shape(ctx, 7, {rec.directions, 3 * rec.hidden});
  for (size_t i = 0; i < ctx.input_count(); ++i)
    if (i != 4 && ctx.has(i) && ctx.in(i).dtype() != DType::f32) fail_dtype(ctx, ctx.in(i).dtype());
  rec.x = ctx.in(0).as<float>(), rec.w = ctx.in(1).as<float>(), rec.r = ctx.in(2).as<float>();
  if (ctx.has(3)) rec.b = ctx.in(3).as<float>();
  if (rec.lstm && ctx.has(7)) rec.p = ctx.in(7).as<float>();
  rec.lengths = ctx.has(4) ? ctx.in(4).to_s64() : std::vector<int64_t>(static_cast<size_t>(rec.batch), rec.steps);
  for (const int64_t length : rec.lengths)
    if (length < 0 || length > rec.steps)
      fail(ctx, "a sequence length is " + std::to_string(length) + "; expected 0 to " + std::to_string(rec.steps));
  return rec;
}

// One direction of one sequence: `h` and `c` are its state, `y(t)` where step t goes.
template <class Y>
void run_sequence(const Recurrent& rec, int64_t d, int64_t n, bool reverse, float* h, float* c, Y y) {
  const int64_t H = rec.hidden, I = rec.inputs, rows = rec.gates * H;
  const float *w = rec.w + d * rows * I, *r = rec.r + d * rows * H;
  const float *wb = rec.b ? rec.b + d * 2 * rows : nullptr, *rb = wb ? wb + rows : nullptr;
  const float* p = rec.p ? rec.p + d * 3 * H : nullptr;
  const size_t per_direction = rec.activations.size() / static_cast<size_t>(rec.directions);
  const RecurrentActivation* act = rec.activations.data() + static_cast<size_t>(d) * per_direction;
  const auto chain = [](const float* a, const float* b, int64_t k, const float* bias) {
    float sum = 0;
    for (int64_t i = 0; i < k; ++i) sum = std::fma(a[i], b[i], sum);
    return bias ? sum + *bias : sum;
  };
  const auto clipped = [&](float v) {
    if (rec.clip <= 0) return v;
    v = v > -rec.clip ? v : -rec.clip;
    return v < rec.clip ? v : rec.clip;
  };
  const auto size = static_cast<size_t>(H);
  std::vector<float> xw(static_cast<size_t>(rows)), hr(static_cast<size_t>(rows)), reset(size), next(size);
  const bool before_reset = rec.node.attr("linear_before_reset", int64_t{0}) != 0;
  const bool input_forget = rec.node.attr("input_forget", int64_t{0}) != 0;
  const int64_t length = rec.lengths[static_cast<size_t>(n)];
  for (int64_t i = 0; i < length; ++i) {
    const int64_t t = reverse ? length - 1 - i : i;
    const float* x = rec.x + rec.x_row(t, n) * I;
    const auto product_h = [&](int64_t row, const float* from) {
      return chain(from, r + row * H, H, rb ? rb + row : nullptr);
    };
    const int64_t full = rec.gates == 3 ? 2 * H : rows;  // a GRU's third product comes later
    for (int64_t row = 0; row < rows; ++row)
      xw[static_cast<size_t>(row)] = chain(x, w + row * I, I, wb ? wb + row : nullptr);
    for (int64_t row = 0; row < full; ++row) hr[static_cast<size_t>(row)] = product_h(row, h) + xw[static_cast<size_t>(row)];
    const auto gate = [&](int64_t g, int64_t k) { return hr[static_cast<size_t>(g * H + k)]; };
    if (rec.gates == 1) {
      for (int64_t k = 0; k < H; ++k) next[static_cast<size_t>(k)] = activate(act[0], clipped(gate(0, k)));
    } else if (rec.lstm) {
      for (int64_t k = 0; k < H; ++k) {
        float vi = gate(0, k), vo = gate(1, k), vf = gate(2, k);
        if (p) vi = vi + p[k] * c[k], vf = vf + p[2 * H + k] * c[k];
        const float in = activate(act[0], clipped(vi));
        const float forget = input_forget ? 1.0f - in : activate(act[0], clipped(vf));
        const float candidate = activate(act[1], clipped(gate(3, k)));
        c[k] = forget * c[k] + in * candidate;
        if (p) vo = vo + p[H + k] * c[k];
        next[static_cast<size_t>(k)] = activate(act[0], clipped(vo)) * activate(act[2], c[k]);
      }
    } else {
      for (int64_t k = 0; k < H; ++k) {
        const float rk = activate(act[0], clipped(gate(1, k)));
        reset[static_cast<size_t>(k)] = before_reset ? rk : rk * h[k];
      }
      for (int64_t k = 0; k < H; ++k) {
        const auto at = static_cast<size_t>(2 * H + k);
        const float v = before_reset ? reset[static_cast<size_t>(k)] * product_h(2 * H + k, h) + xw[at]
                                     : product_h(2 * H + k, reset.data()) + xw[at];
        const float z = activate(act[0], clipped(gate(0, k)));
        next[static_cast<size_t>(k)] = (1.0f - z) * activate(act[1], clipped(v)) + z * h[k];
      }
    }
    std::copy(next.begin(), next.end(), h);
    std::copy(next.begin(), next.end(), y(t));
  }
}

void eval_in_float(EvalContext& ctx) {
  const Recurrent rec = recurrent_of(ctx);
  const std::string direction = rec.node.attr("direction", "forward");
  const int64_t B = rec.batch, D = rec.directions, H = rec.hidden;
  const Shape state = rec.batch_first ? Shape{B, D, H} : Shape{D, B, H};
  Tensor y(DType::f32, rec.batch_first ? Shape{B, rec.steps, D, H} : Shape{rec.steps, D, B, H});
  Tensor h(DType::f32, state), c(DType::f32, state);
  if (ctx.has(5)) std::copy_n(ctx.in(5).as<float>(), h.size(), h.mutable_as<float>());
  if (rec.lstm && ctx.has(6)) std::copy_n(ctx.in(6).as<float>(), c.size(), c.mutable_as<float>());
  for (int64_t d = 0; d < D; ++d)
    for (int64_t n = 0; n < B; ++n)
      run_sequence(rec, d, n, direction == "reverse" || d == 1, h.mutable_as<float>() + rec.state_row(d, n) * H,
                   c.mutable_as<float>() + rec.state_row(d, n) * H,
                   [&](int64_t t) { return y.mutable_as<float>() + rec.y_row(t, d, n) * H; });
  ctx.out(0) = y;
  if (ctx.output_count() > 1) ctx.out(1) = h;
  if (ctx.output_count() > 2) ctx.out(2) = c;
}

std::vector<OpDef> define() {
  using enum AttrKind;
  const std::vector<AttrSchema> common = {
      {"activation_alpha", floats}, {"activation_beta", floats}, {"activations", strings}, {"clip", f}, {"direction", s},
      {"hidden_size", AttrKind::i}, {"layout", AttrKind::i}};
  const auto op = [&](const char* name, int outputs, std::vector<InputSchema> more, std::vector<AttrSchema> attrs) {
    OpDef def{.name = name,
              .inputs = {{"X"}, {"W"}, {"R"}, {"B", true}, {"sequence_lens", true}, {"initial_h", true}},
              .attrs = common,
              .max_outputs = outputs,
              .infer = infer_recurrent,
              .eval = widen_small_floats<eval_in_float>};
    def.inputs.insert(def.inputs.end(), more.begin(), more.end());
    def.attrs.insert(def.attrs.end(), attrs.begin(), attrs.end());
    return def;
  };
  return {op("LSTM", 3, {{"initial_c", true}, {"P", true}}, {{"input_forget", AttrKind::i}}),
          op("GRU", 2, {}, {{"linear_before_reset", AttrKind::i}}), op("RNN", 2, {}, {})};
}

struct Known {
  std::string_view name;
  float alpha, beta;
};
// With the alpha and beta they have when none are given.
constexpr Known kActivations[] = {{"Relu", 0, 0},          {"Tanh", 0, 0},
                                  {"Sigmoid", 0, 0},       {"Affine", 1, 0},
                                  {"LeakyRelu", 0.01f, 0}, {"ThresholdedRelu", 1, 0},
                                  {"ScaledTanh", 1, 1},    {"HardSigmoid", 0.2f, 0.5f},
                                  {"Elu", 1, 0},           {"Softsign", 0, 0},
                                  {"Softplus", 0, 0}};

bool takes_alpha(std::string_view kind) {
  return kind != "Relu" && kind != "Tanh" && kind != "Sigmoid" && kind != "Softsign" && kind != "Softplus";
}
bool takes_beta(std::string_view kind) { return kind == "Affine" || kind == "ScaledTanh" || kind == "HardSigmoid"; }

}  // namespace

std::vector<RecurrentActivation> recurrent_activations(const Node& node) {
  const auto refuse = [&](const std::string& message) {
    throw Error(ErrorCode::invalid_model, "node '" + node.name() + "' (" + std::string(node.op_name()) + "): " + message);
  };
  const std::string direction = node.attr("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    refuse("direction is '" + direction + "'; expected forward, reverse or bidirectional");
  const size_t directions = direction == "bidirectional" ? 2 : 1;
  const Attribute* given = node.find_attr("activations");
  std::vector<std::string> names;
  if (given) names = std::get<std::vector<std::string>>(*given);
  if (names.empty()) {
    for (size_t d = 0; d < directions; ++d) {
      if (node.op_name() == "RNN") names.insert(names.end(), {"Tanh"});
      if (node.op_name() == "GRU") names.insert(names.end(), {"Sigmoid", "Tanh"});
      if (node.op_name() == "LSTM") names.insert(names.end(), {"Sigmoid", "Tanh", "Tanh"});
    }
  }
  const size_t wanted = directions * (node.op_name() == "RNN" ? 1 : node.op_name() == "GRU" ? 2 : 3);
  if (names.size() != wanted)
    refuse("has " + std::to_string(names.size()) + " activations; expected " + std::to_string(wanted));
  // Alphas and betas are listed for those that take one, in order.
  const std::vector<float> alphas = node.floats("activation_alpha"), betas = node.floats("activation_beta");
  size_t alpha = 0, beta = 0;
  std::vector<RecurrentActivation> activations;
  for (const std::string& name : names) {
    const auto same = [](char a, char b) {
      return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    };
    const auto known = std::find_if(std::begin(kActivations), std::end(kActivations), [&](const Known& k) {
      return std::equal(k.name.begin(), k.name.end(), name.begin(), name.end(), same);
    });
    if (known == std::end(kActivations)) {
      refuse("activation '" + name + "' is unknown");
      continue;
    }
    RecurrentActivation a{std::string(known->name), known->alpha, known->beta};
    if (takes_alpha(a.kind) && alpha < alphas.size()) a.alpha = alphas[alpha++];
    if (takes_beta(a.kind) && beta < betas.size()) a.beta = betas[beta++];
    activations.push_back(std::move(a));
  }
  return activations;
}

std::span<const OpDef> recurrent_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
