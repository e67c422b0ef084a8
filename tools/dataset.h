// Labelled data described by a JSON file; its paths are relative to it.
//
//   inputs        a .npy file, first axis = samples; or an object: model input name -> .npy
//   input_layout  NHWC (default) or NCHW: how one sample of `inputs` lies, where it is an image to be preprocessed
//   images        or: a folder of image files
//   labels        a .npy file (any type and rank, first axis = samples), or a CSV with the header `file,label`, which then
//   also
//                 says which images are evaluated and in what order
//   calibration   the same kind as inputs or images, disjoint from them. Where it is absent, the first 10 % calibrate and
//                 the rest is evaluated, but only when a model has to be calibrated; else all samples are evaluated
//   lengths       the name of an input whose samples are ones and then zeros, as an attention mask: of that input and every
//   other
//                 of its shape only the ones' part is used, so that sentences run at their own lengths; in a batch, at the
//                 longest
//   metric        see metrics.h; `peak` is the largest value of a target for psnr (default 1)
//   pairs         true: samples 2i and 2i + 1 belong together, label i is theirs, and what the metric judges is the cosine
//   of
//                 their outputs
//   preprocess    see image.h; without it arrays are given to the model as they are
//
// A sample has no batch axis; feed.h stacks samples into the inputs of a model.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/tensor.h"
#include "tools/image.h"

namespace octet::tools {

struct NamedTensor {
  std::string name;  // of the model's input; empty: the only one
  graph::Tensor tensor;
};
using Sample = std::vector<NamedTensor>;

// Samples that lie in arrays or in image files; one of the two is empty.
struct SampleList {
  std::vector<NamedTensor> arrays;
  std::vector<std::string> images;
  size_t size = 0;
};

class Dataset {
 public:
  // Throws Error naming the file and the key.
  static Dataset load(const std::string& path);

  const std::string& file() const { return file_; }
  const std::string& name() const { return name_; }
  const std::string& metric() const { return metric_; }
  double peak() const { return peak_; }
  bool pairs() const { return pairs_; }
  // Labels of all samples, held-out ones included: label of sample i is at label_index(i) along the first axis.
  const graph::Tensor& labels() const { return labels_; }
  size_t label_index(size_t i) const { return (held_out_ + i) / samples_a_label(); }

  size_t size() const { return samples_.size - held_out_; }
  Sample sample(size_t i) const { return samples(i, 1)[0]; }
  // As one batch: with `lengths` all as long as the longest of them.
  std::vector<Sample> samples(size_t first, size_t count) const { return read(samples_, held_out_ + first, count); }
  size_t calibration_size() const { return calibration_ ? calibration_->size : held_out_; }
  Sample calibration_sample(size_t i) const { return calibration_samples(i, 1)[0]; }
  std::vector<Sample> calibration_samples(size_t first, size_t count) const {
    return read(calibration_ ? *calibration_ : samples_, first, count);
  }
  // Makes sure that there is a calibration part, from the first 10 % of the samples if need be; returns a sentence that says
  // which.
  std::string hold_out_calibration();

 private:
  size_t samples_a_label() const { return pairs_ ? 2 : 1; }
  std::vector<Sample> read(const SampleList& list, size_t first, size_t count) const;
  Sample read(const SampleList& list, size_t i) const;
  void cut_to_lengths(std::vector<Sample>& samples) const;

  std::string file_, name_, metric_;
  double peak_ = 1;
  std::string lengths_;  // an input's name
  bool pairs_ = false;
  SampleList samples_;
  std::optional<SampleList> calibration_;
  size_t held_out_ = 0;
  graph::Tensor labels_;
  bool channels_last_ = true;
  std::optional<Preprocess> preprocess_;
};

// One sample of an array as a tensor without the first axis.
graph::Tensor slice(const graph::Tensor& array, size_t i);

}  // namespace octet::tools
