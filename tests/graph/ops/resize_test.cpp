#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

// Rows of one image: Resize over the last axis by a scale or to a size.
Floats row(const Floats& x, float scale, Attrs attrs) {
  return eval("Resize", {floats({1, 1, 1, static_cast<int64_t>(x.size())}, x), kAbsent, floats({4}, {1, 1, 1, scale})},
              attrs)
      .to_f32();
}
Attrs mode(const char* name, const char* coordinates, const char* nearest = "round_prefer_floor") {
  return {{"mode", text(name)}, {"coordinate_transformation_mode", text(coordinates)}, {"nearest_mode", text(nearest)}};
}

TEST(Resize, NearestRoundsAsAsked) {
  EXPECT_EQ(row({1, 2}, 2, mode("nearest", "asymmetric", "floor")), (Floats{1, 1, 2, 2}));
  EXPECT_EQ(row({1, 2}, 2, mode("nearest", "asymmetric", "ceil")), (Floats{1, 2, 2, 2}));
  EXPECT_EQ(row({1, 2}, 2, mode("nearest", "asymmetric", "round_prefer_floor")), (Floats{1, 1, 2, 2}));
  EXPECT_EQ(row({1, 2}, 2, mode("nearest", "asymmetric", "round_prefer_ceil")), (Floats{1, 2, 2, 2}));
  EXPECT_EQ(row({1, 2, 3, 4}, 0.5f, mode("nearest", "half_pixel")), (Floats{1, 3}));
}

TEST(Resize, LinearCoordinateModes) {
  EXPECT_EQ(row({0, 4}, 2, mode("linear", "half_pixel")), (Floats{0, 1, 3, 4}));
  expect_near(floats({4}, row({0, 3}, 2, mode("linear", "align_corners"))), {0, 1, 2, 3});
  EXPECT_EQ(row({0, 4}, 2, mode("linear", "asymmetric")), (Floats{0, 2, 4, 4}));
  EXPECT_EQ(row({0, 4, 8}, 1.0f / 3, mode("linear", "pytorch_half_pixel")), (Floats{0}));
  EXPECT_EQ(row({0, 4, 8}, 1.0f / 3, mode("linear", "half_pixel")), (Floats{4}));
}

TEST(Resize, LinearIsSeparable) {
  const Tensor y = eval("Resize", {floats({1, 1, 2, 2}, {0, 4, 8, 12}), kAbsent, kAbsent, longs({4}, {1, 1, 4, 4})},
                        mode("linear", "half_pixel"));
  EXPECT_EQ(y.to_f32(), (Floats{0, 1, 3, 4, 2, 3, 5, 6, 6, 7, 9, 10, 8, 9, 11, 12}));
}

TEST(Resize, CubicWithAMinusHalfReproducesALineInside) {
  Attrs catmull_rom = mode("cubic", "half_pixel");
  catmull_rom.emplace_back("cubic_coeff_a", -0.5f);
  const Floats y = row({0, 1, 2, 3, 4, 5, 6, 7}, 2, catmull_rom);
  for (size_t i = 4; i < 12; ++i) EXPECT_NEAR(y[i], (static_cast<float>(i) + 0.5f) / 2 - 0.5f, 1e-5f);
  Attrs attrs = mode("cubic", "half_pixel");
  attrs.emplace_back("exclude_outside", number(1));
  expect_near(floats({4}, row({1, 1}, 2, attrs)), {1, 1, 1, 1});
}

TEST(Resize, AntialiasAveragesWhatItShrinks) {
  Attrs attrs = mode("linear", "half_pixel");
  attrs.emplace_back("antialias", number(1));
  const Floats y = row({0, 0, 8, 8, 0, 0, 0, 0}, 0.5f, attrs);
  expect_near(floats({4}, y), {1, 6, 1, 0});
}

TEST(Resize, CropAndResizeExtrapolates) {
  Attrs attrs = mode("linear", "tf_crop_and_resize");
  attrs.emplace_back("extrapolation_value", 9.0f);
  const Tensor roi = floats({8}, {0, 0, 0, 0, 1, 1, 1, 1.5f});
  const Tensor y = eval("Resize", {floats({1, 1, 1, 3}, {0, 1, 2}), roi, kAbsent, longs({4}, {1, 1, 1, 4})}, attrs);
  EXPECT_EQ(y.to_f32(), (Floats{0, 1, 2, 9}));
}

TEST(Resize, AspectRatioAndAxes) {
  const Operand x = floats({1, 1, 2, 4}, Floats(8, 1));
  const auto shape = [&](const char* policy) {
    return eval("Resize", {x, kAbsent, kAbsent, longs({2}, {6, 8})},
                {{"axes", ints({2, 3})}, {"keep_aspect_ratio_policy", text(policy)}})
        .shape();
  };
  EXPECT_EQ(shape("stretch"), (Shape{1, 1, 6, 8}));
  EXPECT_EQ(shape("not_larger"), (Shape{1, 1, 4, 8}));
  EXPECT_EQ(shape("not_smaller"), (Shape{1, 1, 6, 12}));
}

TEST(Resize, EightBitValuesInterpolateQuantaHalfToEven) {
  const Tensor y = eval("Resize", {bytes({1, 1, 1, 2}, {0, 5}), kAbsent, kAbsent, longs({4}, {1, 1, 1, 3})},
                        mode("linear", "align_corners"));
  EXPECT_EQ(y.to_s64(), (Ints{0, 2, 5}));
}

TEST(Resize, Inference) {
  const Type x = dims(DType::f32, {"N", "3", "10", "W"});
  EXPECT_EQ(inferred("Resize", {x, kAbsent, floats({4}, {1, 1, 2, 2})}), to_string(dims(DType::f32, {"N", "3", "20", "?"})));
  EXPECT_EQ(inferred("Resize", {x, floats({0}, {}), floats({0}, {}), longs({4}, {1, 3, 5, 5})}),
            to_string(dims(DType::f32, {"1", "3", "5", "5"})));
  EXPECT_EQ(inferred("Resize", {x, kAbsent, dims(DType::f32, {"4"})}), to_string(dims(DType::f32, {"?", "?", "?", "?"})));
  EXPECT_EQ(refusal("Resize", {floats({1}, {1})}),
            "test.onnx: node 'n' (Resize): both or neither of scales and sizes are given; expected one of them");
}

}  // namespace
}  // namespace octet::graph::test
