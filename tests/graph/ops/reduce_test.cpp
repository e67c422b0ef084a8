#include <cmath>
#include <limits>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

const Tensor kMatrix = floats({2, 3}, {1, 2, 3, 4, 5, 6});

TEST(Reduce, AxesKeepdimsAndDefaults) {
  EXPECT_EQ(eval("ReduceSum", {kMatrix, longs({1}, {1})}, {{"keepdims", number(0)}}).to_f32(), (Floats{6, 15}));
  EXPECT_EQ(eval("ReduceSum", {kMatrix, longs({1}, {-2})}).shape(), (Shape{1, 3}));
  EXPECT_EQ(eval("ReduceSum", {kMatrix}).to_f32(), (Floats{21}));
  EXPECT_EQ(eval("ReduceSum", {kMatrix, longs({0}, {})}, {{"noop_with_empty_axes", number(1)}}).to_f32(), kMatrix.to_f32());
  EXPECT_EQ(eval("ReduceSum", {kMatrix, longs({0}, {})}).to_f32(), (Floats{21}));
}

TEST(Reduce, Kinds) {
  const auto reduce = [](const char* op) {
    return eval(op, {kMatrix, longs({1}, {1})}, {{"keepdims", number(0)}}).to_f32();
  };
  EXPECT_EQ(reduce("ReduceMean"), (Floats{2, 5}));
  EXPECT_EQ(reduce("ReduceMax"), (Floats{3, 6}));
  EXPECT_EQ(reduce("ReduceMin"), (Floats{1, 4}));
  EXPECT_EQ(reduce("ReduceProd"), (Floats{6, 120}));
  EXPECT_EQ(reduce("ReduceL1"), (Floats{6, 15}));
  EXPECT_EQ(reduce("ReduceL2"), (Floats{std::sqrt(14.0f), std::sqrt(77.0f)}));
  EXPECT_EQ(reduce("ReduceSumSquare"), (Floats{14, 77}));
  EXPECT_EQ(reduce("ReduceLogSum"), (Floats{static_cast<float>(std::log(6.0)), static_cast<float>(std::log(15.0))}));
  EXPECT_NEAR(reduce("ReduceLogSumExp")[0], 3.4076059f, 1e-6f);
}

// Sixteen virtual lanes over the reduced index in row-major order, the axes as they lie.
TEST(Reduce, SumsInSixteenLanes) {
  const Tensor x = random_floats({3, 5, 7}, 1);
  const Tensor y = eval("ReduceSum", {x, longs({2}, {2, 0})}, {{"keepdims", number(0)}});
  for (int64_t j = 0; j < 5; ++j) {
    const auto at = [&](size_t i) { return x.as<float>()[(i / 7) * 35 + static_cast<size_t>(j) * 7 + i % 7]; };
    EXPECT_EQ(y.as<float>()[j], numerics::sum16(21, at));
    EXPECT_EQ(eval("ReduceMean", {x, longs({2}, {2, 0})}).as<float>()[j], numerics::sum16(21, at) / 21.0f);
  }
}

TEST(Reduce, IntegersAndEmptySets) {
  EXPECT_EQ(eval("ReduceSum", {longs({2}, {1LL << 62, 1LL << 62})}).to_s64(), (Ints{INT64_MIN}));
  EXPECT_EQ(eval("ReduceMean", {longs({2}, {-3, -4})}).to_s64(), (Ints{-3}));
  EXPECT_EQ(eval("ReduceMax", {bools({2}, {0, 1})}).to_s64(), (Ints{1}));
  EXPECT_EQ(eval("ReduceSum", {floats({0, 2}, {}), longs({1}, {0})}).to_f32(), (Floats{0, 0}));
  EXPECT_EQ(eval("ReduceProd", {floats({0}, {})}).to_f32(), (Floats{1}));
  EXPECT_EQ(eval("ReduceMax", {floats({0}, {})}).to_f32(), (Floats{-std::numeric_limits<float>::infinity()}));
}

TEST(Reduce, Inference) {
  const Type x = dims(DType::f32, {"N", "3", "?"});
  EXPECT_EQ(inferred("ReduceMean", {x, longs({1}, {2})}), to_string(dims(DType::f32, {"N", "3", "1"})));
  EXPECT_EQ(inferred("ReduceMean", {x, longs({1}, {1})}, {{"keepdims", number(0)}}),
            to_string(dims(DType::f32, {"N", "?"})));
  EXPECT_EQ(inferred("ReduceMean", {x, dims(DType::s64, {"2"})}, {{"keepdims", number(0)}}),
            to_string(dims(DType::f32, {"?"})));
  EXPECT_EQ(refusal("ReduceMean", {kMatrix, longs({1}, {2})}),
            "test.onnx: node 'n' (ReduceMean): axis 2 is out of range; expected -2 to 1 for rank 2");
}

TEST(ArgMax, FirstOrLastOfEquals) {
  const Tensor x = floats({2, 3}, {1, 3, 3, 2, 2, 0});
  EXPECT_EQ(eval("ArgMax", {x}, {{"axis", number(1)}}).to_s64(), (Ints{1, 0}));
  EXPECT_EQ(eval("ArgMax", {x}, {{"axis", number(1)}, {"select_last_index", number(1)}, {"keepdims", number(0)}}).to_s64(),
            (Ints{2, 1}));
  EXPECT_EQ(eval("ArgMin", {x}).to_s64(), (Ints{0, 1, 1}));
}

TEST(Softmax, FollowsTheFormula) {
  const Tensor x = random_floats({3, 37}, 4, -5, 5);
  const Tensor y = eval("Softmax", {x});
  for (int64_t r = 0; r < 3; ++r) {
    const float* row = x.as<float>() + r * 37;
    float m = row[0];
    for (int64_t i = 1; i < 37; ++i) m = std::max(m, row[i]);
    const float sum = numerics::sum16(37, [&](size_t i) { return numerics::exp(row[i] - m); });
    for (int64_t i = 0; i < 37; ++i) EXPECT_EQ(y.as<float>()[r * 37 + i], numerics::exp(row[i] - m) / sum);
  }
}

TEST(Softmax, AlongAnyAxis) {
  const Tensor x = random_floats({2, 5, 3}, 8);
  const Tensor turned = eval("Transpose", {eval("Softmax", {eval("Transpose", {x}, {{"perm", ints({0, 2, 1})}})})},
                             {{"perm", ints({0, 2, 1})}});
  EXPECT_EQ(eval("Softmax", {x}, {{"axis", number(1)}}).to_f32(), turned.to_f32());
  expect_near(eval("LogSoftmax", {floats({3}, {1, 2, 3})}), {-2.4076059f, -1.4076059f, -0.4076059f});
  EXPECT_EQ(eval("Hardmax", {floats({2, 3}, {1, 3, 3, 0, -1, -2})}).to_f32(), (Floats{0, 1, 0, 1, 0, 0}));
}

TEST(Order, TopK) {
  const Tensor x = floats({2, 4}, {1, 4, 4, 2, 9, 7, 8, 6});
  const auto largest = eval_all("TopK", {x, longs({1}, {2})}, {}, 2);
  EXPECT_EQ(largest[0].to_f32(), (Floats{4, 4, 9, 8}));
  EXPECT_EQ(largest[1].to_s64(), (Ints{1, 2, 0, 2}));
  const auto smallest = eval_all("TopK", {x, longs({1}, {1})}, {{"axis", number(0)}, {"largest", number(0)}}, 2);
  EXPECT_EQ(smallest[0].to_f32(), (Floats{1, 4, 4, 2}));
  EXPECT_EQ(refusal("TopK", {x, longs({1}, {5})}),
            "test.onnx: node 'n' (TopK): K is 5; expected at most 4, the size of the axis");
}

TEST(Order, CumSum) {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor axis = longs({}, {1});
  EXPECT_EQ(eval("CumSum", {x, axis}).to_f32(), (Floats{1, 3, 6, 4, 9, 15}));
  EXPECT_EQ(eval("CumSum", {x, axis}, {{"exclusive", number(1)}}).to_f32(), (Floats{0, 1, 3, 0, 4, 9}));
  EXPECT_EQ(eval("CumSum", {x, axis}, {{"reverse", number(1)}}).to_f32(), (Floats{6, 5, 3, 15, 11, 6}));
  EXPECT_EQ(eval("CumSum", {x, longs({}, {0})}).to_f32(), (Floats{1, 2, 3, 5, 7, 9}));
}

TEST(Order, NonZeroHasADataDependentDimension) {
  EXPECT_EQ(eval("NonZero", {floats({2, 2}, {1, 0, 0, 2})}).to_s64(), (Ints{0, 1, 0, 1}));
  EXPECT_EQ(inferred("NonZero", {dims(DType::f32, {"2", "N"})}), to_string(dims(DType::s64, {"2", "?"})));
}

TEST(Order, ReverseSequence) {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  const Attrs attrs{{"batch_axis", number(0)}, {"time_axis", number(1)}};
  EXPECT_EQ(eval("ReverseSequence", {x, longs({2}, {2, 3})}, attrs).to_f32(), (Floats{2, 1, 3, 6, 5, 4}));
}

}  // namespace
}  // namespace octet::graph::test
