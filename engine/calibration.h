// Calibration: running the float graph over samples and keeping the range of every value that quantization asks for.
//
// Streaming: one sample at a time into a histogram a value, so memory does not grow with the number of samples. The range is
// the one of least square error for 8 bits (value_histogram.h). The values are made outputs of a copy of the graph, which
// runs on the engine's own kernels.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "graph/quantize/equalise.h"
#include "octet/octet.h"

namespace octet {

struct CalibrationRange {
  float min = 0;
  float max = 0;
};

// Sets the inputs of the session for sample `index`; false when there are no more.
using SampleFeeder = std::function<bool(size_t index, Session& session)>;

// Ranges over all samples of the named values of `graph` (a float graph in ONNX terms). Throws when there is no sample, and
// when a value is not finite, naming it.
std::map<std::string, CalibrationRange> calibrate(const graph::Graph& graph, const std::vector<std::string>& values,
                                                  const SampleFeeder& feed, const ModelOptions& model_options,
                                                  const SessionOptions& session_options);

// What equalise_channels wants to know of the named values, each of known size along its last axis. Throws as `calibrate`
// does.
graph::ChannelStatisticsMap calibrate_channels(const graph::Graph& graph, const std::vector<std::string>& values,
                                               const SampleFeeder& feed, const ModelOptions& model_options,
                                               const SessionOptions& session_options);

}  // namespace octet
