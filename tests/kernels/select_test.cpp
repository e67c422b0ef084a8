#include "kernels/select.h"

#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class SelectTest : public OpsTest {};

TEST_P(SelectTest, EveryBroadcastAndLengthEqualsReference) {
  for (int form = 0; form < 64; ++form)
    for (const int64_t length : {1, 7, 8, 15, 16, 17, 33, 64, 65, 131}) {
      const auto bit = [form](int i) { return int64_t{form >> i & 1}; };
      SelectProblem p{3, length, 0, 0, 0, length, bit(0), bit(1), bit(2)};
      const auto outer = [&](int64_t inner, int64_t many) { return many == 0 ? 0 : inner == 0 ? 1 : length; };
      p.condition_outer = outer(p.condition_inner, bit(3));
      p.a_outer = outer(p.a_inner, bit(4));
      p.b_outer = outer(p.b_inner, bit(5));
      const auto count = [&](int64_t inner, int64_t many) {
        return static_cast<size_t>((inner ? length : 1) + 2 * outer(inner, many));
      };
      std::vector<uint8_t> condition = random_bytes(count(p.condition_inner, bit(3)), static_cast<unsigned>(form));
      for (uint8_t& c : condition) c = c % 3;  // whatever is not 0 is true
      const auto a = mixed_floats(count(p.a_inner, bit(4)), 9.0f, 1), b = mixed_floats(count(p.b_inner, bit(5)), 9.0f, 2);
      std::vector<float> expected(static_cast<size_t>(3 * length));
      select_reference(p, {condition.data(), a.data(), b.data(), expected.data()});
      const auto select = make_select(target(), p);
      for (const Wall wall : {Wall::before, Wall::after}) {
        const Guarded<uint8_t> c(condition, wall);
        const Guarded<float> x(a, wall), z(b, wall), y(expected.size(), wall);
        for (int part = 0; part < 2; ++part) select->run({c.data(), x.data(), z.data(), y.data()}, part, 2);
        ASSERT_TRUE(same(y.values(), expected)) << "form " << form << " length " << length;
        ASSERT_TRUE(y.margins_untouched());
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Isas, SelectTest, every_isa(), isa_name);

// Bits pass unchanged, those of a denormal too.
TEST(SelectReference, MovesElementsAsTheyAre) {
  const uint8_t condition[] = {1, 0};
  const float a = std::numeric_limits<float>::denorm_min(), b[] = {7, 8};
  float y[2];
  select_reference({1, 2, 0, 0, 0, 2, 1, 0, 1}, {condition, &a, b, y});
  EXPECT_EQ(y[0], a);
  EXPECT_EQ(y[1], 8);
}

}  // namespace
}  // namespace octet::kernels::testing
