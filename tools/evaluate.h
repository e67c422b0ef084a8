// Accuracy of models over a data set, how close INT8 stays to FP32 on the same inputs, and the hash of outputs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "octet/octet.h"
#include "tools/dataset.h"
#include "tools/feed.h"
#include "tools/report.h"

namespace octet::tools {

// Where inputs come from: a data set, or else synthetic numbers.
struct InputFeed {
  const Dataset* data = nullptr;
  ShapeOverrides shapes;
  size_t limit = 0;  // evaluate at most so many samples; 0: all

  size_t samples() const;
  // Complete inputs for the samples from `first` on.
  std::vector<graph::Tensor> inputs(const Model& model, const std::string& name, size_t first, int64_t batch) const;
};

struct Subject {
  const Model* model = nullptr;
  std::string name;
  bool dynamic = false;  // ranges taken at run time: evaluated one sample at a time, as outputs depend on the batch
};

struct Evaluation {
  std::vector<std::optional<Accuracy>> accuracy;  // of each subject; only with data
  std::optional<Agreement> agreement;  // of the second subject with the first; absent where their outputs cannot be compared
};
// Runs one or two subjects over the same samples. `progress` is told how many samples are done.
Evaluation evaluate(const std::vector<Subject>& subjects, const InputFeed& feed, int threads,
                    const std::function<void(size_t)>& progress);

// Over the bytes of all outputs for the first samples, each run on its own where the model's batch is open: so it depends on
// the model and the inputs, not on ISA, threads, streams or batch.
std::string output_hash(const Subject& subject, const InputFeed& feed, int threads);

}  // namespace octet::tools
