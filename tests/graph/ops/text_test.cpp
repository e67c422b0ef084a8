#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

// The pool: 2, 3 and the pairs (5, 6), (7, 8); columns in that order.
Attrs pool(const char* mode, int64_t least, int64_t most, int64_t skips) {
  return {{"mode", text(mode)},
          {"min_gram_length", number(least)},
          {"max_gram_length", number(most)},
          {"max_skip_count", number(skips)},
          {"ngram_counts", ints({0, 2})},
          {"ngram_indexes", ints({0, 1, 2, 3})},
          {"pool_int64s", ints({2, 3, 5, 6, 7, 8})}};
}

TEST(TfIdfVectorizer, CountsNgramsOfEachRow) {
  const Tensor x = longs({2, 4}, {2, 2, 5, 6, 7, 8, 3, 9});
  const Tensor y = eval("TfIdfVectorizer", {x}, pool("TF", 1, 2, 0));
  EXPECT_EQ(y.shape(), (Shape{2, 4}));
  EXPECT_EQ(y.to_f32(), (Floats{2, 0, 1, 0, 0, 1, 0, 1}));
}

TEST(TfIdfVectorizer, SkipsTokensButCountsSingleOnesOnce) {
  EXPECT_EQ(eval("TfIdfVectorizer", {longs({4}, {5, 2, 6, 6})}, pool("TF", 1, 2, 2)).to_f32(), (Floats{1, 0, 2, 0}));
  EXPECT_EQ(eval("TfIdfVectorizer", {longs({4}, {5, 2, 6, 6})}, pool("TF", 2, 2, 0)).to_f32(), (Floats{0, 0, 0, 0}));
}

TEST(TfIdfVectorizer, WeighsOccurrencesOrCounts) {
  Attrs attrs = pool("IDF", 1, 1, 0);
  attrs["weights"] = Floats{3, 1, 1, 1};
  EXPECT_EQ(eval("TfIdfVectorizer", {longs({2}, {2, 2})}, attrs).to_f32(), (Floats{3, 0, 0, 0}));
  attrs["mode"] = text("TFIDF");
  EXPECT_EQ(eval("TfIdfVectorizer", {longs({2}, {2, 2})}, attrs).to_f32(), (Floats{6, 0, 0, 0}));
}

TEST(TfIdfVectorizer, RefusesAPoolThatDoesNotDivide) {
  Attrs attrs = pool("TF", 1, 2, 0);
  attrs["ngram_counts"] = ints({0, 3});
  EXPECT_NE(refusal("TfIdfVectorizer", {longs({2}, {2, 2})}, attrs), "");
}

}  // namespace
}  // namespace octet::graph::test
