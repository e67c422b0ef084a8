#include "tools/evaluate.h"

#include <algorithm>

#include "tools/hash.h"
#include "tools/metrics.h"

namespace octet::tools {
namespace {

constexpr size_t kSyntheticSamples = 4;
constexpr size_t kHashedSamples = 4;
constexpr int64_t kEvaluationBatch = 16;

// The part of an output that belongs to sample `i` of `batch`.
std::vector<float> part(const std::vector<float>& all, int64_t i, int64_t batch) {
  const auto width = static_cast<std::ptrdiff_t>(all.size()) / batch;
  return {all.begin() + i * width, all.begin() + (i + 1) * width};
}

bool comparable(const Model& a, const Model& b) {
  if (a.outputs().size() != b.outputs().size()) return false;
  for (size_t i = 0; i < a.outputs().size(); ++i)
    if (a.outputs()[i].dtype != b.outputs()[i].dtype || !is_float(a.outputs()[i].dtype)) return false;
  return true;
}

// The metric of a data set; of pairs, on the cosine of their outputs.
class Score {
 public:
  explicit Score(const Dataset& data) : data_(data), metric_(data.metric(), data.labels(), data.peak()) {}

  void add(std::vector<float> output, size_t sample) {
    if (!data_.pairs()) return metric_.add(output, data_.label_index(sample));
    if (sample % 2 == 0)
      first_ = std::move(output);
    else
      metric_.add({static_cast<float>(cosine(first_, output))}, data_.label_index(sample));
  }
  Accuracy value() const { return {metric_.name(), metric_.value(), metric_.samples()}; }

 private:
  const Dataset& data_;
  Metric metric_;
  std::vector<float> first_;
};

}  // namespace

size_t InputFeed::samples() const {
  if (!data) return kSyntheticSamples;
  return limit ? std::min(limit, data->size()) : data->size();
}

std::vector<graph::Tensor> InputFeed::inputs(const Model& model, const std::string& name, size_t first,
                                             int64_t batch) const {
  if (!data) return synthetic_inputs(model, resolve_shapes(model.inputs(), batch, shapes, name), first);
  return stack(model.inputs(), data->samples(first, static_cast<size_t>(batch)), batch, data->file() + " for " + name);
}

Evaluation evaluate(const std::vector<Subject>& subjects, const InputFeed& feed, int threads,
                    const std::function<void(size_t)>& progress) {
  const auto& inputs = subjects[0].model->inputs();
  const bool dynamic = std::any_of(subjects.begin(), subjects.end(), [](const Subject& s) { return s.dynamic; });
  int64_t batch = fixed_batch(inputs);
  if (batchable(inputs) && feed.data && !dynamic) batch = kEvaluationBatch;

  std::vector<Session> sessions;
  std::vector<Score> scores;
  for (const Subject& s : subjects) {
    sessions.emplace_back(*s.model, SessionOptions{.threads = threads});
    if (feed.data) scores.emplace_back(*feed.data);
  }
  Closeness closeness;
  const bool compare = subjects.size() == 2 && comparable(*subjects[0].model, *subjects[1].model);
  for (size_t first = 0; first < feed.samples(); first += static_cast<size_t>(batch)) {
    progress(first);
    const auto left = static_cast<int64_t>(feed.samples() - first);
    const int64_t size = batchable(inputs) ? std::min(batch, left) : batch;
    const int64_t used = std::min(size, left);
    const std::vector<Sample> samples =
        feed.data ? feed.data->samples(first, static_cast<size_t>(used)) : std::vector<Sample>{};
    std::vector<std::vector<std::vector<float>>> outputs(subjects.size());  // [subject][output]
    for (size_t s = 0; s < subjects.size(); ++s) {
      const Model& model = *subjects[s].model;
      set_inputs(sessions[s], model.inputs(),
                 feed.data ? stack(model.inputs(), samples, size, feed.data->file() + " for " + subjects[s].name)
                           : feed.inputs(model, subjects[s].name, first, size));
      sessions[s].run();
      for (size_t o = 0; o < (compare ? model.outputs().size() : 1); ++o)
        outputs[s].push_back(to_floats(sessions[s].output(o)));
      for (int64_t i = 0; feed.data && i < used; ++i)
        scores[s].add(part(outputs[s][0], i, size), first + static_cast<size_t>(i));
    }
    if (!compare) continue;
    for (size_t o = 0; o < outputs[0].size(); ++o) {
      if (outputs[0][o].size() != outputs[1][o].size())
        throw Error(ErrorCode::invalid_argument,
                    subjects[1].name + ": output " + std::to_string(o) + " has " + std::to_string(outputs[1][o].size()) +
                        " elements, that of the FP32 model " + std::to_string(outputs[0][o].size()));
      for (int64_t i = 0; i < used; ++i) {
        const auto reference = part(outputs[0][o], i, size), value = part(outputs[1][o], i, size);
        closeness.add(reference, value);
        if (o == 0) closeness.add_top1(argmax(reference) == argmax(value));
      }
    }
  }
  Evaluation result;
  for (size_t s = 0; s < subjects.size(); ++s) {
    result.accuracy.emplace_back();
    if (feed.data) result.accuracy[s] = scores[s].value();
  }
  if (compare) result.agreement = Agreement{closeness.top1(), closeness.sqnr_db(), closeness.cosine()};
  return result;
}

std::string output_hash(const Subject& subject, const InputFeed& feed, int threads) {
  const Model& model = *subject.model;
  const int64_t batch = fixed_batch(model.inputs());
  Session session(model, {.threads = threads});
  Hash hash;
  for (size_t first = 0; first < std::min(kHashedSamples, feed.samples()); first += static_cast<size_t>(batch)) {
    set_inputs(session, model.inputs(), feed.inputs(model, subject.name, first, batch));
    session.run();
    for (size_t o = 0; o < model.outputs().size(); ++o) {
      const TensorView view = session.output(o);
      hash.add(view.data, view.bytes());
    }
  }
  return hash.hex();
}

}  // namespace octet::tools
