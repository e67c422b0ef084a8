#include <cmath>
#include <limits>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

const Tensor kImage = floats({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});

TEST(MaxPool, TakesTheLargestOfTheWindow) {
  EXPECT_EQ(eval("MaxPool", {kImage}, {{"kernel_shape", ints({2, 2})}}).to_f32(), (Floats{5, 6, 8, 9}));
  EXPECT_EQ(eval("MaxPool", {kImage}, {{"kernel_shape", ints({2, 2})}, {"strides", ints({2, 2})}, {"ceil_mode", number(1)}})
                .to_f32(),
            (Floats{5, 6, 8, 9}));
  EXPECT_EQ(eval("MaxPool", {kImage}, {{"kernel_shape", ints({2, 2})}, {"strides", ints({2, 2})}}).to_f32(), (Floats{5}));
  EXPECT_EQ(eval("MaxPool", {kImage}, {{"kernel_shape", ints({2, 2})}, {"dilations", ints({2, 2})}}).to_f32(), (Floats{9}));
}

TEST(MaxPool, PaddingNeverWins) {
  const Tensor x = floats({1, 1, 1, 2}, {-5, -7});
  EXPECT_EQ(eval("MaxPool", {x}, {{"kernel_shape", ints({1, 2})}, {"pads", ints({0, 1, 0, 1})}}).to_f32(),
            (Floats{-5, -5, -7}));
  EXPECT_EQ(
      eval("MaxPool", {signed_bytes({1, 1, 1, 2}, {-5, -7})}, {{"kernel_shape", ints({1, 2})}, {"pads", ints({0, 1, 0, 0})}})
          .to_s64(),
      (Ints{-5, -5}));
}

TEST(MaxPool, NaNLosesAgainstWhatFollows) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(eval("MaxPool", {floats({1, 1, 1, 3}, {1, nan, 2})}, {{"kernel_shape", ints({1, 3})}}).to_f32(), (Floats{2}));
  EXPECT_TRUE(std::isnan(eval("MaxPool", {floats({1, 1, 1, 2}, {1, nan})}, {{"kernel_shape", ints({1, 2})}}).to_f32()[0]));
}

TEST(MaxPool, GivesIndices) {
  const std::vector<Tensor> out =
      eval_all("MaxPool", {floats({1, 2, 2, 2}, {1, 2, 2, 0, 5, 4, 3, 2})}, {{"kernel_shape", ints({2, 2})}}, 2);
  EXPECT_EQ(out[0].to_f32(), (Floats{2, 5}));
  EXPECT_EQ(out[1].to_s64(), (Ints{1, 4}));  // the first of equals
  const auto column_major = eval_all("MaxPool", {kImage}, {{"kernel_shape", ints({2, 2})}, {"storage_order", number(1)}}, 2);
  EXPECT_EQ(column_major[1].to_s64(), (Ints{4, 7, 5, 8}));
}

// ceil_mode: a window that would start in the trailing padding is dropped.
TEST(MaxPool, CeilModeKeepsWindowsInside) {
  const Attrs attrs{{"kernel_shape", ints({1})}, {"strides", ints({2})}, {"ceil_mode", number(1)}};
  EXPECT_EQ(eval("MaxPool", {floats({1, 1, 4}, {1, 2, 3, 4})}, attrs).shape(), (Shape{1, 1, 2}));
}

TEST(AveragePool, CountsThePaddingWhenAsked) {
  const Attrs plain{{"kernel_shape", ints({3, 3})}, {"pads", ints({1, 1, 1, 1})}};
  Attrs with = plain;
  with.emplace_back("count_include_pad", number(1));
  EXPECT_EQ(eval("AveragePool", {kImage}, plain).to_f32()[0], (1.0f + 2 + 4 + 5) / 4);
  EXPECT_EQ(eval("AveragePool", {kImage}, with).to_f32()[0], (1.0f + 2 + 4 + 5) / 9);
}

TEST(AveragePool, CeilModeDividesByWhatLiesInThePaddedImage) {
  const Tensor x = floats({1, 1, 5}, {1, 2, 3, 4, 5});
  const Attrs attrs{
      {"kernel_shape", ints({3})}, {"strides", ints({3})}, {"ceil_mode", number(1)}, {"count_include_pad", number(1)}};
  EXPECT_EQ(eval("AveragePool", {x}, attrs).to_f32(), (Floats{2, 4.5f}));
}

TEST(AveragePool, QuantizedFollowsTheFormula) {
  const float sx = 0.1f, sy = 0.07f;
  const int32_t zx = 100, zy = 20;
  const Tensor x = random_bytes(DType::u8, {1, 2, 5, 5}, 7);
  const Attrs attrs{{"kernel_shape", ints({3, 3})}, {"pads", ints({1, 1, 0, 0})}, {"strides", ints({2, 2})}};
  const Tensor y = eval("AveragePool", {quantized(x, sx, zx)}, attrs, {DType::u8, {{sy}, {zy}, -1}});
  ASSERT_EQ(y.shape(), (Shape{1, 2, 2, 2}));
  int32_t sum = 0;
  for (const int64_t i : {0, 1, 5, 6}) sum += x.as<uint8_t>()[i] - zx;
  EXPECT_EQ(y.as<uint8_t>()[0], numerics::quantize_scaled(static_cast<float>(sum) * ((sx / sy) / 4.0f), zy, 0, 255));
}

TEST(GlobalPools, LookAtTheWholeImage) {
  EXPECT_EQ(eval("GlobalAveragePool", {kImage}).to_f32(), (Floats{5}));
  EXPECT_EQ(eval("GlobalMaxPool", {kImage}).to_f32(), (Floats{9}));
  EXPECT_EQ(eval("GlobalLpPool", {floats({1, 1, 2}, {3, 4})}).to_f32(), (Floats{5}));
  EXPECT_EQ(inferred("GlobalAveragePool", {dims(DType::f32, {"N", "C", "H", "?"})}),
            to_string(dims(DType::f32, {"N", "C", "1", "1"})));
}

TEST(GlobalPools, SumInRowMajorOrder) {
  const Tensor x = random_floats({1, 1, 7, 9}, 5);
  float sum = 0;
  for (const float v : x.to_f32()) sum += v;
  EXPECT_EQ(eval("GlobalAveragePool", {x}).to_f32()[0], sum / 63.0f);
}

TEST(GlobalPools, QuantizedAverage) {
  const Tensor x = random_bytes(DType::u8, {2, 3, 4, 4}, 9);
  const Tensor y = eval("GlobalAveragePool", {quantized(x, 0.5f, 128)}, {}, {DType::u8, {{0.25f}, {64}, -1}});
  for (int64_t p = 0; p < 6; ++p) {
    int32_t sum = 0;
    for (int64_t i = 0; i < 16; ++i) sum += x.as<uint8_t>()[p * 16 + i] - 128;
    EXPECT_EQ(y.as<uint8_t>()[p], numerics::quantize_scaled(static_cast<float>(sum) * ((0.5f / 0.25f) / 16.0f), 64, 0, 255));
  }
}

TEST(LpPool, IsTheNormOfTheWindow) {
  EXPECT_EQ(eval("LpPool", {floats({1, 1, 2}, {3, -4})}, {{"kernel_shape", ints({2})}}).to_f32(), (Floats{5}));
  EXPECT_EQ(eval("LpPool", {floats({1, 1, 2}, {3, -4})}, {{"kernel_shape", ints({2})}, {"p", number(1)}}).to_f32(),
            (Floats{7}));
}

TEST(Pools, Inference) {
  EXPECT_EQ(inferred("MaxPool", {dims(DType::f32, {"N", "3", "H", "8"})},
                     {{"kernel_shape", ints({3, 3})}, {"pads", ints({1, 1, 1, 1})}}),
            to_string(dims(DType::f32, {"N", "3", "H", "8"})));
  EXPECT_EQ(refusal("MaxPool", {kImage}, {{"kernel_shape", ints({2})}}),
            "test.onnx: node 'n' (MaxPool): kernel_shape has 1 entries; expected 2");
}

TEST(Pools, QuantizedMaxKeepsTheParameters) {
  Graph g;
  Type type = Type::known(DType::u8, {1, 1, 2, 2});
  type.quant = std::make_shared<QuantParams>(QuantParams{{0.5f}, {3}, -1});
  Node* n = g.add_node("MaxPool", {g.add_input("x", type)}, 1, "n");
  n->set_attr("kernel_shape", ints({2, 2}));
  infer_types(g, *n);
  ASSERT_NE(n->output()->quant(), nullptr);
  EXPECT_EQ(*n->output()->quant(), *type.quant);
}

}  // namespace
}  // namespace octet::graph::test
