#include "engine/value_histogram.h"

#include <algorithm>
#include <cmath>

namespace octet {

void ValueHistogram::grow(float magnitude) {
  if (reach_ == 0) reach_ = std::max(std::exp2(std::ceil(std::log2(magnitude))), 1e-30f);
  while (reach_ < magnitude) {
    std::vector<int64_t> wider(kBins, 0);
    for (int i = 0; i < kBins; ++i) wider[static_cast<size_t>(kBins / 4 + i / 2)] += bins_[static_cast<size_t>(i)];
    bins_ = std::move(wider);
    reach_ *= 2;
  }
}

void ValueHistogram::add(const float* values, int64_t count) {
  if (count == 0) return;
  const auto [low, high] = std::minmax_element(values, values + count);
  min_ = empty_ ? *low : std::min(min_, *low);
  max_ = empty_ ? *high : std::max(max_, *high);
  empty_ = false;
  const float magnitude = std::max(std::fabs(*low), std::fabs(*high));
  if (magnitude == 0) return;
  grow(magnitude);
  const float scale = kBins / 2 / reach_;
  for (int64_t i = 0; i < count; ++i)
    if (values[i] != 0)
      ++bins_[static_cast<size_t>(std::clamp(static_cast<int>((values[i] + reach_) * scale), 0, kBins - 1))];
}

double ValueHistogram::cost(double lo, double hi) const {
  const double width = 2.0 * static_cast<double>(reach_) / kBins, step = (std::max(hi, 0.0) - std::min(lo, 0.0)) / 255;
  double inside = 0, outside = 0;
  for (int i = 0; i < kBins; ++i) {
    const auto n = static_cast<double>(bins_[static_cast<size_t>(i)]);
    if (n == 0) continue;
    const double x = (i + 0.5) * width - static_cast<double>(reach_), distance = x < lo ? lo - x : x > hi ? x - hi : 0;
    if (distance > width)  // beyond what the bins can tell
      outside += n * distance * distance;
    else
      inside += n;
  }
  return inside * step * step / 12 + outside;
}

ValueHistogram::Range ValueHistogram::best_range() const {
  constexpr int kSteps = 64;  // an end moves in by 1/64 of the way to zero at a time, at most by half of it
  double best[2] = {static_cast<double>(min_), static_cast<double>(max_)};
  if (reach_ == 0) return {min_, max_};
  const double whole = cost(best[0], best[1]);
  double least = whole;
  for (const int end : {1, 0, 1, 0}) {
    const double from = static_cast<double>(end == 1 ? max_ : min_);
    if (end == 1 ? from <= 0 : from >= 0) continue;
    for (int i = 1; i <= kSteps / 2; ++i) {
      double tried[2] = {best[0], best[1]};
      tried[end] = from * (kSteps - i) / kSteps;
      const double c = cost(tried[0], tried[1]);
      if (c < least) least = c, best[end] = tried[end];
    }
  }
  return {static_cast<float>(best[0]), static_cast<float>(best[1])};
}

}  // namespace octet
