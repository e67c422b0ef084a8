#include <cmath>
#include <limits>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

TEST(Unary, Functions) {
  EXPECT_EQ(eval("Exp", {floats({2}, {0, 1})}).to_f32(), (Floats{1, numerics::exp(1.0f)}));
  EXPECT_EQ(eval("Sqrt", {floats({2}, {4, 2})}).to_f32(), (Floats{2, std::sqrt(2.0f)}));
  EXPECT_EQ(eval("Reciprocal", {floats({2}, {4, 3})}).to_f32(), (Floats{0.25f, 1.0f / 3}));
  EXPECT_EQ(eval("Neg", {longs({2}, {1, INT64_MIN})}).to_s64(), (Ints{-1, INT64_MIN}));
  EXPECT_EQ(eval("Abs", {signed_bytes({3}, {-128, -3, 4})}).to_s64(), (Ints{-128, 3, 4}));
  EXPECT_EQ(eval("Sign", {floats({3}, {-2, 0, 5})}).to_f32(), (Floats{-1, 0, 1}));
  EXPECT_EQ(eval("Floor", {floats({2}, {-1.5f, 1.5f})}).to_f32(), (Floats{-2, 1}));
  EXPECT_EQ(eval("Ceil", {floats({2}, {-1.5f, 1.5f})}).to_f32(), (Floats{-1, 2}));
  EXPECT_EQ(eval("Round", {floats({4}, {0.5f, 1.5f, 2.5f, -0.5f})}).to_f32(), (Floats{0, 2, 2, 0}));
  EXPECT_EQ(eval("Log", {floats({1}, {10})}).to_f32()[0], static_cast<float>(std::log(10.0)));
  EXPECT_EQ(eval("Sin", {doubles({1}, {1})}).as<double>()[0], std::sin(1.0));
}

TEST(Unary, NegRefusesUnsigned) {
  EXPECT_EQ(refusal("Neg", {bytes({1}, {1})}),
            "test.onnx: node 'n' (Neg): input 0 has element type uint8; expected a signed type");
}

TEST(Arithmetic, BroadcastsAsNumpyDoes) {
  EXPECT_EQ(eval("Add", {floats({2, 1}, {1, 2}), floats({3}, {10, 20, 30})}).to_f32(), (Floats{11, 21, 31, 12, 22, 32}));
  EXPECT_EQ(eval("Sub", {floats({}, {1}), floats({2}, {1, 3})}).to_f32(), (Floats{0, -2}));
  EXPECT_EQ(eval("Mul", {floats({1, 2, 1, 2}, {1, 2, 3, 4}), floats({2, 1, 1}, {1, 10})}).to_f32(), (Floats{1, 2, 30, 40}));
  EXPECT_EQ(eval("Div", {floats({0, 2}, {}), floats({2}, {1, 2})}).shape(), (Shape{0, 2}));
  EXPECT_EQ(refusal("Add", {floats({2}, {1, 2}), floats({3}, {1, 2, 3})}),
            "test.onnx: node 'n' (Add): dimensions 2 and 3 do not broadcast");
}

TEST(Arithmetic, InferenceBroadcastsSymbols) {
  const auto t = [](const std::vector<std::string>& d) { return dims(DType::f32, d); };
  EXPECT_EQ(inferred("Add", {t({"N", "1", "?"}), t({"4", "5"})}), to_string(t({"N", "4", "5"})));
  EXPECT_EQ(inferred("Add", {t({"N"}), t({"N"})}), to_string(t({"N"})));
  EXPECT_EQ(inferred("Add", {t({"N"}), t({"M"})}), to_string(t({"?"})));
  EXPECT_EQ(inferred("Add", {Type{DType::f32, std::nullopt, nullptr}, t({"M"})}),
            to_string(Type{DType::f32, std::nullopt, nullptr}));
  EXPECT_EQ(refusal("Add", {floats({1}, {1}), longs({1}, {1})}),
            "test.onnx: node 'n' (Add): inputs 0 and 1 have element types float32 and int64; expected one type");
}

TEST(Arithmetic, IntegersWrapAndDivisionTruncates) {
  EXPECT_EQ(eval("Add", {bytes({1}, {250}), bytes({1}, {10})}).to_s64(), (Ints{4}));
  EXPECT_EQ(eval("Mul", {ints32({1}, {1 << 30}), ints32({1}, {4})}).to_s64(), (Ints{0}));
  EXPECT_EQ(eval("Div", {longs({4}, {-7, 7, 5, INT64_MIN}), longs({4}, {2, -2, 0, -1})}).to_s64(),
            (Ints{-3, -3, 0, INT64_MIN}));
}

TEST(Arithmetic, SixteenBitFloatsRoundOnce) {
  const Tensor y = eval("Add", {halves({1}, {2048}), halves({1}, {1})});
  EXPECT_EQ(y.to_f32(), (Floats{2048}));  // 2049 lies half-way, to even
}

TEST(Arithmetic, ActivationAttribute) {
  const Tensor a = floats({3}, {-3, 1, 9}), b = floats({}, {1});
  EXPECT_EQ(eval("Add", {a, b}, {{"act", text("relu")}}).to_f32(), (Floats{0, 2, 10}));
  EXPECT_EQ(eval("Add", {a, b}, {{"act", text("clip")}, {"act_min", 0.0f}, {"act_max", 6.0f}}).to_f32(), (Floats{0, 2, 6}));
  EXPECT_EQ(refusal("Add", {a, b}, {{"act", text("swish")}}),
            "test.onnx: node 'n' (Add): act is 'swish'; expected relu, clip, leaky_relu or gelu");
  EXPECT_EQ(refusal("Add", {a, b}, {{"act", text("gelu")}}),
            "test.onnx: node 'n' (Add): act is 'gelu'; expected relu, clip or leaky_relu");
}

TEST(QuantizedArithmetic, FollowsTheFormulas) {
  const float sa = 0.1f, sb = 0.07f, sy = 0.15f;
  const int32_t za = 3, zb = 200, zy = 90;
  for (int32_t qa = 0; qa < 256; qa += 5)
    for (int32_t qb = 0; qb < 256; qb += 5) {
      const Quantized a = quantized(bytes({1}, {static_cast<uint8_t>(qa)}), sa, za);
      const Quantized b = quantized(bytes({1}, {static_cast<uint8_t>(qb)}), sb, zb);
      const Result out{DType::u8, {{sy}, {zy}, -1}};
      const float right = static_cast<float>(qb - zb) * (sb / sy);
      const auto store = [&](float v) { return numerics::quantize_scaled(v, zy, 0, 255); };
      EXPECT_EQ(eval("Add", {a, b}, {}, out).at_s64(0), store(std::fma(static_cast<float>(qa - za), sa / sy, right)));
      EXPECT_EQ(eval("Sub", {a, b}, {}, out).at_s64(0), store(std::fma(static_cast<float>(qa - za), sa / sy, -right)));
      EXPECT_EQ(eval("Mul", {a, b}, {}, out).at_s64(0), store(static_cast<float>((qa - za) * (qb - zb)) * ((sa * sb) / sy)));
      EXPECT_EQ(eval("Add", {a, b}, {{"act", text("relu")}}, out).at_s64(0),
                std::max(zy, store(std::fma(static_cast<float>(qa - za), sa / sy, right))));
    }
}

TEST(QuantizedArithmetic, ClipIsAClampInQuanta) {
  const Quantized a = quantized(bytes({3}, {0, 50, 255}), 0.1f, 0), b = quantized(bytes({1}, {0}), 0.1f, 0);
  const Tensor y =
      eval("Add", {a, b}, {{"act", text("clip")}, {"act_min", 1.0f}, {"act_max", 6.0f}}, {DType::u8, {{0.1f}, {0}, -1}});
  EXPECT_EQ(y.to_s64(), (Ints{10, 50, 60}));
}

TEST(MaxMin, TakeAnyNumberAndTheSecondWhenNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(eval("Max", {floats({2}, {1, 5}), floats({2}, {2, 4}), floats({}, {3})}).to_f32(), (Floats{3, 5}));
  EXPECT_EQ(eval("Min", {floats({2}, {1, 5})}).to_f32(), (Floats{1, 5}));
  EXPECT_EQ(eval("Max", {floats({1}, {nan}), floats({1}, {2})}).to_f32(), (Floats{2}));
  EXPECT_TRUE(std::isnan(eval("Max", {floats({1}, {2}), floats({1}, {nan})}).to_f32()[0]));
  EXPECT_EQ(eval("Sum", {floats({1}, {1}), floats({1}, {2}), floats({1}, {3})}).to_f32(), (Floats{6}));
  EXPECT_EQ(eval("Mean", {floats({1}, {1}), floats({1}, {2}), floats({1}, {6})}).to_f32(), (Floats{3}));
}

TEST(Pow, ExponentHasItsOwnType) {
  EXPECT_EQ(eval("Pow", {floats({3}, {2, 3, 4}), floats({}, {2})}).to_f32(), (Floats{4, 9, 16}));
  EXPECT_EQ(eval("Pow", {floats({1}, {1.7f}), longs({}, {2})}).to_f32(), (Floats{1.7f * 1.7f}));
  EXPECT_EQ(eval("Pow", {longs({3}, {2, -3, -1}), longs({3}, {10, 3, -3})}).to_s64(), (Ints{1024, -27, -1}));
  EXPECT_EQ(eval("Pow", {floats({1}, {2}), floats({1}, {0.5f})}).to_f32(), (Floats{std::sqrt(2.0f)}));
}

TEST(Mod, SignFollowsTheDivisorUnlessFmod) {
  EXPECT_EQ(eval("Mod", {longs({3}, {-4, 7, 5}), longs({3}, {3, -3, 5})}).to_s64(), (Ints{2, -2, 0}));
  EXPECT_EQ(eval("Mod", {longs({2}, {-4, 7}), longs({2}, {3, -3})}, {{"fmod", number(1)}}).to_s64(), (Ints{-1, 1}));
  EXPECT_EQ(eval("Mod", {floats({1}, {-4.5f}), floats({1}, {3})}, {{"fmod", number(1)}}).to_f32(), (Floats{-1.5f}));
}

TEST(Bits, ShiftAndCombine) {
  EXPECT_EQ(eval("BitShift", {bytes({3}, {1, 255, 1}), bytes({3}, {3, 4, 9})}, {{"direction", text("LEFT")}}).to_s64(),
            (Ints{8, 240, 0}));
  EXPECT_EQ(eval("BitShift", {bytes({2}, {16, 1}), bytes({2}, {3, 1})}, {{"direction", text("RIGHT")}}).to_s64(),
            (Ints{2, 0}));
  EXPECT_EQ(eval("BitwiseAnd", {bytes({1}, {12}), bytes({1}, {10})}).to_s64(), (Ints{8}));
  EXPECT_EQ(eval("BitwiseOr", {bytes({1}, {12}), bytes({1}, {10})}).to_s64(), (Ints{14}));
  EXPECT_EQ(eval("BitwiseXor", {bytes({1}, {12}), bytes({1}, {10})}).to_s64(), (Ints{6}));
  EXPECT_EQ(eval("BitwiseNot", {bytes({1}, {12})}).to_s64(), (Ints{243}));
}

TEST(Logic, ComparisonsGiveBools) {
  const Tensor a = floats({3}, {1, 2, 3}), b = floats({}, {2});
  EXPECT_EQ(eval("Equal", {a, b}).to_s64(), (Ints{0, 1, 0}));
  EXPECT_EQ(eval("Less", {a, b}).to_s64(), (Ints{1, 0, 0}));
  EXPECT_EQ(eval("LessOrEqual", {a, b}).to_s64(), (Ints{1, 1, 0}));
  EXPECT_EQ(eval("Greater", {a, b}).to_s64(), (Ints{0, 0, 1}));
  EXPECT_EQ(eval("GreaterOrEqual", {a, b}).dtype(), DType::boolean);
  EXPECT_EQ(eval("Equal", {bools({2}, {1, 0}), bools({2}, {1, 1})}).to_s64(), (Ints{1, 0}));
}

TEST(Logic, Connectives) {
  const Tensor a = bools({4}, {0, 0, 1, 1}), b = bools({4}, {0, 1, 0, 1});
  EXPECT_EQ(eval("And", {a, b}).to_s64(), (Ints{0, 0, 0, 1}));
  EXPECT_EQ(eval("Or", {a, b}).to_s64(), (Ints{0, 1, 1, 1}));
  EXPECT_EQ(eval("Xor", {a, b}).to_s64(), (Ints{0, 1, 1, 0}));
  EXPECT_EQ(eval("Not", {a}).to_s64(), (Ints{1, 1, 0, 0}));
  EXPECT_EQ(refusal("Not", {longs({1}, {1})}), "test.onnx: node 'n' (Not): input 0 has element type int64; expected bool");
}

TEST(Logic, NaNAndInfinity) {
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor x = floats({4}, {std::numeric_limits<float>::quiet_NaN(), inf, -inf, 0});
  EXPECT_EQ(eval("IsNaN", {x}).to_s64(), (Ints{1, 0, 0, 0}));
  EXPECT_EQ(eval("IsInf", {x}).to_s64(), (Ints{0, 1, 1, 0}));
  EXPECT_EQ(eval("IsInf", {x}, {{"detect_negative", number(0)}}).to_s64(), (Ints{0, 1, 0, 0}));
}

TEST(Bits, RightShiftsKeepTheSign) {
  const auto shift = [](const char* direction, const std::vector<int8_t>& by) {
    return eval("BitShift", {signed_bytes({4}, {-8, -8, 64, 64}), signed_bytes({4}, by)}, {{"direction", text(direction)}})
        .to_s64();
  };
  EXPECT_EQ(shift("RIGHT", {1, 9, 1, -1}), (Ints{-4, -1, 32, 0}));
  EXPECT_EQ(shift("LEFT", {1, 9, 1, -1}), (Ints{-16, 0, -128, 0}));
}

TEST(Logic, StringsMayBeEqual) {
  const Tensor words({2}, std::vector<std::string>{"a", "b"}), b({}, std::vector<std::string>{"b"});
  EXPECT_EQ(eval("Equal", {words, b}).to_s64(), (Ints{0, 1}));
}

}  // namespace
}  // namespace octet::graph::test
