#include "kernels/amx/blocking.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <optional>

namespace octet::kernels::amx {
namespace {

TileRow stored_row(const ConvProblem& problem, int64_t image, int64_t oy, int64_t ox) {
  const auto at = [&](const ImageLayout& l) { return image * l.image + oy * l.row + ox * l.pixel; };
  return {at(problem.y), at(problem.residual)};
}

int64_t window(const ConvProblem& problem, int64_t image, int64_t oy, int64_t ox) {
  const ConvShape& s = problem.shape;
  return image * problem.x.image + (oy * s.stride_h - s.pad_top) * problem.x.row +
         (ox * s.stride_w - s.pad_left) * problem.x.pixel;
}

// Tiles over the positions 0 .. count - 1 of one run, `bytes` apart in x from `first` on; row_of(position) says where an
// output goes. Tiles without any output are left out.
template <class RowOf>
void tile_run(Tiling& tiling, int64_t first, int64_t bytes, int64_t count, RowOf row_of) {
  assert(count >= kTileRows);
  for (int64_t begin = 0; begin < count; begin += kTileRows) {
    const int64_t start = std::min(begin, count - kTileRows);
    std::array<TileRow, kTileRows> rows;
    bool any = false;
    for (int64_t i = 0; i < kTileRows; ++i) {
      if (start + i >= begin) rows[static_cast<size_t>(i)] = row_of(start + i);
      any |= rows[static_cast<size_t>(i)].y >= 0;
    }
    if (!any) continue;
    tiling.x.push_back(first + start * bytes);
    tiling.rows.insert(tiling.rows.end(), rows.begin(), rows.end());
  }
}

std::optional<Tiling> flat_tiling(const ConvProblem& problem) {
  const ConvShape& s = problem.shape;
  const ImageLayout& x = problem.x;
  if (s.stride_h != 1 || s.stride_w != 1) return std::nullopt;
  if (s.oh > 1 && (x.row % x.pixel != 0 || x.row < s.ow * x.pixel)) return std::nullopt;
  const int64_t pitch = s.oh > 1 ? x.row / x.pixel : s.ow;
  const int64_t positions = (s.oh - 1) * pitch + s.ow;
  // Images lie one behind the other in whole pixels: one run for all.
  const bool joined = s.n > 1 && x.image % x.pixel == 0 && x.image / x.pixel >= positions;
  const int64_t image_pitch = joined ? x.image / x.pixel : positions;
  const int64_t run = joined ? (s.n - 1) * image_pitch + positions : positions;
  if (run < kTileRows) return std::nullopt;
  Tiling tiling{RowSource::flat, x.pixel, {}, {}, {}};
  for (int64_t first = 0; first < s.n; first += joined ? s.n : 1)
    tile_run(tiling, window(problem, first, 0, 0), x.pixel, run, [&](int64_t position) {
      const int64_t image = first + position / image_pitch, inside = position % image_pitch;
      const int64_t oy = inside / pitch, ox = inside % pitch;
      return oy < s.oh && ox < s.ow ? stored_row(problem, image, oy, ox) : TileRow{};
    });
  return tiling;
}

std::optional<Tiling> row_tiling(const ConvProblem& problem) {
  const ConvShape& s = problem.shape;
  if (s.ow < kTileRows) return std::nullopt;
  Tiling tiling{RowSource::rows, s.stride_w * problem.x.pixel, {}, {}, {}};
  for (int64_t image = 0; image < s.n; ++image)
    for (int64_t oy = 0; oy < s.oh; ++oy)
      tile_run(tiling, window(problem, image, oy, 0), tiling.row_bytes, s.ow,
               [&](int64_t ox) { return stored_row(problem, image, oy, ox); });
  return tiling;
}

Tiling copied_tiling(const ConvProblem& problem) {
  const ConvShape& s = problem.shape;
  Tiling tiling{RowSource::copied, 64, {}, {}, {}};
  for (int64_t image = 0; image < s.n; ++image)
    for (int64_t oy = 0; oy < s.oh; ++oy)
      for (int64_t ox = 0; ox < s.ow; ++ox) {
        tiling.copied.push_back(window(problem, image, oy, ox));
        tiling.rows.push_back(stored_row(problem, image, oy, ox));
      }
  while (tiling.rows.size() % kTileRows != 0) {
    tiling.copied.push_back(tiling.copied.back());
    tiling.rows.push_back({});
  }
  return tiling;
}

}  // namespace

Tiling make_tiling(const ConvProblem& problem, int64_t panels) {
  std::optional<Tiling> best = flat_tiling(problem);
  if (std::optional<Tiling> rows = row_tiling(problem); rows && (!best || rows->tiles() < best->tiles()))
    best = std::move(rows);
  // Copying a k step of a tile takes about as long as three products; products are one a panel.
  const int64_t outputs = problem.shape.n * problem.shape.oh * problem.shape.ow;
  const int64_t copied_tiles = (outputs + kTileRows - 1) / kTileRows;
  if (!best || copied_tiles * (panels + 3) < best->tiles() * panels) return copied_tiling(problem);
  return std::move(*best);
}

Blocking choose_blocking(int64_t tiles, int64_t panels, int64_t k_steps, bool copied) {
  constexpr int64_t kL1Bytes = 32 * 1024, kL2Bytes = 1024 * 1024, kChunkBytes = 512 * 1024;
  const int64_t panel_bytes = k_steps * kTileBytes;
  Blocking b;
  const bool few_steps = k_steps <= 8, very_few_steps = k_steps <= 2;
  if (panels == 1)
    b = {static_cast<int>(tiles >= 4 && !very_few_steps ? 4 : tiles >= 2 ? 2 : 1), 1, 1, true};
  else if (panels == 2)
    b = {tiles >= 2 && !very_few_steps ? 2 : 1, 2, 2, true};
  else if (tiles == 1 || few_steps)
    b = {1, static_cast<int>(std::min<int64_t>(panels, 4)), 4, true};
  else
    b = {2, 2, 2, true};
  // A block's weights stay in L1 for all rows; or all weights pass by each row of blocks; or as many as leave L2 room.
  if (b.n * panel_bytes <= kL1Bytes && tiles > b.m && !copied) {
    b.chunk = b.n;
    b.stream_x = true;
  } else {
    const int64_t all = (panels + b.n - 1) / b.n * b.n;
    const bool once = copied || tiles <= b.m || panels * panel_bytes <= kL2Bytes;
    b.chunk = once ? all : std::clamp<int64_t>(kChunkBytes / panel_bytes / b.n * b.n, b.n, all);
    b.stream_x = false;
  }
  return b;
}

}  // namespace octet::kernels::amx
