#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

struct Case {
  int64_t n, h, w, channels, element, gap;  // gap: elements between pixels, owned by somebody else
  int top, left, bottom, right;
};

// Pixel by pixel, from the meaning of a halo alone.
std::vector<uint8_t> filled(const Case& c, const ImageLayout& layout, int64_t origin, std::vector<uint8_t> data,
                            uint32_t value) {
  for (int64_t n = 0; n < c.n; ++n)
    for (int64_t y = -c.top; y < c.h + c.bottom; ++y)
      for (int64_t x = -c.left; x < c.w + c.right; ++x) {
        if (y >= 0 && y < c.h && x >= 0 && x < c.w) continue;
        for (int64_t i = 0; i < c.channels; ++i)
          std::memcpy(data.data() + origin + n * layout.image + y * layout.row + x * layout.pixel + i * c.element, &value,
                      static_cast<size_t>(c.element));
      }
  return data;
}

TEST(FillHalo, TouchesTheHaloAndNothingElse) {
  for (const Case& c :
       {Case{2, 3, 4, 5, 1, 0, 1, 1, 1, 1}, Case{2, 3, 4, 5, 1, 2, 1, 1, 1, 1}, Case{1, 3, 4, 5, 4, 0, 0, 2, 3, 1},
        Case{1, 2, 2, 3, 4, 1, 3, 0, 0, 2}, Case{1, 2, 2, 3, 1, 0, 0, 0, 0, 0}})
    for (uint32_t value : {0u, 0x80u, 0x3f800001u}) {
      ImageLayout layout;
      layout.pixel = (c.channels + c.gap) * c.element;
      layout.row = (c.left + c.w + c.right + 1) * layout.pixel;  // a pixel of pitch that is not halo
      layout.image = (c.top + c.h + c.bottom) * layout.row;
      const int64_t origin = c.top * layout.row + c.left * layout.pixel;
      const auto blank = random_bytes(static_cast<size_t>(c.n * layout.image), 3);
      std::vector<uint8_t> data = blank;
      fill_halo(data.data() + origin, layout, c.n, c.h, c.w, c.channels * c.element, c.top, c.left, c.bottom, c.right, value,
                c.element);
      EXPECT_TRUE(same(data, filled(c, layout, origin, blank, value))) << "element " << c.element << " value " << value;
    }
}

}  // namespace
}  // namespace octet::kernels::testing
