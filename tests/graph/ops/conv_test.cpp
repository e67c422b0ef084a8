#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

Floats ramp(int64_t n, float start = 0, float step = 1) {
  Floats v;
  for (int64_t i = 0; i < n; ++i) v.push_back(start + step * static_cast<float>(i));
  return v;
}

TEST(Conv, SumsTheWindow) {
  const Tensor x = floats({1, 1, 3, 3}, ramp(9)), w = floats({1, 1, 2, 2}, {1, 1, 1, 1});
  EXPECT_EQ(eval("Conv", {x, w}).to_f32(), (Floats{8, 12, 20, 24}));
  EXPECT_EQ(eval("Conv", {x, w, floats({1}, {0.5f})}).to_f32(), (Floats{8.5f, 12.5f, 20.5f, 24.5f}));
}

TEST(Conv, PaddingStridesAndDilations) {
  const Tensor x = floats({1, 1, 3, 3}, ramp(9)), ones = floats({1, 1, 3, 3}, Floats(9, 1));
  EXPECT_EQ(eval("Conv", {x, ones}, {{"pads", ints({1, 1, 1, 1})}}).to_f32(), (Floats{8, 15, 12, 21, 36, 27, 20, 33, 24}));
  EXPECT_EQ(eval("Conv", {x, ones}, {{"pads", ints({1, 1, 1, 1})}, {"strides", ints({2, 2})}}).to_f32(),
            (Floats{8, 12, 20, 24}));
  const Tensor corners = floats({1, 1, 2, 2}, {1, 1, 1, 1});
  EXPECT_EQ(eval("Conv", {x, corners}, {{"dilations", ints({2, 2})}}).to_f32(), (Floats{0 + 2 + 6 + 8}));
  // Padding wider than the kernel: windows that see nothing of the image give the bias.
  EXPECT_EQ(
      eval("Conv", {floats({1, 1, 1, 1}, {3}), floats({1, 1, 1, 1}, {2}), floats({1}, {1})}, {{"pads", ints({0, 2, 0, 2})}})
          .to_f32(),
      (Floats{1, 1, 7, 1, 1}));
}

TEST(Conv, AutoPadPutsTheOddPixelWhereItSays) {
  const Tensor x = floats({1, 1, 1, 4}, {1, 2, 3, 4}), w = floats({1, 1, 1, 2}, {1, 10});
  EXPECT_EQ(eval("Conv", {x, w}, {{"auto_pad", text("SAME_UPPER")}}).to_f32(), (Floats{21, 32, 43, 4}));
  EXPECT_EQ(eval("Conv", {x, w}, {{"auto_pad", text("SAME_LOWER")}}).to_f32(), (Floats{10, 21, 32, 43}));
  EXPECT_EQ(eval("Conv", {x, w}, {{"auto_pad", text("VALID")}}).to_f32(), (Floats{21, 32, 43}));
}

TEST(Conv, GroupsSeeTheirChannelsOnly) {
  const Tensor x = floats({1, 4, 1, 1}, {1, 2, 3, 4});
  const Tensor w = floats({2, 2, 1, 1}, {1, 10, 100, 1000});
  EXPECT_EQ(eval("Conv", {x, w}, {{"group", number(2)}}).to_f32(), (Floats{21, 4300}));
  EXPECT_EQ(eval("Conv", {x, floats({4, 1, 1, 1}, {1, 2, 3, 4})}, {{"group", number(4)}}).to_f32(), (Floats{1, 4, 9, 16}));
}

TEST(Conv, OneAndThreeSpatialAxes) {
  EXPECT_EQ(eval("Conv", {floats({1, 1, 4}, {1, 2, 3, 4}), floats({1, 1, 2}, {1, -1})}).to_f32(), (Floats{-1, -1, -1}));
  const Tensor y = eval("Conv", {floats({1, 1, 2, 2, 2}, ramp(8)), floats({1, 1, 2, 2, 2}, Floats(8, 1))});
  EXPECT_EQ(y.shape(), (Shape{1, 1, 1, 1, 1}));
  EXPECT_EQ(y.to_f32(), (Floats{28}));
}

// One FMA chain over kernel row, kernel column, channel, from +0; the bias after it.
TEST(Conv, OrderOfTheSumIsNormative) {
  const Shape xs{1, 3, 2, 2}, ws{1, 3, 2, 2};
  const Tensor x = random_floats(xs, 1), w = random_floats(ws, 2), b = random_floats({1}, 3);
  float sum = 0;
  for (int64_t k = 0; k < 4; ++k)
    for (int64_t c = 0; c < 3; ++c) sum = std::fma(x.as<float>()[c * 4 + k], w.as<float>()[c * 4 + k], sum);
  EXPECT_EQ(eval("Conv", {x, w, b}).to_f32()[0], sum + b.to_f32()[0]);
}

TEST(Conv, SixteenBitFloatsAreRoundedOnceAtTheEnd) {
  const Tensor y = eval("Conv", {halves({1, 2, 1, 1}, {2048, 1}), halves({1, 2, 1, 1}, {1, 1})});
  EXPECT_EQ(y.dtype(), DType::f16);
  EXPECT_EQ(y.to_f32(), (Floats{2048}));
  EXPECT_EQ(eval("Conv", {doubles({1, 1, 1, 1}, {0.1}), doubles({1, 1, 1, 1}, {3})}).as<double>()[0],
            std::fma(0.1, 3.0, 0.0));
}

TEST(Conv, InferenceWithSymbols) {
  const Tensor w = floats({8, 3, 3, 3}, Floats(216));
  const Type image = dims(DType::f32, {"N", "3", "H", "32"});
  EXPECT_EQ(inferred("Conv", {image, w}, {{"pads", ints({1, 1, 1, 1})}}),
            to_string(dims(DType::f32, {"N", "8", "H", "32"})));
  EXPECT_EQ(inferred("Conv", {image, w}, {{"auto_pad", text("SAME_UPPER")}, {"strides", ints({2, 2})}}),
            to_string(dims(DType::f32, {"N", "8", "?", "16"})));
  EXPECT_EQ(inferred("Conv", {Type{DType::f32, std::nullopt, nullptr}, w}),
            to_string(dims(DType::f32, {"?", "8", "?", "?"})));
}

TEST(Conv, Refusals) {
  const Tensor x = floats({1, 3, 4, 4}, Floats(48));
  EXPECT_EQ(refusal("Conv", {x, floats({1, 2, 1, 1}, {1, 1})}),
            "test.onnx: node 'n' (Conv): the image has 3 channels; expected 2, 2 a group by the weights");
  EXPECT_EQ(refusal("Conv", {x, floats({1, 3, 5, 5}, Floats(75))}),
            "test.onnx: node 'n' (Conv): the window of 5 exceeds the padded size 4 along spatial axis 0");
  EXPECT_EQ(refusal("Conv", {x, floats({1, 3, 1, 1}, Floats(3))}, {{"strides", ints({1})}}),
            "test.onnx: node 'n' (Conv): attribute strides has 1 entries; expected 2");
  EXPECT_EQ(refusal("Conv", {x, floats({2, 3, 1, 1}, Floats(6)), floats({3}, Floats(3))}),
            "test.onnx: node 'n' (Conv): bias size and output channels disagree: 3 and 2");
  EXPECT_EQ(refusal("Conv", {x, floats({1, 3, 1, 1}, Floats(3))}, {{"group", number(0)}}),
            "test.onnx: node 'n' (Conv): group is 0; expected at least 1");
  EXPECT_EQ(refusal("Conv", {floats({3, 4}, Floats(12)), floats({1, 3, 1, 1}, Floats(3))}),
            "test.onnx: node 'n' (Conv): input 0 has shape [3,4]; expected rank 3 to 5");
}

TEST(ConvTranspose, SpreadsThePixels) {
  const Tensor x = floats({1, 1, 2, 2}, {1, 2, 3, 4}), w = floats({1, 1, 2, 2}, {1, 10, 100, 1000});
  EXPECT_EQ(eval("ConvTranspose", {x, w}, {{"strides", ints({2, 2})}}).to_f32(),
            (Floats{1, 10, 2, 20, 100, 1000, 200, 2000, 3, 30, 4, 40, 300, 3000, 400, 4000}));
  EXPECT_EQ(eval("ConvTranspose", {x, w, floats({1}, {0.5f})}).to_f32(),
            (Floats{1.5f, 12.5f, 20.5f, 103.5f, 1234.5f, 2040.5f, 300.5f, 3400.5f, 4000.5f}));
}

TEST(ConvTranspose, IsTheGradientOfConv) {
  // <conv(x, w), y> = <x, conv_transpose(y, w)> for integers held in float, exactly.
  const Attrs attrs{
      {"strides", ints({2, 1})}, {"pads", ints({1, 0, 0, 1})}, {"dilations", ints({1, 2})}, {"group", number(2)}};
  const auto whole = [](const Shape& s, uint32_t seed) {
    Tensor t = random_bytes(DType::s8, s, seed);
    Floats v;
    for (int64_t i = 0; i < t.size(); ++i) v.push_back(static_cast<float>(t.at_s64(i) % 8));
    return floats(s, v);
  };
  const Tensor w = whole({6, 2, 3, 2}, 1), x = whole({2, 4, 6, 5}, 2);
  const Tensor cx = eval("Conv", {x, w}, attrs);
  const Tensor y = whole(cx.shape(), 3);
  const Tensor ty = eval("ConvTranspose", {y, w}, attrs);
  ASSERT_EQ(ty.shape(), x.shape());
  double left = 0, right = 0;
  for (int64_t i = 0; i < cx.size(); ++i) left += cx.at_f64(i) * y.at_f64(i);
  for (int64_t i = 0; i < x.size(); ++i) right += x.at_f64(i) * ty.at_f64(i);
  EXPECT_EQ(left, right);
}

TEST(ConvTranspose, OutputShapeAndPadding) {
  const Tensor x = floats({1, 1, 1, 3}, {1, 2, 3}), w = floats({1, 1, 1, 3}, {1, 1, 1});
  const Attrs two{{"strides", ints({1, 2})}};
  EXPECT_EQ(eval("ConvTranspose", {x, w}, two).shape(), (Shape{1, 1, 1, 7}));
  EXPECT_EQ(eval("ConvTranspose", {x, w}, {{"strides", ints({1, 2})}, {"output_padding", ints({0, 1})}}).shape(),
            (Shape{1, 1, 1, 8}));
  EXPECT_EQ(eval("ConvTranspose", {x, w},
                 {{"strides", ints({1, 2})}, {"output_shape", ints({1, 6})}, {"auto_pad", text("SAME_UPPER")}})
                .to_f32(),
            (Floats{1, 1, 3, 2, 5, 3}));
  EXPECT_EQ(eval("ConvTranspose", {x, w}, {{"strides", ints({1, 2})}, {"auto_pad", text("SAME_LOWER")}}).to_f32(),
            (Floats{1, 3, 2, 5, 3, 3}));
  EXPECT_EQ(inferred("ConvTranspose", {dims(DType::f32, {"N", "1", "1", "W"}), w}, two),
            to_string(dims(DType::f32, {"N", "1", "1", "?"})));
}

}  // namespace
}  // namespace octet::graph::test
