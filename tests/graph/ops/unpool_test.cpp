#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

const Attrs kTwoByTwo = {{"kernel_shape", ints({2, 2})}, {"strides", ints({2, 2})}};

TEST(MaxUnpool, PutsValuesWhereTheIndicesSay) {
  const Tensor x = floats({1, 1, 1, 2}, {5, 6}), indices = longs({1, 1, 1, 2}, {1, 6});
  EXPECT_EQ(eval("MaxUnpool", {x, indices}, kTwoByTwo).to_f32(), (Floats{0, 5, 0, 0, 0, 0, 6, 0}));
  EXPECT_NE(refusal("MaxUnpool", {x, longs({1, 1, 1, 2}, {1, 8})}, kTwoByTwo), "") << "beyond the image";
}

TEST(MaxUnpool, OutputShapeGivesMoreRoomAfterTheImage) {
  const Tensor x = floats({1, 1, 1, 2}, {5, 6}), indices = longs({1, 1, 1, 2}, {1, 6});
  EXPECT_EQ(eval("MaxUnpool", {x, indices, longs({4}, {1, 1, 2, 5})}, kTwoByTwo).to_f32(),
            (Floats{0, 5, 0, 0, 0, 0, 0, 6, 0, 0}));
  EXPECT_NE(refusal("MaxUnpool", {x, indices, longs({4}, {1, 1, 1, 5})}, kTwoByTwo), "") << "less room";
}

TEST(Col2Im, AddsUpWhatOverlaps) {
  // Blocks of 1 x 2 of an image 1 x 3: (1, 2) and (3, 4) share the middle.
  EXPECT_EQ(eval("Col2Im", {floats({1, 2, 2}, {1, 3, 2, 4}), longs({2}, {1, 3}), longs({2}, {1, 2})}).to_f32(),
            (Floats{1, 5, 4}));
}

TEST(Col2Im, LeavesOutWhatLiesOnThePadding) {
  const Tensor x = floats({1, 2, 2}, {1, 3, 2, 4});
  EXPECT_EQ(eval("Col2Im", {x, longs({2}, {1, 2}), longs({2}, {1, 2})}, {{"pads", ints({0, 1, 0, 0})}}).to_f32(),
            (Floats{5, 4}));
  EXPECT_NE(refusal("Col2Im", {x, longs({2}, {1, 4}), longs({2}, {1, 2})}), "") << "three blocks wanted, two given";
}

}  // namespace
}  // namespace octet::graph::test
