#include <cmath>
#include <limits>

#include "octet/numerics_functions.h"
#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Relu, KeepsWhatIsPositive) {
  EXPECT_EQ(eval("Relu", {floats({4}, {-1, 0, 2, -kInf})}).to_f32(), (Floats{0, 0, 2, 0}));
  EXPECT_TRUE(std::isnan(eval("Relu", {floats({1}, {kNaN})}).to_f32()[0]));
  EXPECT_TRUE(std::signbit(eval("Relu", {floats({1}, {-0.0f})}).to_f32()[0]));
  EXPECT_EQ(eval("Relu", {longs({2}, {-3, 3})}).to_s64(), (Ints{0, 3}));
}

TEST(Relu, OfQuantizedValuesIsAClampAtTheZeroPoint) {
  const Tensor y = eval("Relu", {quantized(bytes({3}, {0, 128, 200}), 0.1f, 128)}, {}, {DType::u8, {{0.1f}, {128}, -1}});
  EXPECT_EQ(y.to_s64(), (Ints{128, 128, 200}));
}

TEST(Clip, BoundsAreOptional) {
  const Tensor x = floats({4}, {-10, -1, 1, 10});
  EXPECT_EQ(eval("Clip", {x, floats({}, {-2}), floats({}, {3})}).to_f32(), (Floats{-2, -1, 1, 3}));
  EXPECT_EQ(eval("Clip", {x, kAbsent, floats({}, {3})}).to_f32(), (Floats{-10, -1, 1, 3}));
  EXPECT_EQ(eval("Clip", {x, floats({}, {0})}).to_f32(), (Floats{0, 0, 1, 10}));
  EXPECT_EQ(eval("Clip", {longs({2}, {-5, 5}), longs({}, {-1})}).to_s64(), (Ints{-1, 5}));
  EXPECT_TRUE(std::isnan(eval("Clip", {floats({1}, {kNaN}), floats({}, {-2}), floats({}, {3})}).to_f32()[0]));
}

TEST(Clip, OfQuantizedValuesClampsInQuanta) {
  const Tensor y = eval("Clip", {quantized(bytes({3}, {0, 100, 255}), 0.1f, 10), floats({}, {0}), floats({}, {6})}, {},
                        {DType::u8, {{0.1f}, {10}, -1}});
  EXPECT_EQ(y.to_s64(), (Ints{10, 70, 70}));
}

TEST(Clip, RefusesABoundThatIsNoScalar) {
  EXPECT_EQ(refusal("Clip", {floats({2}, {1, 2}), floats({2}, {0, 0})}),
            "test.onnx: node 'n' (Clip): bound 1 has shape [2]; expected a scalar");
}

TEST(Activations, FollowTheNormativeFormulas) {
  const Tensor x = floats({5}, {-4, -0.5f, 0, 0.5f, 4});
  const auto want = [&](auto f) {
    Floats y;
    for (const float v : x.to_f32()) y.push_back(f(v));
    return y;
  };
  EXPECT_EQ(eval("Sigmoid", {x}).to_f32(), want([](float v) { return numerics::sigmoid(v); }));
  EXPECT_EQ(eval("Tanh", {x}).to_f32(), want([](float v) { return numerics::tanh(v); }));
  EXPECT_EQ(eval("Swish", {x}).to_f32(), want([](float v) { return v * numerics::sigmoid(v); }));
  EXPECT_EQ(eval("LeakyRelu", {x}, {{"alpha", 0.1f}}).to_f32(), want([](float v) { return v < 0 ? v * 0.1f : v; }));
  EXPECT_EQ(eval("HardSigmoid", {x}).to_f32(),
            (Floats{0, std::fma(0.2f, -0.5f, 0.5f), 0.5f, std::fma(0.2f, 0.5f, 0.5f), 1}));
  EXPECT_EQ(eval("HardSwish", {x}).to_f32(),
            want([](float v) { return v * std::fmax(0.0f, std::fmin(1.0f, std::fma(1.0f / 6.0f, v, 0.5f))); }));
  EXPECT_EQ(eval("Erf", {x}).to_f32(), want([](float v) { return numerics::erf(v); }));
  EXPECT_EQ(eval("Gelu", {x}).to_f32(), want([](float v) { return numerics::gelu(v); }));
  EXPECT_EQ(eval("Elu", {x}).to_f32(), want([](float v) { return numerics::elu(v, 1); }));
}

TEST(Activations, SmoothOnesHaveTheirTextbookValues) {
  const Tensor x = floats({3}, {-1, 0, 2});
  expect_near(eval("Elu", {x}, {{"alpha", 2.0f}}), {-1.2642411f, 0, 2});
  expect_near(eval("Selu", {x}), {-1.1113307f, 0, 2.1014020f});
  expect_near(eval("Celu", {x}, {{"alpha", 2.0f}}), {-0.7869387f, 0, 2});
  expect_near(eval("Softplus", {x}), {0.3132617f, 0.6931472f, 2.1269280f});
  expect_near(eval("Softsign", {x}), {-0.5f, 0, 0.6666667f});
  expect_near(eval("Mish", {x}), {-0.3034015f, 0, 1.9439590f});
  expect_near(eval("Gelu", {x}), {-0.1586553f, 0, 1.9544997f});
  expect_near(eval("Gelu", {x}, {{"approximate", text("tanh")}}), {-0.1588080f, 0, 1.9545977f});
  expect_near(eval("ThresholdedRelu", {x}, {{"alpha", 1.0f}}), {0, 0, 2});
  expect_near(eval("Shrink", {x}, {{"lambd", 0.5f}, {"bias", 0.25f}}), {-0.75f, 0, 1.75f});
}

TEST(Activations, SixteenBitFloatsAreComputedInFloatAndRoundedOnce) {
  const Tensor y = eval("Sigmoid", {halves({1}, {0.3f})});
  EXPECT_EQ(y.as<uint16_t>()[0], float_to_half(numerics::sigmoid(half_to_float(float_to_half(0.3f)))));
}

// Through the table that octet.Table will hold: quantize(f(dequantize(q))).
TEST(Activations, OfQuantizedValuesAreATable) {
  std::vector<uint8_t> all(256);
  for (size_t i = 0; i < 256; ++i) all[i] = static_cast<uint8_t>(i);
  const Tensor y = eval("Sigmoid", {quantized(bytes({256}, all), 0.05f, 128)}, {}, {DType::u8, {{1.0f / 256}, {0}, -1}});
  for (int32_t i = 0; i < 256; ++i)
    EXPECT_EQ(y.as<uint8_t>()[i],
              numerics::quantize(numerics::sigmoid(numerics::dequantize(i, 0.05f, 128)), 1.0f / 256, 0, 0, 255));
}

TEST(PRelu, SlopeBroadcastsToTheImage) {
  const Tensor x = floats({1, 2, 1, 2}, {-1, 2, -3, 4});
  EXPECT_EQ(eval("PRelu", {x, floats({2, 1, 1}, {0.5f, 0.25f})}).to_f32(), (Floats{-0.5f, 2, -0.75f, 4}));
  EXPECT_NE(refusal("PRelu", {floats({2}, {1, 2}), floats({2, 2}, {1, 1, 1, 1})}), "");
}

TEST(Activations, InferenceKeepsSymbols) {
  EXPECT_EQ(inferred("Sigmoid", {dims(DType::f32, {"N", "3", "?"})}), to_string(dims(DType::f32, {"N", "3", "?"})));
  EXPECT_EQ(refusal("Sigmoid", {longs({1}, {1})}),
            "test.onnx: node 'n' (Sigmoid): input 0 has element type int64; expected a float type");
}

}  // namespace
}  // namespace octet::graph::test
