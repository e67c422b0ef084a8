#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// One step, one input, one hidden unit: small enough to be written out.
TEST(Lstm, OneStepIsItsFormula) {
  const Floats w{0.1f, 0.2f, 0.3f, 0.4f}, r{0.5f, 0.6f, 0.7f, 0.8f};
  const auto out = eval_all("LSTM",
                            {floats({1, 1, 1}, {2}), floats({1, 4, 1}, w), floats({1, 4, 1}, r), kAbsent, kAbsent,
                             floats({1, 1, 1}, {0.5f}), floats({1, 1, 1}, {0.25f})},
                            {{"hidden_size", number(1)}}, 3);
  const double i = sigmoid(0.45), o = sigmoid(0.7), f = sigmoid(0.95), g = std::tanh(1.2);
  const double c = f * 0.25 + i * g, h = o * std::tanh(c);
  expect_near(out[0], {static_cast<float>(h)});
  expect_near(out[1], {static_cast<float>(h)});
  expect_near(out[2], {static_cast<float>(c)});
}

TEST(Gru, ResetsBeforeOrAfterItsProduct) {
  const Floats w{0.1f, 0.2f, 0.3f}, r{0.4f, 0.5f, 0.6f}, bias{0, 0, 0, 0, 0, 1};
  for (const int64_t before : {0, 1}) {
    const auto out = eval_all("GRU",
                              {floats({1, 1, 1}, {1}), floats({1, 3, 1}, w), floats({1, 3, 1}, r), floats({1, 6}, bias),
                               kAbsent, floats({1, 1, 1}, {0.5f})},
                              {{"hidden_size", number(1)}, {"linear_before_reset", number(before)}}, 2);
    const double z = sigmoid(0.3), reset = sigmoid(0.45);
    const double h = std::tanh(before ? reset * (0.3 + 1) + 0.3 : 0.6 * (reset * 0.5) + 1 + 0.3);
    expect_near(out[0], {static_cast<float>((1 - z) * h + z * 0.5)});
  }
}

// A sequence that ends early has zeros behind its end, and its last state is that of its own end; backwards it starts there.
TEST(Rnn, SequencesOfTheirOwnLengths) {
  const std::vector<Operand> in{floats({3, 2, 1}, {1, 10, 2, 20, 3, 30}), floats({2, 1, 1}, {1, 1}),
                                floats({2, 1, 1}, {1, 1}), kAbsent, ints32({2}, {3, 2})};
  const auto out = eval_all("RNN", in,
                            {{"hidden_size", number(1)},
                             {"direction", text("bidirectional")},
                             {"activations", std::vector<std::string>{"Affine", "affine"}}},
                            2);
  EXPECT_EQ(out[0].shape(), (Shape{3, 2, 2, 1}));
  EXPECT_EQ(out[0].to_f32(), (Floats{1, 10, 6, 30, 3, 30, 5, 20, 6, 0, 3, 0}));
  EXPECT_EQ(out[1].to_f32(), (Floats{6, 30, 6, 30}));
}

TEST(Recurrent, RefusesWhatMakesNoSense) {
  const std::vector<Operand> in{floats({1, 1, 1}, {1}), floats({1, 1, 1}, {1}), floats({1, 1, 1}, {1})};
  EXPECT_EQ(refusal("RNN", in, {{"activations", std::vector<std::string>{"Sine"}}}),
            "node 'n' (RNN): activation 'Sine' is unknown");
  EXPECT_EQ(refusal("RNN", in, {{"direction", text("sideways")}}),
            "node 'n' (RNN): direction is 'sideways'; expected forward, reverse or bidirectional");
  EXPECT_EQ(refusal("LSTM", in), "node 'n' (LSTM): input 1 has shape [1,1,1]; expected [1,4,1]");
}

TEST(Recurrent, BatchFirstOutputs) {
  EXPECT_EQ(
      inferred("LSTM",
               {dims(DType::f32, {"N", "T", "4"}), dims(DType::f32, {"2", "12", "4"}), dims(DType::f32, {"2", "12", "3"})},
               {{"layout", number(1)}, {"direction", text("bidirectional")}}, 3),
      "float32[N,T,2,3]");
}

}  // namespace
}  // namespace octet::graph::test
