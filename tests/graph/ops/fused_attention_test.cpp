#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

constexpr int64_t kBatch = 2, kHeads = 2, kQueries = 3, kKeys = 4, kSize = 3;
const Shape kQ{kBatch, kHeads, kQueries, kSize}, kK{kBatch, kHeads, kKeys, kSize};

Attrs attrs(float scale = 0.5f, int64_t kv_heads = kHeads) {
  return {{"heads", kHeads}, {"kv_heads", kv_heads}, {"size", kSize}, {"value_size", kSize}, {"scale", scale}};
}

TEST(FusedAttention, FloatsAreTheOperatorsSpelledOut) {
  const Tensor q = random_floats(kQ, 1), k = random_floats(kK, 2), v = random_floats(kK, 3),
               mask = random_floats({kQueries, kKeys}, 4);
  Tensor s = eval("MatMul", {q, eval("Transpose", {k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}})});
  s = eval("Add", {eval("Mul", {s, floats({}, {0.5f})}), mask});
  const Tensor expected = eval("MatMul", {eval("Softmax", {s}, {{"axis", number(-1)}}), v});
  EXPECT_EQ(eval("octet.Attention", {q, k, v, mask}, attrs()).to_f32(), expected.to_f32());
}

TEST(FusedAttention, QuantaComeNearTheFloats) {
  const auto real = [](const Tensor& t) {
    Floats f;
    for (int64_t i = 0; i < t.size(); ++i) f.push_back(0.02f * static_cast<float>(t.as<uint8_t>()[i] - 120));
    return floats(t.shape(), f);
  };
  const Tensor q = random_bytes(DType::u8, kQ, 1), k = random_bytes(DType::u8, kK, 2), v = random_bytes(DType::u8, kK, 3);
  const Operand qq = quantized(q, 0.02f, 120), qk = quantized(k, 0.02f, 120), qv = quantized(v, 0.02f, 120);
  for (const bool causal : {false, true}) {
    Attrs a = attrs();
    if (causal) a.emplace_back("causal", number(1));
    const Tensor expected = eval("octet.Attention", {real(q), real(k), real(v)}, a);
    expect_near(eval("octet.Attention", {qq, qk, qv}, a), expected.to_f32(), 0.02f);
    const Tensor y = eval("octet.Attention", {qq, qk, qv}, a, {DType::u8, {{0.03f}, {100}, -1}});
    for (int64_t i = 0; i < y.size(); ++i)
      EXPECT_NEAR(0.03f * static_cast<float>(y.as<uint8_t>()[i] - 100), expected.as<float>()[i], 0.036f);
  }
}

TEST(FusedAttention, ParametersMayComeAtRunTime) {
  const Tensor q = random_bytes(DType::u8, kQ, 1), k = random_bytes(DType::u8, kK, 2), v = random_bytes(DType::u8, kK, 3);
  const Tensor mask = random_floats({kQueries, kKeys}, 4);
  const Tensor want =
      eval("octet.Attention", {quantized(q, 0.02f, 120), quantized(k, 0.03f, 7), quantized(v, 0.01f, 99), mask}, attrs());
  const Tensor got =
      eval("octet.Attention",
           {q, k, v, mask, floats({}, {0.02f}), bytes({}, {120}), floats({}, {0.03f}), floats({}, {0.01f}), bytes({}, {99})},
           attrs());
  EXPECT_EQ(got.to_f32(), want.to_f32());
  EXPECT_NE(refusal("octet.Attention", {q, k, v, mask, floats({}, {0.02f}), bytes({}, {120})}, attrs()), "");
}

TEST(FusedAttention, HeadsMayLieSideBySideInRows) {
  constexpr int64_t kWidth = 3 * kHeads * kSize + 1;
  const Tensor rows = random_floats({kBatch, kKeys, kWidth}, 5);
  const auto heads = [&](int64_t first) {
    Tensor t(DType::f32, kK);
    for (int64_t b = 0; b < kBatch; ++b)
      for (int64_t h = 0; h < kHeads; ++h)
        for (int64_t i = 0; i < kKeys; ++i)
          for (int64_t d = 0; d < kSize; ++d)
            t.mutable_as<float>()[((b * kHeads + h) * kKeys + i) * kSize + d] =
                rows.as<float>()[(b * kKeys + i) * kWidth + first + h * kSize + d];
    return t;
  };
  Attrs side_by_side = attrs();
  const std::pair<const char*, int64_t> parts[] = {
      {"q_heads", 0}, {"k_heads", kHeads * kSize}, {"v_heads", 2 * kHeads * kSize}};
  for (const auto& [name, first] : parts) side_by_side.emplace_back(name, std::vector<int64_t>{first, kSize});
  EXPECT_EQ(eval("octet.Attention", {rows, rows, rows}, side_by_side).to_f32(),
            eval("octet.Attention", {heads(0), heads(6), heads(12)}, attrs()).to_f32());
}

TEST(FusedAttention, QueriesWithoutKeysGiveZero) {
  const Tensor q = random_floats(kQ, 1), k = random_floats(kK, 2), hidden = floats({1, 1}, {-INFINITY});
  EXPECT_EQ(eval("octet.Attention", {q, k, k, hidden}, attrs()).to_f32(),
            Floats(static_cast<size_t>(element_count(kQ)), 0.0f));
  // A finite number that swallows all scores leaves the mean, as in the float operators.
  const Tensor ones = floats(kK, Floats(static_cast<size_t>(element_count(kK)), 1.0f)),
               low = floats({1, 1}, {-3.4028235e38f});
  expect_near(eval("octet.Attention", {q, k, ones, low}, attrs()), Floats(static_cast<size_t>(element_count(kQ)), 1.0f),
              1e-5f);
}

TEST(FusedAttention, RefusesWhatDoesNotFit) {
  const Tensor q = random_floats(kQ, 1), k = random_floats(kK, 2);
  EXPECT_NE(refusal("octet.Attention", {q, k, random_floats({kBatch, kHeads, kKeys + 1, kSize}, 3)}, attrs()), "");
  EXPECT_NE(refusal("octet.Attention", {q, k, k}, attrs(-1.0f)), "");
  EXPECT_NE(refusal("octet.Attention", {q, k, k, random_floats({3, kKeys + 1}, 1)}, attrs()), "");
  EXPECT_NE(refusal("octet.Attention", {bytes({1, 2, 1, 3}, std::vector<uint8_t>(6, 1)), k, k}, attrs()), "");
  EXPECT_NE(refusal("octet.Attention", {random_floats({1, 3, 5}, 1), k, k}, attrs()), "") << "heads of rows need a place";
}

}  // namespace
}  // namespace octet::graph::test
