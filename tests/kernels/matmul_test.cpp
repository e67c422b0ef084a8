#include "kernels/matmul.h"

#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class MatmulTest : public OpsTest {};

TEST_P(MatmulTest, EqualsTheReferenceAndStaysInside) {
  for (const int64_t m : {1, 2, 5, 6, 7, 13})
    for (const int64_t n : {1, 7, 8, 15, 16, 17, 31, 32, 33, 70})
      for (const int64_t k : {1, 3, 64}) {
        // Three products: of different matrices, and of one b shared by two.
        const MatmulProblem p{m, n, k, false, {{0, 0}, {m * k, k * n}, {2 * m * k, 0}}};
        const auto a = random_floats(static_cast<size_t>(3 * m * k), 2.0f, 1),
                   b = random_floats(static_cast<size_t>(2 * k * n), 2.0f, 2);
        std::vector<float> expected(static_cast<size_t>(3 * m * n));
        matmul_reference(p, {a.data(), b.data(), expected.data()});
        for (const Wall wall : {Wall::before, Wall::after})
          for (const int parts : {1, 3}) {
            const Guarded<float> ga(a, wall), gb(b, wall), y(expected.size(), wall);
            run_parts(*make_matmul(target(), p), {ga.data(), gb.data(), y.data()}, parts);
            ASSERT_TRUE(same(y.values(), expected)) << m << "x" << n << "x" << k;
            ASSERT_TRUE(y.margins_untouched());
          }
      }
}

TEST_P(MatmulTest, ByATransposedMatrixEqualsTheReferenceAndStaysInside) {
  if (target().id == IsaId::reference) GTEST_SKIP() << "it has no kernel: the operator's scalar form runs";
  for (const int64_t m : {1, 6, 13})
    for (const int64_t n : {1, 7, 8, 31, 32, 33, 47, 70, 128})
      for (const int64_t k : {1, 3, 20, 64}) {
        const MatmulProblem p{m, n, k, true, {{0, 0}, {m * k, k * n}, {2 * m * k, 0}}};
        const auto a = random_floats(static_cast<size_t>(3 * m * k), 2.0f, 1),
                   b = random_floats(static_cast<size_t>(2 * k * n), 2.0f, 2);
        std::vector<float> expected(static_cast<size_t>(3 * m * n));
        matmul_reference(p, {a.data(), b.data(), expected.data()});
        const auto product = make_transposed_matmul(target(), p);
        for (const Wall wall : {Wall::before, Wall::after})
          for (const int parts : {1, 3}) {
            const Guarded<float> ga(a, wall), gb(b, wall), y(expected.size(), wall);
            for (int part = 0; part < parts; ++part) {
              const Guarded<float> workspace((product->workspace_bytes() / 4 + 15) / 16 * 16, Wall::after);
              product->run({ga.data(), gb.data(), y.data(), workspace.data()}, part, parts);
            }
            ASSERT_TRUE(same(y.values(), expected)) << m << "x" << n << "x" << k;
            ASSERT_TRUE(y.margins_untouched());
          }
      }
}

TEST_P(MatmulTest, ReadsMatricesWhereTheirStridesSayAndScales) {
  if (target().id == IsaId::reference) GTEST_SKIP() << "it has no kernel: the operator's scalar form runs";
  struct Strides {
    int64_t a_row, a_step, b_row;
  };
  for (const bool b_transposed : {false, true})
    for (const int64_t m : {1, 6, 13})
      for (const int64_t n : {1, 17, 45})
        for (const int64_t k : {1, 5, 20})
          for (const Strides s : {Strides{1, m, 0}, Strides{3 * k, 1, 3 * (b_transposed ? k : n)}}) {
            MatmulProblem p{m, n, k, b_transposed, {{0, 0}, {7, 5}}, s.a_row, s.a_step, s.b_row, -0.3f};
            const auto a = random_floats(static_cast<size_t>(3 * m * k + 7), 2.0f, 1),
                       b = random_floats(static_cast<size_t>(3 * k * n + 5), 2.0f, 2);
            std::vector<float> expected(static_cast<size_t>(2 * m * n));
            matmul_reference(p, {a.data(), b.data(), expected.data()});
            const Guarded<float> y(expected.size(), Wall::after);
            if (b_transposed) {
              const auto product = make_transposed_matmul(target(), p);
              const Guarded<float> workspace((product->workspace_bytes() / 4 + 15) / 16 * 16, Wall::after);
              product->run({a.data(), b.data(), y.data(), workspace.data()}, 0, 1);
            } else {
              run_parts(*make_matmul(target(), p), {a.data(), b.data(), y.data()}, 2);
            }
            ASSERT_TRUE(same(y.values(), expected)) << m << "x" << n << "x" << k;
            ASSERT_TRUE(y.margins_untouched());
          }
}

INSTANTIATE_TEST_SUITE_P(Isa, MatmulTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
