#include "octet/numerics_functions.h"
#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

constexpr UnaryKind kKinds[] = {UnaryKind::relu,       UnaryKind::clip,     UnaryKind::leaky_relu, UnaryKind::hard_sigmoid,
                                UnaryKind::hard_swish, UnaryKind::sigmoid,  UnaryKind::silu,       UnaryKind::tanh,
                                UnaryKind::exp,        UnaryKind::neg,      UnaryKind::abs,        UnaryKind::sqrt,
                                UnaryKind::reciprocal, UnaryKind::erf,      UnaryKind::gelu,       UnaryKind::gelu_tanh,
                                UnaryKind::elu,        UnaryKind::softplus, UnaryKind::mish};

UnaryProblem problem_of(UnaryKind kind, int64_t count) {
  switch (kind) {
    case UnaryKind::clip: return {kind, count, -1.25f, 6.0f};
    case UnaryKind::leaky_relu: return {kind, count, 0.1f, 0};
    case UnaryKind::hard_sigmoid: return {kind, count, 0.2f, 0.5f};
    case UnaryKind::silu: return {kind, count, 1.702f, 0};
    case UnaryKind::elu: return {kind, count, 1.3f, 0};
    default: return {kind, count, 0, 0};
  }
}

std::vector<float> expected_of(const UnaryProblem& problem, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  unary_reference(problem, {x.data(), nullptr, y.data()});
  return y;
}

class UnaryTest : public OpsTest {};

TEST_P(UnaryTest, EveryKindAndLengthEqualsReference) {
  for (UnaryKind kind : kKinds)
    for (int64_t count : test_lengths()) {
      const UnaryProblem problem = problem_of(kind, count);
      const std::vector<float> x = mixed_floats(static_cast<size_t>(count), 20.0f, static_cast<unsigned>(count));
      const KernelPtr kernel = make_unary(target(), problem);
      for (Wall wall : {Wall::before, Wall::after}) {
        const Guarded<float> a(x, wall), y(x.size(), wall);
        kernel->run({a.data(), nullptr, y.data()}, 0, 1);
        ASSERT_TRUE(same(y.values(), expected_of(problem, x))) << "kind " << static_cast<int>(kind);
        ASSERT_TRUE(y.margins_untouched());
      }
    }
}

TEST_P(UnaryTest, KeepsTheRangeOfItsResults) {
  for (UnaryKind kind : kKinds)
    for (int64_t count : test_lengths()) {
      UnaryProblem problem = problem_of(kind, count);
      problem.keeps_range = true;
      std::vector<float> x = mixed_floats(static_cast<size_t>(count), 20.0f, static_cast<unsigned>(count));
      for (size_t i = 0; i < x.size(); i += 5) x[i] = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> want(x.size()), y(x.size()), want_range(2), range(2);
      unary_reference(problem, {x.data(), want_range.data(), want.data()});
      make_unary(target(), problem)->run({x.data(), range.data(), y.data()}, 0, 1);
      ASSERT_TRUE(same(y, want)) << "kind " << static_cast<int>(kind);
      ASSERT_TRUE(same(range, want_range)) << "kind " << static_cast<int>(kind) << ", " << count;
    }
}

TEST_P(UnaryTest, EveryKindTakesEveryAwkwardValue) {
  for (UnaryKind kind : kKinds) {
    const UnaryProblem problem = problem_of(kind, static_cast<int64_t>(awkward_floats().size()));
    std::vector<float> y(awkward_floats().size());
    make_unary(target(), problem)->run({awkward_floats().data(), nullptr, y.data()}, 0, 1);
    EXPECT_TRUE(same(y, expected_of(problem, awkward_floats()))) << "kind " << static_cast<int>(kind);
  }
}

TEST_P(UnaryTest, DenseSweepOfExponentialsEqualsReference) {
  std::vector<float> x;
  for (float v = -110.0f; v < 95.0f; v += 0.013f) x.push_back(v);
  for (UnaryKind kind : {UnaryKind::exp, UnaryKind::sigmoid, UnaryKind::tanh, UnaryKind::erf, UnaryKind::gelu,
                         UnaryKind::gelu_tanh, UnaryKind::elu, UnaryKind::softplus, UnaryKind::mish}) {
    const UnaryProblem problem = problem_of(kind, static_cast<int64_t>(x.size()));
    std::vector<float> y(x.size());
    make_unary(target(), problem)->run({x.data(), nullptr, y.data()}, 0, 1);
    EXPECT_TRUE(same(y, expected_of(problem, x))) << "kind " << static_cast<int>(kind);
  }
}

TEST_P(UnaryTest, WorksInPlaceAndInAnyNumberOfParts) {
  const std::vector<float> x = mixed_floats(1003, 8.0f, 5);
  const UnaryProblem problem = problem_of(UnaryKind::silu, 1003);
  for (int parts = 1; parts <= 5; ++parts) {
    std::vector<float> y = x;
    run_parts(*make_unary(target(), problem), {y.data(), nullptr, y.data()}, parts);
    EXPECT_TRUE(same(y, expected_of(problem, x))) << parts << " parts";
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, UnaryTest, every_isa(), isa_name);

// The formulas themselves against double precision.
TEST(Numerics, ExpIsWithinThreeTenMillionths) {
  double worst = 0;
  for (float x = -87.0f; x < 88.7f; x += 0.00071f) {
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::fabs(static_cast<double>(numerics::exp(x)) - exact) / exact);
  }
  EXPECT_LT(worst, 3e-7);
}

TEST(Numerics, SigmoidAndTanhAreWithinThreeTenMillionthsAbsolute) {
  double worst = 0;
  for (float x = -30.0f; x < 30.0f; x += 0.00071f) {
    const double d = x;
    worst = std::max(worst, std::fabs(static_cast<double>(numerics::sigmoid(x)) - 1.0 / (1.0 + std::exp(-d))));
    worst = std::max(worst, std::fabs(static_cast<double>(numerics::tanh(x)) - std::tanh(d)));
  }
  EXPECT_LT(worst, 3e-7);
}

// Largest error of f against exact over [lo, hi], divided by max(1, |x|) when `scaled`.
double worst_error(float (*f)(float), double (*exact)(double), float lo, float hi, bool scaled) {
  double worst = 0;
  for (float x = lo; x < hi; x += 0.00071f) {
    const double error = std::fabs(static_cast<double>(f(x)) - exact(static_cast<double>(x)));
    worst = std::max(worst, scaled ? error / std::max(1.0, std::fabs(static_cast<double>(x))) : error);
  }
  return worst;
}
double exact_gelu(double x) { return 0.5 * x * std::erfc(-x * 0.70710678118654752440); }
double exact_gelu_tanh(double x) { return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))); }
double exact_softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
double exact_mish(double x) { return x * std::tanh(exact_softplus(x)); }

TEST(Numerics, FunctionsAreWithinTheirStatedBounds) {
  EXPECT_LT(worst_error(numerics::erf, std::erf, -8, 8, false), 5e-7);
  EXPECT_LT(worst_error(numerics::gelu, exact_gelu, -30, 30, true), 3e-7);
  EXPECT_LT(worst_error(numerics::gelu_tanh, exact_gelu_tanh, -30, 30, true), 5e-7);
  EXPECT_LT(worst_error(numerics::softplus, exact_softplus, -80, 80, true), 3e-7);
  EXPECT_LT(worst_error(numerics::mish, exact_mish, -30, 30, true), 5e-7);
}

TEST(Numerics, SmallArgumentsKeepTheirDigits) {
  double worst_expm1 = 0, worst_erf = 0;
  for (float x = 1e-6f; x < 80.0f; x *= 1.0007f) {
    const double d = static_cast<double>(x);
    worst_expm1 = std::max(worst_expm1, std::fabs(static_cast<double>(numerics::expm1(-x)) / std::expm1(-d) - 1));
    worst_erf = std::max(worst_erf, std::fabs(static_cast<double>(numerics::erf(x)) / std::erf(d) - 1));
  }
  EXPECT_LT(worst_expm1, 5e-7);
  EXPECT_LT(worst_erf, 5e-7);
  double worst_gelu = 0;
  for (float x = 1e-6f; x < 0.1f; x *= 1.0007f)
    for (const float v : {x, -x})
      worst_gelu =
          std::max(worst_gelu, std::fabs(static_cast<double>(numerics::gelu(v)) / exact_gelu(static_cast<double>(v)) - 1));
  EXPECT_LT(worst_gelu, 3e-7);
}

TEST(Numerics, FunctionsAtTheEnds) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(numerics::erf(kInf), 1.0f);
  EXPECT_EQ(numerics::erf(-kInf), -1.0f);
  EXPECT_EQ(numerics::gelu(kInf), kInf);
  EXPECT_NEAR(numerics::gelu(-kInf), 0.0f, 3e-7f);
  EXPECT_EQ(numerics::gelu_tanh(1e30f), 1e30f);
  EXPECT_EQ(numerics::softplus(kInf), kInf);
  EXPECT_EQ(numerics::softplus(-kInf), 0.0f);
  EXPECT_EQ(numerics::mish(kInf), kInf);
  EXPECT_EQ(numerics::elu(-kInf, 2.0f), -2.0f);
  for (float (*f)(float) : {numerics::erf, numerics::gelu, numerics::gelu_tanh, numerics::softplus, numerics::mish})
    EXPECT_TRUE(std::isnan(f(kNaN)));
  EXPECT_TRUE(std::isnan(numerics::elu(kNaN, 1.0f)));
}

TEST(Numerics, ExpAtTheEnds) {
  EXPECT_EQ(numerics::exp(0.0f), 1.0f);
  EXPECT_EQ(numerics::exp(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(numerics::exp(200.0f), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(numerics::exp(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace octet::kernels::testing
