#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

const std::string kOp = "com.microsoft.MatMulNBits";

Attrs sizes(int64_t k, int64_t n, int64_t block, int64_t bits = 4) {
  return {{"K", number(k)}, {"N", number(n)}, {"block_size", number(block)}, {"bits", number(bits)}};
}

// 0, 1, 2 … 15, the low half of a byte first.
const std::vector<uint8_t> kCounting = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};

TEST(MatMulNBits, WithoutZeroPointsTheMiddleIsZero) {
  const Tensor a = floats({1, 16}, Floats(16, 1.0f));
  EXPECT_EQ(eval(kOp, {a, bytes({1, 1, 8}, kCounting), floats({1, 1}, {0.5f})}, sizes(16, 1, 16)).to_f32(),
            (Floats{(120 - 16 * 8) * 0.5f}));
}

TEST(MatMulNBits, EveryBlockHasItsScaleAndZeroPoint) {
  std::vector<uint8_t> q = kCounting;
  q.insert(q.end(), kCounting.begin(), kCounting.end());
  Floats x(32, 0.0f);
  x[3] = 1, x[16 + 5] = 10;
  const Tensor b = bytes({1, 2, 8}, q), scales = floats({2}, {2, 0.25f});
  const Floats expected = {(3 - 1) * 2.0f + 10 * (5 - 9) * 0.25f};
  EXPECT_EQ(eval(kOp, {floats({1, 32}, x), b, scales, bytes({1, 1}, {0x91})}, sizes(32, 1, 16)).to_f32(), expected);
  EXPECT_EQ(eval(kOp, {floats({1, 32}, x), b, scales, floats({2}, {1, 9})}, sizes(32, 1, 16)).to_f32(), expected);
}

TEST(MatMulNBits, BytesABiasAndALastBlockThatIsCut) {
  std::vector<uint8_t> q(32, 0);
  q[0] = 255, q[16 + 1] = 100;
  Floats x(18, 1.0f);
  const Tensor y = eval(
      kOp,
      {floats({18}, x), bytes({1, 2, 16}, q), floats({1, 2}, {1, 2}), bytes({1, 2}, {0, 50}), kAbsent, floats({1}, {0.5f})},
      sizes(18, 1, 16, 8));
  EXPECT_EQ(y.shape(), (Shape{1}));
  EXPECT_EQ(y.to_f32(), (Floats{255 + ((0 - 50) + (100 - 50)) * 2.0f + 0.5f})) << "what lies behind K does not count";
}

TEST(MatMulNBits, KeepsTheOtherAxes) {
  EXPECT_EQ(inferred(kOp, {dims(DType::f32, {"batch", "3", "16"}), bytes({1, 1, 8}, kCounting), floats({1, 1}, {1})},
                     sizes(16, 1, 16)),
            "float32[batch,3,1]");
}

TEST(MatMulNBits, RefusesWhatDoesNotFit) {
  const Tensor a = floats({1, 16}, Floats(16, 1.0f)), b = bytes({1, 1, 8}, kCounting), scale = floats({1, 1}, {1});
  EXPECT_NE(refusal(kOp, {a, b, scale}, sizes(16, 1, 24)).find("expected a power of two from 16"), std::string::npos);
  EXPECT_NE(refusal(kOp, {a, b, scale}, sizes(16, 1, 16, 2)).find("expected 4 or 8"), std::string::npos);
  EXPECT_NE(refusal(kOp, {a, b, scale}, sizes(16, 2, 16)).find("B has shape [1,1,8]; expected 16 elements"),
            std::string::npos);
  EXPECT_NE(refusal(kOp, {a, b, floats({2}, {1, 1})}, sizes(16, 1, 16)).find("scales has shape [2]"), std::string::npos);
  EXPECT_NE(
      refusal(kOp, {floats({1, 8}, Floats(8, 1.0f)), b, scale}, sizes(16, 1, 16)).find("K and the last dimension of A"),
      std::string::npos);
  EXPECT_NE(refusal(kOp, {a, b, scale, kAbsent, ints32({16}, std::vector<int32_t>(16, 0))}, sizes(16, 1, 16)).find("g_idx"),
            std::string::npos);
}

}  // namespace
}  // namespace octet::graph::test
