#include "kernels/fake_quantize.h"

#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class FakeQuantizeTest : public OpsTest {};

TEST_P(FakeQuantizeTest, EqualsReference) {
  struct Range {
    int32_t zero_point, least, most;
  };
  for (const Range range :
       {Range{0, 0, 65535}, {30000, 0, 65535}, {65535, 0, 65535}, {0, -32768, 32767}, {-7, -32768, 32767}})
    for (const float scale : {7.3e-5f, 0.3f})
      for (const int64_t length : test_lengths()) {
        const FakeQuantizeProblem problem{2,     length,           length + 3,  length + 1,
                                          scale, range.zero_point, range.least, range.most};
        const auto x = mixed_floats(static_cast<size_t>(2 * length + 3), 5.0f, static_cast<unsigned>(length));
        std::vector<float> expected(static_cast<size_t>(2 * length + 1), 9);
        fake_quantize_reference(problem, {x.data(), nullptr, expected.data()});
        for (const Wall wall : {Wall::before, Wall::after}) {
          const Guarded<float> a(x, wall), y(std::vector<float>(expected.size(), 9), wall);
          make_fake_quantize(target(), problem)->run({a.data(), nullptr, y.data()}, 0, 1);
          ASSERT_TRUE(same(y.values(), expected)) << "length " << length << " zero point " << range.zero_point;
          ASSERT_TRUE(y.margins_untouched());
        }
      }
}

INSTANTIATE_TEST_SUITE_P(Isa, FakeQuantizeTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
