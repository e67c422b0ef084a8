#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

// A quarter turn at position 1, none at position 0.
const Tensor kCos = floats({2, 1}, {1, 0}), kSin = floats({2, 1}, {0, 1});

TEST(RotaryEmbedding, TurnsEachPairByItsPosition) {
  const Tensor x = floats({1, 1, 2, 2}, {1, 2, 3, 4}), positions = longs({1, 2}, {0, 1});
  EXPECT_EQ(eval("RotaryEmbedding", {x, kCos, kSin, positions}).to_f32(), (Floats{1, 2, -4, 3}));
  EXPECT_NE(refusal("RotaryEmbedding", {x, kCos, kSin, longs({1, 2}, {0, 2})}), "") << "a position beyond the cache";
}

TEST(RotaryEmbedding, PairsAreHalvesOrNeighbours) {
  const Tensor x = floats({1, 1, 1, 4}, {1, 2, 3, 4}), cosine = floats({1, 1, 2}, {0, 1}), sine = floats({1, 1, 2}, {1, 0});
  EXPECT_EQ(eval("RotaryEmbedding", {x, cosine, sine}).to_f32(), (Floats{-3, 2, 1, 4}));
  EXPECT_EQ(eval("RotaryEmbedding", {x, cosine, sine}, {{"interleaved", number(1)}}).to_f32(), (Floats{-2, 1, 3, 4}));
}

TEST(RotaryEmbedding, MayTurnOnlyAPartOfPackedHeads) {
  const Tensor x = floats({1, 1, 6}, {1, 2, 3, 4, 5, 6}), cosine = floats({1, 1, 1}, {0}), sine = floats({1, 1, 1}, {1});
  EXPECT_EQ(
      eval("RotaryEmbedding", {x, cosine, sine}, {{"num_heads", number(2)}, {"rotary_embedding_dim", number(2)}}).to_f32(),
      (Floats{-2, 1, 3, -5, 4, 6}));
  EXPECT_NE(refusal("RotaryEmbedding", {x, cosine, sine}, {{"num_heads", number(4)}}), "");
}

TEST(TensorScatter, WritesFromEachBatchsIndexOn) {
  const Tensor cache = floats({2, 3, 1}, {1, 2, 3, 4, 5, 6}), update = floats({2, 1, 1}, {7, 8});
  EXPECT_EQ(eval("TensorScatter", {cache, update, longs({2}, {2, 0})}).to_f32(), (Floats{1, 2, 7, 8, 5, 6}));
  const Tensor two = floats({2, 2, 1}, {7, 8, 9, 10});
  EXPECT_EQ(eval("TensorScatter", {cache, two, longs({2}, {2, 0})}, {{"mode", text("circular")}}).to_f32(),
            (Floats{8, 2, 7, 9, 10, 6}));
  EXPECT_NE(refusal("TensorScatter", {cache, two, longs({2}, {2, 0})}), "") << "beyond the end";
}

TEST(CausalConvWithState, CarriesTheLastColumns) {
  const Tensor w = floats({1, 1, 2}, {1, 10});
  const auto first = eval_all("CausalConvWithState", {floats({1, 1, 2}, {1, 2}), w}, {}, 2);
  EXPECT_EQ(first[0].to_f32(), (Floats{10, 21}));
  EXPECT_EQ(first[1].to_f32(), (Floats{2}));
  EXPECT_EQ(eval_all("CausalConvWithState", {floats({1, 1, 1}, {3}), w, floats({1}, {0.5f}), first[1]}, {}, 2)[0].to_f32(),
            (Floats{32.5f}));
  expect_near(eval_all("CausalConvWithState", {floats({1, 1, 1}, {0.1f}), w}, {{"activation", text("silu")}}, 2)[0],
              {0.7310586f});
}

TEST(LinearAttention, AccumulatesKeysTimesValues) {
  const Attrs attrs = {
      {"q_num_heads", number(1)}, {"kv_num_heads", number(1)}, {"scale", 1.0f}, {"update_rule", text("linear")}};
  const Tensor q = floats({1, 2, 1}, {1, 1}), k = floats({1, 2, 1}, {1, 2}), v = floats({1, 2, 1}, {3, 4});
  const auto out = eval_all("LinearAttention", {q, k, v}, attrs, 2);
  EXPECT_EQ(out[0].to_f32(), (Floats{3, 11}));
  EXPECT_EQ(out[1].to_f32(), (Floats{11}));
  EXPECT_EQ(out[1].shape(), (Shape{1, 1, 1, 1}));
}

TEST(LinearAttention, DecaysAndCorrects) {
  const Attrs attrs = {{"q_num_heads", number(1)}, {"kv_num_heads", number(1)}, {"scale", 1.0f}};
  const Tensor one = floats({1, 1, 1}, {1}), half = floats({1, 1, 1}, {0.5f}), state = floats({1, 1, 1, 1}, {8});
  const Tensor decay = floats({1, 1, 1}, {std::log(0.5f)});
  // 8 decays to 4; the value 2 is 2 less; half of that is taken.
  expect_near(eval_all("LinearAttention", {one, one, floats({1, 1, 1}, {2}), state, decay, half}, attrs, 2)[0], {3}, 1e-5f);
  EXPECT_NE(refusal("LinearAttention", {one, one, one, state, kAbsent, half}, attrs, 2), "") << "gated_delta without decay";
}

TEST(SwiGLU, GatesTheSecondByTheFirst) {
  expect_near(eval("SwiGLU", {floats({2}, {0, 1}), floats({2}, {5, 2})}), {0, 1.4621172f});
  EXPECT_NE(refusal("SwiGLU", {floats({2}, {0, 1}), floats({1}, {5})}), "") << "no broadcasting";
}

}  // namespace
}  // namespace octet::graph::test
