#include "kernels/product/blocking.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

#include "kernels/prefetch.h"

namespace octet::kernels {
namespace {

// Loading weights and offsets, in units of one row's work.
constexpr int64_t kBlockOverhead = 1;

// Passes of the weights beside which the first, which waits for them, is little.
constexpr int64_t kManyPasses = 16;

struct Region {
  int64_t y = 0, x = 0, height = 0, width = 0;
};

class Cover {
 public:
  explicit Cover(int max_rows) : max_rows_(max_rows) {}

  int64_t cost(int64_t height, int64_t width) {
    if (height == 0 || width == 0) return 0;
    return best(height, width).cost;
  }

  void place(const Region& r, Blocking& out) {
    if (r.height == 0 || r.width == 0) return;
    const BlockShape s = best(r.height, r.width).shape;
    const auto known = std::find(out.shapes.begin(), out.shapes.end(), s);
    const int index = static_cast<int>(known - out.shapes.begin());
    if (known == out.shapes.end()) out.shapes.push_back(s);
    const int64_t height = r.height - r.height % s.rows, width = r.width - r.width % s.columns;
    for (int64_t y = 0; y < height; y += s.rows)
      for (int64_t x = 0; x < width; x += s.columns) out.blocks.push_back({r.y + y, r.x + x, index});
    place({r.y, r.x + width, height, r.width - width}, out);
    place({r.y + height, r.x, r.height - height, r.width}, out);
  }

 private:
  struct Choice {
    BlockShape shape;
    int64_t cost;
  };

  const Choice& best(int64_t height, int64_t width) {
    const auto known = memo_.find({height, width});
    if (known != memo_.end()) return known->second;
    Choice choice{{1, 1}, INT64_MAX};
    for (int columns = static_cast<int>(std::min<int64_t>(width, max_rows_)); columns >= 1; --columns) {
      const int rows = static_cast<int>(std::min<int64_t>(height, max_rows_ / columns));
      for (int r = 1; r <= rows; ++r) {
        const int64_t down = height / r, across = width / columns;
        // A rectangle no larger than the region in neither direction leaves smaller regions, so this ends.
        const int64_t cost_of = down * across * (r * columns + kBlockOverhead) + cost(down * r, width - across * columns) +
                                cost(height - down * r, width);
        if (cost_of < choice.cost) choice = {{r, columns}, cost_of};
      }
    }
    return memo_.emplace(std::pair{height, width}, choice).first->second;
  }

  int max_rows_;
  std::map<std::pair<int64_t, int64_t>, Choice> memo_;
};

}  // namespace

Blocking blocking(int64_t height, int64_t width, int max_rows) {
  assert(height > 0 && width > 0 && max_rows > 0);
  Blocking out;
  Cover(max_rows).place({0, 0, height, width}, out);
  std::stable_sort(out.blocks.begin(), out.blocks.end(),
                   [](const PixelBlock& a, const PixelBlock& b) { return std::pair(a.y, a.x) < std::pair(b.y, b.x); });
  return out;
}

int64_t chunk_blocks(int64_t weight_bytes, int64_t blocks, int64_t block_bytes, const Caches& caches) {
  const auto first = static_cast<int64_t>(caches.first_level), second = static_cast<int64_t>(caches.second_level);
  const auto fit = [&](int64_t budget) { return std::max<int64_t>(1, budget / std::max<int64_t>(1, block_bytes)); };
  const bool fetched_in_time = weight_bytes <= static_cast<int64_t>(kPrefetchAhead) * 3 / 2;
  const bool many_passes = weight_bytes <= second / 2 && blocks >= kManyPasses * fit(first);
  return fit(fetched_in_time || many_passes ? first : second * 5 / 8);
}

GridPart grid_part(int64_t blocks, int64_t panels, int part, int parts) {
  assert(part >= 0 && part < parts);
  int64_t best_rows = parts, best_load = INT64_MAX;
  for (int64_t rows = parts; rows >= 1; --rows) {
    if (parts % rows != 0) continue;
    const int64_t columns = parts / rows;
    const int64_t load = (blocks + rows - 1) / rows * ((panels + columns - 1) / columns);
    if (load < best_load) {
      best_load = load;
      best_rows = rows;
    }
  }
  const int64_t columns = parts / best_rows, row = part / columns, column = part % columns;
  return {blocks * row / best_rows, blocks * (row + 1) / best_rows, panels * column / columns,
          panels * (column + 1) / columns};
}

}  // namespace octet::kernels
