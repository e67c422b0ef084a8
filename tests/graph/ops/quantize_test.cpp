#include <cmath>
#include <limits>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

TEST(QuantizeLinear, DividesRoundsHalfToEvenAndSaturates) {
  const Tensor x = floats({6}, {0, 1, 3, 5, -1000, 1000});
  EXPECT_EQ(eval("QuantizeLinear", {x, floats({}, {2}), bytes({}, {10})}).to_s64(), (Ints{10, 10, 12, 12, 0, 255}));
  EXPECT_EQ(eval("QuantizeLinear", {x, floats({}, {2}), signed_bytes({}, {-3})}).to_s64(),
            (Ints{-3, -3, -1, -1, -128, 127}));
  EXPECT_EQ(eval("QuantizeLinear", {x, floats({}, {2})}).dtype(), DType::u8);
  EXPECT_EQ(eval("QuantizeLinear", {floats({1}, {std::numeric_limits<float>::quiet_NaN()}), floats({}, {1})}).to_s64(),
            (Ints{0}));
}

TEST(QuantizeLinear, OtherWidths) {
  const Tensor wide = Tensor::of<uint16_t>(DType::u16, {}, {1000});
  EXPECT_EQ(eval("QuantizeLinear", {floats({2}, {-1e9f, 5}), floats({}, {1}), wide}).to_s64(), (Ints{0, 1005}));
  EXPECT_EQ(eval("QuantizeLinear", {floats({3}, {-9, 3, 9}), floats({}, {1})}, {{"output_dtype", number(22)}}).to_s64(),
            (Ints{-8, 3, 7}));
}

TEST(QuantizeLinear, PerAxisAndBlocks) {
  const Tensor x = floats({2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(eval("QuantizeLinear", {x, floats({2}, {1, 0.5f}), bytes({2}, {0, 100})}, {{"axis", number(1)}}).to_s64(),
            (Ints{1, 104, 3, 108}));
  EXPECT_EQ(eval("QuantizeLinear", {x, floats({2}, {1, 0.5f}), bytes({2}, {0, 100})}, {{"axis", number(0)}}).to_s64(),
            (Ints{1, 2, 106, 108}));
  const Tensor four = floats({1, 4}, {1, 2, 3, 4});
  EXPECT_EQ(
      eval("QuantizeLinear", {four, floats({1, 2}, {1, 0.5f})}, {{"axis", number(1)}, {"block_size", number(2)}}).to_s64(),
      (Ints{1, 2, 6, 8}));
  EXPECT_EQ(refusal("QuantizeLinear", {x, floats({3}, {1, 1, 1})}),
            "test.onnx: node 'n' (QuantizeLinear): the number of scales and the size of the axis disagree: 3 and 2");
}

TEST(DequantizeLinear, IsTheInverse) {
  EXPECT_EQ(eval("DequantizeLinear", {bytes({3}, {0, 10, 255}), floats({}, {0.5f}), bytes({}, {10})}).to_f32(),
            (Floats{-5, 0, 122.5f}));
  EXPECT_EQ(eval("DequantizeLinear", {signed_bytes({2, 1}, {-1, 2}), floats({2}, {1, 10})}, {{"axis", number(0)}}).to_f32(),
            (Floats{-1, 20}));
  EXPECT_EQ(eval("DequantizeLinear", {ints32({1}, {-1000000}), floats({}, {0.25f})}).to_f32(), (Floats{-250000}));
  EXPECT_EQ(eval("DequantizeLinear", {bytes({1}, {3}), halves({}, {0.5f})}).dtype(), DType::f16);
  const Tensor blocks =
      eval("DequantizeLinear", {signed_bytes({4, 2}, {1, 1, 1, 1, 1, 1, 1, 1}), floats({2, 2}, {1, 2, 3, 4})},
           {{"axis", number(0)}, {"block_size", number(2)}});
  EXPECT_EQ(blocks.to_f32(), (Floats{1, 2, 1, 2, 3, 4, 3, 4}));
}

TEST(QuantizeLinear, Inference) {
  EXPECT_EQ(inferred("QuantizeLinear", {dims(DType::f32, {"N", "3"}), floats({}, {1}), signed_bytes({}, {0})}),
            to_string(dims(DType::s8, {"N", "3"})));
  EXPECT_EQ(inferred("DequantizeLinear", {dims(DType::u8, {"N", "?"}), floats({}, {1})}),
            to_string(dims(DType::f32, {"N", "?"})));
  EXPECT_EQ(refusal("DequantizeLinear", {bytes({1}, {1}), floats({}, {1}), signed_bytes({}, {0})}),
            "test.onnx: node 'n' (DequantizeLinear): inputs 0 and 2 have element types uint8 and int8; expected one type");
}

TEST(DynamicQuantizeLinear, ANaNIsNoPartOfTheRange) {
  const auto out = eval_all("DynamicQuantizeLinear", {floats({4}, {-1, 4, NAN, 0})}, {}, 3);
  EXPECT_EQ(out[1].to_f32(), Floats{5.0f / 255});
}

TEST(DynamicQuantizeLinear, TakesItsRangeFromTheData) {
  const auto out = eval_all("DynamicQuantizeLinear", {floats({3}, {-1, 0, 3})}, {}, 3);
  const float scale = 4.0f / 255;
  EXPECT_EQ(out[1].to_f32(), (Floats{scale}));
  EXPECT_EQ(out[2].to_s64(), (Ints{64}));  // round(63.75)
  EXPECT_EQ(out[0].to_s64(), (Ints{0, 64, 255}));
  const auto positive = eval_all("DynamicQuantizeLinear", {floats({2}, {1, 2})}, {}, 3);
  EXPECT_EQ(positive[2].to_s64(), (Ints{0}));  // the range takes in 0
  const auto zero = eval_all("DynamicQuantizeLinear", {floats({2}, {0, 0})}, {}, 3);
  EXPECT_EQ(zero[1].to_f32(), (Floats{1}));
  EXPECT_EQ(zero[0].to_s64(), (Ints{0, 0}));
}

TEST(MatMulInteger, SumsExactly) {
  const Tensor a = bytes({2, 3}, {1, 2, 3, 255, 255, 255}), b = signed_bytes({3, 1}, {-128, 127, 1});
  EXPECT_EQ(eval("MatMulInteger", {a, b}).to_s64(), (Ints{-128 + 254 + 3, 0}));
  EXPECT_EQ(eval("MatMulInteger", {a, b, bytes({}, {1}), signed_bytes({}, {-1})}).to_s64(),
            (Ints{0 * -127 + 128 + 2 * 2, 254 * (-127 + 128 + 2)}));
  EXPECT_EQ(
      eval("MatMulInteger", {bytes({2, 1}, {5, 6}), bytes({1, 2}, {7, 8}), bytes({2}, {1, 2}), bytes({2}, {3, 4})}).to_s64(),
      (Ints{16, 16, 16, 16}));
}

TEST(ConvInteger, PaddingIsTheZeroPoint) {
  const Tensor x = bytes({1, 1, 1, 2}, {10, 20}), w = bytes({1, 1, 1, 3}, {1, 2, 3});
  EXPECT_EQ(eval("ConvInteger", {x, w, bytes({}, {5})}, {{"pads", ints({0, 1, 0, 1})}}).to_s64(),
            (Ints{5 * 2 + 15 * 3, 5 * 1 + 15 * 2}));
  const Tensor two = bytes({2, 1, 1, 1}, {3, 3});
  EXPECT_EQ(eval("ConvInteger", {x, two, kAbsent, bytes({2}, {1, 2})}).to_s64(), (Ints{20, 40, 10, 20}));
}

TEST(QLinearConv, RequantizesWithOneMultiplier) {
  const Tensor x = random_bytes(DType::u8, {1, 3, 4, 4}, 1), w = random_bytes(DType::s8, {2, 3, 3, 3}, 2);
  const float sx = 0.02f, sy = 0.5f;
  const Floats sw{0.01f, 0.03f};
  const Ints bias{100, -200};
  const Tensor y = eval("QLinearConv", {x, floats({}, {sx}), bytes({}, {120}), w, floats({2}, sw), signed_bytes({2}, {0, 1}),
                                        floats({}, {sy}), bytes({}, {128}), ints32({2}, {100, -200})});
  const Tensor acc = eval("ConvInteger", {x, w, bytes({}, {120}), signed_bytes({2}, {0, 1})});
  for (int64_t i = 0; i < y.size(); ++i) {
    const auto c = static_cast<size_t>(i / 4);
    EXPECT_EQ(y.at_s64(i),
              numerics::requantize(static_cast<int32_t>(acc.at_s64(i) + bias[c]), (sx * sw[c]) / sy, 128, 0, 255));
  }
}

TEST(QLinearMatMul, RequantizesPerColumn) {
  const Tensor a = random_bytes(DType::u8, {2, 9}, 3), b = random_bytes(DType::s8, {9, 3}, 4);
  const Tensor acc = eval("MatMulInteger", {a, b, bytes({}, {128})});
  const Floats sb{0.01f, 0.02f, 0.04f};
  const Tensor y = eval("QLinearMatMul", {a, floats({}, {0.1f}), bytes({}, {128}), b, floats({3}, sb),
                                          signed_bytes({3}, {0, 0, 0}), floats({}, {2}), signed_bytes({}, {5})});
  EXPECT_EQ(y.dtype(), DType::s8);
  for (int64_t i = 0; i < y.size(); ++i)
    EXPECT_EQ(y.at_s64(i), numerics::requantize(static_cast<int32_t>(acc.at_s64(i)),
                                                (0.1f * sb[static_cast<size_t>(i % 3)]) / 2.0f, 5, -128, 127));
}

// The com.microsoft forms give what the quantized form of the plain operator gives.
TEST(Microsoft, BinaryFormsEqualTheQuantizedOperators) {
  const Tensor a = random_bytes(DType::u8, {2, 8}, 5), b = random_bytes(DType::u8, {8}, 6);
  const Result out{DType::u8, {{0.3f}, {100}, -1}};
  const std::vector<Operand> flat{
      a, floats({}, {0.1f}), bytes({}, {3}), b, floats({}, {0.2f}), bytes({}, {200}), floats({}, {0.3f}), bytes({}, {100})};
  EXPECT_EQ(eval("com.microsoft.QLinearAdd", flat).to_s64(),
            eval("Add", {quantized(a, 0.1f, 3), quantized(b, 0.2f, 200)}, {}, out).to_s64());
  EXPECT_EQ(eval("com.microsoft.QLinearMul", flat).to_s64(),
            eval("Mul", {quantized(a, 0.1f, 3), quantized(b, 0.2f, 200)}, {}, out).to_s64());
}

TEST(Microsoft, UnaryFormsEqualTheQuantizedOperators) {
  const Tensor x = random_bytes(DType::u8, {64}, 7);
  const std::vector<Operand> flat{x, floats({}, {0.1f}), bytes({}, {100}), floats({}, {0.05f}), bytes({}, {10})};
  const Result out{DType::u8, {{0.05f}, {10}, -1}};
  EXPECT_EQ(eval("com.microsoft.QLinearSigmoid", flat).to_s64(),
            eval("Sigmoid", {quantized(x, 0.1f, 100)}, {}, out).to_s64());
  EXPECT_EQ(eval("com.microsoft.QLinearLeakyRelu", flat, {{"alpha", 0.2f}}).to_s64(),
            eval("LeakyRelu", {quantized(x, 0.1f, 100)}, {{"alpha", 0.2f}}, out).to_s64());
}

TEST(Microsoft, AveragesInBothLayouts) {
  const Tensor x = random_bytes(DType::u8, {1, 2, 4, 4}, 8);
  const Tensor last = eval("Transpose", {x}, {{"perm", ints({0, 2, 3, 1})}});
  const Result out{DType::u8, {{0.05f}, {10}, -1}};
  const auto flat = [](const Tensor& t) {
    return std::vector<Operand>{t, floats({}, {0.1f}), bytes({}, {100}), floats({}, {0.05f}), bytes({}, {10})};
  };
  const Attrs window{{"kernel_shape", ints({2, 2})}};
  const Tensor want = eval("AveragePool", {quantized(x, 0.1f, 100)}, window, out);
  EXPECT_EQ(eval("com.microsoft.QLinearAveragePool", flat(x), window).to_s64(), want.to_s64());
  const Tensor nhwc =
      eval("com.microsoft.QLinearAveragePool", flat(last), {{"kernel_shape", ints({2, 2})}, {"channels_last", number(1)}});
  EXPECT_EQ(eval("Transpose", {nhwc}, {{"perm", ints({0, 3, 1, 2})}}).to_s64(), want.to_s64());
  EXPECT_EQ(eval("com.microsoft.QLinearGlobalAveragePool", flat(x)).to_s64(),
            eval("GlobalAveragePool", {quantized(x, 0.1f, 100)}, {}, out).to_s64());
}

TEST(Microsoft, ConcatRequantizesEachPart) {
  const Tensor y = eval("com.microsoft.QLinearConcat",
                        {floats({}, {1}), bytes({}, {10}), bytes({1, 2}, {0, 4}), floats({}, {0.5f}), bytes({}, {0}),
                         bytes({1, 1}, {3}), floats({}, {2}), bytes({}, {1})},
                        {{"axis", number(1)}});
  EXPECT_EQ(y.to_s64(), (Ints{10, 12, 14}));
}

TEST(Microsoft, QGemm) {
  const Tensor a = bytes({1, 2}, {3, 5}), b = signed_bytes({2, 2}, {1, 2, 3, -4});
  const std::vector<Operand> common{
      a, floats({}, {0.5f}), bytes({}, {1}), b, floats({}, {0.25f}), signed_bytes({}, {0}), ints32({2}, {10, 20})};
  EXPECT_EQ(eval("com.microsoft.QGemm", common).to_f32(), (Floats{(2 + 12 + 10) * 0.125f, (4 - 16 + 20) * 0.125f}));
  std::vector<Operand> requantized = common;
  requantized.push_back(floats({}, {1}));
  requantized.push_back(bytes({}, {100}));
  EXPECT_EQ(eval("com.microsoft.QGemm", requantized).to_s64(), (Ints{103, 101}));
}

}  // namespace
}  // namespace octet::graph::test
