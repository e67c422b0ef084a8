// TfIdfVectorizer: how often the n-grams of a pool occur in rows of tokens. With skip distance s an n-gram is n tokens s
// apart; distances 1 to max_skip_count + 1 are all counted, single tokens once. TF: the count; IDF: the weight where it
// occurs; TFIDF: the count times the weight.
#include <algorithm>
#include <map>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

using Gram = std::vector<int64_t>;

struct Pool {
  std::map<Gram, size_t> grams;  // to its number in the pool
  std::vector<int64_t> coordinate;
  int64_t width = 0;  // of the output
};

template <class Ctx>
Pool pool_of(const Ctx& ctx) {
  const Node& node = ctx.node();
  const std::string mode = node.attr("mode", "");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF") fail(ctx, "mode is '" + mode + "'; expected TF, IDF or TFIDF");
  const std::vector<int64_t> tokens = node.ints("pool_int64s"), starts = node.ints("ngram_counts");
  Pool pool;
  pool.coordinate = node.ints("ngram_indexes");
  for (const int64_t c : pool.coordinate) {
    if (c < 0 || c > INT32_MAX)
      fail(ctx, "ngram_indexes holds " + std::to_string(c) + "; expected coordinates of the output");
    pool.width = std::max(pool.width, c + 1);
  }
  if (const auto weights = node.floats("weights"); !weights.empty() && weights.size() != pool.coordinate.size())
    fail(ctx,
         "weights has " + std::to_string(weights.size()) + " elements; expected " + std::to_string(pool.coordinate.size()));
  size_t number = 0;
  for (size_t n = 1; n <= starts.size(); ++n) {
    const auto size = static_cast<int64_t>(tokens.size());
    const int64_t begin = starts[n - 1], end = n < starts.size() ? starts[n] : size;
    const auto length = static_cast<int64_t>(n);
    if (begin < 0 || begin > end || end > size || (end - begin) % length != 0)
      fail(ctx, "ngram_counts does not divide the pool into n-grams");
    for (int64_t at = begin; at < end; at += length)
      pool.grams.emplace(Gram(tokens.begin() + at, tokens.begin() + at + length), number++);
  }
  if (number != pool.coordinate.size())
    fail(ctx, "the pool holds " + std::to_string(number) + " n-grams; expected " + std::to_string(pool.coordinate.size()) +
                  ", one each of ngram_indexes");
  return pool;
}

template <class Ctx>
MaybeDims tf_idf_dims(const Ctx& ctx, const Pool& pool) {
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 1, 2);
  if (!x) return std::nullopt;
  Dims out = *x;
  out.back() = Dim(pool.width);
  return out;
}

void infer_tf_idf(InferContext& ctx) {
  if (ctx.node().has_attr("pool_strings"))
    throw Error(ErrorCode::unsupported,
                "node '" + ctx.node().name() + "' (TfIdfVectorizer): strings are only passed through, not computed with");
  expect_dtype(ctx, 0, {DType::s32, DType::s64});
  set_dims(ctx, 0, DType::f32, tf_idf_dims(ctx, pool_of(ctx)));
}

void eval_tf_idf(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Node& node = ctx.node();
  const Pool pool = pool_of(ctx);
  const Shape shape = to_shape(*tf_idf_dims(ctx, pool));
  const std::string mode = node.attr("mode", "TF");
  const int64_t least = std::max<int64_t>(node.attr("min_gram_length", int64_t{1}), 1);
  const int64_t most = node.attr("max_gram_length", int64_t{1}), skips = node.attr("max_skip_count", int64_t{0});
  const std::vector<float> weights = node.floats("weights");
  const int64_t length = x.shape().back(), rows = length == 0 ? 0 : x.size() / length;
  Tensor y(DType::f32, shape);
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int64_t> counts(pool.coordinate.size(), 0);
    for (int64_t distance = 1; distance <= skips + 1; ++distance)
      for (int64_t n = least; n <= most; ++n) {
        if (n == 1 && distance > 1) continue;
        for (int64_t start = 0; start + (n - 1) * distance < length; ++start) {
          Gram gram;
          for (int64_t i = 0; i < n; ++i) gram.push_back(x.at_s64(r * length + start + i * distance));
          if (const auto it = pool.grams.find(gram); it != pool.grams.end()) ++counts[it->second];
        }
      }
    for (size_t g = 0; g < counts.size(); ++g) {
      if (counts[g] == 0) continue;
      const float weight = weights.empty() || mode == "TF" ? 1.0f : weights[g];
      y.mutable_as<float>()[r * pool.width + pool.coordinate[g]] =
          mode == "IDF" ? weight : static_cast<float>(counts[g]) * weight;
    }
  }
  ctx.out() = y;
}

std::vector<OpDef> define() {
  constexpr AttrKind i = AttrKind::i, ints = AttrKind::ints;
  return {{.name = "TfIdfVectorizer",
           .inputs = {{"X"}},
           .attrs = {{"max_gram_length", i, true},
                     {"max_skip_count", i, true},
                     {"min_gram_length", i, true},
                     {"mode", AttrKind::s, true},
                     {"ngram_counts", ints, true},
                     {"ngram_indexes", ints, true},
                     {"pool_int64s", ints},
                     {"pool_strings", AttrKind::strings},
                     {"weights", AttrKind::floats}},
           .infer = infer_tf_idf,
           .eval = eval_tf_idf}};
}

}  // namespace

std::span<const OpDef> text_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
