#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

const Tensor kMatrix = floats({2, 4}, {0, 1, 2, 3, 4, 5, 6, 7});

TEST(Slice, PositionsCountFromBothEndsAndAreClamped) {
  const auto slice = [](int64_t start, int64_t end, int64_t step) {
    return eval("Slice",
                {floats({5}, {0, 1, 2, 3, 4}), longs({1}, {start}), longs({1}, {end}), longs({1}, {0}), longs({1}, {step})})
        .to_f32();
  };
  EXPECT_EQ(slice(1, 3, 1), (Floats{1, 2}));
  EXPECT_EQ(slice(-2, INT64_MAX, 1), (Floats{3, 4}));
  EXPECT_EQ(slice(0, -1, 2), (Floats{0, 2}));
  EXPECT_EQ(slice(-1, -4, -1), (Floats{4, 3, 2}));
  EXPECT_EQ(slice(10, INT64_MIN, -2), (Floats{4, 2, 0}));
  EXPECT_EQ(slice(3, 2, 1), Floats{});
  EXPECT_EQ(slice(-100, 2, 1), (Floats{0, 1}));
}

TEST(Slice, AxesDefaultToTheFirst) {
  EXPECT_EQ(eval("Slice", {kMatrix, longs({2}, {1, 1}), longs({2}, {2, 3})}).to_f32(), (Floats{5, 6}));
  EXPECT_EQ(eval("Slice", {kMatrix, longs({1}, {2}), longs({1}, {4}), longs({1}, {-1})}).to_f32(), (Floats{2, 3, 6, 7}));
}

TEST(Slice, Inference) {
  const Type x = dims(DType::f32, {"N", "8", "?"});
  const auto infer = [&](int64_t axis, int64_t start, int64_t end) {
    return inferred("Slice", {x, longs({1}, {start}), longs({1}, {end}), longs({1}, {axis})});
  };
  EXPECT_EQ(infer(1, 2, 6), to_string(dims(DType::f32, {"N", "4", "?"})));
  EXPECT_EQ(infer(0, 0, INT64_MAX), to_string(x));
  EXPECT_EQ(infer(0, 1, INT64_MAX), to_string(dims(DType::f32, {"?", "8", "?"})));
  EXPECT_EQ(inferred("Slice", {x, dims(DType::s64, {"1"}), dims(DType::s64, {"1"}), longs({1}, {1})}),
            to_string(dims(DType::f32, {"N", "?", "?"})));
  EXPECT_EQ(refusal("Slice", {kMatrix, longs({1}, {0}), longs({1}, {1}), longs({1}, {0}), longs({1}, {0})}),
            "test.onnx: node 'n' (Slice): a step is 0; expected another number");
}

TEST(Split, EqualPartsOrGivenSizes) {
  const auto equal = eval_all("Split", {kMatrix}, {{"axis", number(1)}, {"num_outputs", number(3)}}, 3);
  EXPECT_EQ(equal[0].shape(), (Shape{2, 2}));
  EXPECT_EQ(equal[2].shape(), (Shape{2, 0}));
  const auto sized = eval_all("Split", {kMatrix, longs({2}, {1, 3})}, {{"axis", number(-1)}}, 2);
  EXPECT_EQ(sized[0].to_f32(), (Floats{0, 4}));
  EXPECT_EQ(sized[1].to_f32(), (Floats{1, 2, 3, 5, 6, 7}));
  EXPECT_EQ(refusal("Split", {kMatrix, longs({2}, {1, 2})}, {{"axis", number(1)}}, 2),
            "test.onnx: node 'n' (Split): 2 sizes with sum 3 given; expected 2 with sum 4");
}

TEST(Concat, JoinsAlongTheAxis) {
  EXPECT_EQ(eval("Concat", {kMatrix, floats({2, 1}, {8, 9})}, {{"axis", number(1)}}).to_f32(),
            (Floats{0, 1, 2, 3, 8, 4, 5, 6, 7, 9}));
  EXPECT_EQ(eval("Concat", {longs({1}, {1}), longs({0}, {}), longs({2}, {2, 3})}, {{"axis", number(0)}}).to_s64(),
            (Ints{1, 2, 3}));
  EXPECT_EQ(
      inferred("Concat", {dims(DType::f32, {"?", "3", "H"}), dims(DType::f32, {"N", "5", "H"})}, {{"axis", number(1)}}),
      to_string(dims(DType::f32, {"N", "8", "H"})));
  EXPECT_EQ(refusal("Concat", {kMatrix, floats({3, 1}, {1, 2, 3})}, {{"axis", number(1)}}),
            "test.onnx: node 'n' (Concat): dimensions of the inputs disagree: 2 and 3");
}

TEST(Pad, Modes) {
  const Tensor x = floats({3}, {1, 2, 3});
  const auto pad = [&](const char* mode, const Ints& pads) {
    return eval("Pad", {x, longs({2}, pads)}, {{"mode", text(mode)}}).to_f32();
  };
  EXPECT_EQ(pad("constant", {1, 2}), (Floats{0, 1, 2, 3, 0, 0}));
  EXPECT_EQ(pad("edge", {1, 2}), (Floats{1, 1, 2, 3, 3, 3}));
  EXPECT_EQ(pad("reflect", {2, 2}), (Floats{3, 2, 1, 2, 3, 2, 1}));
  EXPECT_EQ(pad("wrap", {1, 2}), (Floats{3, 1, 2, 3, 1, 2}));
  EXPECT_EQ(pad("constant", {-1, 1}), (Floats{2, 3, 0}));
  EXPECT_EQ(refusal("Pad", {x, longs({2}, {1, 1})}, {{"mode", text("mirror")}}),
            "test.onnx: node 'n' (Pad): mode is 'mirror'; expected constant, reflect, edge or wrap");
}

TEST(Pad, ValueAndAxes) {
  EXPECT_EQ(eval("Pad", {kMatrix, longs({2}, {1, 0}), floats({}, {9}), longs({1}, {1})}).to_f32(),
            (Floats{9, 0, 1, 2, 3, 9, 4, 5, 6, 7}));
  EXPECT_EQ(inferred("Pad", {dims(DType::f32, {"N", "3", "8"}), longs({6}, {0, 0, 1, 0, 0, 2})}),
            to_string(dims(DType::f32, {"N", "3", "11"})));
}

TEST(Pad, OfAQuantizedValuePutsTheQuantum) {
  const Tensor y = eval("Pad", {quantized(bytes({1}, {7}), 0.5f, 128), longs({2}, {1, 1}), bytes({}, {128})}, {},
                        {DType::u8, {{0.5f}, {128}, -1}});
  EXPECT_EQ(y.to_s64(), (Ints{128, 7, 128}));
}

TEST(DepthToSpace, BothModesAndBack) {
  Floats v;
  for (int i = 0; i < 16; ++i) v.push_back(static_cast<float>(i));
  const Tensor x = floats({1, 8, 1, 2}, v);
  const Tensor dcr = eval("DepthToSpace", {x}, {{"blocksize", number(2)}});
  EXPECT_EQ(dcr.shape(), (Shape{1, 2, 2, 4}));
  EXPECT_EQ(dcr.to_f32(), (Floats{0, 4, 1, 5, 8, 12, 9, 13, 2, 6, 3, 7, 10, 14, 11, 15}));
  const Tensor crd = eval("DepthToSpace", {x}, {{"blocksize", number(2)}, {"mode", text("CRD")}});
  EXPECT_EQ(crd.to_f32(), (Floats{0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15}));
  EXPECT_EQ(eval("SpaceToDepth", {dcr}, {{"blocksize", number(2)}}).to_f32(), v);
}

TEST(Gather, PicksSlices) {
  EXPECT_EQ(eval("Gather", {kMatrix, longs({2}, {3, -4})}, {{"axis", number(1)}}).to_f32(), (Floats{3, 0, 7, 4}));
  EXPECT_EQ(eval("Gather", {kMatrix, longs({}, {1})}).to_f32(), (Floats{4, 5, 6, 7}));
  EXPECT_EQ(eval("Gather", {longs({3}, {5, 6, 7}), ints32({1, 1}, {2})}).shape(), (Shape{1, 1}));
  EXPECT_EQ(inferred("Gather", {dims(DType::f32, {"1000", "64"}), dims(DType::s64, {"B", "T"})}),
            to_string(dims(DType::f32, {"B", "T", "64"})));
  EXPECT_EQ(refusal("Gather", {kMatrix, longs({}, {2})}), "node 'n' (Gather): index 2 is out of range; expected -2 to 1");
}

TEST(Gather, ElementsAndTuples) {
  EXPECT_EQ(eval("GatherElements", {kMatrix, longs({2, 2}, {3, 0, -1, 1})}, {{"axis", number(1)}}).to_f32(),
            (Floats{3, 0, 7, 5}));
  EXPECT_EQ(eval("GatherND", {kMatrix, longs({2, 2}, {0, 1, 1, -1})}).to_f32(), (Floats{1, 7}));
  EXPECT_EQ(eval("GatherND", {kMatrix, longs({1, 1}, {1})}).to_f32(), (Floats{4, 5, 6, 7}));
  EXPECT_EQ(eval("GatherND", {kMatrix, longs({2, 1}, {1, 2})}, {{"batch_dims", number(1)}}).to_f32(), (Floats{1, 6}));
}

TEST(Scatter, WritesAndReduces) {
  const Tensor x = floats({4}, {1, 2, 3, 4});
  const Tensor at = longs({2}, {3, 3}), v = floats({2}, {10, 20});
  EXPECT_EQ(eval("ScatterElements", {x, at, v}).to_f32(), (Floats{1, 2, 3, 20}));
  EXPECT_EQ(eval("ScatterElements", {x, at, v}, {{"reduction", text("add")}}).to_f32(), (Floats{1, 2, 3, 34}));
  EXPECT_EQ(eval("ScatterElements", {x, at, v}, {{"reduction", text("max")}}).to_f32(), (Floats{1, 2, 3, 20}));
  EXPECT_EQ(eval("ScatterND", {kMatrix, longs({1, 1}, {0}), floats({1, 4}, {9, 8, 7, 6})}).to_f32(),
            (Floats{9, 8, 7, 6, 4, 5, 6, 7}));
  EXPECT_EQ(eval("ScatterND", {kMatrix, longs({1, 2}, {1, 2}), floats({1}, {5})}, {{"reduction", text("mul")}}).to_f32(),
            (Floats{0, 1, 2, 3, 4, 5, 30, 7}));
  EXPECT_EQ(x.to_f32(), (Floats{1, 2, 3, 4}));  // the data are shared and stay
}

TEST(Compress, KeepsWhereTheConditionHolds) {
  EXPECT_EQ(eval("Compress", {kMatrix, bools({2}, {0, 1})}, {{"axis", number(0)}}).to_f32(), (Floats{4, 5, 6, 7}));
  EXPECT_EQ(eval("Compress", {kMatrix, bools({3}, {1, 0, 1})}).to_f32(), (Floats{0, 2}));
}

TEST(Where, BroadcastsAllThree) {
  EXPECT_EQ(eval("Where", {bools({2, 1}, {1, 0}), floats({2}, {1, 2}), floats({}, {9})}).to_f32(), (Floats{1, 2, 9, 9}));
  EXPECT_EQ(eval("Where", {bools({2}, {1, 0}), longs({2}, {1, 2}), longs({2}, {3, 4})}).to_s64(), (Ints{1, 4}));
}

TEST(Range, CountsUpAndDown) {
  EXPECT_EQ(eval("Range", {longs({}, {3}), longs({}, {9}), longs({}, {3})}).to_s64(), (Ints{3, 6}));
  EXPECT_EQ(eval("Range", {floats({}, {1}), floats({}, {0}), floats({}, {-0.5f})}).to_f32(), (Floats{1, 0.5f}));
  EXPECT_EQ(eval("Range", {longs({}, {3}), longs({}, {0}), longs({}, {1})}).size(), 0);
}

TEST(MakingElements, OneHotTriluEyeLike) {
  EXPECT_EQ(eval("OneHot", {longs({3}, {0, -1, 5}), longs({}, {3}), floats({2}, {0, 1})}).to_f32(),
            (Floats{1, 0, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(eval("OneHot", {longs({2}, {0, 1}), longs({}, {3}), longs({2}, {7, 8})}, {{"axis", number(0)}}).to_s64(),
            (Ints{8, 7, 7, 8, 7, 7}));
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(eval("Trilu", {x}).to_f32(), (Floats{1, 2, 3, 0, 5, 6}));
  EXPECT_EQ(eval("Trilu", {x, longs({}, {-1})}, {{"upper", number(0)}}).to_f32(), (Floats{0, 0, 0, 4, 0, 0}));
  EXPECT_EQ(eval("EyeLike", {x}, {{"k", number(1)}}).to_f32(), (Floats{0, 1, 0, 0, 0, 1}));
}

TEST(Cast, TruncatesWrapsAndRounds) {
  const auto to = [](int64_t code) { return Attrs{{"to", number(code)}}; };
  EXPECT_EQ(eval("Cast", {floats({4}, {-1.9f, 1.9f, 300, -0.0f})}, to(2)).to_s64(), (Ints{255, 1, 44, 0}));
  EXPECT_EQ(eval("Cast", {floats({1}, {1e30f})}, to(7)).to_s64(), (Ints{INT64_MIN}));
  EXPECT_EQ(eval("Cast", {floats({3}, {0, 0.1f, -2})}, to(9)).to_s64(), (Ints{0, 1, 1}));
  EXPECT_EQ(eval("Cast", {longs({1}, {2049})}, to(10)).to_f32(), (Floats{2048}));
  EXPECT_EQ(eval("Cast", {bools({2}, {0, 1})}, to(1)).to_f32(), (Floats{0, 1}));
  EXPECT_EQ(eval("Cast", {longs({3}, {7, 8, -9})}, to(22)).to_s64(), (Ints{7, -8, 7}));
  EXPECT_EQ(eval("CastLike", {floats({1}, {2.5f}), ints32({1}, {0})}).to_s64(), (Ints{2}));
  EXPECT_EQ(refusal("Cast", {floats({1}, {1})}, to(99)),
            "test.onnx: node 'n' (Cast): attribute to is 99; expected the code of an element type octet knows");
}

TEST(Constant, HasOneOfManyAttributes) {
  EXPECT_EQ(eval("Constant", {}, {{"value", floats({2}, {1, 2})}}).to_f32(), (Floats{1, 2}));
  EXPECT_EQ(eval("Constant", {}, {{"value_int", number(3)}}).to_s64(), (Ints{3}));
  EXPECT_EQ(eval("Constant", {}, {{"value_floats", std::vector<float>{1, 2}}}).shape(), (Shape{2}));
  EXPECT_NE(refusal("Constant", {}), "");
  EXPECT_EQ(eval("ConstantOfShape", {longs({2}, {2, 1})}, {{"value", longs({1}, {7})}}).to_s64(), (Ints{7, 7}));
  EXPECT_EQ(eval("ConstantOfShape", {longs({0}, {})}).to_f32(), (Floats{0}));
}

TEST(SpaceToDepth, OrdersBlocksInTwoWays) {
  const Tensor x = floats({1, 2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(eval("SpaceToDepth", {x}, {{"blocksize", number(2)}}).to_f32(), (Floats{1, 5, 2, 6, 3, 7, 4, 8}));
  EXPECT_EQ(eval("SpaceToDepth", {x}, {{"blocksize", number(2)}, {"mode", text("CRD")}}).to_f32(), x.to_f32());
}

TEST(CenterCropPad, CutsAndFillsEvenly) {
  const Tensor x = floats({5}, {1, 2, 3, 4, 5});
  EXPECT_EQ(eval("CenterCropPad", {x, longs({1}, {2})}).to_f32(), (Floats{2, 3}));
  EXPECT_EQ(eval("CenterCropPad", {x, longs({1}, {8})}).to_f32(), (Floats{0, 1, 2, 3, 4, 5, 0, 0}));
  EXPECT_EQ(inferred("CenterCropPad", {dims(DType::f32, {"N", "8", "?"}), longs({1}, {4})}, {{"axes", ints({-1})}}),
            "float32[N,8,4]");
  EXPECT_NE(refusal("CenterCropPad", {x, longs({1}, {-1})}), "");
}

TEST(CumProd, MultipliesAlongTheAxis) {
  const Tensor x = floats({3}, {2, 3, 4}), axis = longs({}, {0});
  EXPECT_EQ(eval("CumProd", {x, axis}).to_f32(), (Floats{2, 6, 24}));
  EXPECT_EQ(eval("CumProd", {x, axis}, {{"exclusive", number(1)}, {"reverse", number(1)}}).to_f32(), (Floats{12, 4, 1}));
}

}  // namespace
}  // namespace octet::graph::test
