// Attention (opset 23 to 25): softmax(q k^T scale, capped, plus bias) v, for every head of every batch.
//
// Operands are [batch, heads, sequence, size], or [batch, sequence, heads * size] with the head counts as attributes.
// Several query heads may share one key and value head. past_key and past_value, when given, come before the keys and values
// of this call; present_key and present_value are both together.
//
//   score   chain of fma over size of (q sqrt(scale)) * (k sqrt(scale)); then softcap * tanh(score / softcap)
//   bias    the mask (true or its number: attend), -inf where it does not reach, where the key lies after the query
//   (is_causal),
//           outside the window around the query, or beyond nonpad_kv_seqlen. The query at i stands at i + offset: offset is
//           the length of the past, or nonpad_kv_seqlen - queries, or 0
//   softmax as Softmax; a query that may attend to nothing gives zeros
//   y       chain of fma over the keys of p * v
#include <cmath>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

enum Input : size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kNonpad };

struct Heads {
  Dim batch, heads, sequence, size;
};
template <class Ctx>
std::optional<Heads> heads_of(const Ctx& ctx, size_t i, const char* count_attr) {
  const MaybeDims dims = dims_of(ctx, i);
  expect_rank(ctx, i, dims, 3, 4);
  if (!dims) return std::nullopt;
  if (dims->size() == 4) return Heads{(*dims)[0], (*dims)[1], (*dims)[2], (*dims)[3]};
  const int64_t heads = ctx.node().attr(count_attr, int64_t{0});
  if (heads < 1) fail(ctx, std::string(count_attr) + " is missing; expected it with operands of rank 3");
  const Dim& all = (*dims)[2];
  if (all.known() && all.value % heads != 0)
    fail(ctx, "input " + std::to_string(i) + " has shape " + describe(*dims) + "; expected a multiple of " +
                  std::to_string(heads) + " heads in the last axis");
  return Heads{(*dims)[0], Dim(heads), (*dims)[1], all.known() ? Dim(all.value / heads) : Dim()};
}

struct Form {
  bool packed = false;  // rank 3
  Heads q, k, v;
  Dim past{0}, total;
};
template <class Ctx>
std::optional<Form> form_of(const Ctx& ctx) {
  const auto q = heads_of(ctx, kQ, "q_num_heads"), k = heads_of(ctx, kK, "kv_num_heads"),
             v = heads_of(ctx, kV, "kv_num_heads");
  if (ctx.has(kPastKey) != ctx.has(kPastValue))
    fail(ctx, "one of past_key and past_value is given; expected both or neither");
  if (ctx.has(kPastKey) && ctx.has(kNonpad))
    fail(ctx, "past_key and nonpad_kv_seqlen are given; expected at most one of them");
  for (const char* window : {"left_window_size", "right_window_size"})
    if (ctx.node().attr(window, int64_t{-1}) < -1) fail(ctx, std::string(window) + " is below -1; expected a size or -1");
  if (!q || !k || !v) return std::nullopt;
  if (dims_of(ctx, kQ)->size() != dims_of(ctx, kK)->size() || dims_of(ctx, kQ)->size() != dims_of(ctx, kV)->size())
    fail(ctx, "Q, K and V differ in rank; expected rank 3 or rank 4 in all");
  Form form{dims_of(ctx, kQ)->size() == 3, *q, *k, *v, Dim(0), Dim()};
  same_dim(ctx, q->batch, k->batch, "the batches of Q and K");
  same_dim(ctx, k->batch, v->batch, "the batches of K and V");
  same_dim(ctx, q->size, k->size, "the head sizes of Q and K");
  same_dim(ctx, k->heads, v->heads, "the heads of K and V");
  same_dim(ctx, k->sequence, v->sequence, "the lengths of K and V");
  if (q->heads.known() && k->heads.known() && (k->heads.value < 1 || q->heads.value % k->heads.value != 0))
    fail(ctx, std::to_string(q->heads.value) + " query heads do not divide into " + std::to_string(k->heads.value) +
                  " key and value heads");
  if (ctx.has(kPastKey)) {
    const MaybeDims key = dims_of(ctx, kPastKey), value = dims_of(ctx, kPastValue);
    expect_rank(ctx, kPastKey, key, 4, 4);
    expect_rank(ctx, kPastValue, value, 4, 4);
    form.past = key ? (*key)[2] : Dim();
    const auto check = [&](const MaybeDims& dims, const Heads& now) {
      if (!dims) return;
      same_dim(ctx, (*dims)[0], now.batch, "the batches of past and present");
      same_dim(ctx, (*dims)[1], now.heads, "the heads of past and present");
      form.past = same_dim(ctx, form.past, (*dims)[2], "the lengths of past_key and past_value");
      same_dim(ctx, (*dims)[3], now.size, "the head sizes of past and present");
    };
    check(key, *k);
    check(value, *v);
  }
  if (form.past == Dim(0))
    form.total = k->sequence;
  else if (form.past.known() && k->sequence.known())
    form.total = Dim(form.past.value + k->sequence.value);
  return form;
}

void infer_attention(InferContext& ctx) {
  expect_real(ctx, kQ);
  const DType dtype = dtype_of(ctx, kQ), value_dtype = dtype_of(ctx, kV);
  const size_t outputs = ctx.node().outputs().size();
  const auto form = form_of(ctx);
  if (!form) {
    ctx.set_unranked(0, dtype);
    for (size_t i = 1; i < outputs; ++i) set_dims(ctx, i, i == 2 ? value_dtype : dtype, Dims(4));
    return;
  }
  const Heads &q = form->q, &k = form->k, &v = form->v;
  const Dim hidden = q.heads.known() && v.size.known() ? Dim(q.heads.value * v.size.value) : Dim();
  set_dims(ctx, 0, dtype, form->packed ? Dims{q.batch, q.sequence, hidden} : Dims{q.batch, q.heads, q.sequence, v.size});
  if (outputs > 1) set_dims(ctx, 1, dtype, Dims{k.batch, k.heads, form->total, k.size});
  if (outputs > 2) set_dims(ctx, 2, value_dtype, Dims{v.batch, v.heads, form->total, v.size});
  if (outputs > 3) set_dims(ctx, 3, dtype, Dims{q.batch, q.heads, q.sequence, form->total});
}

// Dense [batch, heads, sequence, size].
template <class C>
struct Operand {
  int64_t heads = 0, sequence = 0, size = 0;
  std::vector<C> data;
  const C* row(int64_t batch, int64_t head, int64_t at) const {
    return data.data() + ((batch * heads + head) * sequence + at) * size;
  }
};

template <class C>
Operand<C> operand_of(EvalContext& ctx, const Tensor& t, const Heads& form, bool packed) {
  Operand<C> out{form.heads.value, form.sequence.value, form.size.value, {}};
  const Shape shape{form.batch.value, out.heads, out.sequence, out.size};
  const Strides strides =
      packed ? Strides{out.sequence * out.heads * out.size, out.size, out.heads * out.size, 1} : strides_of(shape);
  const Tensor dense = gather_strided(ctx, t, shape, strides);
  out.data.reserve(static_cast<size_t>(dense.size()));
  for (int64_t i = 0; i < dense.size(); ++i) out.data.push_back(static_cast<C>(dense.at_f64(i)));
  return out;
}

// past, then present, along the sequence.
template <class C>
Operand<C> joined(const Operand<C>& past, const Operand<C>& now, int64_t batches) {
  Operand<C> out{now.heads, past.sequence + now.sequence, now.size, {}};
  for (int64_t b = 0; b < batches; ++b)
    for (int64_t h = 0; h < now.heads; ++h)
      for (const Operand<C>* part : {&past, &now}) {
        const C* from = part->data.data() + (b * part->heads + h) * part->sequence * part->size;
        out.data.insert(out.data.end(), from, from + part->sequence * part->size);
      }
  return out;
}

template <class C>
Tensor stored(EvalContext& ctx, const std::vector<C>& v, DType dtype, const Shape& shape) {
  return from_f64(ctx, std::vector<double>(v.begin(), v.end()), dtype, shape);
}

// The mask's part of the bias: element (b, h, i, j) of a tensor that broadcasts to it from the right.
class Mask {
 public:
  Mask(EvalContext& ctx, int64_t batches, int64_t heads, int64_t queries, int64_t keys) {
    if (!ctx.has(kMask)) return;
    mask_ = &ctx.in(kMask);
    Shape shape = mask_->shape();
    if (shape.size() > 4) fail(ctx, "attn_mask has shape " + octet::to_string(shape) + "; expected rank 4 at most");
    shape.insert(shape.begin(), 4 - shape.size(), 1);
    const Strides dense = strides_of(shape);
    const Shape wanted{batches, heads, queries, keys};
    for (size_t a = 0; a < 4; ++a) {
      const bool shorter = a == 3 && shape[a] <= keys;
      if (shape[a] != 1 && shape[a] != wanted[a] && !shorter)
        fail(ctx, "attn_mask has shape " + octet::to_string(mask_->shape()) + "; expected one that broadcasts to " +
                      octet::to_string(wanted));
      strides_[a] = shape[a] == 1 && (a < 3 || keys == 1 || mask_->size() == 1) ? 0 : dense[a];
    }
    reach_ = strides_[3] == 0 ? keys : shape[3];
  }
  double at(int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (!mask_) return 0;
    if (j >= reach_) return -INFINITY;
    const double v = mask_->at_f64(b * strides_[0] + h * strides_[1] + i * strides_[2] + j * strides_[3]);
    return mask_->dtype() == DType::boolean ? (v != 0 ? 0.0 : -INFINITY) : v;
  }

 private:
  const Tensor* mask_ = nullptr;
  std::array<int64_t, 4> strides_{};
  int64_t reach_ = 0;
};

// Which keys the query at position p may see.
struct Sight {
  bool causal;
  int64_t left, right;
  explicit Sight(const Node& node)
      : causal(node.attr("is_causal", int64_t{0}) != 0),
        left(node.attr("left_window_size", int64_t{-1})),
        right(node.attr("right_window_size", int64_t{-1})) {}
  bool sees(int64_t p, int64_t key) const {
    return !(causal && key > p) && !(left >= 0 && key < p - left) && !(right >= 0 && key > p + right);
  }
};

float exponential(float v) { return numerics::exp(v); }
double exponential(double v) { return std::exp(v); }

// Scores plus bias to probabilities, in place.
template <class C>
void softmax(std::vector<C>& x) {
  C m = -std::numeric_limits<C>::infinity();
  for (const C v : x) m = m > v ? m : v;
  if (m == -std::numeric_limits<C>::infinity()) {
    std::fill(x.begin(), x.end(), C{0});
    return;
  }
  for (C& v : x) v = exponential(v - m);
  const C sum = sum_of<C>(static_cast<int64_t>(x.size()), [&](int64_t i) { return x[static_cast<size_t>(i)]; });
  for (C& v : x) v = v / sum;
}

template <class C>
void attend(EvalContext& ctx) {
  const Form form = *form_of(ctx);
  const Node& node = ctx.node();
  const int64_t batches = form.q.batch.value;
  const Operand<C> q = operand_of<C>(ctx, ctx.in(kQ), form.q, form.packed);
  Operand<C> k = operand_of<C>(ctx, ctx.in(kK), form.k, form.packed),
             v = operand_of<C>(ctx, ctx.in(kV), form.v, form.packed);
  if (ctx.has(kPastKey)) {
    const auto past = [&](size_t i, Heads now) {
      now.sequence = form.past;
      return operand_of<C>(ctx, ctx.in(i), now, false);
    };
    k = joined(past(kPastKey, form.k), k, batches);
    v = joined(past(kPastValue, form.v), v, batches);
  }
  const int64_t keys = k.sequence, group = q.heads / k.heads;
  const auto scale = static_cast<C>(std::sqrt(node.has_attr("scale") ? static_cast<double>(node.attr("scale", 1.0f))
                                                                     : 1 / std::sqrt(static_cast<double>(q.size))));
  const auto cap = static_cast<C>(node.attr("softcap", 0.0f));
  const int64_t mode = node.attr("qk_matmul_output_mode", int64_t{0});
  const Mask mask(ctx, batches, q.heads, q.sequence, keys);
  const Sight sight(node);
  const DType dtype = ctx.in(kQ).dtype();
  if (ctx.has(kNonpad) && ctx.in(kNonpad).size() != batches)
    fail(ctx, "nonpad_kv_seqlen has " + std::to_string(ctx.in(kNonpad).size()) + " elements; expected one a batch");

  std::vector<C> y(static_cast<size_t>(batches * q.heads * q.sequence * v.size), C{0}), debug;
  for (int64_t b = 0; b < batches; ++b) {
    const int64_t valid = ctx.has(kNonpad) ? ctx.in(kNonpad).at_s64(b) : keys;
    const int64_t offset = ctx.has(kNonpad) ? valid - q.sequence : form.past.value;
    for (int64_t h = 0; h < q.heads; ++h)
      for (int64_t i = 0; i < q.sequence; ++i) {
        std::vector<C> raw, capped, scores;
        for (int64_t j = 0; j < keys; ++j) {
          const C *left = q.row(b, h, i), *right = k.row(b, h / group, j);
          C score{0};
          for (int64_t d = 0; d < q.size; ++d) score = std::fma(left[d] * scale, right[d] * scale, score);
          raw.push_back(score);
          if (cap > C{0}) score = cap * static_cast<C>(std::tanh(static_cast<double>(score / cap)));
          capped.push_back(score);
          const bool hidden = j >= valid || !sight.sees(i + offset, j);
          const double bias = hidden ? -INFINITY : mask.at(b, h, i, j);
          scores.push_back(bias == -INFINITY ? -std::numeric_limits<C>::infinity() : score + static_cast<C>(bias));
        }
        if (mode == 0) debug.insert(debug.end(), raw.begin(), raw.end());
        if (mode == 1) debug.insert(debug.end(), capped.begin(), capped.end());
        if (mode == 2) debug.insert(debug.end(), scores.begin(), scores.end());
        softmax(scores);
        if (mode == 3) debug.insert(debug.end(), scores.begin(), scores.end());
        const int64_t at = form.packed ? (b * q.sequence + i) * q.heads + h : (b * q.heads + h) * q.sequence + i;
        C* to = y.data() + at * v.size;
        for (int64_t j = 0; j < keys; ++j) {
          const C p = scores[static_cast<size_t>(j)];
          const C* value = v.row(b, h / group, j);
          for (int64_t d = 0; d < v.size; ++d) to[d] = std::fma(p, value[d], to[d]);
        }
      }
  }
  ctx.out(0) =
      stored(ctx, y, dtype,
             form.packed ? Shape{batches, q.sequence, q.heads * v.size} : Shape{batches, q.heads, q.sequence, v.size});
  if (ctx.output_count() > 1) ctx.out(1) = stored(ctx, k.data, dtype, {batches, k.heads, keys, k.size});
  if (ctx.output_count() > 2) ctx.out(2) = stored(ctx, v.data, ctx.in(kV).dtype(), {batches, v.heads, keys, v.size});
  if (ctx.output_count() > 3) ctx.out(3) = stored(ctx, debug, dtype, {batches, q.heads, q.sequence, keys});
}

void eval_attention(EvalContext& ctx) {
  if (!is_float(ctx.in(kQ).dtype())) fail_dtype(ctx, ctx.in(kQ).dtype());
  if (ctx.in(kQ).dtype() == DType::f64) return attend<double>(ctx);
  attend<float>(ctx);
}

std::vector<OpDef> define() {
  constexpr AttrKind f = AttrKind::f, i = AttrKind::i;
  return {
      {.name = "Attention",
       .inputs =
           {{"Q"}, {"K"}, {"V"}, {"attn_mask", true}, {"past_key", true}, {"past_value", true}, {"nonpad_kv_seqlen", true}},
       .attrs = {{"is_causal", i},
                 {"kv_num_heads", i},
                 {"left_window_size", i},
                 {"q_num_heads", i},
                 {"qk_matmul_output_mode", i},
                 {"right_window_size", i},
                 {"scale", f},
                 {"softcap", f},
                 {"softmax_precision", i}},
       .max_outputs = 4,
       .infer = infer_attention,
       .eval = eval_attention}};
}

}  // namespace

std::span<const OpDef> attention_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
