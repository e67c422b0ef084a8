// Timing of models, side by side.
//
// Contenders (FP32 and INT8 of one model) are measured in alternating slices of a quarter of a second, so that what disturbs
// the machine for a while disturbs all of them: the ratio of their medians is honest even where the figures are not. A
// stream is a session in a thread of its own; with several, a slice runs all of them at once until its end.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "octet/octet.h"

namespace octet::tools {

struct Latency {
  double min = 0, median = 0, p90 = 0, p99 = 0, mean = 0;  // ms
  size_t samples = 0;
};
Latency summarize(std::vector<double> ms);

struct Contender {
  std::vector<Session*> streams;
  std::vector<double> ms;   // one entry an inference
  double busy_seconds = 0;  // wall time of its slices
  double per_second() const { return busy_seconds > 0 ? static_cast<double>(ms.size()) / busy_seconds : 0; }
};

// Warms up, then measures each contender for `seconds`, and for at least ten samples unless that would take four times as
// long.
void measure(std::vector<Contender>& contenders, double seconds);

// What a user waits for in a fresh process, from file to first result; run as `octet cold-start` by spawn_cold_start.
struct ColdStart {
  double load_ms = 0, first_ms = 0, peak_rss_mb = 0;
};
ColdStart spawn_cold_start(const std::vector<std::string>& arguments);
double peak_rss_mb();

double milliseconds(const std::function<void()>& work);

}  // namespace octet::tools
