#include "kernels/resize.h"

#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class ResizeTest : public OpsTest {};

// `in` to `out` positions, each between two neighbours; some on a neighbour.
std::vector<ResizeTaps> some_taps(int64_t in, int64_t out) {
  std::vector<ResizeTaps> list;
  for (int64_t i = 0; i < out; ++i) {
    const float at = static_cast<float>(i) * static_cast<float>(in - 1) / static_cast<float>(std::max<int64_t>(1, out - 1));
    const auto low = static_cast<int64_t>(at);
    const float ratio = at - static_cast<float>(low);
    ResizeTaps t{{low, low}, {1, 0}, 1};
    if (ratio != 0) t = {{low, std::min(low + 1, in - 1)}, {1 - ratio, ratio}, 2};
    list.push_back(t);
  }
  return list;
}

TEST_P(ResizeTest, EqualsTheReference) {
  for (const DType dtype : {DType::f32, DType::u8})
    for (const bool linear : {false, true})
      for (const auto& [ih, iw, oh, ow] :
           {std::array{5, 4, 10, 9}, std::array{7, 9, 3, 4}, std::array{4, 4, 4, 11}, std::array{3, 5, 8, 5}})
        for (const int64_t c : {1, 5, 16, 37, 64}) {
          ResizeProblem p;
          p.linear = linear;
          p.dtype = dtype;
          p.element = dtype == DType::f32 ? 4 : 1;
          p.n = 2, p.c = c;
          p.rows = some_taps(ih, oh), p.columns = some_taps(iw, ow);
          p.keeps_rows = linear && ih == oh, p.keeps_columns = linear && iw == ow;
          const auto layout = [&](int64_t h, int64_t w, int64_t gap) {
            const int64_t pixel = (c + gap) * p.element, row = w * pixel + 2 * gap * p.element;
            return ImageLayout{pixel, row, h * row};
          };
          for (const int64_t gap : {0, 3}) {
            p.x = layout(ih, iw, gap), p.y = layout(oh, ow, gap);
            const size_t in = static_cast<size_t>(2 * p.x.image), out = static_cast<size_t>(2 * p.y.image);
            std::vector<uint8_t> x = random_bytes(in, 1);
            if (dtype == DType::f32) {
              const auto floats = random_floats(in / 4, 3.0f, 1);
              std::memcpy(x.data(), floats.data(), in);
            }
            std::vector<uint8_t> expected(out, 0x5c);
            resize_reference(p, x.data(), expected.data());
            for (const int parts : {1, 3}) {
              const Guarded<uint8_t> gx(x, Wall::after), y(std::vector<uint8_t>(out, 0x5c), Wall::after);
              const auto kernel = make_resize(target(), p);
              std::vector<std::max_align_t> workspace(kernel->workspace_bytes() / sizeof(std::max_align_t) + 1);
              for (int part = 0; part < parts; ++part) kernel->run(gx.data(), y.data(), workspace.data(), part, parts);
              ASSERT_TRUE(same(y.values(), expected))
                  << kernel->name() << " of " << to_string(dtype) << ", " << ih << "x" << iw << " to " << oh << "x" << ow
                  << ", channels " << c << ", gap " << gap << ", parts " << parts;
            }
          }
        }
}

INSTANTIATE_TEST_SUITE_P(Isa, ResizeTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
