#include "kernels/depthwise/schedule.h"

#include <algorithm>
#include <cstdint>
#include <set>

namespace octet::kernels::depthwise {
namespace {

// The input coordinates along one axis that `outputs` neighbouring windows read, ascending.
std::vector<int> coordinates(int outputs, int kernel, int stride, int dilation) {
  std::set<int> all;
  for (int o = 0; o < outputs; ++o)
    for (int k = 0; k < kernel; ++k) all.insert(o * stride + k * dilation);
  return {all.begin(), all.end()};
}

// Kernel position by which an output at `origin` uses `coordinate`, or kHole.
int position(int coordinate, int origin, int kernel, int dilation) {
  const int d = coordinate - origin;
  return d >= 0 && d % dilation == 0 && d / dilation < kernel ? d / dilation : kHole;
}

int tuple_index(std::vector<Tuple>& tuples, const Tuple& tuple) {
  const auto found = std::find(tuples.begin(), tuples.end(), tuple);
  if (found != tuples.end()) return static_cast<int>(found - tuples.begin());
  tuples.push_back(tuple);
  return static_cast<int>(tuples.size()) - 1;
}

// Cuts an ascending list into runs of `n`; the last may be shorter.
std::vector<std::vector<int>> cut(const std::vector<int>& list, int n) {
  std::vector<std::vector<int>> runs;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i % static_cast<size_t>(n) == 0) runs.emplace_back();
    runs.back().push_back(list[i]);
  }
  return runs;
}

Schedule make_schedule(const Window& w, int taps, int rows, int cols, bool vertical, std::vector<Tuple>& tuples) {
  Schedule schedule{rows, cols, {}};
  const auto row_runs = cut(coordinates(rows, w.kh, w.stride_h, w.dilation_h), vertical ? taps : 1);
  const auto col_runs = cut(coordinates(cols, w.kw, w.stride_w, w.dilation_w), vertical ? 1 : taps);
  for (const auto& run_r : row_runs)
    for (const auto& run_c : col_runs) {
      std::vector<Pixel> pixels;
      for (int r : run_r)
        for (int c : run_c) pixels.push_back({r, c});
      Group group;
      std::array<bool, kMaxTaps> read{};
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c) {
          Tuple tuple;
          tuple.fill(kHole);
          bool any = false;
          for (size_t i = 0; i < pixels.size(); ++i) {
            const int kh = position(pixels[i].row, r * w.stride_h, w.kh, w.dilation_h);
            const int kw = position(pixels[i].col, c * w.stride_w, w.kw, w.dilation_w);
            if (kh == kHole || kw == kHole) continue;
            tuple[i] = kh * w.kw + kw;
            read[i] = any = true;
          }
          if (any) group.uses.push_back({r, c, tuple_index(tuples, tuple)});
        }
      if (group.uses.empty()) continue;
      const auto first = static_cast<size_t>(std::find(read.begin(), read.end(), true) - read.begin());
      for (size_t i = 0; i < kMaxTaps; ++i) group.pixels[i] = read[i] ? pixels[i] : pixels[first];
      schedule.groups.push_back(std::move(group));
    }
  return schedule;
}

int instructions(const Schedule& schedule, const Costs& costs) {
  int n = 0;
  for (const Group& g : schedule.groups) n += costs.group + costs.use * static_cast<int>(g.uses.size());
  return n;
}

}  // namespace

Plan make_plan(const Window& window, int taps, const Costs& costs) {
  Plan plan{.window = window, .taps = taps, .rows = 1, .cols = 1, .looped = true, .tuples = {}, .schedules = {}};
  constexpr int kMaxRows = 4, kMaxCols = 8;
  double best = 0;
  bool best_vertical = false;
  // A schedule has at least one use for every `taps` taps of every output.
  const auto hopeless = [&](int outputs) {
    return int64_t{outputs} * window.kh * window.kw / taps * costs.use > costs.max_instructions;
  };
  for (int rows = 1; rows <= kMaxRows; ++rows)
    for (int cols = 1; cols <= kMaxCols && rows * cols <= costs.accumulators && !hopeless(rows * cols); ++cols)
      for (bool vertical : {false, true}) {
        if (taps == 1 && vertical) continue;
        std::vector<Tuple> tuples;
        const int n = instructions(make_schedule(window, taps, rows, cols, vertical, tuples), costs);
        if (n > costs.max_instructions) continue;
        const double score = static_cast<double>(n) / (rows * cols);
        if (plan.looped || score < best) {
          best = score;
          best_vertical = vertical;
          plan.looped = false;
          plan.rows = rows;
          plan.cols = cols;
        }
      }
  if (plan.looped) {
    plan.cols = std::min(costs.accumulators, kMaxCols);
    const int positions = window.kh * window.kw;
    for (int p = 0; p < positions; p += taps) {
      Tuple tuple;
      for (int i = 0; i < kMaxTaps; ++i) tuple[static_cast<size_t>(i)] = i < taps && p + i < positions ? p + i : kHole;
      plan.tuples.push_back(tuple);
    }
    return plan;
  }
  // The largest block first: its tuples are neighbours in memory.
  plan.schedules.resize(static_cast<size_t>(plan.rows * plan.cols));
  for (int r = plan.rows; r >= 1; --r)
    for (int c = plan.cols; c >= 1; --c)
      plan.schedules[static_cast<size_t>((r - 1) * plan.cols + c - 1)] =
          make_schedule(window, taps, r, c, best_vertical, plan.tuples);
  return plan;
}

}  // namespace octet::kernels::depthwise
