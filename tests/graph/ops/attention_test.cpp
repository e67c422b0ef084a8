#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

// One head, queries and keys of size 1: scores are q * k.
Tensor rows(const Floats& v) { return floats({1, 1, static_cast<int64_t>(v.size()), 1}, v); }
const Attrs kUnscaled = {{"scale", 1.0f}};

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

TEST(Attention, IsAMeanOfTheValuesWeightedBySoftmax) {
  const float first = sigmoid(1);  // softmax of (1, 0)
  expect_near(eval("Attention", {rows({1}), rows({1, 0}), rows({10, 20})}, kUnscaled), {10 * first + 20 * (1 - first)},
              1e-4f);
  expect_near(eval("Attention", {rows({0}), rows({1, 0}), rows({10, 20})}), {15}, 1e-5f);
}

TEST(Attention, CausalQueriesSeeNoLaterKey) {
  Attrs causal = kUnscaled;
  causal["is_causal"] = number(1);
  expect_near(eval("Attention", {rows({0, 0}), rows({0, 0}), rows({10, 20})}, causal), {10, 15}, 1e-5f);
  // With a past of one key the queries stand one place further.
  const auto out =
      eval_all("Attention", {rows({0, 0}), rows({0, 0}), rows({10, 20}), kAbsent, rows({0}), rows({40})}, causal, 3);
  expect_near(out[0], {25, 70.0f / 3}, 1e-4f);
  EXPECT_EQ(out[1].shape(), (Shape{1, 1, 3, 1}));
  EXPECT_EQ(out[2].to_f32(), (Floats{40, 10, 20}));
}

TEST(Attention, MasksAreAddedOrTakenAway) {
  const Tensor q = rows({0}), k = rows({0, 0, 0}), v = rows({1, 2, 6});
  expect_near(eval("Attention", {q, k, v, bools({1, 3}, {1, 0, 1})}), {3.5f}, 1e-5f);
  expect_near(eval("Attention", {q, k, v, floats({1, 3}, {0, -INFINITY, 0})}), {3.5f}, 1e-5f);
  expect_near(eval("Attention", {q, k, v, bools({1, 2}, {1, 1})}), {1.5f}, 1e-5f);  // a shorter mask hides the rest
  EXPECT_EQ(eval("Attention", {q, k, v, bools({1, 3}, {0, 0, 0})}).to_f32(), Floats{0}) << "nothing to attend to";
  EXPECT_NE(refusal("Attention", {q, k, v, bools({2, 3}, {1, 1, 1, 1, 1, 1})}), "");
}

TEST(Attention, WindowsAndPaddingHideKeys) {
  const Tensor q = rows({0, 0, 0}), k = rows({0, 0, 0}), v = rows({3, 6, 9});
  expect_near(eval("Attention", {q, k, v}, {{"left_window_size", number(0)}, {"right_window_size", number(1)}}),
              {4.5f, 7.5f, 9}, 1e-5f);
  expect_near(eval("Attention", {q, k, v, kAbsent, kAbsent, kAbsent, longs({1}, {2})}), {4.5f, 4.5f, 4.5f}, 1e-5f);
}

TEST(Attention, QueryHeadsShareKeyHeadsAndMayBePacked) {
  const Tensor q = floats({1, 1, 4}, {1, 1, 1, 1}), k = floats({1, 1, 2}, {1, 1}), v = floats({1, 1, 2}, {5, 7});
  const Attrs heads = {{"q_num_heads", number(4)}, {"kv_num_heads", number(2)}};
  EXPECT_EQ(eval("Attention", {q, k, v}, heads).to_f32(), (Floats{5, 5, 7, 7}));
  EXPECT_EQ(
      inferred("Attention",
               {dims(DType::f32, {"N", "S", "64"}), dims(DType::f32, {"N", "T", "16"}), dims(DType::f32, {"N", "T", "32"})},
               {{"q_num_heads", number(8)}, {"kv_num_heads", number(2)}}),
      "float32[N,S,128]");
  EXPECT_NE(refusal("Attention", {q, k, v}), "") << "how many heads?";
}

TEST(Attention, ShowsItsScoresAtFourStages) {
  const auto scores = [](int64_t mode) {
    const Attrs attrs = {{"scale", 1.0f}, {"softcap", 2.0f}, {"qk_matmul_output_mode", number(mode)}};
    return eval_all("Attention", {rows({1}), rows({4, 0}), rows({0, 0}), floats({1, 2}, {1, 0})}, attrs, 4)[3].to_f32();
  };
  EXPECT_EQ(scores(0), (Floats{4, 0}));
  EXPECT_NEAR(scores(1)[0], 2 * std::tanh(2.0f), 1e-6f);
  EXPECT_NEAR(scores(2)[0], 2 * std::tanh(2.0f) + 1, 1e-6f);
  EXPECT_NEAR(scores(3)[0], sigmoid(2 * std::tanh(2.0f) + 1), 1e-5f);
}

}  // namespace
}  // namespace octet::graph::test
