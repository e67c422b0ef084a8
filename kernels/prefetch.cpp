#include "kernels/prefetch.h"

#include <algorithm>

namespace octet::kernels {

std::vector<std::vector<ByteRange>> plan_prefetch(const std::vector<std::vector<ByteRange>>& weights, size_t ahead) {
  std::vector<ByteRange> stream;
  std::vector<size_t> ends;  // of each step in the stream
  size_t total = 0;
  for (const auto& step : weights) {
    for (const ByteRange& range : step) {
      stream.push_back(range);
      total += range.bytes;
    }
    ends.push_back(total);
  }
  std::vector<std::vector<ByteRange>> plan(weights.size());
  size_t cursor = 0, range = 0, range_begin = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i].empty()) continue;
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
