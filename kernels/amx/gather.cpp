#include "kernels/amx/gather.h"

#include <cstring>

namespace octet::kernels::amx {

void copy_phases(const ConvProblem& problem, const PhasePlanes& planes, const std::byte* x, int64_t begin, int64_t end,
                 std::byte* to) noexcept {
  const ConvShape& s = problem.shape;
  // A plane reaches as far as the last kernel position needs; what its other pixels would read need not exist.
  const int64_t height = (s.oh - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1;
  const int64_t width = (s.ow - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1;
  const std::byte* padded = x - s.pad_top * problem.x.row - s.pad_left * problem.x.pixel;
  for (size_t p = 0; p < planes.phases.size(); ++p) {
    const auto [phase_h, phase_w] = planes.phases[p];
    for (int64_t i = begin; i < end && i * s.stride_h + phase_h < height; ++i) {
      const std::byte* row = padded + (i * s.stride_h + phase_h) * problem.x.row + phase_w * problem.x.pixel;
      std::byte* out = to + static_cast<int64_t>(p) * planes.plane + i * planes.width * planes.pixel;
      for (int64_t j = 0; j < planes.width && j * s.stride_w + phase_w < width; ++j) {
        std::memcpy(out, row, static_cast<size_t>(planes.pixel));
        out += planes.pixel;
        row += s.stride_w * problem.x.pixel;
      }
    }
  }
}

void copy_windows(const std::byte* x, std::span<const int64_t> windows, std::span<const int64_t> offsets,
                  std::byte* to) noexcept {
  const auto steps = static_cast<int64_t>(offsets.size());
  for (size_t row = 0; row < windows.size(); ++row) {
    const std::byte* window = x + windows[row];
    const auto i = static_cast<int64_t>(row);
    std::byte* out = to + i / kTileRows * steps * kTileBytes + i % kTileRows * 64;
    for (const int64_t offset : offsets) {
      std::memcpy(out, window + offset, 64);
      out += kTileBytes;
    }
  }
}

void copy_stacks(StackFunction copy_row, const ConvProblem& problem, const Stacks& stacks, const std::byte* x, int64_t begin,
                 int64_t end, std::byte* to) noexcept {
  const ConvShape& s = problem.shape;
  for (int64_t row = begin; row < end; ++row, to += stacks.row_bytes()) {
    const StackArgs args{x + row / s.oh * problem.x.image + (row % s.oh * s.stride_h - s.pad_top) * problem.x.row -
                             s.pad_left * problem.x.pixel,
                         s.dilation_h * problem.x.row, to};
    copy_row(&args);
  }
}

}  // namespace octet::kernels::amx
