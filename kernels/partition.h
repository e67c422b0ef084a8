// How element-wise work is split over threads: pure functions of the sizes. Results never depend on the split.
//
// Work is `rows` runs of `length` elements. Rows are shared out when there are enough of them; otherwise every part takes
// all rows of its own column range, in units of 64 elements so that parts seldom share a cache line and full vectors stay
// full.
#pragma once

#include <algorithm>
#include <cstdint>

namespace octet::kernels {

struct WorkRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const WorkRange&) const = default;
};

// Part `part` of [0, count) cut into `parts` ranges of nearly equal size.
inline WorkRange split_work(int64_t count, int part, int parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

struct RunRange {
  WorkRange rows, columns;
  bool empty() const { return rows.size() <= 0 || columns.size() <= 0; }
};

inline RunRange split_runs(int64_t rows, int64_t length, int part, int parts) {
  constexpr int64_t kUnit = 64;
  if (parts == 1) return {{0, rows}, {0, length}};
  if (rows >= 4 * parts || (rows >= parts && length < kUnit * parts)) return {split_work(rows, part, parts), {0, length}};
  const WorkRange units = split_work((length + kUnit - 1) / kUnit, part, parts);
  return {{0, rows}, {std::min(units.begin * kUnit, length), std::min(units.end * kUnit, length)}};
}

}  // namespace octet::kernels
