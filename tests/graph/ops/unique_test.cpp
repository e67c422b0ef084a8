#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

TEST(Unique, SortsAndTellsWhereEachCameFrom) {
  const auto out = eval_all("Unique", {floats({6}, {2, 1, 1, 3, 4, 3})}, {}, 4);
  EXPECT_EQ(out[0].to_f32(), (Floats{1, 2, 3, 4}));
  EXPECT_EQ(out[1].to_s64(), (Ints{1, 0, 3, 4}));
  EXPECT_EQ(out[2].to_s64(), (Ints{1, 0, 0, 2, 3, 2}));
  EXPECT_EQ(out[3].to_s64(), (Ints{2, 1, 2, 1}));
}

TEST(Unique, MayKeepTheOrderOfTheFirstOccurrences) {
  const auto out = eval_all("Unique", {floats({6}, {2, 1, 1, 3, 4, 3})}, {{"sorted", number(0)}}, 4);
  EXPECT_EQ(out[0].to_f32(), (Floats{2, 1, 3, 4}));
  EXPECT_EQ(out[1].to_s64(), (Ints{0, 1, 3, 4}));
  EXPECT_EQ(out[2].to_s64(), (Ints{0, 1, 1, 2, 3, 2}));
  EXPECT_EQ(out[3].to_s64(), (Ints{1, 2, 2, 1}));
}

TEST(Unique, ComparesSlicesAlongAnAxis) {
  const auto out = eval_all("Unique", {floats({2, 3}, {2, 1, 2, 5, 9, 5})}, {{"axis", number(-1)}}, 4);
  EXPECT_EQ(out[0].shape(), (Shape{2, 2}));
  EXPECT_EQ(out[0].to_f32(), (Floats{1, 2, 9, 5}));
  EXPECT_EQ(out[2].to_s64(), (Ints{1, 0, 1}));
}

TEST(Unique, CountsNanAsOneLast) {
  const auto out = eval_all("Unique", {floats({4}, {NAN, 1, NAN, 0})}, {}, 4);
  EXPECT_EQ(out[1].to_s64(), (Ints{3, 1, 0}));
  EXPECT_EQ(out[3].to_s64(), (Ints{1, 1, 2}));
}

TEST(Unique, LeavesTheNumberOpen) {
  EXPECT_EQ(inferred("Unique", {dims(DType::s64, {"N", "3"})}, {{"axis", number(0)}}), "int64[?,3]");
  EXPECT_EQ(inferred("Unique", {dims(DType::s64, {"N"})}, {}, 3, 2), "int64[N]");
  EXPECT_EQ(eval("Unique", {longs({0}, {})}).shape(), (Shape{0}));
}

}  // namespace
}  // namespace octet::graph::test
