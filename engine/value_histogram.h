// How often a value takes which size, and the range of 256 quanta that serves it best.
//
// Bins are equal parts of [-R, R], R a power of two that doubles when a number lies outside: two bins then become one,
// exactly, so that samples stream through. Zeros are not counted: every range of quanta holds zero exactly.
//
// A range [lo, hi] costs a number inside the square of a rounding error, step^2 / 12 on average, and one outside the square
// of its distance. `best_range` starts from the extremes and moves one end in, then the other, to where the sum of both is
// least: a few outliers are cut off when finer steps for all others are worth more.
#pragma once

#include <cstdint>
#include <vector>

namespace octet {

class ValueHistogram {
 public:
  void add(const float* values, int64_t count);  // finite ones
  float min() const { return min_; }
  float max() const { return max_; }
  struct Range {
    float min = 0, max = 0;
  };
  Range best_range() const;  // within [min(), max()], the extremes where nothing is gained

 private:
  static constexpr int kBins = 4096;
  void grow(float magnitude);
  double cost(double lo, double hi) const;

  std::vector<int64_t> bins_ = std::vector<int64_t>(kBins, 0);
  float reach_ = 0;  // R; 0: nothing but zeros so far
  float min_ = 0, max_ = 0;
  bool empty_ = true;
};

}  // namespace octet
