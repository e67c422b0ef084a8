// What decoders bring besides Attention: RotaryEmbedding, TensorScatter, CausalConvWithState, LinearAttention, SwiGLU.
//
//   RotaryEmbedding      pairs (a, b) of a head's elements turn: (cos a - sin b, sin a + cos b); a pair is one element of
//   each
//                        half, or two neighbours (interleaved)
//   TensorScatter        an update written into a cache along the sequence axis, from write_indices[batch] on
//   CausalConvWithState  depthwise convolution over [state, input]; the last k - 1 columns are the next state
//   LinearAttention      S = exp(g) S; v = beta (v - S^T k); S = S + k v^T; y = scale S^T q, token by token
//   SwiGLU               swish(a) * b
//
// 16-bit floats are computed in float and rounded once.
#include <algorithm>
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

// --- RotaryEmbedding: X is [batch, heads, sequence, size] or [batch, sequence, heads * size]
// -------------------------------------
template <class Ctx>
void check_rotary(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 3, 4);
  const size_t rank = ctx.has(3) ? 2 : 3;
  for (const size_t i : {size_t{1}, size_t{2}}) expect_rank(ctx, i, dims_of(ctx, i), rank, rank);
  if (!x) return;
  const int64_t heads = ctx.node().attr("num_heads", int64_t{0});
  Dim size = x->back();
  if (x->size() == 3) {
    if (heads < 1) fail(ctx, "num_heads is missing; expected it with an input of rank 3");
    if (size.known() && size.value % heads != 0)
      fail(ctx, "the last axis has size " + std::to_string(size.value) + "; expected a multiple of num_heads, " +
                    std::to_string(heads));
    size = size.known() ? Dim(size.value / heads) : Dim();
  }
  const int64_t turned = ctx.node().attr("rotary_embedding_dim", int64_t{0});
  if (turned < 0 || turned % 2 != 0 || (size.known() && (turned > size.value || (turned == 0 && size.value % 2 != 0))))
    fail(ctx,
         "cannot turn " + std::to_string(turned) + " of " + describe({size}) + " elements a head; expected an even number");
  const Dim half = turned > 0 ? Dim(turned / 2) : size.known() ? Dim(size.value / 2) : Dim();
  for (const size_t i : {size_t{1}, size_t{2}})
    if (const MaybeDims cache = dims_of(ctx, i))
      same_dim(ctx, cache->back(), half, "the cache's last axis and half of what turns");
}
void infer_rotary(InferContext& ctx) {
  expect_real(ctx, 0);
  check_rotary(ctx);
  set_dims(ctx, 0, dtype_of(ctx, 0), dims_of(ctx, 0));
}

void eval_rotary(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  check_rotary(ctx);
  const Shape& shape = x.shape();
  const bool packed = shape.size() == 3;
  const int64_t heads = packed ? ctx.node().attr("num_heads", int64_t{1}) : shape[1];
  const int64_t sequence = packed ? shape[1] : shape[2], size = packed ? shape[2] / heads : shape[3];
  const int64_t given = ctx.node().attr("rotary_embedding_dim", int64_t{0});
  const int64_t half = (given ? given : size) / 2;
  const bool interleaved = ctx.node().attr("interleaved", int64_t{0}) != 0;
  const std::vector<float> values = x.to_f32(), cosines = ctx.in(1).to_f32(), sines = ctx.in(2).to_f32();
  const int64_t rows = ctx.in(1).size() / std::max<int64_t>(half, 1);
  if (ctx.in(2).size() != ctx.in(1).size()) fail(ctx, "cos_cache and sin_cache differ in size");
  if (ctx.has(3) && ctx.in(3).size() != shape[0] * sequence)
    fail(ctx, "position_ids has shape " + octet::to_string(ctx.in(3).shape()) + "; expected one position a token");
  std::vector<float> out = values;
  for (int64_t line = 0; line < shape[0] * heads * sequence; ++line) {
    const int64_t batch = line / (heads * sequence);
    const int64_t token = packed ? line / heads % sequence : line % sequence;
    const int64_t row = ctx.has(3) ? ctx.in(3).at_s64(batch * sequence + token) : batch * sequence + token;
    if (row < 0 || row >= rows)
      ctx.fail(ErrorCode::invalid_argument,
               "position " + std::to_string(row) + " is out of range; expected 0 to " + std::to_string(rows - 1));
    for (int64_t i = 0; i < half; ++i) {
      const auto a = static_cast<size_t>(line * size + (interleaved ? 2 * i : i));
      const auto b = interleaved ? a + 1 : a + static_cast<size_t>(half);
      const float c = cosines[static_cast<size_t>(row * half + i)], s = sines[static_cast<size_t>(row * half + i)];
      out[a] = c * values[a] - s * values[b];
      out[b] = s * values[a] + c * values[b];
    }
  }
  ctx.out() = from_float32(Tensor::of<float>(DType::f32, shape, out), x.dtype());
}

// --- TensorScatter
// ------------------------------------------------------------------------------------------------------------
template <class Ctx>
size_t sequence_axis(const Ctx& ctx, size_t rank) {
  const int64_t axis = normalize_axis(ctx, ctx.node().attr("axis", int64_t{-2}), static_cast<int64_t>(rank));
  if (axis == 0) fail(ctx, "axis is 0, the batch; expected the sequence axis");
  return static_cast<size_t>(axis);
}
void infer_tensor_scatter(InferContext& ctx) {
  const std::string mode = ctx.node().attr("mode", "linear");
  if (mode != "linear" && mode != "circular") fail(ctx, "mode is '" + mode + "'; expected linear or circular");
  expect_same_dtype(ctx, 0, 1);
  const MaybeDims cache = dims_of(ctx, 0), update = dims_of(ctx, 1);
  if (cache) {
    const size_t axis = sequence_axis(ctx, cache->size());
    if (update && update->size() != cache->size())
      fail(ctx, "past_cache and update differ in rank: " + describe(*cache) + " and " + describe(*update));
    for (size_t i = 0; update && i < cache->size(); ++i)
      if (i != axis) same_dim(ctx, (*cache)[i], (*update)[i], "the axes of past_cache and update");
  }
  set_dims(ctx, 0, dtype_of(ctx, 0), cache);
}
void eval_tensor_scatter(EvalContext& ctx) {
  const Tensor &cache = ctx.in(0), &update = ctx.in(1);
  const Shape& shape = cache.shape();
  const size_t axis = sequence_axis(ctx, shape.size());
  Shape wanted = shape;
  if (update.shape().size() == shape.size()) wanted[axis] = update.shape()[axis];
  if (update.shape() != wanted)
    fail(ctx, "update has shape " + octet::to_string(update.shape()) + "; expected that of the cache but for the sequence");
  const bool circular = ctx.node().attr("mode", "linear") == "circular";
  const int64_t most = shape[axis], length = wanted[axis], inner = product(shape, axis + 1, shape.size());
  const int64_t outer = product(shape, 0, axis), per_batch = product(shape, 1, axis);
  if (ctx.has(2) && ctx.in(2).size() != shape[0]) fail(ctx, "write_indices does not have one element a batch");
  Tensor y = gather_strided(ctx, cache, shape, strides_of(shape));
  with_bytes(ctx, cache.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t o = 0; o < outer; ++o) {
      const int64_t start = ctx.has(2) ? ctx.in(2).at_s64(o / per_batch) : 0;
      if (start < 0 || (!circular && start + length > most))
        ctx.fail(ErrorCode::invalid_argument, "write index " + std::to_string(start) + " is out of range; expected 0 to " +
                                                  std::to_string(most - length));
      for (int64_t s = 0; s < length; ++s)
        std::copy_n(update.as<T>() + (o * length + s) * inner, inner,
                    y.mutable_as<T>() + (o * most + (start + s) % most) * inner);
    }
  });
  ctx.out() = y;
}

// --- CausalConvWithState: input [batch, channels, length], weight [channels, 1, k], state [batch, channels, k - 1]
// ---------------
void infer_causal_conv(InferContext& ctx) {
  const std::string activation = ctx.node().attr("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    fail(ctx, "activation is '" + activation + "'; expected none, silu or swish");
  expect_real(ctx, 0);
  const MaybeDims x = dims_of(ctx, 0), w = dims_of(ctx, 1);
  expect_rank(ctx, 0, x, 3, 3);
  expect_rank(ctx, 1, w, 3, 3);
  if (x && w) same_dim(ctx, (*x)[1], (*w)[0], "the channels of input and weight");
  if (w) same_dim(ctx, (*w)[1], Dim(1), "the weight's axis 1 and 1, as each channel stands alone,");
  const Dim kernel = w ? (*w)[2] : Dim();
  if (kernel == Dim(0)) fail(ctx, "the kernel has size 0; expected at least 1");
  const Dims state{x ? (*x)[0] : Dim(), x ? (*x)[1] : Dim(), kernel.known() ? Dim(kernel.value - 1) : Dim()};
  if (ctx.has(3)) {
    const MaybeDims past = dims_of(ctx, 3);
    expect_rank(ctx, 3, past, 3, 3);
    for (size_t i = 0; past && i < 3; ++i) same_dim(ctx, (*past)[i], state[i], "the shapes of past_state and its use");
  }
  set_dims(ctx, 0, dtype_of(ctx, 0), x);
  set_dims(ctx, 1, dtype_of(ctx, 0), state);
}
void eval_causal_conv(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const int64_t rows = x.shape()[0] * x.shape()[1], channels = x.shape()[1], length = x.shape()[2];
  const int64_t k = ctx.in(1).shape()[2], kept = k - 1, width = length + kept;
  const std::vector<float> values = x.to_f32(), weights = ctx.in(1).to_f32();
  const std::vector<float> bias = ctx.has(2) ? ctx.in(2).to_f32() : std::vector<float>(static_cast<size_t>(channels), 0.0f);
  const std::vector<float> past =
      ctx.has(3) ? ctx.in(3).to_f32() : std::vector<float>(static_cast<size_t>(rows * kept), 0.0f);
  if (static_cast<int64_t>(bias.size()) != channels || static_cast<int64_t>(past.size()) != rows * kept ||
      static_cast<int64_t>(weights.size()) != channels * k)
    fail(ctx, "weight, bias or past_state does not fit the " + std::to_string(channels) + " channels of the input");
  const bool silu = ctx.node().attr("activation", "none") != "none";
  Tensor y(DType::f32, x.shape()), state(DType::f32, {x.shape()[0], channels, kept});
  std::vector<float> line(static_cast<size_t>(width));
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(past.begin() + r * kept, kept, line.begin());
    std::copy_n(values.begin() + r * length, length, line.begin() + kept);
    for (int64_t i = 0; i < length; ++i) {
      float sum = bias[static_cast<size_t>(r % channels)];
      for (int64_t t = 0; t < k; ++t)
        sum = std::fma(line[static_cast<size_t>(i + t)], weights[static_cast<size_t>(r % channels * k + t)], sum);
      y.mutable_as<float>()[r * length + i] = silu ? sum * numerics::sigmoid(sum) : sum;
    }
    std::copy_n(line.end() - kept, kept, state.mutable_as<float>() + r * kept);
  }
  ctx.out(0) = from_float32(y, x.dtype());
  if (ctx.output_count() > 1) ctx.out(1) = from_float32(state, x.dtype());
}

// --- LinearAttention: [batch, tokens, heads * size]; the state is [batch, heads, d_k, d_v]
// ---------------------------------------
struct LinearForm {
  int64_t q_heads = 1, heads = 1;
  bool gated = false, delta = false;
  Dim batch, tokens, d_k, d_v;
};
template <class Ctx>
LinearForm linear_form(const Ctx& ctx) {
  LinearForm form;
  const std::string rule = ctx.node().attr("update_rule", "gated_delta");
  if (rule != "linear" && rule != "gated" && rule != "delta" && rule != "gated_delta")
    fail(ctx, "update_rule is '" + rule + "'; expected linear, gated, delta or gated_delta");
  form.gated = rule.starts_with("gated");
  form.delta = rule.ends_with("delta");
  form.q_heads = ctx.node().attr("q_num_heads", int64_t{0});
  form.heads = ctx.node().attr("kv_num_heads", int64_t{0});
  if (form.heads < 1 || form.q_heads < 1 || form.q_heads % form.heads != 0)
    fail(ctx, std::to_string(form.q_heads) + " query heads do not divide into " + std::to_string(form.heads) + " others");
  if (form.gated != ctx.has(4))
    fail(ctx, "decay is " + std::string(form.gated ? "missing" : "given") + ", which does not suit update_rule " + rule);
  if (form.delta != ctx.has(5))
    fail(ctx, "beta is " + std::string(form.delta ? "missing" : "given") + ", which does not suit update_rule " + rule);
  const int64_t counts[] = {form.q_heads, form.heads, form.heads};
  for (size_t i = 0; i < 3; ++i) {
    const MaybeDims dims = dims_of(ctx, i);
    expect_rank(ctx, i, dims, 3, 3);
    if (!dims) continue;
    form.batch = same_dim(ctx, form.batch, (*dims)[0], "batches");
    form.tokens = same_dim(ctx, form.tokens, (*dims)[1], "sequence lengths");
    const Dim& all = (*dims)[2];
    if (!all.known()) continue;
    if (all.value % counts[i] != 0)
      fail(ctx, "input " + std::to_string(i) + " has shape " + describe(*dims) + "; expected a multiple of " +
                    std::to_string(counts[i]) + " heads in the last axis");
    Dim& size = i == 2 ? form.d_v : form.d_k;
    size = same_dim(ctx, size, Dim(all.value / counts[i]), "the head sizes of query and key");
  }
  return form;
}
void infer_linear_attention(InferContext& ctx) {
  expect_real(ctx, 0);
  const LinearForm form = linear_form(ctx);
  set_dims(ctx, 0, dtype_of(ctx, 0),
           Dims{form.batch, form.tokens, form.d_v.known() ? Dim(form.q_heads * form.d_v.value) : Dim()});
  set_dims(ctx, 1, dtype_of(ctx, ctx.has(3) ? 3 : 0), Dims{form.batch, Dim(form.heads), form.d_k, form.d_v});
}
void eval_linear_attention(EvalContext& ctx) {
  const LinearForm form = linear_form(ctx);
  const int64_t batches = form.batch.value, tokens = form.tokens.value, dk = form.d_k.value, dv = form.d_v.value;
  const int64_t heads = form.heads, group = form.q_heads / heads;
  const std::vector<float> q = ctx.in(0).to_f32(), k = ctx.in(1).to_f32(), v = ctx.in(2).to_f32();
  const std::vector<float> decay = form.gated ? ctx.in(4).to_f32() : std::vector<float>();
  const std::vector<float> beta = form.delta ? ctx.in(5).to_f32() : std::vector<float>();
  const int64_t decays = form.gated ? ctx.in(4).shape().back() : heads, betas = form.delta ? ctx.in(5).shape().back() : 1;
  if ((decays != heads && decays != heads * dk) ||
      (form.gated && static_cast<int64_t>(decay.size()) != batches * tokens * decays))
    fail(ctx,
         "decay has shape " + octet::to_string(ctx.in(4).shape()) + "; expected one number a head or one a key element");
  if ((betas != heads && betas != 1) || (form.delta && static_cast<int64_t>(beta.size()) != batches * tokens * betas))
    fail(ctx, "beta has shape " + octet::to_string(ctx.in(5).shape()) + "; expected one number a head or one for all");
  const Shape state_shape{batches, heads, dk, dv};
  if (ctx.has(3) && ctx.in(3).shape() != state_shape)
    fail(ctx, "past_state has shape " + octet::to_string(ctx.in(3).shape()) + "; expected " + octet::to_string(state_shape));
  std::vector<float> states =
      ctx.has(3) ? ctx.in(3).to_f32() : std::vector<float>(static_cast<size_t>(element_count(state_shape)), 0.0f);
  const float given = ctx.node().attr("scale", 0.0f);
  const float scale = given != 0.0f ? given : 1.0f / std::sqrt(static_cast<float>(dk));
  std::vector<float> out(static_cast<size_t>(batches * tokens * form.q_heads * dv));
  std::vector<float> value(static_cast<size_t>(dv));
  for (int64_t line = 0; line < batches * heads * tokens; ++line) {
    const int64_t b = line / (heads * tokens), h = line / tokens % heads, token = b * tokens + line % tokens;
    float* s = states.data() + (b * heads + h) * dk * dv;
    const float* key = k.data() + (token * heads + h) * dk;
    std::copy_n(v.begin() + (token * heads + h) * dv, dv, value.begin());
    for (int64_t i = 0; form.gated && i < dk; ++i) {
      const float g = numerics::exp(decay[static_cast<size_t>(token * decays + (decays == heads ? h : h * dk + i))]);
      for (int64_t j = 0; j < dv; ++j) s[i * dv + j] *= g;
    }
    for (int64_t j = 0; form.delta && j < dv; ++j) {
      float recalled = 0;
      for (int64_t i = 0; i < dk; ++i) recalled = std::fma(s[i * dv + j], key[i], recalled);
      float& x = value[static_cast<size_t>(j)];
      x = beta[static_cast<size_t>(token * betas + (betas == 1 ? 0 : h))] * (x - recalled);
    }
    for (int64_t i = 0; i < dk; ++i)
      for (int64_t j = 0; j < dv; ++j) s[i * dv + j] = std::fma(key[i], value[static_cast<size_t>(j)], s[i * dv + j]);
    for (int64_t g = 0; g < group; ++g) {
      const int64_t at = token * form.q_heads + h * group + g;
      for (int64_t j = 0; j < dv; ++j) {
        float sum = 0;
        for (int64_t i = 0; i < dk; ++i) sum = std::fma(q[static_cast<size_t>(at * dk + i)], s[i * dv + j], sum);
        out[static_cast<size_t>(at * dv + j)] = scale * sum;
      }
    }
  }
  ctx.out(0) = from_float32(Tensor::of<float>(DType::f32, {batches, tokens, form.q_heads * dv}, out), ctx.in(0).dtype());
  if (ctx.output_count() > 1)
    ctx.out(1) = from_float32(Tensor::of<float>(DType::f32, state_shape, states), ctx.in(ctx.has(3) ? 3 : 0).dtype());
}

// --- SwiGLU
// -------------------------------------------------------------------------------------------------------------------
void infer_swiglu(InferContext& ctx) {
  expect_real(ctx, 0);
  expect_same_dtype(ctx, 0, 1);
  const MaybeDims a = dims_of(ctx, 0), b = dims_of(ctx, 1);
  if (a && b && a->size() != b->size())
    fail(ctx, "A and B have shapes " + describe(*a) + " and " + describe(*b) + "; expected the same");
  MaybeDims out = a ? a : b;
  for (size_t i = 0; a && b && i < a->size(); ++i) (*out)[i] = same_dim(ctx, (*a)[i], (*b)[i], "the axes of A and B");
  set_dims(ctx, 0, dtype_of(ctx, 0), out);
}
void eval_swiglu(EvalContext& ctx) {
  const Tensor &a = ctx.in(0), &b = ctx.in(1);
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) fail(ctx, "A and B differ in shape or type");
  const float alpha = ctx.node().attr("alpha", 1.0f);
  Tensor y(a.dtype(), a.shape());
  with_float(ctx, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    for (int64_t i = 0; i < a.size(); ++i) {
      const auto x = static_cast<C>(a.as<T>()[i]);
      C gate;
      if constexpr (std::is_same_v<C, double>)
        gate = x / (1.0 + std::exp(-static_cast<double>(alpha) * x));
      else
        gate = x * numerics::sigmoid(alpha * x);
      y.mutable_as<T>()[i] = static_cast<T>(gate * static_cast<C>(b.as<T>()[i]));
    }
  });
  ctx.out() = y;
}

std::vector<OpDef> define() {
  constexpr AttrKind f = AttrKind::f, i = AttrKind::i, s = AttrKind::s;
  return {
      {.name = "RotaryEmbedding",
       .inputs = {{"X"}, {"cos_cache"}, {"sin_cache"}, {"position_ids", true}},
       .attrs = {{"interleaved", i}, {"num_heads", i}, {"rotary_embedding_dim", i}},
       .infer = infer_rotary,
       .eval = eval_rotary},
      {.name = "TensorScatter",
       .inputs = {{"past_cache"}, {"update"}, {"write_indices", true}},
       .attrs = {{"axis", i}, {"mode", s}},
       .infer = infer_tensor_scatter,
       .eval = eval_tensor_scatter},
      {.name = "CausalConvWithState",
       .inputs = {{"input"}, {"weight"}, {"bias", true}, {"past_state", true}},
       .attrs = {{"activation", s}},
       .max_outputs = 2,
       .infer = infer_causal_conv,
       .eval = eval_causal_conv},
      {.name = "LinearAttention",
       .inputs = {{"query"}, {"key"}, {"value"}, {"past_state", true}, {"decay", true}, {"beta", true}},
       .attrs = {{"chunk_size", i}, {"kv_num_heads", i, true}, {"q_num_heads", i, true}, {"scale", f}, {"update_rule", s}},
       .max_outputs = 2,
       .infer = infer_linear_attention,
       .eval = eval_linear_attention},
      {.name = "SwiGLU",
       .inputs = {{"A"}, {"B"}},
       .attrs = {{"alpha", f}},
       .infer = infer_swiglu,
       .eval = eval_swiglu,
       .layout = LayoutRole::any},
  };
}

}  // namespace

std::span<const OpDef> decoder_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
