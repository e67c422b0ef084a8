// com.microsoft operators beyond those that quantize_test.cpp shows.
#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

TEST(QLinearSoftmax, IsTheSoftmaxOfTheRealsRounded) {
  const Tensor x = bytes({2, 3}, {10, 12, 14, 200, 0, 100});
  const Tensor y = eval("com.microsoft.QLinearSoftmax",
                        {x, floats({}, {0.5f}), bytes({}, {10}), floats({}, {1.0f / 256}), bytes({}, {0})},
                        {{"axis", number(-1)}, {"opset", number(13)}});
  const Tensor reals = eval("Softmax", {floats({2, 3}, {0, 1, 2, 95, -5, 45})});
  for (int64_t i = 0; i < 6; ++i)
    EXPECT_EQ(y.at_s64(i), numerics::quantize(reals.as<float>()[i], 1.0f / 256, 0, 0, 255)) << i;
}

TEST(QLinearSoftmax, BeforeOpset13RunsOverAllAxesFromTheAxisOn) {
  const Tensor x = signed_bytes({1, 2, 2}, {0, 0, 0, 0});
  const std::vector<Operand> in{x, floats({}, {0.5f}), signed_bytes({}, {0}), floats({}, {1.0f / 64}),
                                signed_bytes({}, {-16})};
  EXPECT_EQ(eval("com.microsoft.QLinearSoftmax", in, {{"axis", number(1)}, {"opset", number(12)}}).to_s64(),
            (Ints{0, 0, 0, 0}));
  EXPECT_EQ(eval("com.microsoft.QLinearSoftmax", in, {{"axis", number(1)}, {"opset", number(13)}}).to_s64(),
            (Ints{16, 16, 16, 16}));
}

TEST(MatMulIntegerToFloat, ScalesTheExactSumAndAddsTheBias) {
  const Tensor a = bytes({1, 2}, {130, 120}), b = signed_bytes({2, 2}, {1, 2, 3, 4});
  const Tensor y =
      eval("com.microsoft.MatMulIntegerToFloat", {a, b, floats({}, {0.5f}), floats({2}, {0.25f, 2}), bytes({}, {128}),
                                                  signed_bytes({2}, {1, 0}), floats({2}, {100, -100})});
  EXPECT_EQ(y.to_f32(), (Floats{(2 * 0 - 8 * 2) * 0.125f + 100, (2 * 2 - 8 * 4) * 1.0f - 100}));
}

TEST(DynamicQuantizeMatMul, IsDynamicQuantizeLinearAndTheProduct) {
  const Tensor a = random_floats({3, 5}, 1), b = signed_bytes({5, 2}, {1, -2, 3, 4, -5, 6, 7, -8, 9, 10});
  const std::vector<Tensor> q = eval_all("DynamicQuantizeLinear", {a}, {}, 3);
  const Operand scale = floats({2}, {0.01f, 0.02f});
  EXPECT_EQ(eval("com.microsoft.DynamicQuantizeMatMul", {a, b, scale}).to_f32(),
            eval("com.microsoft.MatMulIntegerToFloat", {q[0], b, q[1], scale, q[2]}).to_f32());
  EXPECT_NE(
      refusal("com.microsoft.DynamicQuantizeMatMul", {a, b, floats({3}, {1, 2, 3})}).find("has 3 elements; expected 1 or 2"),
      std::string::npos);
}

}  // namespace
}  // namespace octet::graph::test
