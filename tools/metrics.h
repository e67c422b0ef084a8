// How good a model's outputs are, given labels. Each value is computed from output 0, sample by sample.
//
//   top1, top5   fraction of samples whose label is the (one of the five) largest of the output's elements, flattened; a tie
//   goes to
//                the lower index
//   f1           labels are classes; with two classes the F1 of class 1, with more the mean F1 of the classes that occur
//   spearman     rank correlation of the output's first element with the label (equal values share their mean rank)
//   pearson      linear correlation of the same
//   auc          labels 0 and 1; area under the ROC curve of the score: the only output element, or element 1 minus element
//   0 psnr         labels are target arrays like the output; mean over samples of 10 log10(peak^2 / mean squared error), in
//   dB miou         labels are class maps H x W, 255 = ignore; output C x H x W; mean over classes of intersection / union
//
// All but psnr are fractions (0..1, correlations -1..1).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "graph/tensor.h"

namespace octet::tools {

// Throws Error naming `where` unless the metric is one of those above. `map` is refused: it needs a box decoder for each
// detector.
void check_metric(const std::string& metric, const std::string& where);

class Metric {
 public:
  // `labels`: first axis = samples; it must live as long as this. `peak`: for psnr.
  Metric(std::string name, const graph::Tensor& labels, double peak = 1);

  // The output's elements for one sample, flattened, and the place of its label along the first axis of the labels.
  void add(const std::vector<float>& output, size_t label_index);
  double value() const;
  size_t samples() const { return samples_; }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  const graph::Tensor& labels_;
  double peak_;
  size_t samples_ = 0;
  double sum_ = 0;
  std::vector<double> scores_, truths_;                     // correlations, auc
  std::vector<double> true_positive_, predicted_, actual_;  // f1, miou: by class
};

size_t argmax(const std::vector<float>& values);
// Of two vectors of equal length; 0 where one of them is zero.
double cosine(const std::vector<float>& a, const std::vector<float>& b);
double pearson(const std::vector<double>& a, const std::vector<double>& b);
double spearman(const std::vector<double>& a, const std::vector<double>& b);

// How far `value` is from `reference`, gathered over samples and outputs.
class Closeness {
 public:
  void add(const std::vector<float>& reference, const std::vector<float>& value);
  void add_top1(bool equal) {
    ++samples_;
    equal_ += equal;
  }
  double top1() const { return samples_ ? static_cast<double>(equal_) / static_cast<double>(samples_) : 0; }
  // 10 log10(sum r^2 / sum (r - v)^2); kMaxSqnr where they are equal.
  double sqnr_db() const;
  double cosine() const;
  static constexpr double kMaxSqnr = 200;

 private:
  double reference_ = 0, value_ = 0, product_ = 0, error_ = 0;
  size_t samples_ = 0, equal_ = 0;
};

}  // namespace octet::tools
