#include "tools/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octet::tools {
namespace {

using graph::Tensor;

double evaluate(const std::string& metric, const Tensor& labels, const std::vector<std::vector<float>>& outputs,
                double peak = 1) {
  Metric m(metric, labels, peak);
  for (size_t i = 0; i < outputs.size(); ++i) m.add(outputs[i], i);
  EXPECT_EQ(m.samples(), outputs.size());
  return m.value();
}

Tensor classes(const std::vector<int64_t>& values) { return Tensor::of_s64(values); }
Tensor numbers(const std::vector<float>& values) {
  return Tensor::of(DType::f32, {static_cast<int64_t>(values.size())}, values);
}

TEST(Metrics, Top1AndTop5) {
  const std::vector<std::vector<float>> outputs = {
      {1, 9, 2, 3, 4, 5, 6}, {9, 1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6, 7}, {7, 7, 1, 1, 1, 1, 1}};
  const Tensor labels = classes({1, 3, 0, 1});
  EXPECT_DOUBLE_EQ(evaluate("top1", labels, outputs), 0.25) << "a tie goes to the lower index";
  EXPECT_DOUBLE_EQ(evaluate("top5", labels, outputs), 0.75);
}

TEST(Metrics, F1OfTwoClassesIsThatOfClassOne) {
  // Predictions 1 1 0 1 0 for labels 1 0 1 1 0: 2 hits, 1 false positive, 1 miss: 2*2 / (2*2 + 1 + 1).
  EXPECT_DOUBLE_EQ(evaluate("f1", classes({1, 0, 1, 1, 0}), {{0, 1}, {0, 1}, {1, 0}, {0, 1}, {1, 0}}), 4.0 / 6.0);
}

TEST(Metrics, F1OfMoreClassesIsTheirMean) {
  // Class 0: 1 of 1; class 1: one hit, one taken by 2; class 2: one hit, one false.
  const double value = evaluate("f1", classes({0, 1, 1, 2}), {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {0, 0, 1}});
  EXPECT_DOUBLE_EQ(value, (1.0 + 2.0 / 3.0 + 2.0 / 3.0) / 3.0);
}

TEST(Metrics, CosineOfTwoVectors) {
  EXPECT_DOUBLE_EQ(cosine({3, 4}, {6, 8}), 1);
  EXPECT_DOUBLE_EQ(cosine({1, 0}, {0, 5}), 0);
  EXPECT_DOUBLE_EQ(cosine({0, 0}, {1, 5}), 0) << "of a zero vector";
}

TEST(Metrics, Correlations) {
  EXPECT_DOUBLE_EQ(evaluate("pearson", numbers({1, 2, 3}), {{2}, {4}, {6}}), 1);
  EXPECT_DOUBLE_EQ(evaluate("pearson", numbers({1, 2, 3}), {{3}, {2}, {1}}), -1);
  EXPECT_NEAR(evaluate("pearson", numbers({1, 2, 3, 4}), {{1}, {3}, {2}, {4}}), 0.8, 1e-12);
  EXPECT_DOUBLE_EQ(evaluate("spearman", numbers({1, 2, 3}), {{1}, {10}, {1000}}), 1);
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
  EXPECT_NEAR(evaluate("spearman", numbers({1, 5, 5, 9}), {{1}, {2}, {3}, {4}}), 4.5 / std::sqrt(4.5 * 5), 1e-12);
}

TEST(Metrics, AreaUnderTheCurve) {
  // Of the 2 x 2 pairs (positive, negative) three are in order.
  EXPECT_DOUBLE_EQ(evaluate("auc", numbers({0, 0, 1, 1}), {{0.1f}, {0.4f}, {0.35f}, {0.8f}}), 0.75);
  EXPECT_DOUBLE_EQ(evaluate("auc", numbers({0, 1}), {{5, 5}, {1, 2}}), 1);
  EXPECT_DOUBLE_EQ(evaluate("auc", numbers({0, 1}), {{1}, {1}}), 0.5);
}

TEST(Metrics, PsnrAgainstTargets) {
  const Tensor targets = Tensor::of<float>(DType::f32, {1, 2, 2}, {0, 0, 0, 0});
  EXPECT_NEAR(evaluate("psnr", targets, {{0.1f, 0.1f, 0.1f, 0.1f}}), 20, 1e-5);
  EXPECT_NEAR(evaluate("psnr", targets, {{1, 1, 1, 1}}, 255), 10 * std::log10(255.0 * 255.0), 1e-9);
}

TEST(Metrics, MeanIntersectionOverUnion) {
  // Four pixels, two classes; the last pixel is ignored. Predicted 0 1 1; actual 0 0 1.
  const Tensor map = Tensor::of<uint8_t>(DType::u8, {1, 1, 4}, {0, 0, 1, 255});
  const std::vector<float> output = {5, 1, 1, 9, /* class 1 */ 1, 5, 5, 1};
  EXPECT_DOUBLE_EQ(evaluate("miou", map, {output}), (1.0 / 2 + 1.0 / 2) / 2);
}

TEST(Metrics, UnknownOnesAndUnfitOutputsAreRefused) {
  EXPECT_THROW(check_metric("map", "d.json"), Error);
  EXPECT_THROW(check_metric("", "d.json"), Error);
  EXPECT_THROW(evaluate("top1", classes({5}), {{1, 2, 3}}), Error);
  EXPECT_THROW(evaluate("psnr", Tensor::of<float>(DType::f32, {1, 2}, {0, 0}), {{1, 2, 3}}), Error);
}

TEST(Closeness, OfEqualAndScaledVectors) {
  Closeness same;
  same.add({1, 2, 3}, {1, 2, 3});
  EXPECT_EQ(same.sqnr_db(), Closeness::kMaxSqnr);
  EXPECT_DOUBLE_EQ(same.cosine(), 1);
  Closeness off;
  off.add({3, 4}, {3, 4.5f});  // 25 against 0.25
  EXPECT_NEAR(off.sqnr_db(), 20, 1e-9);
  off.add_top1(true);
  off.add_top1(false);
  EXPECT_DOUBLE_EQ(off.top1(), 0.5);
  Closeness orthogonal;
  orthogonal.add({1, 0}, {0, 1});
  EXPECT_DOUBLE_EQ(orthogonal.cosine(), 0);
}

}  // namespace
}  // namespace octet::tools
