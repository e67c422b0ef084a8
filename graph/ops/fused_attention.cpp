// octet.Attention: softmax(q k^T scale + mask) v, for every head of every batch, heads where products leave them.
//
//   q       [batch, queries, width] or [batch, heads, queries, size]; float32, or u8 quantized per tensor like k and v
//   k, v    the same with keys and kv_heads; heads / kv_heads query heads share one
//   mask    optional, float32, added to the scores: broadcasts to [batch, heads, queries, keys]; its batch may also divide
//   the
//           operands' (sample b takes mask b % its batch: the windows of one image by turns)
//   y       [batch, queries, heads * value_size] when `packed`, else [batch, heads, queries, value_size]
//
// float32:  s = chain of fma over size of q * k;  x = s * scale (+ mask);  p = Softmax of x over the keys;  y = chain of fma
// over
//           keys of p * v: the operators that exporters write, bit for bit, when the scale is a factor of the scores. A
//           query that may attend to nothing gives zeros.
// u8:       octet/attention_numerics.h; y is float32, or u8 where the value has parameters. Operands without parameters in
// their
//           types have them in further inputs, known at run time: q_scale, q_zero_point, k_scale, v_scale, v_zero_point
//           (keys need no zero point); y is float32 then.
//
// causal hides key j from query i when j > i + keys - queries.
#include "graph/ops/fused_attention.h"

#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"
#include "octet/attention_numerics.h"

namespace octet::graph::ops {
namespace {

enum Input : size_t { kQ, kK, kV, kMask, kQScale, kQZeroPoint, kKScale, kVScale, kVZeroPoint };
constexpr size_t kParameters[] = {kQScale, kQZeroPoint, kKScale, kVScale, kVZeroPoint};

struct Layout {
  const char* heads;  // attribute {first, step}
  const char* count;
  const char* size;
};
constexpr Layout kLayouts[] = {
    {"q_heads", "heads", "size"}, {"k_heads", "kv_heads", "size"}, {"v_heads", "kv_heads", "value_size"}};

int64_t positive(const InferContext& ctx, const char* name) {
  const int64_t v = ctx.node().attr(name, int64_t{0});
  if (v < 1) fail(ctx, std::string(name) + " is " + std::to_string(v) + "; expected at least 1");
  return v;
}

// batch and sequence of operand i, once its shape suits the attributes.
std::pair<Dim, Dim> check_operand(const InferContext& ctx, size_t i) {
  const Layout& layout = kLayouts[i];
  const int64_t count = positive(ctx, layout.count), size = positive(ctx, layout.size);
  const MaybeDims dims = dims_of(ctx, i);
  expect_rank(ctx, i, dims, 3, 4);
  if (!dims) return {};
  if (dims->size() == 4) {
    same_dim(ctx, (*dims)[1], Dim(count), "heads");
    same_dim(ctx, (*dims)[3], Dim(size), "head sizes");
    return {(*dims)[0], (*dims)[2]};
  }
  const std::vector<int64_t> lie = ctx.node().ints(layout.heads);
  if (lie.size() != 2 || lie[0] < 0 || lie[1] < 0)
    fail(ctx, std::string(layout.heads) + " must be the first head and the step");
  const int64_t reach = lie[0] + (count - 1) * lie[1] + size;
  if ((*dims)[2].known() && reach > (*dims)[2].value)
    fail(ctx,
         "input " + std::to_string(i) + " has shape " + describe(*dims) + "; its heads reach to " + std::to_string(reach));
  return {(*dims)[0], (*dims)[1]};
}

void check_mask(const InferContext& ctx, const Dims& wanted) {
  const MaybeDims mask = dims_of(ctx, kMask);
  expect_dtype(ctx, kMask, {DType::f32});
  expect_rank(ctx, kMask, mask, 0, 4);
  if (!mask) return;
  for (size_t i = 0; i < mask->size(); ++i) {
    const size_t axis = 4 - mask->size() + i;
    const Dim &own = (*mask)[i], &other = wanted[axis];
    if (!own.known() || !other.known() || own.value == 1) continue;
    if (axis == 0 ? own.value < 1 || other.value % own.value != 0 : own.value != other.value)
      fail(ctx, "the mask has shape " + describe(*mask) + "; expected one that broadcasts to " + describe(wanted));
  }
}

// The parameters of quantized operands, all in their types or all in inputs; whether they are the latter.
bool check_parameters(const InferContext& ctx) {
  const bool at_run = ctx.has(kQScale);
  for (const size_t i : {kQ, kK, kV}) {
    const QuantParams* quant = ctx.node().input(i)->quant();
    if (!at_run && (!quant || !quant->per_tensor()))
      fail(ctx, "input " + std::to_string(i) + " is not quantized per tensor");
  }
  for (const size_t i : kParameters) {
    if (ctx.has(i) != at_run) fail(ctx, "it has some of the operands' scales and zero points; expected all or none");
    if (!at_run) continue;
    expect_dtype(ctx, i, {i == kQZeroPoint || i == kVZeroPoint ? DType::u8 : DType::f32});
    expect_rank(ctx, i, dims_of(ctx, i), 0, 1);
  }
  return at_run;
}

void infer(InferContext& ctx) {
  const auto [batch, queries] = check_operand(ctx, kQ);
  const auto [k_batch, k_keys] = check_operand(ctx, kK);
  const auto [v_batch, v_keys] = check_operand(ctx, kV);
  const int64_t heads = ctx.node().attr("heads", int64_t{1}), kv_heads = ctx.node().attr("kv_heads", int64_t{1});
  if (heads % kv_heads != 0)
    fail(ctx,
         std::to_string(heads) + " query heads do not divide into " + std::to_string(kv_heads) + " key and value heads");
  expect_dtype(ctx, kQ, {DType::f32, DType::u8});
  expect_same_dtype(ctx, kQ, kK);
  expect_same_dtype(ctx, kQ, kV);
  const bool integer = dtype_of(ctx, kQ) == DType::u8;
  const bool at_run = integer && check_parameters(ctx);
  const float scale = ctx.node().attr("scale", 1.0f);
  if (!(scale > 0) || !std::isfinite(scale)) fail(ctx, "scale is " + std::to_string(scale) + "; expected a positive number");
  const Dim b = same_dim(ctx, same_dim(ctx, batch, k_batch, "the batches of q and k"), v_batch, "the batches of k and v");
  const Dim keys = same_dim(ctx, k_keys, v_keys, "the lengths of k and v");
  if (ctx.has(kMask)) check_mask(ctx, {b, Dim(heads), queries, keys});
  const int64_t size = ctx.node().attr("value_size", int64_t{1});
  const DType present = ctx.node().output()->dtype();
  if (present == DType::u8 && (!integer || at_run || !ctx.node().output()->quant()))
    fail(ctx, "its output is uint8; expected quantized operands and parameters");
  const DType dtype = present == DType::u8 ? DType::u8 : DType::f32;
  const bool packed = ctx.node().attr("packed", int64_t{0}) != 0;
  set_keeping_quant(ctx, 0, dtype, packed ? Dims{b, queries, Dim(heads * size)} : Dims{b, Dim(heads), queries, Dim(size)});
}

// The mask's row of one query, causality included; empty when there is neither.
std::vector<float> mask_row(const Node& node, const AttentionGeometry& g, const Tensor& mask, int64_t b, int64_t h,
                            int64_t i) {
  const bool causal = node.attr("causal", int64_t{0}) != 0;
  std::vector<float> row;
  if (!mask.defined() && !causal) return row;
  for (int64_t j = 0; j < g.keys; ++j) {
    const bool hidden = causal && j > i + g.keys - g.queries;
    const float own = mask.defined() ? mask.as<float>()[g.mask_offset(b, h, i) + j * g.mask[3]] : 0.0f;
    row.push_back(hidden ? -INFINITY : own);
  }
  return row;
}

struct Query {
  int64_t b, h, i;
};

void attend_float(const AttentionGeometry& g, const Query& at, float scale, const std::vector<float>& mask, const float* q,
                  const float* k, const float* v, float* y) {
  const int64_t group = g.heads / g.kv_heads;
  std::vector<float> x;
  for (int64_t j = 0; j < g.keys; ++j) {
    const float *left = q + g.q.at(at.b, at.h, at.i), *right = k + g.k.at(at.b, at.h / group, j);
    float s = 0;
    for (int64_t d = 0; d < g.size; ++d) s = std::fma(left[d], right[d], s);
    s *= scale;
    if (!mask.empty()) s += mask[static_cast<size_t>(j)];
    x.push_back(s);
  }
  numerics::attention_softmax(x.data(), g.keys);
  float* to = y + g.y.at(at.b, at.h, at.i);
  std::fill_n(to, g.value_size, 0.0f);
  for (int64_t j = 0; j < g.keys; ++j) {
    const float* value = v + g.v.at(at.b, at.h / group, j);
    for (int64_t d = 0; d < g.value_size; ++d) to[d] = std::fma(x[static_cast<size_t>(j)], value[d], to[d]);
  }
}

class IntegerAttention {
 public:
  IntegerAttention(EvalContext& ctx, const AttentionGeometry& g) : g_(g), out_(ctx.out_quant()) {
    if (ctx.has(kQScale)) {
      const auto scale = [&](size_t i) { return ctx.in(i).as<float>()[0]; };
      zq_ = ctx.in(kQZeroPoint).as<uint8_t>()[0];
      zv_ = ctx.in(kVZeroPoint).as<uint8_t>()[0];
      factors_ =
          numerics::attention_factors_at_run(scale(kQScale), scale(kKScale), scale(kVScale), ctx.node().attr("scale", 1.0f));
      out_ = nullptr;
      return;
    }
    zq_ = ctx.in_quant(kQ)->zero_point[0];
    zv_ = ctx.in_quant(kV)->zero_point[0];
    factors_ =
        numerics::attention_factors(ctx.in_quant(kQ)->scale[0], ctx.in_quant(kK)->scale[0], ctx.in_quant(kV)->scale[0],
                                    ctx.node().attr("scale", 1.0f), quantized(ctx) ? out_->scale[0] : 1.0f);
    if (!quantized(ctx)) out_ = nullptr;
  }

  void attend(const Query& at, const std::vector<float>& mask, const uint8_t* q, const uint8_t* k, const uint8_t* v,
              Tensor& y) const {
    const int64_t group = g_.heads / g_.kv_heads;
    std::vector<int32_t> scores;
    const uint8_t* left = q + g_.q.at(at.b, at.h, at.i);
    for (int64_t j = 0; j < g_.keys; ++j) {
      const uint8_t* right = k + g_.k.at(at.b, at.h / group, j);
      int32_t a = 0;
      for (int64_t d = 0; d < g_.size; ++d) a += (left[d] - zq_) * (right[d] - 128);
      scores.push_back(a);
    }
    std::vector<uint8_t> p(scores.size());
    const int32_t sum =
        numerics::attention_probabilities(scores.data(), mask.empty() ? nullptr : mask.data(), g_.keys, factors_, p.data());
    const float factor = numerics::attention_output_factor(factors_, sum);
    const int64_t to = g_.y.at(at.b, at.h, at.i);
    for (int64_t d = 0; d < g_.value_size; ++d) {
      int32_t o = 0;
      for (int64_t j = 0; j < g_.keys; ++j) o += p[static_cast<size_t>(j)] * (v[g_.v.at(at.b, at.h / group, j) + d] - zv_);
      const float real = static_cast<float>(o) * factor;
      if (out_)
        y.mutable_as<uint8_t>()[to + d] = static_cast<uint8_t>(numerics::quantize_scaled(real, out_->zero_point[0], 0, 255));
      else
        y.mutable_as<float>()[to + d] = real;
    }
  }

 private:
  static bool quantized(const EvalContext& ctx) { return ctx.node().output()->dtype() == DType::u8; }

  const AttentionGeometry& g_;
  const QuantParams* out_;
  int32_t zq_ = 0, zv_ = 0;
  numerics::AttentionFactors factors_;
};

void eval(EvalContext& ctx) {
  const Tensor &q = ctx.in(kQ), &k = ctx.in(kK), &v = ctx.in(kV);
  const Tensor mask = ctx.has(kMask) ? ctx.in(kMask) : Tensor();
  const Node& node = ctx.node();
  const AttentionGeometry g =
      attention_geometry(node, q.shape(), k.shape(), v.shape(), mask.defined() ? &mask.shape() : nullptr);
  const bool packed = node.attr("packed", int64_t{0}) != 0;
  Tensor y(node.output()->dtype() == DType::u8 ? DType::u8 : DType::f32,
           packed ? Shape{g.batch, g.queries, g.heads * g.value_size} : Shape{g.batch, g.heads, g.queries, g.value_size});
  std::optional<IntegerAttention> integer;
  if (q.dtype() == DType::u8) integer.emplace(ctx, g);
  for (int64_t b = 0; b < g.batch; ++b)
    for (int64_t h = 0; h < g.heads; ++h)
      for (int64_t i = 0; i < g.queries; ++i) {
        const std::vector<float> row = mask_row(node, g, mask, b, h, i);
        if (integer)
          integer->attend({b, h, i}, row, q.as<uint8_t>(), k.as<uint8_t>(), v.as<uint8_t>(), y);
        else
          attend_float(g, {b, h, i}, node.attr("scale", 1.0f), row, q.as<float>(), k.as<float>(), v.as<float>(),
                       y.mutable_as<float>());
      }
  ctx.out() = y;
}

HeadStrides strides(const Node& node, size_t i, const Shape& shape) {
  if (shape.size() == 4) return {0, shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3]};
  const std::vector<int64_t> lie = node.ints(kLayouts[i].heads);
  return {lie[0], shape[1] * shape[2], lie[1], shape[2]};
}

std::vector<OpDef> define() {
  constexpr AttrKind f = AttrKind::f, i = AttrKind::i, ints = AttrKind::ints;
  return {{.name = "octet.Attention",
           .inputs = {{"q"},
                      {"k"},
                      {"v"},
                      {"mask", true},
                      {"q_scale", true},
                      {"q_zero_point", true},
                      {"k_scale", true},
                      {"v_scale", true},
                      {"v_zero_point", true}},
           .attrs = {{"causal", i},
                     {"heads", i, true},
                     {"k_heads", ints},
                     {"kv_heads", i, true},
                     {"packed", i},
                     {"q_heads", ints},
                     {"scale", f},
                     {"size", i, true},
                     {"v_heads", ints},
                     {"value_size", i, true}},
           .infer = infer,
           .eval = eval,
           .types = TypeSet{DType::f32, DType::u8}}};
}

}  // namespace

AttentionGeometry attention_geometry(const Node& node, const Shape& q, const Shape& k, const Shape& v, const Shape* mask) {
  AttentionGeometry g;
  g.heads = node.attr("heads", int64_t{1}), g.kv_heads = node.attr("kv_heads", int64_t{1});
  g.size = node.attr("size", int64_t{1}), g.value_size = node.attr("value_size", int64_t{1});
  g.batch = q[0], g.queries = q[q.size() - 2], g.keys = k[k.size() - 2];
  g.q = strides(node, kQ, q), g.k = strides(node, kK, k), g.v = strides(node, kV, v);
  const int64_t rows = g.queries * g.value_size;
  g.y = node.attr("packed", int64_t{0}) != 0 ? HeadStrides{0, rows * g.heads, g.value_size, g.heads * g.value_size}
                                             : HeadStrides{0, rows * g.heads, rows, g.value_size};
  if (!mask) return g;
  Shape shape = *mask;
  shape.insert(shape.begin(), 4 - shape.size(), 1);
  const Strides dense = strides_of(shape);
  for (size_t a = 0; a < 4; ++a) g.mask[a] = shape[a] == 1 ? 0 : dense[a];
  g.mask_batches = shape[0];
  return g;
}

std::span<const OpDef> fused_attention_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
