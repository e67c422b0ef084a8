// The result of `octet bench`: what was measured, and its three forms: text for people, JSON for programs, HTML for reports.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/timing.h"

namespace octet::tools {

struct Machine {
  std::string cpu;
  int cores = 0;
  std::vector<std::string> isas;
};
Machine this_machine();
// A number saved from the git commit that the program was built from, "unknown" outside of a repository.
std::string commit();

struct Accuracy {
  std::string metric;
  double value = 0;
  size_t samples = 0;
};

struct Agreement {  // with the FP32 run on the same inputs
  double top1 = 0, sqnr_db = 0, cosine = 0;
};

struct Decoding {  // of a model with a cache (tools/decoding.h): tokens a second
  int64_t prompt_tokens = 0, new_tokens = 0;
  double prefill = 0, decode = 0;
};

struct BenchRun {
  std::string model, file, precision, isa;
  int threads = 1, streams = 1;
  int64_t batch = 1;
  Latency latency;
  double throughput = 0;  // samples a second
  ColdStart cold;
  double weights_mb = 0, arena_mb = 0;
  int int8_steps = 0, float_steps = 0;
  double gops = 0;  // 1e9 operations a second at the median latency; a multiply-accumulate is two
  std::optional<Accuracy> accuracy;
  std::optional<Agreement> agreement;
  std::optional<Decoding> decoding;
  std::string output_hash;
  std::string note;  // how it was quantized, which inputs were used
};

struct Comparison {  // INT8 against FP32
  std::string model, isa;
  int threads = 1;
  double speedup = 0, throughput_ratio = 0;
  std::optional<double> accuracy_drop;
  double size_ratio = 0;
};

struct Report {
  Machine machine;
  std::vector<BenchRun> runs;
  std::vector<Comparison> comparisons;
};

std::string to_text(const Report& report);
std::string to_json(const Report& report);
std::string to_html(const Report& report);

}  // namespace octet::tools
