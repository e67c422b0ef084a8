#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

TableProblem problem_of(int64_t rows, int64_t length, int64_t x_outer, int64_t y_outer) {
  TableProblem problem{{}, rows, length, x_outer, y_outer};
  const auto entries = random_bytes(256, 99);
  std::copy(entries.begin(), entries.end(), problem.table.begin());
  return problem;
}

std::vector<uint8_t> looked_up(const TableProblem& problem, const std::vector<uint8_t>& x, std::vector<uint8_t> y) {
  for (int64_t r = 0; r < problem.rows; ++r)
    for (int64_t i = 0; i < problem.length; ++i)
      y[static_cast<size_t>(r * problem.y_outer + i)] = problem.table[x[static_cast<size_t>(r * problem.x_outer + i)]];
  return y;
}

class TableTest : public OpsTest {};

TEST_P(TableTest, EveryIndexAtEveryLength) {
  for (int64_t length = 1; length <= 530; length += length < 140 ? 1 : 13) {
    const TableProblem problem = problem_of(2, length, length + 5, length + 1);
    std::vector<uint8_t> x(static_cast<size_t>(2 * length + 5));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i * 37 + static_cast<size_t>(length));
    const std::vector<uint8_t> blank(static_cast<size_t>(2 * length + 1), 7);
    for (Wall wall : {Wall::before, Wall::after}) {
      const Guarded<uint8_t> a(x, wall), y(blank, wall);
      make_table(target(), problem)->run({a.data(), nullptr, y.data()}, 0, 1);
      ASSERT_TRUE(same(y.values(), looked_up(problem, x, blank))) << "length " << length;
      ASSERT_TRUE(y.margins_untouched());
    }
  }
}

TEST_P(TableTest, WorksInPlaceAndInAnyNumberOfParts) {
  const auto x = random_bytes(1000, 3);
  for (int parts = 1; parts <= 5; ++parts) {
    const TableProblem problem = problem_of(10, 100, 100, 100);
    std::vector<uint8_t> y = x;
    run_parts(*make_table(target(), problem), {y.data(), nullptr, y.data()}, parts);
    EXPECT_TRUE(same(y, looked_up(problem, x, x))) << parts << " parts";
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, TableTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
