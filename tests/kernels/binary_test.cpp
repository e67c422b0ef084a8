#include <tuple>

#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

template <class T>
void expect_equals_reference(const Isa& isa, const BinaryProblem& problem, const std::vector<T>& a, const std::vector<T>& b,
                             int parts) {
  const auto y_size = static_cast<size_t>((problem.rows - 1) * problem.y_outer + problem.length);
  std::vector<T> expected(y_size, T{7});
  binary_reference(problem, {a.data(), b.data(), expected.data()});
  for (Wall wall : {Wall::before, Wall::after}) {
    const Guarded<T> ga(a, wall), gb(b, wall), y(std::vector<T>(y_size, T{7}), wall);
    run_parts(*make_binary(isa, problem), {ga.data(), gb.data(), y.data()}, parts);
    ASSERT_TRUE(same(y.values(), expected)) << "kind " << static_cast<int>(problem.kind) << " length " << problem.length
                                            << " b_inner " << problem.b_inner << " swapped " << problem.swapped;
    ASSERT_TRUE(y.margins_untouched());
  }
}

// 3 rows with gaps after each in a and y; b a full tensor, a row, a column or one element.
struct Broadcast {
  int64_t inner, outer;  // outer: -1 stands for a full row
};
constexpr Broadcast kBroadcasts[] = {{1, -1}, {1, 0}, {0, 1}, {0, 0}};

BinaryProblem problem_of(BinaryKind kind, DType dtype, int64_t length, Broadcast broadcast) {
  BinaryProblem problem;
  problem.kind = kind;
  problem.dtype = dtype;
  problem.rows = 3;
  problem.length = length;
  problem.a_outer = length + 2;
  problem.y_outer = length + 1;
  problem.b_inner = broadcast.inner;
  problem.b_outer = broadcast.outer < 0 ? length : broadcast.outer;
  return problem;
}
size_t a_size(const BinaryProblem& p) { return static_cast<size_t>((p.rows - 1) * p.a_outer + p.length); }
size_t b_size(const BinaryProblem& p) { return static_cast<size_t>((p.rows - 1) * p.b_outer + (p.b_inner ? p.length : 1)); }

class BinaryTest : public OpsTest {};

TEST_P(BinaryTest, FloatKindsWithEveryBroadcastEqualReference) {
  for (BinaryKind kind :
       {BinaryKind::add, BinaryKind::sub, BinaryKind::mul, BinaryKind::div, BinaryKind::max, BinaryKind::min})
    for (Broadcast broadcast : kBroadcasts)
      for (bool swapped : {false, true})
        for (int64_t length : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 71, 200}) {
          BinaryProblem problem = problem_of(kind, DType::f32, length, broadcast);
          problem.swapped = swapped;
          problem.relu = length % 2 == 0;
          expect_equals_reference(target(), problem, mixed_floats(a_size(problem), 10.0f, 1),
                                  mixed_floats(b_size(problem), 10.0f, 2), 1);
        }
}

TEST_P(BinaryTest, QuantizedKindsWithEveryBroadcastEqualReference) {
  for (BinaryKind kind : {BinaryKind::add, BinaryKind::sub, BinaryKind::mul})
    for (Broadcast broadcast : kBroadcasts)
      for (bool swapped : {false, true})
        for (int64_t length : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 19, 31, 32, 33, 63, 64, 71, 200})
          for (auto [za, zb, zy] : {std::tuple{0, 255, 128}, {255, 0, 0}, {117, 4, 255}}) {
            BinaryProblem problem = problem_of(kind, DType::u8, length, broadcast);
            problem.swapped = swapped;
            problem.a_scale = 0.0171f;
            problem.b_scale = 0.0312f;
            problem.y_scale = kind == BinaryKind::mul ? 0.0713f : 0.0401f;
            problem.a_zero_point = za;
            problem.b_zero_point = zb;
            problem.y_zero_point = zy;
            problem.lo = length % 3 == 0 ? 40 : 0;
            problem.hi = length % 5 == 0 ? 190 : 255;
            expect_equals_reference(target(), problem, random_bytes(a_size(problem), 3), random_bytes(b_size(problem), 4),
                                    1);
          }
}

TEST_P(BinaryTest, ExtremeScalesSaturateInsteadOfOverflowing) {
  for (float y_scale : {1e-30f, 1e30f}) {
    BinaryProblem problem = problem_of(BinaryKind::mul, DType::u8, 256, kBroadcasts[0]);
    problem.a_zero_point = problem.b_zero_point = 128;
    problem.y_zero_point = 3;
    problem.y_scale = y_scale;
    expect_equals_reference(target(), problem, random_bytes(a_size(problem), 5), random_bytes(b_size(problem), 6), 1);
  }
}

TEST_P(BinaryTest, PartsDoNotChangeTheResult) {
  for (int parts = 1; parts <= 5; ++parts) {
    BinaryProblem wide =
        problem_of(BinaryKind::add, DType::f32, 1001, kBroadcasts[1]);  // fewer rows than parts: columns are shared
    expect_equals_reference(target(), wide, mixed_floats(a_size(wide), 10.0f, 1), mixed_floats(b_size(wide), 10.0f, 2),
                            parts);
    BinaryProblem tall = problem_of(BinaryKind::sub, DType::u8, 21, kBroadcasts[2]);
    tall.rows = 37;
    expect_equals_reference(target(), tall, random_bytes(a_size(tall), 3), random_bytes(b_size(tall), 4), parts);
    BinaryProblem dense = problem_of(BinaryKind::mul, DType::f32, 50, kBroadcasts[0]);  // collapses to one run
    dense.rows = 9;
    dense.a_outer = dense.y_outer = dense.length;
    expect_equals_reference(target(), dense, mixed_floats(a_size(dense), 10.0f, 1), mixed_floats(b_size(dense), 10.0f, 2),
                            parts);
  }
}

TEST_P(BinaryTest, WorksInPlace) {
  BinaryProblem problem = problem_of(BinaryKind::add, DType::u8, 77, kBroadcasts[0]);
  problem.y_outer = problem.a_outer;
  std::vector<uint8_t> a = random_bytes(a_size(problem), 3), expected = a;
  const std::vector<uint8_t> b = random_bytes(b_size(problem), 4);
  binary_reference(problem, {expected.data(), b.data(), expected.data()});
  make_binary(target(), problem)->run({a.data(), b.data(), a.data()}, 0, 1);
  EXPECT_TRUE(same(a, expected));
}

INSTANTIATE_TEST_SUITE_P(Isas, BinaryTest, every_isa(), isa_name);

TEST(BinaryReference, AddRoundsOnceOnEachSide) {
  BinaryProblem problem;
  problem.dtype = DType::u8;
  problem.a_scale = 0.5f;
  problem.b_scale = 0.25f;
  problem.a_zero_point = 10;
  problem.y_zero_point = 100;
  const uint8_t a = 13, b = 2;  // 1.5 + 0.5 = 2
  uint8_t y = 0;
  binary_reference(problem, {&a, &b, &y});
  EXPECT_EQ(y, 102);
}

}  // namespace
}  // namespace octet::kernels::testing
