#include "kernels/norm.h"

#include "octet/numerics_norm.h"
#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

// One problem's operands and results in guarded memory.
class Case {
 public:
  Case(const NormProblem& p, Wall wall, unsigned seed)
      : p_(p),
        elements_(static_cast<size_t>(p.rows * p.length)),
        wall_(wall),
        xf_(random_floats(elements_, 3.0f, seed), wall),
        rf_(random_floats(elements_, 2.0f, seed + 1), wall),
        xq_(random_bytes(elements_, seed + 2), wall),
        rq_(random_bytes(elements_, seed + 3), wall),
        scale_(random_floats(static_cast<size_t>(p.length), 1.5f, seed + 4), wall),
        bias_(random_floats(static_cast<size_t>(p.length), 0.5f, seed + 5), wall) {}

  struct Results {
    std::vector<float> y, sum, range{0, 0};
    std::vector<uint8_t> q;
    bool margins = true;
    bool operator==(const Results&) const = default;
  };

  template <class Run>
  Results results(Run run) const {
    const Guarded<float> y(p_.gives_y ? elements_ : 1, wall_), sum(p_.gives_sum ? elements_ : 1, wall_);
    const Guarded<uint8_t> q(p_.gives_q ? elements_ : 1, wall_);
    NormArgs args;
    args.x = p_.x.quantized ? static_cast<const void*>(xq_.data()) : xf_.data();
    if (p_.adds) args.residual = p_.residual.quantized ? static_cast<const void*>(rq_.data()) : rf_.data();
    args.scale = scale_.data();
    if (p_.biased) args.bias = bias_.data();
    if (p_.gives_y) args.y = y.data();
    if (p_.gives_q) args.q = q.data();
    if (p_.gives_sum) args.sum = sum.data();
    Results r;
    args.range = r.range.data();
    run(args);
    if (p_.gives_y) r.y = y.values();
    if (p_.gives_sum) r.sum = sum.values();
    if (p_.gives_q) r.q = q.values();
    r.margins = y.margins_untouched() && sum.margins_untouched() && q.margins_untouched();
    return r;
  }

  Results expected() const {
    return results([&](const NormArgs& args) { norm_reference(p_, args); });
  }
  Results of(const Isa& isa, int parts = 1) const {
    const std::unique_ptr<Norm> norm = make_norm(isa, p_);
    const Guarded<uint8_t> workspace(std::max<size_t>(norm->workspace_bytes(), 1), wall_);
    const auto run = [&](NormArgs args) {
      args.workspace = workspace.data();
      for (int part = 0; part < parts; ++part) norm->run(args, part, parts);
    };
    return results(run);
  }

 private:
  NormProblem p_;
  size_t elements_;
  Wall wall_;
  Guarded<float> xf_, rf_;
  Guarded<uint8_t> xq_, rq_;
  Guarded<float> scale_, bias_;
};

::testing::AssertionResult alike(const Case::Results& a, const Case::Results& b) {
  if (!a.margins) return ::testing::AssertionFailure() << "wrote beyond a result";
  if (auto y = same(a.y, b.y); !y) return y << " of y";
  if (auto q = same(a.q, b.q); !q) return q << " of q";
  if (auto sum = same(a.sum, b.sum); !sum) return sum << " of the sum";
  if (auto range = same(a.range, b.range); !range) return range << " of the range";
  return ::testing::AssertionSuccess();
}

NormProblem problem(int64_t rows, int64_t length) {
  NormProblem p;
  p.rows = rows;
  p.length = length;
  p.biased = true;
  p.x.scale = 0.031f, p.x.zero_point = 119;
  p.residual.scale = 0.017f, p.residual.zero_point = 131;
  p.q_scale = 0.0371f, p.q_zero_point = 117;
  return p;
}

class NormTest : public OpsTest {};

TEST_P(NormTest, EveryLengthEqualsReference) {
  for (int64_t length : test_lengths()) {
    if (length == 0) continue;
    for (bool centred : {true, false}) {
      NormProblem p = problem(5 + length % 10, length);  // blocks of every size
      p.centred = p.biased = centred;
      p.gives_q = length % 2 == 0;
      for (Wall wall : {Wall::before, Wall::after}) {
        const Case c(p, wall, static_cast<unsigned>(length));
        ASSERT_TRUE(alike(c.of(target()), c.expected())) << "length " << length << (centred ? " layer" : " rms");
      }
    }
  }
}

// Operands of every kind, and every choice of results.
TEST_P(NormTest, EveryFormEqualsReference) {
  for (int form = 0; form < 1024; ++form) {
    const auto bit = [form](int i) { return (form >> i & 1) != 0; };
    NormProblem p = problem(1 + form % 13, 1 + form * 7 % 90);
    p.x.quantized = bit(0);
    p.adds = bit(1);
    p.residual.quantized = bit(2);
    p.biased = bit(3);
    p.centred = bit(4);
    p.gives_q = bit(5);
    p.gives_y = bit(6);
    p.gives_sum = bit(7) && p.adds;
    if (form % 3 == 0) p.q_scale = 1e-3f;  // saturates
    if (bit(8)) p.q_scale = 1e-31f;        // too small for a product with its reciprocal
    if (bit(9)) p.epsilon = 1.0f;
    p.bounded = p.gives_q && !bit(8);  // not where quanta are so small
    const Case c(p, bit(0) ? Wall::after : Wall::before, static_cast<unsigned>(form));
    ASSERT_TRUE(alike(c.of(target()), c.expected())) << "form " << form;
  }
}

TEST(NormIsBounded, ByTheLargestDeviationThatARowCanHave) {
  NormProblem p = problem(1, 4);
  const float scale[] = {1, -4, 2, 0}, bias[] = {0, -1, 2, 1};  // 2 * 4 + 2
  p.q_scale = 1.01e-6f;
  EXPECT_TRUE(norm_is_bounded(p, scale, bias));
  p.q_scale = 0.99e-6f;
  EXPECT_FALSE(norm_is_bounded(p, scale, bias));
  EXPECT_TRUE(norm_is_bounded(p, scale, nullptr));
  p.epsilon = 0;
  EXPECT_FALSE(norm_is_bounded(p, scale, nullptr));
}

TEST_P(NormTest, AnyNumberOfPartsGivesTheSame) {
  NormProblem p = problem(11, 37);
  p.x.quantized = p.adds = p.gives_q = true;
  const Case c(p, Wall::after, 7);
  for (int parts = 1; parts <= 12; ++parts) EXPECT_TRUE(alike(c.of(target(), parts), c.expected())) << parts << " parts";
}

TEST_P(NormTest, WorksInPlace) {
  const NormProblem p = problem(6, 53);
  const std::vector<float> x = random_floats(6 * 53, 4.0f, 3), scale = random_floats(53, 1.0f, 4),
                           bias = random_floats(53, 1.0f, 5);
  std::vector<float> expected(x.size()), y = x;
  norm_reference(p, {x.data(), nullptr, scale.data(), bias.data(), expected.data()});
  make_norm(target(), p)->run({y.data(), nullptr, scale.data(), bias.data(), y.data()}, 0, 1);
  EXPECT_TRUE(same(y, expected));
}

TEST_P(NormTest, AwkwardRowsEqualReference) {
  const std::vector<float> scale = random_floats(40, 2.0f, 1), bias = random_floats(40, 1.0f, 2);
  for (size_t length : {5u, 16u, 23u, 40u})
    for (float awkward : awkward_floats())
      for (bool constant : {false, true}) {
        auto x = random_floats(length, 3.0f, 2);
        x[length / 2] = awkward;
        if (constant) std::fill(x.begin(), x.end(), awkward);
        NormProblem p = problem(1, static_cast<int64_t>(length));
        p.gives_q = true;
        std::vector<float> expected(length), y(length);
        std::vector<uint8_t> expected_q(length), q(length);
        norm_reference(p, {x.data(), nullptr, scale.data(), bias.data(), expected.data(), expected_q.data()});
        make_norm(target(), p)->run({x.data(), nullptr, scale.data(), bias.data(), y.data(), q.data()}, 0, 1);
        EXPECT_TRUE(same(y, expected)) << "with " << awkward;
        EXPECT_TRUE(same(q, expected_q)) << "with " << awkward;
      }
}

TEST_P(NormTest, KeepsTheRangeOfItsResults) {
  for (const int64_t length : {1, 7, 16, 37, 384})
    for (const bool centred : {true, false}) {
      NormProblem p = problem(11, length);
      p.centred = centred;
      p.keeps_range = true;
      const Case c(p, Wall::after, static_cast<unsigned>(length));
      EXPECT_TRUE(alike(c.of(target()), c.expected())) << length;
      EXPECT_TRUE(alike(c.of(target(), 3), c.expected())) << length << ", three parts";
      EXPECT_LT(c.expected().range[0], c.expected().range[1]);
    }
}

INSTANTIATE_TEST_SUITE_P(Isas, NormTest, every_isa(), isa_name);

// Against double precision: rows far from zero keep their digits.
TEST(NormNumerics, IsCloseToTheExactValue) {
  for (float offset : {0.0f, 100.0f}) {
    std::vector<float> x = random_floats(768, 1.0f, 11);
    for (float& v : x) v += offset;
    double mean = 0, variance = 0;
    for (float v : x) mean += static_cast<double>(v) / 768;
    for (float v : x) variance += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / 768;
    const numerics::Moments m = numerics::layer_moments(
        768, [&](size_t i) { return x[i]; }, 0.0f);
    for (float v : x)
      EXPECT_NEAR(static_cast<double>(numerics::normalise(v, m, 1.0f, 0.0f)),
                  (static_cast<double>(v) - mean) / std::sqrt(variance), offset == 0.0f ? 2e-6 : 4e-5);
  }
}

TEST(NormNumerics, AConstantRowGivesTheBias) {
  const numerics::Moments m = numerics::layer_moments(
      64, [](size_t) { return 5.0f; }, 1e-12f);
  EXPECT_EQ(numerics::normalise(5.0f, m, 3.0f, 0.25f), 0.25f);
}

}  // namespace
}  // namespace octet::kernels::testing
