// com.microsoft's attention operators: the numbers that ONNX Runtime documents, for one head of size 2 whose queries, keys
// and values are what the test says.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/eval.h"
#include "onnx_file.h"

namespace octet::test {
namespace {

using graph::Tensor;
using Floats = std::vector<float>;

constexpr int64_t kTokens = 3, kSize = 2;
const Floats kRows{0.5f, -1.0f, 2.0f, 0.25f, -0.75f, 1.5f};

// softmax(q kᵀ / √2 + hidden) v over rows of two.
Floats attention(const Floats& q, const Floats& k, const Floats& v, const std::function<double(size_t, size_t)>& mask) {
  Floats y;
  for (size_t i = 0; i < q.size() / kSize; ++i) {
    double sum = 0, out[kSize] = {};
    for (size_t j = 0; j < k.size() / kSize; ++j) {
      const double score = (static_cast<double>(q[2 * i]) * static_cast<double>(k[2 * j]) +
                            static_cast<double>(q[2 * i + 1]) * static_cast<double>(k[2 * j + 1])) /
                           std::sqrt(2.0);
      const double e = std::exp(score + mask(i, j));
      sum += e;
      for (size_t d = 0; d < kSize; ++d) out[d] += e * static_cast<double>(v[2 * j + d]);
    }
    for (const double o : out) y.push_back(static_cast<float>(o / sum));
  }
  return y;
}
double nothing(size_t, size_t) { return 0; }

Floats run(const ModelParts& parts, const std::vector<Tensor>& inputs) {
  return graph::run_reference(*import_parts(parts), inputs)[0].to_f32();
}
void expect_near(const Floats& got, const Floats& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-5f) << "element " << i;
}

// Queries, keys and values are the rows, twice them and minus them.
const Floats kWeights{1, 0, 2, 0, -1, 0, 0, 1, 0, 2, 0, -1};
Floats times(float factor) {
  Floats v = kRows;
  for (float& x : v) x *= factor;
  return v;
}

ModelParts self_attention(Names inputs, const std::vector<Message>& attrs = {}) {
  ModelParts parts;
  std::vector<Message> all{attr_int("num_heads", 1)};
  all.insert(all.end(), attrs.begin(), attrs.end());
  parts.nodes = {node("Attention", inputs, {"y"}, all, "a", "com.microsoft")};
  parts.inputs = {value("x", kFloat, {"1", "3", "2"})};
  parts.outputs = {Message().text(1, "y")};
  parts.initializers = {float_tensor("w", {kSize, 3 * kSize}, kWeights), float_tensor("b", {3 * kSize}, Floats(6, 0.0f))};
  return parts;
}
const Tensor kX = Tensor::of<float>(DType::f32, {1, kTokens, kSize}, kRows);

TEST(NormaliseAttention, OneProductSplitInThree) {
  expect_near(run(self_attention({"x", "w", "b"}), {kX}), attention(kRows, times(2), times(-1), nothing));
  const auto later = [](size_t i, size_t j) { return j > i ? -INFINITY : 0.0; };
  expect_near(run(self_attention({"x", "w"}, {attr_int("unidirectional", 1)}), {kX}),
              attention(kRows, times(2), times(-1), later));
}

TEST(NormaliseAttention, MasksSayWhoMayBeSeen) {
  const auto first_two = [](size_t, size_t j) { return j < 2 ? 0.0 : -10000.0; };
  ModelParts parts = self_attention({"x", "w", "b", "mask"});
  parts.inputs.push_back(value("mask", kInt32, {"1", "3"}));
  expect_near(run(parts, {kX, Tensor::of<int32_t>(DType::s32, {1, 3}, {1, 1, 0})}),
              attention(kRows, times(2), times(-1), first_two));
  parts.inputs.back() = value("mask", kInt32, {"1"});
  expect_near(run(parts, {kX, Tensor::of<int32_t>(DType::s32, {1}, {2})}), attention(kRows, times(2), times(-1), first_two));
  parts.inputs.back() = value("mask", kInt32, {"1", "3", "3"});
  const auto diagonal = [](size_t i, size_t j) { return i == j ? 0.0 : -10000.0; };
  expect_near(run(parts, {kX, Tensor::of<int32_t>(DType::s32, {1, 3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1})}),
              attention(kRows, times(2), times(-1), diagonal));
}

TEST(NormaliseAttention, CrossAttentionWithBiases) {
  ModelParts parts;
  parts.nodes = {node("MultiHeadAttention", {"x", "k", "v", "b"}, {"y"}, {attr_int("num_heads", 1)}, "m", "com.microsoft")};
  parts.inputs = {value("x", kFloat, {"1", "3", "2"}), value("k", kFloat, {"1", "2", "2"}),
                  value("v", kFloat, {"1", "2", "2"})};
  parts.outputs = {Message().text(1, "y")};
  parts.initializers = {float_tensor("b", {6}, {1, 1, 0, 0, 0, 5})};
  const Floats k{1, 2, -1, 0.5f}, v{3, 4, -2, 1};
  Floats q = kRows;
  for (float& x : q) x += 1;
  const Tensor keys = Tensor::of<float>(DType::f32, {1, 2, 2}, k), values = Tensor::of<float>(DType::f32, {1, 2, 2}, v);
  expect_near(run(parts, {kX, keys, values}), attention(q, k, {3, 9, -2, 6}, nothing));
}

TEST(NormaliseAttention, IntegersAreDequantized) {
  ModelParts parts;
  parts.nodes = {node("QAttention", {"x", "w", "b", "xs", "ws", "", "xz", "wz"}, {"y"}, {attr_int("num_heads", 1)}, "q",
                      "com.microsoft")};
  parts.inputs = {value("x", kUint8, {"1", "3", "2"})};
  parts.outputs = {Message().text(1, "y")};
  std::vector<int8_t> w;
  for (const float v : kWeights) w.push_back(static_cast<int8_t>(10 * v));
  parts.initializers = {tensor_header("w", kInt8, {kSize, 3 * kSize}).text(9, raw(w)),
                        float_tensor("b", {6}, Floats(6, 0.0f)),
                        float_tensor("xs", {}, {0.25f}),
                        float_tensor("ws", {}, {0.1f}),
                        tensor_header("xz", kUint8, {}).text(9, raw(std::vector<uint8_t>{100})),
                        tensor_header("wz", kInt8, {}).text(9, raw(std::vector<int8_t>{0}))};
  std::vector<uint8_t> x;
  for (const float v : kRows) x.push_back(static_cast<uint8_t>(100 + 4 * v));
  expect_near(run(parts, {Tensor::of<uint8_t>(DType::u8, {1, kTokens, kSize}, x)}),
              attention(kRows, times(2), times(-1), nothing));
}

TEST(NormaliseAttention, RefusesCachesAndWhatItCannotKnow) {
  ModelParts parts = self_attention({"x", "w", "b", "", "past"});
  parts.inputs.push_back(value("past", kFloat, {"2", "1", "1", "4", "2"}));
  EXPECT_NE(error_of(parts).find("has a cache"), std::string::npos);
  parts = self_attention({"x", "w", "b"}, {attr_int("unidirectional", 1)});
  parts.inputs = {value("x", kFloat, {"1", "tokens", "2"})};
  EXPECT_NE(error_of(parts).find("length that is not known"), std::string::npos);
  parts.nodes = {node("Attention", {"x", "w"}, {"y"}, {}, "a", "com.microsoft")};
  EXPECT_NE(error_of(parts).find("'num_heads' is missing"), std::string::npos);
}

}  // namespace
}  // namespace octet::test
