#include "kernels/resize.h"

#include <cmath>
#include <cstring>

#include "octet/numerics.h"

namespace octet::kernels {
namespace {

float element(const ResizeProblem& p, const std::byte* at) {
  if (p.dtype == DType::u8) return static_cast<float>(std::to_integer<int>(*at));
  float v = 0;
  std::memcpy(&v, at, sizeof v);
  return v;
}

template <class Value>
float sum(const ResizeTaps& taps, bool kept, Value value) {
  if (kept) return value(taps.index[0]);
  float v = 0;
  for (int t = 0; t < taps.count; ++t) v = std::fma(taps.weight[t], value(taps.index[t]), v);
  return v;
}

}  // namespace

void resize_reference(const ResizeProblem& p, const void* x, void* y) {
  for (int64_t n = 0; n < p.n; ++n)
    for (size_t h = 0; h < p.rows.size(); ++h)
      for (size_t w = 0; w < p.columns.size(); ++w)
        for (int64_t c = 0; c < p.c; ++c) {
          const auto from = [&](int64_t row, int64_t column) {
            return static_cast<const std::byte*>(x) + n * p.x.image + row * p.x.row + column * p.x.pixel + c * p.element;
          };
          std::byte* to = static_cast<std::byte*>(y) + n * p.y.image + static_cast<int64_t>(h) * p.y.row +
                          static_cast<int64_t>(w) * p.y.pixel + c * p.element;
          if (!p.linear) {
            std::memcpy(to, from(p.rows[h].index[0], p.columns[w].index[0]), static_cast<size_t>(p.element));
            continue;
          }
          const float v = sum(p.rows[h], p.keeps_rows, [&](int64_t row) {
            return sum(p.columns[w], p.keeps_columns, [&](int64_t column) { return element(p, from(row, column)); });
          });
          if (p.dtype == DType::u8)
            *to = static_cast<std::byte>(numerics::quantize_scaled(v, 0, 0, 255));
          else
            std::memcpy(to, &v, sizeof v);
        }
}

}  // namespace octet::kernels
