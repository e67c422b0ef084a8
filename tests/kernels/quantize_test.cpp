#include <cmath>
#include <limits>
#include <random>
#include <tuple>

#include "tests/kernels/ops_testing.h"

namespace octet::kernels::testing {
namespace {

class QuantizeTest : public OpsTest {};

TEST_P(QuantizeTest, QuantizeEqualsReference) {
  for (int32_t zero_point : {0, 128, 255})
    for (int64_t length : test_lengths()) {
      const QuantizeProblem problem{2, length, length + 3, length + 1, 0.0173f, zero_point};
      const auto x = mixed_floats(static_cast<size_t>(2 * length + 3), 5.0f, static_cast<unsigned>(length));
      std::vector<uint8_t> expected(static_cast<size_t>(2 * length + 1), 9);
      quantize_reference(problem, {x.data(), nullptr, expected.data()});
      for (Wall wall : {Wall::before, Wall::after}) {
        const Guarded<float> a(x, wall);
        const Guarded<uint8_t> y(std::vector<uint8_t>(expected.size(), 9), wall);
        make_quantize(target(), problem)->run({a.data(), nullptr, y.data()}, 0, 1);
        ASSERT_TRUE(same(y.values(), expected)) << "length " << length << " zero point " << zero_point;
        ASSERT_TRUE(y.margins_untouched());
      }
    }
}

TEST_P(QuantizeTest, PixelsEqualReference) {
  for (const float scale : {0.0173f, 0x1p-101f})
    for (const int64_t w : {64, 65, 95, 96, 127, 128, 224})
      for (const int64_t n : {1, 2}) {
        QuantizePixelsProblem problem{
            n, 3, w, {3, 3 * w + 5, 3 * (3 * w + 5) + 7}, scale, static_cast<int32_t>(w % 3 * 127)};
        const auto x = mixed_floats(static_cast<size_t>(n * 9 * w), 5.0f, static_cast<unsigned>(w));
        const std::vector<uint8_t> before(static_cast<size_t>((n - 1) * problem.y.image + 2 * problem.y.row + 3 * w), 9);
        std::vector<uint8_t> expected = before;
        quantize_pixels_reference(problem, {x.data(), nullptr, expected.data()});
        for (Wall wall : {Wall::before, Wall::after}) {
          const Guarded<float> a(x, wall);
          const Guarded<uint8_t> y(before, wall);
          const KernelPtr kernel = make_quantize_pixels(target(), problem);
          for (int part = 0; part < 4; ++part) kernel->run({a.data(), nullptr, y.data()}, part, 4);
          ASSERT_TRUE(same(y.values(), expected)) << n << " images of width " << w;
          ASSERT_TRUE(y.margins_untouched());
        }
      }
}

TEST_P(QuantizeTest, TiesGoToEvenAndHugeValuesSaturate) {
  const std::vector<float> x = {
      0.5f, 1.5f, 2.5f, -0.5f, 1e30f, -1e30f, 253.5f, 254.5f, std::numeric_limits<float>::quiet_NaN()};
  std::vector<uint8_t> y(x.size());
  make_quantize(target(), {1, 9, 0, 0, 1.0f, 0})->run({x.data(), nullptr, y.data()}, 0, 1);
  EXPECT_EQ(y, (std::vector<uint8_t>{0, 2, 2, 0, 255, 0, 254, 254, 0}));
}

// The kernel multiplies by the reciprocal and corrects; a quotient that is an ulp off shows at the ties and next to them.
TEST_P(QuantizeTest, QuotientsAreCorrectlyRoundedNextToTies) {
  std::mt19937 random(3);
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (int i = 0; i < 400; ++i) {
    const float extremes[] = {0x1p-126f, 0x1p-101f, 0x1p-100f, 0x1p100f, 0x1.8p100f, 1e36f};
    const float scale =
        i < 6 ? extremes[i]
              : std::ldexp(1.0f + static_cast<float>(random() % (1 << 23)) * 0x1p-23f, static_cast<int>(random() % 40) - 25);
    std::vector<float> x;
    for (int k = -130; k < 130; ++k) {
      const float tie = (static_cast<float>(k) + 0.5f) * scale;
      x.insert(x.end(), {tie, std::nextafter(tie, -kInf), std::nextafter(tie, kInf)});
    }
    x.insert(x.end(), {kInf, -kInf, 3e38f, -3e38f, 0.0f, std::numeric_limits<float>::quiet_NaN()});
    const QuantizeProblem problem{1, static_cast<int64_t>(x.size()), 0, 0, scale, 128};
    std::vector<uint8_t> expected(x.size()), y(x.size());
    quantize_reference(problem, {x.data(), nullptr, expected.data()});
    make_quantize(target(), problem)->run({x.data(), nullptr, y.data()}, 0, 1);
    ASSERT_EQ(y, expected) << "scale " << scale;
  }
}

TEST_P(QuantizeTest, DequantizeEqualsReference) {
  for (int32_t zero_point : {0, 128, 255})
    for (int64_t length : test_lengths()) {
      const QuantizeProblem problem{2, length, length + 1, length + 3, 0.0173f, zero_point};
      const auto x = random_bytes(static_cast<size_t>(2 * length + 1), static_cast<unsigned>(length));
      std::vector<float> expected(static_cast<size_t>(2 * length + 3), 9.0f);
      dequantize_reference(problem, {x.data(), nullptr, expected.data()});
      for (Wall wall : {Wall::before, Wall::after}) {
        const Guarded<uint8_t> a(x, wall);
        const Guarded<float> y(std::vector<float>(expected.size(), 9.0f), wall);
        make_dequantize(target(), problem)->run({a.data(), nullptr, y.data()}, 0, 1);
        ASSERT_TRUE(same(y.values(), expected)) << "length " << length << " zero point " << zero_point;
        ASSERT_TRUE(y.margins_untouched());
      }
    }
}

TEST_P(QuantizeTest, PartsDoNotChangeTheResult) {
  for (auto [rows, length] : {std::pair<int64_t, int64_t>{1, 1111}, {40, 17}, {3, 300}}) {
    const QuantizeProblem problem{rows, length, length, length, 0.05f, 100};
    const auto x = random_floats(static_cast<size_t>(rows * length), 9.0f, 1);
    std::vector<uint8_t> expected(x.size());
    quantize_reference(problem, {x.data(), nullptr, expected.data()});
    for (int parts = 1; parts <= 5; ++parts) {
      std::vector<uint8_t> y(x.size());
      run_parts(*make_quantize(target(), problem), {x.data(), nullptr, y.data()}, parts);
      EXPECT_TRUE(same(y, expected)) << parts << " parts";
    }
  }
}

struct Dynamic {
  std::vector<uint8_t> y;
  float scale = 0;
  uint8_t zero_point = 0;
};

Dynamic run_dynamic(const Isa& isa, const DynamicQuantizeProblem& problem, const Guarded<float>& x, int parts) {
  const auto kernel = make_dynamic_quantize(isa, problem);
  std::vector<float> scratch(static_cast<size_t>(2 * parts), -77.0f);
  Dynamic result;
  const Guarded<uint8_t> y(
      std::vector<uint8_t>(static_cast<size_t>((problem.rows - 1) * problem.y_outer + problem.length), 9), Wall::after);
  for (int p = 0; p < parts; ++p) kernel->min_max(x.data(), scratch.data(), p, parts);
  for (int p = 0; p < parts; ++p)
    kernel->apply(x.data(), scratch.data(), y.data(), &result.scale, &result.zero_point, p, parts);
  EXPECT_TRUE(y.margins_untouched());
  result.y = y.values();
  return result;
}

TEST_P(QuantizeTest, DynamicEqualsReferenceInAnyNumberOfParts) {
  for (int64_t length : {1, 3, 8, 15, 33, 100, 259})
    for (int64_t rows : {1, 3, 30}) {
      const DynamicQuantizeProblem problem{rows, length, length + (rows % 2 ? 2 : 0), length};
      for (float shift : {0.0f, 50.0f, -50.0f}) {  // both signs, all positive, all negative
        auto values = random_floats(static_cast<size_t>((rows - 1) * problem.x_outer + length), 4.0f, 3);
        for (float& v : values) v += shift;
        const Guarded<float> x(values, Wall::after);
        const Dynamic expected = run_dynamic(isa(IsaId::reference), problem, x, 1);
        for (int parts = 1; parts <= 5; ++parts) {
          const Dynamic actual = run_dynamic(target(), problem, x, parts);
          EXPECT_TRUE(same(actual.y, expected.y));
          EXPECT_EQ(actual.scale, expected.scale);
          EXPECT_EQ(actual.zero_point, expected.zero_point);
        }
      }
    }
}

TEST_P(QuantizeTest, DynamicOfMoreThanAChunk) {
  for (const int64_t rows : {1, 5}) {
    const DynamicQuantizeProblem problem{rows, 20011, 20011 + (rows > 1 ? 3 : 0), 20011};
    const Guarded<float> x(random_floats(static_cast<size_t>((rows - 1) * problem.x_outer + 20011), 4.0f, 3), Wall::after);
    const Dynamic expected = run_dynamic(isa(IsaId::reference), problem, x, 1);
    for (int parts = 1; parts <= 3; ++parts) EXPECT_TRUE(same(run_dynamic(target(), problem, x, parts).y, expected.y));
  }
}

TEST_P(QuantizeTest, DynamicTakesScaleAndZeroPointFromTheRange) {
  const Guarded<float> x(std::vector<float>{0, 2, -3, -2.5f, 1.34f, 0.5f},
                         Wall::after);  // the example of the ONNX operator page
  const Dynamic result = run_dynamic(target(), {1, 6, 6, 6}, x, 1);
  EXPECT_FLOAT_EQ(result.scale, 5.0f / 255.0f);
  EXPECT_EQ(result.zero_point, 153);
  EXPECT_EQ(result.y, (std::vector<uint8_t>{153, 255, 0, 26, 221, 179}));
}

TEST_P(QuantizeTest, DynamicOfZerosHasScaleOne) {
  const Guarded<float> x(std::vector<float>(20, 0.0f), Wall::after);
  const Dynamic result = run_dynamic(target(), {1, 20, 20, 20}, x, 2);
  EXPECT_EQ(result.scale, 1.0f);
  EXPECT_EQ(result.zero_point, 0);
  EXPECT_EQ(result.y, std::vector<uint8_t>(20, 0));
}

TEST_P(QuantizeTest, DynamicIgnoresNaNInTheRange) {
  std::vector<float> values = random_floats(40, 1.0f, 8);
  values[17] = std::numeric_limits<float>::quiet_NaN();
  const Guarded<float> x(values, Wall::after);
  const Dynamic actual = run_dynamic(target(), {1, 40, 40, 40}, x, 3),
                expected = run_dynamic(isa(IsaId::reference), {1, 40, 40, 40}, x, 1);
  EXPECT_EQ(actual.scale, expected.scale);
  EXPECT_GT(actual.scale, 0.0f);
  EXPECT_EQ(actual.y, expected.y);
}

INSTANTIATE_TEST_SUITE_P(Isas, QuantizeTest, every_isa(), isa_name);

}  // namespace
}  // namespace octet::kernels::testing
