#include <algorithm>
#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

double mean_of(const Floats& v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x);
  return sum / static_cast<double>(v.size());
}

TEST(Random, IsTheSameEveryTimeAndAnotherForAnotherSeed) {
  const Attrs one = {{"shape", ints({50})}, {"seed", 1.0f}}, two = {{"shape", ints({50})}, {"seed", 2.0f}};
  EXPECT_EQ(eval("RandomUniform", {}, one).to_f32(), eval("RandomUniform", {}, one).to_f32());
  EXPECT_NE(eval("RandomUniform", {}, one).to_f32(), eval("RandomUniform", {}, two).to_f32());
}

TEST(Random, UniformFillsItsRange) {
  const Floats v = eval("RandomUniform", {}, {{"shape", ints({4000})}, {"low", -1.0f}, {"high", 3.0f}}).to_f32();
  EXPECT_NEAR(mean_of(v), 1, 0.1);
  EXPECT_GE(*std::min_element(v.begin(), v.end()), -1);
  EXPECT_LT(*std::max_element(v.begin(), v.end()), 3);
}

TEST(Random, NormalHasItsMeanAndDeviation) {
  Floats v = eval("RandomNormalLike", {floats({4000}, Floats(4000))}, {{"mean", 5.0f}, {"scale", 2.0f}}).to_f32();
  EXPECT_NEAR(mean_of(v), 5, 0.15);
  for (float& x : v) x = (x - 5) * (x - 5);
  EXPECT_NEAR(std::sqrt(mean_of(v)), 2, 0.15);
}

TEST(Random, BernoulliDrawsOnesAsOftenAsItsInputSays) {
  Floats p(4000, 0.25f);
  p[0] = 0;
  p[1] = 1;
  const Tensor y = eval("Bernoulli", {floats({4000}, p)}, {{"dtype", number(9)}});
  EXPECT_EQ(y.dtype(), DType::boolean);
  EXPECT_EQ(y.at_s64(0), 0);
  EXPECT_EQ(y.at_s64(1), 1);
  EXPECT_NEAR(mean_of(y.to_f32()), 0.25, 0.03);
}

TEST(Random, MultinomialDrawsClassesByTheirLogProbabilities) {
  const Tensor y =
      eval("Multinomial", {floats({1, 3}, {std::log(0.25f), -INFINITY, std::log(0.75f)})}, {{"sample_size", number(4000)}});
  EXPECT_EQ(y.dtype(), DType::s32);
  EXPECT_NEAR(mean_of(y.to_f32()), 1.5, 0.1);
  const Ints drawn = y.to_s64();
  EXPECT_EQ(std::count(drawn.begin(), drawn.end(), 1), 0);
}

TEST(Random, TypesFollowTheInputOrTheAttribute) {
  EXPECT_EQ(inferred("RandomNormalLike", {dims(DType::f16, {"N", "2"})}), "float16[N,2]");
  EXPECT_EQ(inferred("RandomUniformLike", {dims(DType::s32, {"N"})}, {{"dtype", number(11)}}), "float64[N]");
  EXPECT_NE(refusal("RandomUniformLike", {ints32({1}, {0})}), "") << "integers are not drawn";
}

}  // namespace
}  // namespace octet::graph::test
