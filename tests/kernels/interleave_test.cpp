#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class InterleaveTest : public OpsTest {};

TEST_P(InterleaveTest, EqualsTheReferenceAndStaysInside) {
  for (const int64_t element : {1, 4})
    for (const int64_t c : {1, 3, 7, 15, 16, 17, 58, 116, 300})
      for (const int64_t gap : {0, 5}) {
        InterleaveProblem p{.element = element, .n = 2, .c = c, .h = 3, .w = 4, .a = {}, .b = {}, .y = {}};
        const auto layout = [&](int64_t channels) {
          const int64_t pixel = (channels + gap) * element;
          return ImageLayout{pixel, 4 * pixel, 12 * pixel};
        };
        p.a = layout(c), p.b = layout(c + 2), p.y = layout(2 * c);
        // The last pixel ends where its channels end.
        const auto bytes = [&](const ImageLayout& l, int64_t channels) {
          return static_cast<size_t>(2 * l.image - l.pixel + channels * element);
        };
        const auto a = random_bytes(bytes(p.a, c), 1), b = random_bytes(bytes(p.b, c), 2);
        const std::vector<uint8_t> blank(bytes(p.y, 2 * c), 0x5c);
        std::vector<uint8_t> expected = blank;
        interleave_reference(p, {a.data(), b.data(), expected.data()});
        for (const Wall wall : {Wall::before, Wall::after})
          for (const int parts : {1, 3}) {
            const Guarded<uint8_t> ga(a, wall), gb(b, wall), y(blank, wall);
            run_parts(*make_interleave(target(), p), {ga.data(), gb.data(), y.data()}, parts);
            ASSERT_TRUE(same(y.values(), expected)) << "element " << element << " c " << c << " gap " << gap;
            ASSERT_TRUE(y.margins_untouched());
          }
      }
}

INSTANTIATE_TEST_SUITE_P(Isa, InterleaveTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
