#include <numeric>

#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class SoftmaxTest : public OpsTest {};

TEST_P(SoftmaxTest, EveryLengthEqualsReference) {
  for (int64_t length : test_lengths()) {
    if (length == 0) continue;
    const SoftmaxProblem problem{3, length};
    const auto x = random_floats(static_cast<size_t>(3 * length), 12.0f, static_cast<unsigned>(length));
    std::vector<float> expected(x.size());
    softmax_reference(problem, {x.data(), nullptr, expected.data()});
    for (Wall wall : {Wall::before, Wall::after}) {
      const Guarded<float> a(x, wall), y(x.size(), wall);
      make_softmax(target(), problem)->run({a.data(), nullptr, y.data()}, 0, 1);
      ASSERT_TRUE(same(y.values(), expected)) << "length " << length;
      ASSERT_TRUE(y.margins_untouched());
    }
  }
}

TEST_P(SoftmaxTest, RowsSumToOne) {
  const auto x = random_floats(1000, 5.0f, 4);
  std::vector<float> y(1000);
  make_softmax(target(), {1, 1000})->run({x.data(), nullptr, y.data()}, 0, 1);
  EXPECT_NEAR(std::accumulate(y.begin(), y.end(), 0.0), 1.0, 1e-6);
}

TEST_P(SoftmaxTest, AwkwardRowsEqualReference) {
  for (size_t length : {5u, 16u, 23u, 40u})
    for (float awkward : awkward_floats()) {
      auto x = random_floats(length, 3.0f, 2);
      x[length / 2] = awkward;
      const SoftmaxProblem problem{1, static_cast<int64_t>(length)};
      std::vector<float> expected(length), y(length);
      softmax_reference(problem, {x.data(), nullptr, expected.data()});
      make_softmax(target(), problem)->run({x.data(), nullptr, y.data()}, 0, 1);
      EXPECT_TRUE(same(y, expected)) << "with " << awkward;
    }
}

TEST_P(SoftmaxTest, WorksInPlaceAndInAnyNumberOfParts) {
  const SoftmaxProblem problem{13, 29};
  const auto x = random_floats(13 * 29, 6.0f, 9);
  std::vector<float> expected(x.size());
  softmax_reference(problem, {x.data(), nullptr, expected.data()});
  for (int parts = 1; parts <= 5; ++parts) {
    std::vector<float> y = x;
    run_parts(*make_softmax(target(), problem), {y.data(), nullptr, y.data()}, parts);
    EXPECT_TRUE(same(y, expected)) << parts << " parts";
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, SoftmaxTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
