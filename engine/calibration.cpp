#include "engine/calibration.h"

#include <cmath>

#include "engine/model.h"
#include "engine/value_histogram.h"

namespace octet {
namespace {

void check_finite(const TensorView& view, const std::string& value, size_t sample, const std::string& file) {
  const float* data = view.as<float>();
  const auto count = element_count(view.shape);
  float sum = 0;  // 0 * x is NaN where x is not finite
  for (int64_t k = 0; k < count; ++k) sum += data[k] * 0.0f;
  if (std::isnan(sum))
    throw Error(ErrorCode::invalid_argument, file + ": value '" + value + "' is not finite in calibration sample " +
                                                 std::to_string(sample) + "; its range cannot be quantized");
}

// visit(index into `values`, what it was) for every sample and value.
template <class Visit>
void observe(const graph::Graph& graph, const std::vector<std::string>& values, const SampleFeeder& feed,
             const ModelOptions& model_options, const SessionOptions& session_options, const Visit& visit) {
  auto probed = graph.clone();
  const size_t first = probed->outputs().size();
  for (const std::string& name : values) {
    graph::Value* value = probed->find_value(name);
    if (!value) throw Error(ErrorCode::invalid_argument, graph.file + ": there is no value '" + name + "' to calibrate");
    probed->add_output(value, "range of " + name);
  }
  const Model model = model_from_graph(std::move(probed), model_options);
  Session session(model, session_options);
  size_t samples = 0;
  for (; feed(samples, session); ++samples) {
    session.run();
    for (size_t i = 0; i < values.size(); ++i) {
      const TensorView view = session.output(first + i);
      check_finite(view, values[i], samples, graph.file);
      visit(i, view);
    }
  }
  if (samples == 0) throw Error(ErrorCode::invalid_argument, graph.file + ": calibration needs at least one sample");
}

}  // namespace

std::map<std::string, CalibrationRange> calibrate(const graph::Graph& graph, const std::vector<std::string>& values,
                                                  const SampleFeeder& feed, const ModelOptions& model_options,
                                                  const SessionOptions& session_options) {
  std::vector<ValueHistogram> histograms(values.size());
  observe(graph, values, feed, model_options, session_options,
          [&](size_t i, const TensorView& view) { histograms[i].add(view.as<float>(), element_count(view.shape)); });
  std::map<std::string, CalibrationRange> result;
  for (size_t i = 0; i < values.size(); ++i) {
    const ValueHistogram::Range range = histograms[i].best_range();
    result[values[i]] = {range.min, range.max};
  }
  return result;
}

graph::ChannelStatisticsMap calibrate_channels(const graph::Graph& graph, const std::vector<std::string>& values,
                                               const SampleFeeder& feed, const ModelOptions& model_options,
                                               const SessionOptions& session_options) {
  graph::ChannelStatisticsMap result;
  observe(graph, values, feed, model_options, session_options, [&](size_t i, const TensorView& view) {
    const int64_t channels = view.shape.back();
    if (channels > 0) result[values[i]].add(view.as<float>(), element_count(view.shape) / channels, channels);
  });
  return result;
}

}  // namespace octet
