#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

Tensor scalar64(int64_t v) { return longs({}, {v}); }

TEST(Window, HannIsZeroAtItsStart) {
  expect_near(eval("HannWindow", {scalar64(4)}), {0, 0.5f, 1, 0.5f});
  expect_near(eval("HannWindow", {scalar64(5)}, {{"periodic", number(0)}}), {0, 0.5f, 1, 0.5f, 0});
}

TEST(Window, HammingAndBlackmanHaveTheirOwnFeet) {
  expect_near(eval("HammingWindow", {scalar64(4)}), {0.0869565f, 0.5434783f, 1, 0.5434783f});
  expect_near(eval("BlackmanWindow", {scalar64(4)}), {0, 0.34f, 1, 0.34f});
}

TEST(Window, HasTheTypeAskedFor) {
  EXPECT_EQ(inferred("HannWindow", {scalar64(8)}, {{"output_datatype", number(11)}}), "float64[8]");
  EXPECT_EQ(inferred("HannWindow", {dims(DType::s64, {})}), "float32[?]");
  EXPECT_NE(refusal("HannWindow", {scalar64(4)}, {{"output_datatype", number(8)}}), "") << "strings";
}

TEST(Dft, OfAnImpulseIsFlat) {
  expect_near(eval("DFT", {floats({1, 4, 1}, {1, 0, 0, 0})}), {1, 0, 1, 0, 1, 0, 1, 0});
  expect_near(eval("DFT", {floats({1, 3, 1}, {1, 0, 0})}), {1, 0, 1, 0, 1, 0}, 1e-6f);  // not a power of two
}

TEST(Dft, InverseGivesTheSignalBack) {
  const Tensor x = floats({1, 6, 2}, {1, 2, -1, 0, 3, 1, 0, 0, 2, -2, 5, 1});
  expect_near(eval("DFT", {eval("DFT", {x})}, {{"inverse", number(1)}}), x.to_f32(), 1e-5f);
}

TEST(Dft, OneSidedKeepsHalfAndItsInverseIsReal) {
  const Tensor x = floats({1, 5, 1}, {1, 2, 3, 4, 6});
  const Tensor half = eval("DFT", {x}, {{"onesided", number(1)}});
  EXPECT_EQ(half.shape(), (Shape{1, 3, 2}));
  const Tensor back = eval("DFT", {half, scalar64(5)}, {{"onesided", number(1)}, {"inverse", number(1)}});
  EXPECT_EQ(back.shape(), (Shape{1, 5, 1}));
  expect_near(back, x.to_f32(), 1e-5f);
}

TEST(Dft, RunsAlongTheAxisGivenAndPads) {
  EXPECT_EQ(inferred("DFT", {dims(DType::f32, {"N", "8", "4", "1"}), scalar64(16), scalar64(1)}), "float32[N,16,4,2]");
  EXPECT_NE(refusal("DFT", {floats({1, 4, 1}, {1, 0, 0, 0}), kAbsent, scalar64(2)}), "") << "the axis of the parts";
}

TEST(Stft, IsTheTransformOfEachFrame) {
  const Tensor x = floats({1, 6, 1}, {1, 0, 0, 0, 1, 0});
  const Tensor y = eval("STFT", {x, scalar64(2), kAbsent, scalar64(4)});
  EXPECT_EQ(y.shape(), (Shape{1, 2, 3, 2}));
  expect_near(y, {1, 0, 1, 0, 1, 0, /* second frame: an impulse at 2 */ 1, 0, -1, 0, 1, 0});
}

TEST(MelWeightMatrix, HasOnePeakAColumn) {
  const Tensor m = eval("MelWeightMatrix", {scalar64(2), scalar64(16), scalar64(8192), floats({}, {0}), floats({}, {4096})});
  // Corners at 0, 432, 1132 and 2264 Hz, which are bins 0, 0, 2 and 4.
  EXPECT_EQ(m.shape(), (Shape{9, 2}));
  expect_near(m, {1, 0, 0.5f, 0.5f, 0, 1, 0, 0.5f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_NE(refusal("MelWeightMatrix", {scalar64(2), scalar64(16), scalar64(8192), floats({}, {0}), floats({}, {90000})}),
            "");
}

}  // namespace
}  // namespace octet::graph::test
