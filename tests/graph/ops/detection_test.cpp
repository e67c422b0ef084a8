#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

// Boxes 0 and 1 overlap by 0.9 / 1.1; box 2 stands alone.
const Tensor kBoxes = floats({1, 3, 4}, {0, 0, 1, 1, 0, 0.1f, 1, 1.1f, 0, 10, 1, 11});
const Tensor kScores = floats({1, 1, 3}, {0.5f, 0.9f, 0.3f});
Tensor most(int64_t n) { return longs({1}, {n}); }

TEST(NonMaxSuppression, KeepsTheBestOfOverlappingBoxes) {
  EXPECT_EQ(eval("NonMaxSuppression", {kBoxes, kScores, most(3), floats({1}, {0.5f})}).to_s64(), (Ints{0, 0, 1, 0, 0, 2}));
  EXPECT_EQ(eval("NonMaxSuppression", {kBoxes, kScores, most(3), floats({1}, {0.9f})}).to_s64(),
            (Ints{0, 0, 1, 0, 0, 0, 0, 0, 2}));
}

TEST(NonMaxSuppression, StopsAtTheNumberAndTheScoreGiven) {
  EXPECT_EQ(eval("NonMaxSuppression", {kBoxes, kScores, most(1), floats({1}, {0.5f})}).to_s64(), (Ints{0, 0, 1}));
  const Tensor y = eval("NonMaxSuppression", {kBoxes, kScores, most(3), floats({1}, {0.5f}), floats({1}, {0.95f})});
  EXPECT_EQ(y.shape(), (Shape{0, 3}));
  EXPECT_EQ(eval("NonMaxSuppression", {kBoxes, kScores}).shape(), (Shape{0, 3})) << "no number: none";
}

TEST(NonMaxSuppression, TakesCornersInAnyOrderAndCentres) {
  const Tensor flipped = floats({1, 3, 4}, {1, 1, 0, 0, 0, 1.1f, 1, 0.1f, 1, 11, 0, 10});
  EXPECT_EQ(eval("NonMaxSuppression", {flipped, kScores, most(3), floats({1}, {0.5f})}).to_s64(), (Ints{0, 0, 1, 0, 0, 2}));
  const Tensor centred = floats({1, 3, 4}, {0.5f, 0.5f, 1, 1, 0.6f, 0.5f, 1, 1, 10.5f, 0.5f, 1, 1});
  EXPECT_EQ(eval("NonMaxSuppression", {centred, kScores, most(3), floats({1}, {0.5f})}, {{"center_point_box", number(1)}})
                .to_s64(),
            (Ints{0, 0, 1, 0, 0, 2}));
}

TEST(NonMaxSuppression, HowManyOnlyTheDataTell) {
  EXPECT_EQ(inferred("NonMaxSuppression", {dims(DType::f32, {"1", "N", "4"}), dims(DType::f32, {"1", "80", "N"})}),
            "int64[?,3]");
  EXPECT_NE(refusal("NonMaxSuppression", {floats({1, 1, 3}, {0, 0, 1}), kScores}), "");
}

const Tensor kRamp = floats({1, 1, 4, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});

TEST(RoiAlign, AveragesSamplesOfEachBin) {
  const Attrs attrs = {{"output_height", number(2)},
                       {"output_width", number(2)},
                       {"sampling_ratio", number(1)},
                       {"coordinate_transformation_mode", text("output_half_pixel")}};
  // Bins of 1.5 x 1.5 from 0 to 3: sampled at 0.75 and 2.25.
  expect_near(eval("RoiAlign", {kRamp, floats({1, 4}, {0, 0, 3, 3}), longs({1}, {0})}, attrs),
              {3.75f, 5.25f, 9.75f, 11.25f});
  // half_pixel: half a pixel less.
  Attrs half = attrs;
  half["coordinate_transformation_mode"] = text("half_pixel");
  expect_near(eval("RoiAlign", {kRamp, floats({1, 4}, {0.5f, 0.5f, 3.5f, 3.5f}), longs({1}, {0})}, half),
              {3.75f, 5.25f, 9.75f, 11.25f});
}

TEST(RoiAlign, RefusesAnImageThatIsNotThere) {
  EXPECT_NE(refusal("RoiAlign", {kRamp, floats({1, 4}, {0, 0, 3, 3}), longs({1}, {1})}), "");
  EXPECT_EQ(
      inferred("RoiAlign", {dims(DType::f32, {"N", "8", "?", "?"}), dims(DType::f32, {"R", "4"}), dims(DType::s64, {"R"})},
               {{"output_height", number(7)}, {"output_width", number(7)}}),
      "float32[R,8,7,7]");
}

TEST(MaxRoiPool, TakesTheLargestOfEachBin) {
  EXPECT_EQ(eval("MaxRoiPool", {kRamp, floats({1, 5}, {0, 0, 0, 3, 3})}, {{"pooled_shape", ints({2, 2})}}).to_f32(),
            (Floats{5, 7, 13, 15}));
  EXPECT_NE(refusal("MaxRoiPool", {kRamp, floats({1, 5}, {7, 0, 0, 3, 3})}, {{"pooled_shape", ints({2, 2})}}), "");
}

}  // namespace
}  // namespace octet::graph::test
