#include "kernels/amx/blocking.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <optional>
#include <utility>

#include "kernels/amx/dense.h"

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

std::optional<Tiling> phase_tiling(const ConvProblem& problem) {
  const ConvShape& s = problem.shape;
  // Planes of few channels cost more to copy than they save; planes of many images would not stay in a cache.
  if ((s.stride_h == 1 && s.stride_w == 1) || s.ic < 32 || s.n > 1) return std::nullopt;
  const PhasePlanes planes = make_phase_planes(s);
  const int64_t run = (s.oh - 1) * planes.width + s.ow;
  if (run < kTileRows) return std::nullopt;
  Tiling tiling{RowSource::phases, planes.pixel, {}, {}, {}};
  tile_run(tiling, 0, planes.pixel, run, [&](int64_t position) {
    const int64_t oy = position / planes.width, ox = position % planes.width;
    return ox < s.ow ? stored_row(problem, 0, oy, ox) : TileRow{};
  });
  return tiling;
}

}  // namespace

PhasePlanes make_phase_planes(const ConvShape& s) {
  PhasePlanes p;
  for (int64_t ky = 0; ky < s.kh; ++ky)
    for (int64_t kx = 0; kx < s.kw; ++kx) {
      const int64_t y = ky * s.dilation_h, x = kx * s.dilation_w;
      p.height = std::max(p.height, s.oh + y / s.stride_h);
      p.width = std::max(p.width, s.ow + x / s.stride_w);
      const std::pair phase(static_cast<int32_t>(y % s.stride_h), static_cast<int32_t>(x % s.stride_w));
      if (std::find(p.phases.begin(), p.phases.end(), phase) == p.phases.end()) p.phases.push_back(phase);
    }
  p.pixel = s.ic;
  p.plane = p.height * p.width * p.pixel;
  p.image = p.plane * static_cast<int64_t>(p.phases.size());
  return p;
}

int64_t PhasePlanes::at(const ConvShape& s, int64_t ky, int64_t kx) const {
  const int64_t y = ky * s.dilation_h, x = kx * s.dilation_w;
  const std::pair phase(static_cast<int32_t>(y % s.stride_h), static_cast<int32_t>(x % s.stride_w));
  const auto index = std::find(phases.begin(), phases.end(), phase) - phases.begin();
  return index * plane + (y / s.stride_h * width + x / s.stride_w) * pixel;
}

Stacks make_stacks(const ConvShape& s) {
  constexpr int64_t kPiece = 8, kRows = 12, kElement = 64;  // what the copying kernel's registers hold (stack_generator.cpp)
  Stacks stacks;
  stacks.piece = s.stride_w * s.ic;
  stacks.element = (s.kh * stacks.piece + 15) / 16 * 16;  // rows of a tile may cross cache lines, but not everywhere
  if (s.groups != 1 || s.dilation_w != 1 || stacks.piece > kPiece || s.kh > kRows || stacks.element > kElement) return {};
  stacks.elements = s.ow + (s.kw + s.stride_w - 1) / s.stride_w - 1;
  return stacks;
}

Tiling make_tiling(const ConvProblem& problem, int64_t panels, PackedK k) {
  const ConvShape& s = problem.shape;
  if (k == PackedK::stacked) {
    const Stacks stacks = make_stacks(s);
    Tiling tiling{RowSource::stacked, stacks.element, {}, {}, {}};
    for (int64_t image = 0; image < s.n; ++image)
      for (int64_t oy = 0; oy < s.oh; ++oy)
        tile_run(tiling, 0, stacks.element, s.ow, [&](int64_t ox) { return stored_row(problem, image, oy, ox); });
    return tiling;
  }
  std::optional<Tiling> best = flat_tiling(problem);
  double best_cost = best ? static_cast<double>(best->tiles() * panels) : std::numeric_limits<double>::max();
  const auto consider = [&](std::optional<Tiling> tiling, double copying) {
    if (!tiling) return;
    const double cost = static_cast<double>(tiling->tiles() * panels) + copying;
    if (cost >= best_cost) return;
    best_cost = cost;
    best = std::move(tiling);
  };
  consider(row_tiling(problem), 0);
  // In products of a k step, of which a tile has kh * kw * ic / 64: copying one of a tile takes about as long as three.
  const int64_t outputs = s.n * s.oh * s.ow, tiles = (outputs + kTileRows - 1) / kTileRows;
  const auto phases = static_cast<double>(make_phase_planes(s).phases.size());
  if (k == PackedK::positions)
    consider(phase_tiling(problem), 3 * static_cast<double>(tiles) * phases / static_cast<double>(s.kh * s.kw));
  if (static_cast<double>(tiles * (panels + 3)) < best_cost) return copied_tiling(problem);
  return std::move(*best);
}

BlockingProblem blocking_problem(const ConvProblem& problem, const Tiling& tiling, int64_t panels, int64_t k_steps) {
  const ConvShape& s = problem.shape;
  const bool copied = tiling.source == RowSource::copied || tiling.source == RowSource::stacked;
  const int64_t stride = tiling.source == RowSource::phases ? 1 : s.stride_w;
  const int64_t rows_bytes = s.kh * (kTileRows * stride + (s.kw - 1) * s.dilation_w) * (s.ic / s.groups);
  return {.tiles = tiling.tiles(),
          .panels = panels,
          .k_steps = k_steps,
          .x_tile_bytes = copied ? k_steps * kTileBytes : std::min(k_steps * kTileBytes, rows_bytes),
          .copied = copied,
          .splits_k = !copied && problem.epilogue.act != ActKind::gelu,
          .residual = problem.epilogue.residual != ResidualKind::none,
          .dense_channels = is_dense(problem, tiling) ? s.oc : 0};
}

std::pair<int64_t, int64_t> k_part(int64_t k_steps, const Blocking& b, int part) {
  return {k_steps * part / b.k_parts, k_steps * (part + 1) / b.k_parts};
}

bool weights_are_resident(int64_t k_steps, const Blocking& b) { return k_steps == 1 && b.m == 1 && b.chunk == b.n; }

double network_factor(const BlockingProblem& problem, const Blocking& b) {
  constexpr double kUnfetched = 0.06, kFetched = 160 * 1024;
  const auto bytes = static_cast<double>(std::min(b.chunk, problem.panels) * problem.k_steps / b.k_parts * kTileBytes);
  return 1 + kUnfetched * std::max(0.0, 1 - kFetched / bytes);
}

namespace {

constexpr double kL1Bytes = 40 * 1024;
constexpr int64_t kLeastSplit = 24, kPartSteps = 16;  // k steps from which K is split, and of a part
constexpr int64_t kMostPartials = 1024 * 1024;        // bytes of sums between parts of K: within the second level
constexpr int64_t kPartRows = 4;  // rows of blocks below which weights from far are the limit, and passing them once is best

bool is_dense(const BlockingProblem& problem, int n) { return problem.dense_channels > 0 && n == problem.panels; }

double panel_bytes(const BlockingProblem& problem) { return static_cast<double>(problem.k_steps * kTileBytes); }
double chunk_bytes(const BlockingProblem& problem, const Blocking& b) {
  return static_cast<double>(std::min(b.chunk, problem.panels)) * panel_bytes(problem);
}
double x_bytes(const BlockingProblem& problem, const Blocking& b) {
  return static_cast<double>(b.m * problem.x_tile_bytes) / b.k_parts;
}

// Whether a block's weights stay in the first level while all rows pass, or a block's rows while all panels of a chunk do.
bool weights_stay(const BlockingProblem& problem, const Blocking& b) {
  return b.chunk <= b.n && chunk_bytes(problem, b) + x_bytes(problem, b) <= kL1Bytes;
}
bool x_stays(const BlockingProblem& problem, const Blocking& b) { return b.chunk > b.n && x_bytes(problem, b) <= kL1Bytes; }

}  // namespace

double estimated_cycles(const BlockingProblem& problem, const Blocking& b) {
  constexpr double kL2Bytes = 1.5 * 1024 * 1024, kFarBytesPerCycle = 5, kCopiedBytesPerCycle = 16;
  constexpr double kSecondLevelTile = 3, kBothFarTile = 7;
  constexpr double kPartialTile = 60;  // a store and a load
  const auto steps = static_cast<double>(problem.k_steps);
  const auto ceil_div = [](int64_t a, int64_t d) { return static_cast<double>((a + d - 1) / d); };
  const double block_rows = ceil_div(problem.tiles, b.m);

  const auto block_cycles = [&](int n) {
    const double weight_tiles = weights_are_resident(problem.k_steps, b) ? 0 : n;
    // Tiles loaded in a step that come from the second level: what stays in the first comes once.
    const bool weights_near = weights_stay(problem, b), x_near = x_stays(problem, b);
    const double second_level = (weights_near ? weight_tiles / block_rows : weight_tiles) +
                                (x_near ? b.m * static_cast<double>(b.n) / static_cast<double>(b.chunk) : b.m);
    const double far = weights_near || x_near ? kSecondLevelTile : kBothFarTile;
    const double step = 16.0 * b.m * n + 3.0 * (b.m + weight_tiles) + far * second_level;
    // What the epilogue takes, little of which hides between the products. Half of a pass of the packs goes for one cell as
    // for four; four rows of one panel are stored by quarters of a line.
    const int rows = b.m * n >= 4 ? 4 / n : b.m, passes = b.m / rows, cells = rows * n;
    const double line = problem.residual ? 250.0 : problem.offset_sum ? 105.0 : 155.0;  // 16 passes of four cells
    const double epilogue = is_dense(problem, n) ? line * b.m * static_cast<double>(problem.dense_channels) / 64.0
                                                 : line * passes * (0.4 + 0.15 * cells) * (b.m == 4 ? 1.25 : 1.0);
    const double parts = kPartialTile * b.m * n * (b.k_parts - 1);
    return step * steps + parts + std::max(20.0, epilogue - 2.0 * b.m * n * (steps / b.k_parts - 1));
  };
  const int64_t whole = problem.panels / b.n;
  const auto rest = static_cast<int>(problem.panels % b.n);
  double cycles = block_rows * (static_cast<double>(whole) * block_cycles(b.n) + (rest > 0 ? block_cycles(rest) : 0));

  const double weights = static_cast<double>(problem.panels) * panel_bytes(problem);
  if (weights > kL2Bytes)
    cycles += (chunk_bytes(problem, b) > kL2Bytes ? block_rows : 1) * weights / kFarBytesPerCycle * 0.25;
  if (problem.copied) cycles += static_cast<double>(problem.tiles) * panel_bytes(problem) / kCopiedBytesPerCycle;
  // The side that is used again soonest must not be the streamed one.
  const Stream right = weights_stay(problem, b) ? Stream::x : Stream::weights;
  return cycles * (b.stream == right ? 1.0 : b.stream == Stream::none ? 1.03 : 1.1);
}

std::vector<Blocking> candidate_blockings(const BlockingProblem& problem) {
  struct Shape {
    int m, n;
  };
  std::vector<std::pair<double, Blocking>> costed;
  for (const Shape shape : {Shape{1, 4}, Shape{2, 2}, Shape{4, 1}, Shape{1, 3}}) {
    if (shape.n == 3 && problem.panels % 3 != 0) continue;
    Blocking b;
    b.n = static_cast<int>(std::min<int64_t>(shape.n, problem.panels));
    b.m = static_cast<int>(std::min<int64_t>(shape.m, problem.tiles));
    // Units of tall blocks with few steps would have to wrap, which their registers do not allow (generator.cpp); and where
    // rows are not dense, stores of half a line cost more than two tiles save.
    if (problem.k_steps <= 2) b.m = std::min(b.m, b.n == 1 || is_dense(problem, b.n) ? 2 : 1);
    const int64_t all = (problem.panels + b.n - 1) / b.n * b.n;
    for (const int64_t wanted : {int64_t{b.n}, int64_t{4}, int64_t{8}, int64_t{32}, all}) {
      b.chunk = std::min(all, (wanted + b.n - 1) / b.n * b.n);
      if (problem.copied && b.chunk < all) continue;
      const auto consider = [&](int k_parts) {
        b.k_parts = k_parts;
        for (const Stream stream : {Stream::x, Stream::weights, Stream::none}) {
          b.stream = stream;
          const bool known = std::any_of(costed.begin(), costed.end(), [&](const auto& c) { return c.second == b; });
          if (!known) costed.emplace_back(estimated_cycles(problem, b) * network_factor(problem, b), b);
        }
      };
      consider(1);
      const int64_t partials = problem.tiles * std::min(b.chunk, problem.panels) * kTileBytes;
      if (problem.splits_k && b.chunk > b.n && partials <= kMostPartials && problem.k_steps >= kLeastSplit &&
          problem.tiles >= kPartRows * b.m && !x_stays(problem, b))
        consider(static_cast<int>((problem.k_steps + kPartSteps / 2) / kPartSteps));
    }
  }
  std::stable_sort(costed.begin(), costed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Blocking> candidates;
  for (const auto& [cost, blocking] : costed) candidates.push_back(blocking);
  return candidates;
}

}  // namespace octet::kernels::amx
