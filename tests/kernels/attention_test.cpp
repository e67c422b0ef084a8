#include "kernels/attention.h"

#include <random>
#include <utility>

#include "kernels/aligned_buffer.h"
#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

constexpr int64_t kSlackBytes = 64;

struct Case {
  AttentionProblem problem;
  std::vector<uint8_t> q, k, v;
  std::vector<float> mask;
  numerics::AttentionFactors factors_at_run;
  int32_t q_zero_at_run = 0, v_zero_at_run = 0;

  // Heads side by side in rows that are a little longer than they hold.
  Case(int64_t batch, int64_t heads, int64_t kv_heads, int64_t queries, int64_t keys, int64_t size, int64_t value_size,
       unsigned seed) {
    std::mt19937 random(seed);
    AttentionProblem& p = problem;
    p.batch = batch, p.heads = heads, p.kv_heads = kv_heads, p.queries = queries, p.keys = keys, p.size = size,
    p.value_size = value_size;
    const auto layout = [](int64_t rows, int64_t count, int64_t each) {
      const int64_t row = count * each + 5;
      return HeadLayout{rows * row, each, row};
    };
    p.q = layout(queries, heads, size), p.k = layout(keys, kv_heads, size), p.v = layout(keys, kv_heads, value_size);
    p.y = layout(queries, heads, value_size);
    p.q_zero_point = static_cast<int32_t>(random() % 256), p.v_zero_point = static_cast<int32_t>(random() % 256);
    p.y_zero_point = static_cast<int32_t>(random() % 256);
    p.factors = numerics::attention_factors(0.03f, 0.03f, 0.02f, 1.0f / std::sqrt(static_cast<float>(size)), 0.01f);
    const auto bytes = [&](int64_t count) {
      return random_bytes(static_cast<size_t>(count + kSlackBytes), static_cast<unsigned>(random()));
    };
    q = bytes(batch * p.q.batch), k = bytes(batch * p.k.batch), v = bytes(batch * p.v.batch);
  }

  // A mask of this shape (of 1 and the full size on each axis; the batch may also divide).
  Case& with_mask(std::array<int64_t, 4> shape, unsigned seed, float hidden = -INFINITY) {
    problem.masked = true;
    problem.mask_batches = shape[0];
    int64_t step = 1;
    for (size_t a = 4; a-- > 0;) {
      problem.mask[a] = shape[a] == 1 ? 0 : step;
      step *= shape[a];
    }
    mask = random_floats(static_cast<size_t>(step), 3.0f, seed);
    std::mt19937 random(seed);
    for (float& m : mask)
      if (random() % 4 == 0) m = hidden;
    return *this;
  }
  Case& with_floats() {
    AttentionProblem& p = problem;
    p.y_dtype = DType::f32;
    p.factors = numerics::attention_factors(0.03f, 0.03f, 0.02f, 0.125f, 1.0f);
    p.y = {p.y.batch * 4, p.y.head * 4, p.y.row * 4};
    return *this;
  }

  // The parameters go from the problem to the arguments.
  Case& with_parameters_at_run() {
    factors_at_run = std::exchange(problem.factors, {});
    q_zero_at_run = std::exchange(problem.q_zero_point, 77), v_zero_at_run = std::exchange(problem.v_zero_point, 78);
    problem.parameters_at_run = true;
    return *this;
  }

  AttentionArgs args(void* y) const {
    return {q.data(), k.data(), v.data(), mask.data(), y, nullptr, factors_at_run, q_zero_at_run, v_zero_at_run};
  }
  std::vector<uint8_t> expected() const {
    std::vector<uint8_t> y(static_cast<size_t>(problem.batch * problem.y.batch), 0xa5);
    attention_reference(problem, args(y.data()));
    return y;
  }
  std::vector<uint8_t> computed(const Isa& isa, int parts = 1) const {
    std::string reason;
    const std::unique_ptr<Attention> kernel = make_attention(isa, problem, &reason);
    EXPECT_NE(kernel, nullptr) << reason;
    if (!kernel) return {};
    const Guarded<uint8_t> y(static_cast<size_t>(problem.batch * problem.y.batch), Wall::after);
    AlignedBuffer workspace(kernel->workspace_bytes());
    std::memset(workspace.as<std::byte>(), 0x5a, workspace.bytes());
    AttentionArgs a = args(y.data());
    a.workspace = workspace.as<std::byte>();
    for (int part = 0; part < parts; ++part) kernel->run(a, part, parts);
    EXPECT_TRUE(y.margins_untouched());
    return y.values();
  }
};

class AttentionTest : public OpsTest {};

TEST_P(AttentionTest, EqualsTheReferenceForAnyLengthAndSize) {
  unsigned seed = 1;
  for (const int64_t size : {16, 17, 30, 32, 64, 80, 99, 128, 256})
    for (const auto& [queries, keys] :
         {std::pair<int64_t, int64_t>{1, 1}, {3, 2}, {16, 64}, {17, 63}, {33, 130}, {5, 257}}) {
      const Case c(1, 2, 2, queries, keys, size, size, ++seed);
      ASSERT_TRUE(same(c.computed(target()), c.expected())) << queries << " queries, " << keys << " keys, size " << size;
    }
}

TEST_P(AttentionTest, EqualsTheReferenceForLongSequences) {
  for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{700, 700}, {1, 513}, {130, 640}}) {
    const Case c(1, 1, 1, queries, keys, 64, 64, 7);
    EXPECT_TRUE(same(c.computed(target()), c.expected())) << queries << " queries, " << keys << " keys";
  }
}

TEST_P(AttentionTest, FewQueriesTakeKeysAndValuesAsTheyLie) {
  std::mt19937 random(11);
  const auto any = [&](int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random() % static_cast<uint32_t>(most - least + 1));
  };
  for (int i = 0; i < 150; ++i) {
    const int64_t sharing = any(1, 4), kv_heads = any(1, 3), queries = any(1, 5), keys = any(1, i % 8 == 0 ? 700 : 90);
    Case c(any(1, 2), kv_heads * sharing, kv_heads, queries, keys, any(16, 256), any(16, 256), static_cast<unsigned>(i));
    if (i % 3 == 0) c.with_mask({1, 1, i % 2 ? 1 : queries, keys}, static_cast<unsigned>(i));
    if (i % 5 == 0) c.with_floats().with_parameters_at_run();
    c.problem.causal = i % 4 == 0;
    ASSERT_TRUE(same(c.computed(target(), static_cast<int>(any(1, 3))), c.expected()))
        << sharing << " heads to each of " << kv_heads << ", " << queries << " queries, " << keys << " keys, sizes "
        << c.problem.size << " and " << c.problem.value_size;
  }
}

TEST_P(AttentionTest, KeysAndValuesMayBeSharedAndOfDifferentSizes) {
  const Case c(2, 6, 2, 19, 40, 48, 33, 5);
  EXPECT_TRUE(same(c.computed(target()), c.expected()));
}

TEST_P(AttentionTest, MasksOfEveryBroadcastShape) {
  for (const int64_t keys : {64, 77})
    for (unsigned axes = 0; axes < 16; ++axes) {
      const auto full = [&](unsigned axis, int64_t size) { return axes >> axis & 1 ? size : 1; };
      Case c(4, 3, 3, 18, keys, 32, 32, axes + 1);
      c.with_mask({full(0, 4), full(1, 3), full(2, 18), full(3, keys)}, axes + 20);
      ASSERT_TRUE(same(c.computed(target()), c.expected())) << keys << " keys, mask axes " << axes;
    }
  Case windows(6, 2, 2, 20, 20, 32, 32, 3);
  windows.with_mask({3, 1, 20, 20}, 4);
  EXPECT_TRUE(same(windows.computed(target()), windows.expected())) << "three masks for six samples";
}

TEST_P(AttentionTest, AwkwardMasks) {
  using Limits = std::numeric_limits<float>;
  for (const float hidden : {-10000.0f, Limits::lowest(), Limits::infinity(), Limits::quiet_NaN(), Limits::max(), 1e-40f}) {
    Case c(1, 2, 2, 18, 70, 64, 64, 9);
    c.with_mask({1, 1, 18, 70}, 10, hidden);
    std::fill_n(c.mask.begin() + 3 * 70, 70, hidden);  // one query meets nothing else
    EXPECT_TRUE(same(c.computed(target()), c.expected())) << hidden;
  }
}

TEST_P(AttentionTest, QueriesThatSeeNothingGiveZero) {
  Case c(1, 1, 1, 2, 20, 16, 16, 2);
  c.with_mask({1, 1, 2, 20}, 1);
  std::fill_n(c.mask.begin(), 20, -INFINITY);
  const std::vector<uint8_t> y = c.computed(target());
  for (size_t d = 0; d < 16; ++d) EXPECT_EQ(y[d], c.problem.y_zero_point);
}

TEST_P(AttentionTest, CausalWithAndWithoutMask) {
  for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{50, 50}, {7, 200}, {40, 10}, {200, 200}}) {
    Case c(1, 2, 2, queries, keys, 32, 32, 4);
    c.problem.causal = true;
    EXPECT_TRUE(same(c.computed(target()), c.expected())) << queries << " queries, " << keys << " keys";
    c.with_mask({1, 1, 1, keys}, 6);
    EXPECT_TRUE(same(c.computed(target()), c.expected())) << queries << " queries, " << keys << " keys, masked";
  }
}

TEST_P(AttentionTest, FloatResults) {
  for (const int64_t size : {16, 21, 64, 100}) {
    Case c(1, 2, 2, 20, 50, size, size, 8);
    c.with_floats();
    EXPECT_TRUE(same(c.computed(target()), c.expected())) << "size " << size;
  }
}

TEST_P(AttentionTest, ParametersMayComeAtRunTime) {
  for (const int64_t size : {21, 64, 100})
    for (const bool masked : {false, true}) {
      Case c(1, 2, 2, 20, 50, size, size, 8);
      c.with_floats();
      if (masked) c.with_mask({1, 1, 1, 50}, 6);
      const std::vector<uint8_t> want = c.expected();
      c.with_parameters_at_run();
      EXPECT_TRUE(same(c.expected(), want)) << "size " << size;
      EXPECT_TRUE(same(c.computed(target()), want)) << "size " << size;
    }
}

TEST_P(AttentionTest, KeepsTheRangeOfItsResults) {
  for (const int64_t size : {21, 64, 100}) {
    Case c(1, 2, 2, 20, 50, size, size, 8);
    c.with_floats();
    c.problem.keeps_range = true;
    std::vector<uint8_t> y(static_cast<size_t>(c.problem.y.batch));
    std::vector<float> want(2), range(2);
    AttentionArgs args = c.args(y.data());
    args.range = want.data();
    attention_reference(c.problem, args);
    const std::unique_ptr<Attention> kernel = make_attention(target(), c.problem);
    AlignedBuffer workspace(kernel->workspace_bytes());
    args.workspace = workspace.as<std::byte>();
    args.range = range.data();
    for (int part = 0; part < 3; ++part) kernel->run(args, part, 3);
    EXPECT_TRUE(same(range, want)) << "size " << size;
    EXPECT_LT(range[0], range[1]);
  }
}

TEST_P(AttentionTest, ScalesThatComeAtRunTimeMayBeAny) {
  Case c(1, 1, 1, 20, 100, 256, 256, 3);
  std::fill(c.k.begin() + 256 * 30, c.k.end(), static_cast<uint8_t>(255));
  c.with_floats().with_parameters_at_run();
  for (const float scale : {1e-30f, 1e-4f, 1.0f, 1e4f, 3e38f, std::numeric_limits<float>::infinity()})
    for (const bool masked : {false, true}) {
      if (masked) c.with_mask({1, 1, 20, 100}, 5);
      c.problem.masked = masked;
      c.factors_at_run = numerics::attention_factors_at_run(scale, scale, scale, 0.125f);
      EXPECT_TRUE(same(c.computed(target()), c.expected())) << scale << (masked ? ", masked" : "");
    }
}

TEST_P(AttentionTest, ExtremeOperandsStayExact) {
  for (const int fill : {0, 255}) {
    Case c(1, 1, 1, 20, 100, 256, 256, 3);
    std::fill(c.q.begin(), c.q.end(), static_cast<uint8_t>(fill));
    std::fill(c.k.begin() + 256 * 30, c.k.end(), static_cast<uint8_t>(255 - fill));
    std::fill(c.v.begin(), c.v.end(), static_cast<uint8_t>(255 - fill));
    c.problem.q_zero_point = 255 - fill, c.problem.v_zero_point = fill;
    EXPECT_TRUE(same(c.computed(target()), c.expected()));
    c.problem.factors.exponent = numerics::kMostExponentFactor;
    EXPECT_TRUE(same(c.computed(target()), c.expected())) << "steep";
  }
}

TEST_P(AttentionTest, AnyNumberOfParts) {
  Case c(2, 3, 3, 37, 45, 64, 64, 6);
  c.with_mask({2, 1, 1, 45}, 3);
  for (const int parts : {2, 3, 7, 40}) EXPECT_TRUE(same(c.computed(target(), parts), c.expected())) << parts << " parts";
}

// The same on floats: q, k and v of the given case are what its bytes stand for.
struct FloatCase {
  AttentionProblem problem;
  std::vector<float> q, k, v, mask;

  explicit FloatCase(const Case& c) : problem(c.problem), mask(c.mask) {
    const auto reals = [](const std::vector<uint8_t>& bytes) {
      std::vector<float> f;
      for (const uint8_t byte : bytes) f.push_back(0.02f * static_cast<float>(byte) - 2.5f);
      return f;
    };
    q = reals(c.q), k = reals(c.k), v = reals(c.v);
    problem.dtype = problem.y_dtype = DType::f32;
    problem.factors.score = 0.3f;
    for (HeadLayout* layout : {&problem.q, &problem.k, &problem.v, &problem.y})
      *layout = {layout->batch * 4, layout->head * 4, layout->row * 4};
  }
  AttentionArgs args(void* y) const { return {q.data(), k.data(), v.data(), mask.data(), y, nullptr}; }

  ::testing::AssertionResult equals_reference(const Isa& isa, int parts = 1) const {
    const auto count = static_cast<size_t>(problem.batch * problem.y.batch / 4);
    std::vector<float> expected(count, 7.0f), y(count, 7.0f);
    attention_reference(problem, args(expected.data()));
    const std::unique_ptr<Attention> kernel = make_attention(isa, problem);
    AlignedBuffer workspace(kernel->workspace_bytes());
    std::memset(workspace.as<std::byte>(), 0xff, workspace.bytes());  // NaN
    AttentionArgs a = args(y.data());
    a.workspace = workspace.as<std::byte>();
    for (int part = 0; part < parts; ++part) kernel->run(a, part, parts);
    return same(y, expected);
  }
};

TEST_P(AttentionTest, FloatsOfAnyLengthAndSize) {
  unsigned seed = 1;
  for (const int64_t size : {1, 16, 30, 64, 99})
    for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{1, 1}, {3, 2}, {16, 64}, {17, 63}, {33, 130}})
      ASSERT_TRUE(FloatCase(Case(1, 2, 2, queries, keys, size, size, ++seed)).equals_reference(target()))
          << queries << " queries, " << keys << " keys, size " << size;
  EXPECT_TRUE(FloatCase(Case(2, 6, 2, 19, 40, 48, 33, 5)).equals_reference(target(), 3)) << "shared keys, three parts";
}

TEST_P(AttentionTest, FloatsUnderMasks) {
  using Limits = std::numeric_limits<float>;
  for (const float hidden : {-Limits::infinity(), Limits::lowest(), Limits::infinity(), Limits::quiet_NaN()})
    for (const bool causal : {false, true}) {
      Case c(2, 2, 2, 18, 37, 32, 32, 9);
      c.with_mask({2, 1, 18, 37}, 10, hidden);
      std::fill_n(c.mask.begin() + 3 * 37, 37, hidden);  // one query meets nothing else
      c.problem.causal = causal;
      EXPECT_TRUE(FloatCase(c).equals_reference(target())) << hidden << (causal ? ", causal" : "");
    }
  Case shared(1, 2, 2, 20, 32, 16, 16, 1);
  EXPECT_TRUE(FloatCase(shared.with_mask({1, 1, 1, 32}, 2)).equals_reference(target())) << "one row for all";
}

TEST_P(AttentionTest, FloatsThatAreNoNumbersGoThrough) {
  using Limits = std::numeric_limits<float>;
  for (const float awkward : {Limits::quiet_NaN(), Limits::infinity()})
    for (const size_t where : {size_t{0}, size_t{1}, size_t{2}}) {
      FloatCase c(Case(1, 1, 1, 14, 21, 16, 16, 2));
      std::vector<float>* const operands[] = {&c.q, &c.k, &c.v};
      (*operands[where])[where == 1 ? 20 * 21 + 3 : 40] = awkward;
      EXPECT_TRUE(c.equals_reference(target())) << awkward << " in operand " << where;
    }
}

INSTANTIATE_TEST_SUITE_P(Isas, AttentionTest, every_isa(), isa_name);

TEST(Attention, RefusesWhatHasNoKernel) {
  const Case large(1, 1, 1, 1, 1, 300, 300, 1);
  std::string reason;
  EXPECT_EQ(make_attention(isa(IsaId::avx2), large.problem, &reason), nullptr);
  EXPECT_NE(reason.find("256"), std::string::npos);
}

// The error of the integers against attention on the reals that they stand for, output in float.
TEST(Attention, KeepsThirtyDecibels) {
  for (const int64_t keys : {128, 512}) {
    Case c(1, 1, 1, 16, keys, 64, 64, 1);
    c.with_floats();
    AttentionProblem& p = c.problem;
    p.q_zero_point = 128, p.v_zero_point = 128;
    const float step = 4.0f / 127;
    p.factors = numerics::attention_factors(step, step, step, 0.125f, 1.0f);
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    std::vector<float> reals[3];
    std::vector<uint8_t>* integers[] = {&c.q, &c.k, &c.v};
    for (int i = 0; i < 3; ++i)
      for (uint8_t& byte : *integers[i]) {
        reals[i].push_back(normal(random));
        byte = static_cast<uint8_t>(numerics::quantize(reals[i].back(), step, 128, 0, 255));
      }
    std::vector<float> y(static_cast<size_t>(p.y.batch) / 4);
    attention_reference(p, c.args(y.data()));
    double signal = 0, noise = 0;
    for (int64_t i = 0; i < 16; ++i) {
      std::vector<double> e;
      double sum = 0;
      for (int64_t j = 0; j < keys; ++j) {
        double s = 0;
        for (int64_t d = 0; d < 64; ++d)
          s += static_cast<double>(reals[0][static_cast<size_t>(i * p.q.row + d)]) *
               static_cast<double>(reals[1][static_cast<size_t>(j * p.k.row + d)]);
        e.push_back(std::exp(s / 8));
        sum += e.back();
      }
      for (int64_t d = 0; d < 64; ++d) {
        double o = 0;
        for (int64_t j = 0; j < keys; ++j)
          o += e[static_cast<size_t>(j)] * static_cast<double>(reals[2][static_cast<size_t>(j * p.v.row + d)]);
        const double error = o / sum - static_cast<double>(y[static_cast<size_t>(i * p.y.row / 4 + d)]);
        signal += o / sum * o / sum;
        noise += error * error;
      }
    }
    EXPECT_GT(10 * std::log10(signal / noise), 30) << keys << " keys";
  }
}

TEST(Attention, ProbabilitiesRoundTheExponential) {
  EXPECT_EQ(numerics::probability_quantum(numerics::kLog2Of255), 255);
  EXPECT_EQ(numerics::probability_quantum(-2), 0);
  EXPECT_EQ(numerics::probability_quantum(NAN), 0);
  for (int i = 0; i < 2000; ++i) {
    const double t = 8.0 - i * 0.01;
    EXPECT_NEAR(numerics::probability_quantum(static_cast<float>(t)), std::min(255.0, std::exp2(t)), 0.53) << t;
  }
}

}  // namespace
}  // namespace octet::kernels::testing
