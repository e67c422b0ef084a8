// The halo of channels-last images. No generated code: fills are rare, small, and memset is as fast as memory.
#include <cassert>
#include <cstring>

#include "kernels/ops.h"

namespace octet::kernels {
namespace {

void fill(uint8_t* at, int64_t bytes, uint32_t value, int64_t element) {
  const auto byte = static_cast<uint8_t>(value);
  if (element == 1 || value == byte * 0x01010101u) {
    std::memset(at, byte, static_cast<size_t>(bytes));
    return;
  }
  for (int64_t i = 0; i < bytes; i += element) std::memcpy(at + i, &value, static_cast<size_t>(element));
}

// `count` pixels from `at`; the bytes between pixels, if any, belong to others.
void fill_pixels(uint8_t* at, int64_t count, int64_t pixel, int64_t pixel_bytes, uint32_t value, int64_t element) {
  if (pixel == pixel_bytes) return fill(at, count * pixel_bytes, value, element);
  for (int64_t i = 0; i < count; ++i) fill(at + i * pixel, pixel_bytes, value, element);
}

}  // namespace

void fill_halo(void* data, const ImageLayout& layout, int64_t n, int64_t h, int64_t w, int64_t pixel_bytes, int top,
               int left, int bottom, int right, uint32_t value, int64_t element) noexcept {
  assert(element == 1 || element == 2 || element == 4);
  for (int64_t image = 0; image < n; ++image) {
    auto* origin = static_cast<uint8_t*>(data) + image * layout.image;
    for (int64_t y = -top; y < h + bottom; ++y) {
      uint8_t* row = origin + y * layout.row;
      const auto pixels = [&](int64_t first, int64_t count) {
        fill_pixels(row + first * layout.pixel, count, layout.pixel, pixel_bytes, value, element);
      };
      if (y < 0 || y >= h) {
        pixels(-left, left + w + right);
      } else {
        pixels(-left, left);
        pixels(w, right);
      }
    }
  }
}

}  // namespace octet::kernels
