#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

TEST(AffineGrid, OfTheIdentityIsTheGridOfPixelCentres) {
  const Tensor theta = floats({1, 2, 3}, {1, 0, 0, 0, 1, 0});
  const Tensor size = longs({4}, {1, 1, 1, 2});
  const Tensor grid = eval("AffineGrid", {theta, size});
  EXPECT_EQ(grid.shape(), (Shape{1, 1, 2, 2}));
  expect_near(grid, {-0.5f, 0, 0.5f, 0});
  expect_near(eval("AffineGrid", {theta, size}, {{"align_corners", number(1)}}), {-1, 0, 1, 0});
}

TEST(AffineGrid, ThetaTurnsAndMoves) {
  const Tensor theta = floats({1, 2, 3}, {0, 1, 0.25f, 1, 0, 0});  // x' = y + 0.25, y' = x
  expect_near(eval("AffineGrid", {theta, longs({4}, {1, 1, 2, 1})}), {-0.25f, 0, 0.75f, 0});
}

const Tensor kSquare = floats({1, 1, 2, 2}, {1, 2, 3, 4});
Tensor at(float x, float y) { return floats({1, 1, 1, 2}, {x, y}); }

TEST(GridSample, LinearMixesTheFourNeighbours) {
  EXPECT_EQ(eval("GridSample", {kSquare, at(0, 0)}).to_f32(), Floats{2.5f});
  EXPECT_EQ(eval("GridSample", {kSquare, at(-0.5f, -0.5f)}).to_f32(), Floats{1}) << "the first pixel's centre";
  EXPECT_EQ(eval("GridSample", {kSquare, at(-1, -1)}, {{"align_corners", number(1)}}).to_f32(), Floats{1});
}

TEST(GridSample, OutsideIsZerosTheBorderOrAMirror) {
  EXPECT_EQ(eval("GridSample", {kSquare, at(-1, -0.5f)}).to_f32(), Floats{0.5f}) << "half of pixel 1, half of zero";
  EXPECT_EQ(eval("GridSample", {kSquare, at(-3, -0.5f)}, {{"padding_mode", text("border")}}).to_f32(), Floats{1});
  // x = -2.5 pixels is as far beyond the left edge at -0.5 as 1.5, the right edge: between pixel 2 and its mirror image.
  EXPECT_EQ(eval("GridSample", {kSquare, at(-3, -0.5f)}, {{"padding_mode", text("reflection")}}).to_f32(), Floats{2});
}

TEST(GridSample, NearestRoundsHalfToEvenAndCubicReproducesLines) {
  EXPECT_EQ(eval("GridSample", {kSquare, at(0.4f, -0.5f)}, {{"mode", text("nearest")}}).to_f32(), Floats{2});
  EXPECT_EQ(eval("GridSample", {kSquare, at(0, -0.5f)}, {{"mode", text("nearest")}}).to_f32(), Floats{1}) << "0.5 to 0";
  const Tensor line = floats({1, 1, 1, 6}, {0, 1, 2, 3, 4, 5});
  expect_near(eval("GridSample", {line, at(0, 0)}, {{"mode", text("cubic")}, {"padding_mode", text("border")}}), {2.5f});
}

TEST(GridSample, WorksOnVolumes) {
  const Tensor volume = floats({1, 1, 2, 1, 1}, {1, 3});
  EXPECT_EQ(eval("GridSample", {volume, floats({1, 1, 1, 1, 3}, {0, 0, 0})}).to_f32(), Floats{2});
  EXPECT_NE(refusal("GridSample", {volume, at(0, 0)}), "");
}

TEST(DeformConv, WithoutOffsetsIsConv) {
  const Tensor x = floats({1, 1, 3, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8}), w = floats({1, 1, 2, 2}, {1, 1, 1, 1});
  const Tensor none = floats({1, 8, 2, 2}, Floats(32, 0));
  EXPECT_EQ(eval("DeformConv", {x, w, none}).to_f32(), eval("Conv", {x, w}).to_f32());
  const Tensor half = floats({1, 4, 2, 2}, Floats(16, 0.5f)), bias = floats({1}, {1});
  EXPECT_EQ(eval("DeformConv", {x, w, none, bias, half}).to_f32(), (Floats{5, 7, 11, 13})) << "half the sum plus 1";
}

TEST(DeformConv, OffsetsMoveEachTap) {
  const Tensor x = floats({1, 1, 2, 2}, {1, 2, 3, 4}), w = floats({1, 1, 1, 1}, {1});
  // (dy, dx) of the four outputs: none; half a pixel right (half of it outside); half a pixel up; one pixel up and left.
  const Tensor offset = floats({1, 2, 2, 2}, {0, 0, -0.5f, -1, 0, 0.5f, 0, -1});
  EXPECT_EQ(eval("DeformConv", {x, w, offset}).to_f32(), (Floats{1, 1, 2, 1}));
}

}  // namespace
}  // namespace octet::graph::test
