#include "kernels/integer_matmul.h"

#include "kernels/layout.h"
#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class IntegerMatmulTest : public OpsTest {
 protected:
  // Bytes with the room behind them that kernels may read and must not write, and an end of memory behind that.
  static std::vector<uint8_t> with_room(size_t count, unsigned seed) {
    return random_bytes(count + static_cast<size_t>(kSlack), seed);
  }

  void expect_equal(const IntegerMatmulProblem& p, const std::vector<uint8_t>& a, const std::vector<uint8_t>& b,
                    IntegerMatmulArgs args, int parts) {
    const size_t bytes = p.batch.size() * static_cast<size_t>(p.m * p.n) * size_of(p.y);
    std::vector<uint8_t> expected(bytes);
    args.a = a.data(), args.b = b.data(), args.y = expected.data();
    integer_matmul_reference(p, args);
    const Guarded<uint8_t> ga(a, Wall::after), gb(b, Wall::after), y(bytes, Wall::before);
    const auto product = make_integer_matmul(target(), p);
    args.a = ga.data(), args.b = gb.data(), args.y = y.data();
    const Guarded<std::byte> workspace((product->workspace_bytes() + 63) / 64 * 64, Wall::after);
    args.workspace = workspace.data();
    for (int part = 0; part < parts; ++part) product->run(args, part, parts);
    ASSERT_EQ(y.values(), expected) << to_string(p.a) << " " << to_string(p.b) << " to " << to_string(p.y) << ", " << p.m
                                    << "x" << p.n << "x" << p.k << ", zero points " << args.a_zero_point << " "
                                    << args.b_zero_point << " " << args.y_zero_point << ", scale " << args.scale;
    ASSERT_TRUE(y.margins_untouched());
  }
};

int32_t any_zero_point(DType dtype, std::mt19937& random) {
  const int32_t lowest = dtype == DType::s8 ? -128 : 0;
  constexpr int32_t kDistances[] = {0, 128, 255};
  const auto choice = static_cast<uint32_t>(random() % 6);
  return lowest + (choice < 3 ? kDistances[choice] : static_cast<int32_t>(random() % 256));
}

TEST_P(IntegerMatmulTest, EqualsTheReferenceForTypesZeroPointsAndSizesAsTheyCome) {
  std::mt19937 random(7);
  const auto one_of = [&](auto... v) {
    const std::array<std::common_type_t<decltype(v)...>, sizeof...(v)> values{v...};
    return values[random() % values.size()];
  };
  for (int i = 0; i < 400; ++i) {
    IntegerMatmulProblem p;
    p.a = one_of(DType::u8, DType::s8), p.b = one_of(DType::u8, DType::s8);
    p.y = one_of(DType::s32, DType::f32, DType::u8, DType::s8);
    p.m = one_of(1, 2, 5, 6, 7, 11, 12, 13, 15, 16, 17, 25, 33);
    p.n = one_of(1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 257);
    p.k = one_of(1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 63, 64, 65, 100, 128, 129);
    p.batch = {{0, 0}, {p.m * p.k, p.k * p.n}, {2 * p.m * p.k, 0}};  // the last one shares its b
    p.batch.resize(1 + random() % 3);
    IntegerMatmulArgs args;
    args.a_zero_point = any_zero_point(p.a, random), args.b_zero_point = any_zero_point(p.b, random);
    args.y_zero_point = p.y == DType::s8 || p.y == DType::u8 ? any_zero_point(p.y, random) : 0;
    // The sums of k products lie at about 6000 * sqrt(k): some saturate, some do not.
    args.scale = one_of(1.0f, 0.5f, 1e-2f, 3.1e-3f, 1e-4f) / static_cast<float>(one_of(1, 3, 7));
    const auto count = [&](int64_t area) { return static_cast<size_t>(3 * area); };
    expect_equal(p, with_room(count(p.m * p.k), static_cast<unsigned>(2 * i)),
                 with_room(count(p.k * p.n), static_cast<unsigned>(2 * i + 1)), args, one_of(1, 2, 5));
    if (HasFatalFailure()) return;
  }
}

TEST_P(IntegerMatmulTest, ColumnsOfManyChunksAndDepthsOfManySteps) {
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{700, 20}, {530, 1000}, {40, 5000}}) {
    const IntegerMatmulProblem p{19, n, k, DType::u8, DType::u8, DType::s32, {{0, 0}}};
    expect_equal(p, with_room(static_cast<size_t>(19 * k), 1), with_room(static_cast<size_t>(k * n), 2),
                 {.a_zero_point = 3, .b_zero_point = 250}, 3);
    if (HasFatalFailure()) return;
  }
}

TEST_P(IntegerMatmulTest, TheLargestSumsAreExact) {
  for (const uint8_t value : {uint8_t{0}, uint8_t{255}}) {
    const IntegerMatmulProblem p{17, 33, 128, DType::u8, DType::u8, DType::s32, {{0, 0}}};
    const std::vector<uint8_t> a(17 * 128 + 64, value), b(128 * 33 + 64, value);
    const int32_t zero = 255 - value;
    expect_equal(p, a, b, {.a_zero_point = zero, .b_zero_point = zero}, 1);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, IntegerMatmulTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
