#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

enum Code : int64_t { kFloat = 1, kInt32 = 6, kInt64 = 7, kString = 8, kUint4 = 21, kInt4 = 22, kInt2 = 26, kE4M3 = 17 };
Attrs to(int64_t code) { return {{"to", number(code)}}; }

TEST(Cast, KeepsTheLowBitsOfIntegersThatDoNotFit) {
  EXPECT_EQ(eval("Cast", {floats({4}, {1.9f, -1.9f, 9, -9})}, to(kInt4)).to_s64(), (Ints{1, -1, -7, 7}));
  EXPECT_EQ(eval("Cast", {ints32({3}, {15, 16, -1})}, to(kUint4)).to_s64(), (Ints{15, 0, 15}));
  EXPECT_EQ(eval("Cast", {ints32({5}, {-2, -1, 0, 1, 2})}, to(kInt2)).to_s64(), (Ints{-2, -1, 0, 1, -2}));
}

TEST(Cast, NarrowFloatsGoThroughFloat) {
  const Tensor narrow = eval("Cast", {floats({3}, {0.5f, 1000, -3})}, to(kE4M3));
  EXPECT_EQ(narrow.dtype(), DType::f8e4m3fn);
  EXPECT_EQ(eval("Cast", {narrow}, to(kFloat)).to_f32(), (Floats{0.5f, 448, -3}));
  EXPECT_TRUE(std::isnan(eval("Cast", {floats({1}, {1000})}, {{"to", number(kE4M3)}, {"saturate", number(0)}}).to_f32()[0]));
}

TEST(Cast, WritesNumbersAsTheShortestTextAndReadsThem) {
  const Tensor text = eval("Cast", {floats({5}, {0.1f, 1, -1e-7f, NAN, INFINITY})}, to(kString));
  EXPECT_EQ(text.strings(), (std::vector<std::string>{"0.1", "1.0", "-1e-07", "NaN", "INF"}));
  const Floats back = eval("Cast", {text}, to(kFloat)).to_f32();
  EXPECT_EQ(Floats(back.begin(), back.begin() + 3), (Floats{0.1f, 1, -1e-7f}));
  EXPECT_TRUE(std::isnan(back[3]));
  const std::vector<std::string> numbers = {"9007199254740993", "+5"};
  EXPECT_EQ(eval("Cast", {Tensor({2}, numbers)}, to(kInt64)).to_s64(), (Ints{9007199254740993, 5}));
  EXPECT_NE(refusal("Cast", {Tensor({1}, std::vector<std::string>{"five"})}, to(kInt32)), "");
}

TEST(BitCast, TakesTheBitsAsTheyAre) {
  EXPECT_EQ(eval("BitCast", {floats({2}, {1, -2})}, to(kInt32)).to_s64(), (Ints{0x3f800000, -0x40000000}));
  EXPECT_EQ(refusal("BitCast", {floats({1}, {1})}, to(kInt64)),
            "test.onnx: node 'n' (BitCast): cannot take the bits of float32 for int64; expected a type of the same size");
}

}  // namespace
}  // namespace octet::graph::test
