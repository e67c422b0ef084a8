#include "kernels/depthwise/schedule.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <span>

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

// Calls group(pixels) for every group of a band: `band` input rows, columns taken taps / band at a time.
template <class F>
void for_each_group(std::span<const int> band, std::span<const int> columns, int taps, F group) {
  const size_t wide = static_cast<size_t>(taps) / band.size();
  for (size_t first = 0; first < columns.size(); first += wide) {
    std::vector<Pixel> pixels;
    for (int row : band)
      for (size_t i = first; i < std::min(first + wide, columns.size()); ++i) pixels.push_back({row, columns[i]});
    group(pixels);
  }
}

// The weights by which output (row, col) uses the pixels; all holes when it does not.
Tuple tuple_of(const Window& w, std::span<const Pixel> pixels, int row, int col) {
  Tuple tuple;
  tuple.fill(kHole);
  for (size_t i = 0; i < pixels.size(); ++i) {
    const int kh = position(pixels[i].row, row * w.stride_h, w.kh, w.dilation_h);
    const int kw = position(pixels[i].col, col * w.stride_w, w.kw, w.dilation_w);
    if (kh != kHole && kw != kHole) tuple[i] = kh * w.kw + kw;
  }
  return tuple;
}

constexpr Tuple kNothing = {kHole, kHole, kHole, kHole};

// Block of rows x cols outputs; its input rows cut into bands of the fewest instructions in all.
class Block {
 public:
  Block(const Window& window, int taps, const Costs& costs, int rows, int cols)
      : window_(window),
        taps_(taps),
        rows_(rows),
        cols_(cols),
        input_rows_(coordinates(rows, window.kh, window.stride_h, window.dilation_h)),
        input_cols_(coordinates(cols, window.kw, window.stride_w, window.dilation_w)) {
    cut(costs);
  }

  int instructions() const { return instructions_; }

  Schedule schedule(std::vector<Tuple>& tuples) const {
    Schedule schedule{rows_, cols_, {}};
    size_t first = 0;
    for (size_t height : bands_) {
      for_each_group(std::span(input_rows_).subspan(first, height), input_cols_, taps_,
                     [&](const std::vector<Pixel>& pixels) {
                       Group group;
                       std::array<bool, kMaxTaps> read{};
                       for (int r = 0; r < rows_; ++r)
                         for (int c = 0; c < cols_; ++c) {
                           const Tuple tuple = tuple_of(window_, pixels, r, c);
                           if (tuple == kNothing) continue;
                           for (size_t i = 0; i < kMaxTaps; ++i) read[i] |= tuple[i] != kHole;
                           group.uses.push_back({r, c, tuple_index(tuples, tuple)});
                         }
                       if (group.uses.empty()) return;
                       const auto any = static_cast<size_t>(std::find(read.begin(), read.end(), true) - read.begin());
                       for (size_t i = 0; i < kMaxTaps; ++i) group.pixels[i] = pixels[read[i] ? i : any];
                       schedule.groups.push_back(std::move(group));
                     });
      first += height;
    }
    return schedule;
  }

 private:
  int band_instructions(size_t first, size_t height, const Costs& costs) const {
    int sum = 0;
    for_each_group(std::span(input_rows_).subspan(first, height), input_cols_, taps_, [&](const std::vector<Pixel>& pixels) {
      int uses = 0;
      for (int r = 0; r < rows_; ++r)
        for (int c = 0; c < cols_; ++c) uses += tuple_of(window_, pixels, r, c) != kNothing;
      if (uses > 0) sum += costs.group + uses * costs.use;
    });
    return sum;
  }

  void cut(const Costs& costs) {
    const size_t rows = input_rows_.size();
    std::vector<int> best(rows + 1, 0);
    std::vector<size_t> height(rows, 1);
    for (size_t first = rows; first-- > 0;) {
      best[first] = std::numeric_limits<int>::max();
      for (size_t h = 1; h <= static_cast<size_t>(taps_) && first + h <= rows; h *= 2)
        if (const int n = best[first + h] + band_instructions(first, h, costs); n < best[first]) {
          best[first] = n;
          height[first] = h;
        }
    }
    instructions_ = best[0];
    for (size_t first = 0; first < rows; first += height[first]) bands_.push_back(height[first]);
  }

  const Window& window_;
  int taps_, rows_, cols_;
  std::vector<int> input_rows_, input_cols_;
  std::vector<size_t> bands_;
  int instructions_ = 0;
};

// Instructions an output row, averaged over the widths that images of 224 and 320 pixels come to, edge blocks included.
double score(std::span<const int> instructions_by_cols, int rows) {
  constexpr int kWidths[] = {7, 10, 14, 20, 28, 40, 56};
  constexpr int kBlockOverhead = 10;
  const int cols = static_cast<int>(instructions_by_cols.size());
  double sum = 0;
  for (int width : kWidths) {
    const auto cost = [&](int c) { return c > 0 ? instructions_by_cols[static_cast<size_t>(c - 1)] + kBlockOverhead : 0; };
    sum += static_cast<double>(width / cols * cost(cols) + cost(width % cols)) / width;
  }
  return sum / rows;
}

}  // namespace

Plan make_plan(const Window& window, int taps, const Costs& costs) {
  constexpr int kMaxRows = 4, kMaxCols = 8;
  Plan plan{.window = window, .taps = taps, .rows = 1, .cols = 1, .looped = true, .tuples = {}, .schedules = {}};
  double best = 0;
  for (int rows = 1; rows <= kMaxRows; ++rows) {
    std::vector<int> instructions;
    for (int cols = 1; cols <= kMaxCols && rows * cols <= costs.accumulators; ++cols) {
      // There is at least one use for every `taps` taps of every output.
      if (int64_t{rows} * cols * window.kh * window.kw / taps * costs.use > costs.max_instructions) break;
      instructions.push_back(Block(window, taps, costs, rows, cols).instructions());
      if (instructions.back() > costs.max_instructions) break;
      if (const double s = score(instructions, rows); plan.looped || s < best) {
        best = s;
        plan.looped = false;
        plan.rows = rows;
        plan.cols = cols;
      }
    }
  }
  if (plan.looped) {
    plan.cols = std::min(costs.accumulators, kMaxCols);
    const int positions = window.kh * window.kw;
    for (int p = 0; p < positions; p += taps) {
      Tuple tuple = kNothing;
      for (int i = 0; i < taps && p + i < positions; ++i) tuple[static_cast<size_t>(i)] = p + i;
      plan.tuples.push_back(tuple);
    }
    return plan;
  }
  // The largest block first: its tuples are neighbours in memory.
  plan.schedules.resize(static_cast<size_t>(plan.rows * plan.cols));
  for (int r = plan.rows; r >= 1; --r)
    for (int c = plan.cols; c >= 1; --c)
      plan.schedules[static_cast<size_t>((r - 1) * plan.cols + c - 1)] =
          Block(window, taps, costs, r, c).schedule(plan.tuples);
  return plan;
}

}  // namespace octet::kernels::depthwise
