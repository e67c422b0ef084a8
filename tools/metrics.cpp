#include "tools/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace octet::tools {
namespace {

// Rank of each value from 1; equal values share the mean of their ranks.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) result[order[i]] = static_cast<double>(begin + end + 1) / 2;
    begin = end;
  }
  return result;
}

void count(std::vector<double>& counts, size_t index) {
  if (counts.size() <= index) counts.resize(index + 1);
  counts[index] += 1;
}

double at(const std::vector<double>& counts, size_t index) { return index < counts.size() ? counts[index] : 0; }

}  // namespace

void check_metric(const std::string& metric, const std::string& where) {
  constexpr const char* kKnown[] = {"top1", "top5", "f1", "spearman", "pearson", "auc", "psnr", "miou"};
  if (std::find(std::begin(kKnown), std::end(kKnown), metric) != std::end(kKnown)) return;
  if (metric == "map")
    throw Error(
        ErrorCode::unsupported,
        where +
            ": metric 'map' is not supported: it needs the box decoding of the detector; expected top1, top5, f1, spearman, "
            "pearson, auc, psnr or miou");
  throw Error(ErrorCode::invalid_argument,
              where + ": 'metric' is '" + metric + "', expected top1, top5, f1, spearman, pearson, auc, psnr or miou");
}

size_t argmax(const std::vector<float>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

double pearson(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n, mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

double spearman(const std::vector<double>& a, const std::vector<double>& b) { return pearson(ranks(a), ranks(b)); }

Metric::Metric(std::string name, const graph::Tensor& labels, double peak)
    : name_(std::move(name)), labels_(labels), peak_(peak) {
  check_metric(name_, "metric");
}

void Metric::add(const std::vector<float>& output, size_t label_index) {
  ++samples_;
  const auto fail = [&](const std::string& expected) {
    throw Error(ErrorCode::invalid_argument,
                "metric " + name_ + ": an output of " + std::to_string(output.size()) + " elements, expected " + expected);
  };
  if (output.empty()) fail("at least one");
  const int64_t width = labels_.size() / labels_.shape()[0];
  const int64_t first = static_cast<int64_t>(label_index) * width;
  const double label = labels_.at_f64(first);
  if (name_ != "psnr" && name_ != "miou" && width != 1) fail("one label a sample, not " + std::to_string(width));
  if (name_ == "top1" || name_ == "top5") {
    if (label < 0 || label >= static_cast<double>(output.size())) fail("more than the label, " + std::to_string(label));
    const auto index = static_cast<size_t>(label);
    size_t better = 0;
    for (size_t i = 0; i < output.size(); ++i)
      better += output[i] > output[index] || (output[i] == output[index] && i < index);
    sum_ += better < (name_ == "top1" ? 1u : 5u);
  } else if (name_ == "f1") {
    if (label < 0) fail("labels that are classes, from 0");
    const size_t predicted = argmax(output), actual = static_cast<size_t>(label);
    count(predicted_, predicted);
    count(actual_, actual);
    if (predicted == actual) count(true_positive_, actual);
  } else if (name_ == "spearman" || name_ == "pearson" || name_ == "auc") {
    if (name_ == "auc" && output.size() > 2) fail("1 or 2");
    scores_.push_back(name_ == "auc" && output.size() == 2 ? output[1] - output[0] : output[0]);
    truths_.push_back(label);
  } else if (name_ == "psnr") {
    if (static_cast<int64_t>(output.size()) != width) fail(std::to_string(width) + " as the target has");
    double error = 0;
    for (size_t i = 0; i < output.size(); ++i) {
      const double d = output[i] - labels_.at_f64(first + static_cast<int64_t>(i));
      error += d * d;
    }
    sum_ += 10 * std::log10(peak_ * peak_ / std::max(error / static_cast<double>(width), 1e-20));
  } else {  // miou
    const auto pixels = static_cast<size_t>(width);
    if (output.size() % pixels != 0) fail("classes times " + std::to_string(width));
    constexpr int64_t kIgnore = 255;
    for (size_t p = 0; p < pixels; ++p) {
      const int64_t actual = labels_.at_s64(first + static_cast<int64_t>(p));
      if (actual == kIgnore || actual < 0) continue;
      size_t best = 0;
      for (size_t c = 1; c * pixels < output.size(); ++c)
        if (output[c * pixels + p] > output[best * pixels + p]) best = c;
      count(predicted_, best);
      count(actual_, static_cast<size_t>(actual));
      if (best == static_cast<size_t>(actual)) count(true_positive_, best);
    }
  }
}

double Metric::value() const {
  const auto n = static_cast<double>(samples_);
  if (samples_ == 0) return 0;
  if (name_ == "spearman") return spearman(scores_, truths_);
  if (name_ == "pearson") return pearson(scores_, truths_);
  if (name_ == "auc") {
    // The Mann-Whitney statistic: mean rank of the positives.
    const auto rank = ranks(scores_);
    double positives = 0, sum = 0;
    for (size_t i = 0; i < rank.size(); ++i)
      if (truths_[i] > 0.5) {
        positives += 1;
        sum += rank[i];
      }
    const double negatives = n - positives;
    return positives > 0 && negatives > 0 ? (sum - positives * (positives + 1) / 2) / (positives * negatives) : 0;
  }
  if (name_ == "f1" || name_ == "miou") {
    const bool f1 = name_ == "f1";
    const size_t classes = std::max(predicted_.size(), actual_.size());
    const auto one = [&](size_t c) {
      const double hit = at(true_positive_, c), both = at(predicted_, c) + at(actual_, c);
      return f1 ? 2 * hit / both : hit / (both - hit);
    };
    if (f1 && classes <= 2) return at(predicted_, 1) + at(actual_, 1) > 0 ? one(1) : 0;
    double sum = 0, present = 0;
    for (size_t c = 0; c < classes; ++c)
      if (at(predicted_, c) + at(actual_, c) > 0) {
        sum += one(c);
        present += 1;
      }
    return present > 0 ? sum / present : 0;
  }
  return sum_ / n;
}

void Closeness::add(const std::vector<float>& reference, const std::vector<float>& value) {
  for (size_t i = 0; i < reference.size(); ++i) {
    const double r = reference[i], v = value[i];
    reference_ += r * r;
    value_ += v * v;
    product_ += r * v;
    error_ += (r - v) * (r - v);
  }
}

double Closeness::sqnr_db() const {
  if (error_ == 0) return kMaxSqnr;
  if (reference_ == 0) return -kMaxSqnr;
  return std::clamp(10 * std::log10(reference_ / error_), -kMaxSqnr, kMaxSqnr);
}

double Closeness::cosine() const {
  if (reference_ == 0 && value_ == 0) return 1;
  return reference_ > 0 && value_ > 0 ? product_ / std::sqrt(reference_ * value_) : 0;
}

}  // namespace octet::tools
