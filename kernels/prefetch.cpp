#include "kernels/prefetch.h"

#include <algorithm>

namespace octet::kernels {

void append_range(std::vector<ByteRange>& ranges, const ByteRange& range) {
  if (!ranges.empty() && ranges.back().data + ranges.back().bytes == range.data)
    ranges.back().bytes += range.bytes;
  else
    ranges.push_back(range);
}

std::vector<std::vector<ByteRange>> plan_prefetch(const std::vector<PrefetchStep>& steps, size_t ahead) {
  std::vector<ByteRange> stream;
  std::vector<size_t> ends;  // of each step in the stream
  size_t total = 0;
  for (const PrefetchStep& step : steps) {
    for (const ByteRange& range : step.weights) {
      stream.push_back(range);
      total += range.bytes;
    }
    ends.push_back(total);
  }
  std::vector<std::vector<ByteRange>> plan(steps.size());
  size_t cursor = 0, range = 0, range_begin = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].weights.empty()) continue;
    if (!steps[i].fetches) {
      cursor = std::max(cursor, ends[i]);
      continue;
    }
    const size_t to = std::min(total, ends[i] + ahead);
    while (cursor < to) {
      while (range_begin + stream[range].bytes <= cursor) range_begin += stream[range++].bytes;
      const size_t inside = cursor - range_begin, bytes = std::min(to - cursor, stream[range].bytes - inside);
      plan[i].push_back({stream[range].data + inside, bytes});
      cursor += bytes;
    }
  }
  return plan;
}

}  // namespace octet::kernels
