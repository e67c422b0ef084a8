#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

const Tensor kCube = floats({2, 3, 4}, [] {
  Floats v;
  for (int i = 0; i < 24; ++i) v.push_back(static_cast<float>(i));
  return v;
}());

TEST(Shape, ReadsDimensions) {
  EXPECT_EQ(eval("Shape", {kCube}).to_s64(), (Ints{2, 3, 4}));
  EXPECT_EQ(eval("Shape", {kCube}, {{"start", number(-2)}}).to_s64(), (Ints{3, 4}));
  EXPECT_EQ(eval("Shape", {kCube}, {{"start", number(0)}, {"end", number(-1)}}).to_s64(), (Ints{2, 3}));
  EXPECT_EQ(eval("Size", {kCube}).to_s64(), (Ints{24}));
}

TEST(Reshape, CopiesAndInfersDimensions) {
  EXPECT_EQ(eval("Reshape", {kCube, longs({2}, {4, 6})}).shape(), (Shape{4, 6}));
  EXPECT_EQ(eval("Reshape", {kCube, longs({2}, {0, -1})}).shape(), (Shape{2, 12}));
  EXPECT_EQ(eval("Reshape", {floats({0, 3}, {}), longs({2}, {3, 0})}, {{"allowzero", number(1)}}).shape(), (Shape{3, 0}));
  EXPECT_EQ(eval("Reshape", {kCube, longs({1}, {-1})}).to_f32(), kCube.to_f32());
}

TEST(Reshape, InferenceCancelsSymbols) {
  const auto reshape = [](const std::vector<std::string>& from, const Ints& to) {
    return inferred("Reshape", {dims(DType::f32, from), longs({static_cast<int64_t>(to.size())}, to)});
  };
  EXPECT_EQ(reshape({"N", "3", "4"}, {0, -1}), to_string(dims(DType::f32, {"N", "12"})));
  EXPECT_EQ(reshape({"?", "3", "4"}, {0, -1}), to_string(dims(DType::f32, {"?", "12"})));
  EXPECT_EQ(reshape({"N", "3", "4"}, {-1, 12}), to_string(dims(DType::f32, {"N", "12"})));
  EXPECT_EQ(reshape({"N", "3", "4"}, {-1, 6}), to_string(dims(DType::f32, {"?", "6"})));
  EXPECT_EQ(inferred("Reshape", {dims(DType::f32, {"N", "3"}), dims(DType::s64, {"2"})}),
            to_string(dims(DType::f32, {"?", "?"})));
}

TEST(Reshape, Refusals) {
  EXPECT_EQ(refusal("Reshape", {kCube, longs({2}, {5, 5})}),
            "test.onnx: node 'n' (Reshape): cannot reshape [2,3,4] to [5,5]; expected the same number of elements");
  EXPECT_EQ(refusal("Reshape", {kCube, longs({2}, {-1, 5})}),
            "test.onnx: node 'n' (Reshape): cannot reshape [2,3,4] to [?,5]; expected the same number of elements");
  EXPECT_EQ(refusal("Reshape", {kCube, longs({2}, {-1, -1})}),
            "test.onnx: node 'n' (Reshape): the new shape has -1 twice; expected at most once");
}

// What exporters write for x.view(x.size(0), -1, 4) with a symbolic batch.
TEST(ShapeValues, AreFollowedThroughShapeArithmetic) {
  Graph g;
  g.file = "test.onnx";
  Value* x = g.add_input("x", dims(DType::f32, {"N", "8", "4"}));
  const auto add = [&](const char* op, const std::vector<Value*>& in, const Attrs& attrs = {}) {
    Node* n = g.add_node(op, in, 1, op);
    for (const auto& [k, v] : attrs) n->set_attr(k, v);
    infer_types(g, *n);
    return n->output();
  };
  Value* shape = add("Shape", {x});
  Value* batch = add("Unsqueeze", {add("Gather", {shape, g.add_constant(longs({}, {0}))}), g.add_constant(longs({1}, {0}))});
  Value* eight = add("Slice", {shape, g.add_constant(longs({1}, {1})), g.add_constant(longs({1}, {2}))});
  Value* half = add("Div", {eight, g.add_constant(longs({1}, {2}))});
  Value* rest = g.add_constant(longs({1}, {-1}));
  Value* wanted = add("Concat", {batch, half, rest}, {{"axis", number(0)}});
  EXPECT_EQ(to_string(add("Reshape", {x, wanted})->type()), to_string(dims(DType::f32, {"N", "4", "8"})));
  Value* one = g.add_constant(longs({1}, {1}));
  Value* row =
      add("Reshape", {add("Range", {g.add_constant(longs({}, {0})), add("Squeeze", {eight, g.add_constant(longs({1}, {0}))}),
                                    g.add_constant(longs({}, {1}))}),
                      g.add_constant(longs({2}, {1, -1}))});
  EXPECT_EQ(to_string(row->type()), to_string(dims(DType::s64, {"1", "8"})));
  EXPECT_EQ(to_string(add("Expand", {row, add("Concat", {batch, one}, {{"axis", number(0)}})})->type()),
            to_string(dims(DType::s64, {"N", "8"})));
  EXPECT_EQ(to_string(add("ConstantOfShape", {add("Concat", {batch, eight}, {{"axis", number(0)}})})->type()),
            to_string(dims(DType::f32, {"N", "8"})));
}

TEST(Flatten, SplitsAtTheAxis) {
  EXPECT_EQ(eval("Flatten", {kCube}).shape(), (Shape{2, 12}));
  EXPECT_EQ(eval("Flatten", {kCube}, {{"axis", number(0)}}).shape(), (Shape{1, 24}));
  EXPECT_EQ(eval("Flatten", {kCube}, {{"axis", number(-1)}}).shape(), (Shape{6, 4}));
  EXPECT_EQ(inferred("Flatten", {dims(DType::f32, {"N", "3", "4"})}), to_string(dims(DType::f32, {"N", "12"})));
}

TEST(Squeeze, DropsOnes) {
  const Tensor x = floats({1, 2, 1}, {1, 2});
  EXPECT_EQ(eval("Squeeze", {x}).shape(), (Shape{2}));
  EXPECT_EQ(eval("Squeeze", {x, longs({1}, {-1})}).shape(), (Shape{1, 2}));
  EXPECT_EQ(inferred("Squeeze", {dims(DType::f32, {"N", "1"}), longs({1}, {1})}), to_string(dims(DType::f32, {"N"})));
  EXPECT_EQ(refusal("Squeeze", {x, longs({1}, {1})}),
            "test.onnx: node 'n' (Squeeze): cannot squeeze axis 1 of [1,2,1]; expected size 1");
}

TEST(Unsqueeze, InsertsOnes) {
  EXPECT_EQ(eval("Unsqueeze", {floats({2}, {1, 2}), longs({2}, {0, -1})}).shape(), (Shape{1, 2, 1}));
  EXPECT_EQ(inferred("Unsqueeze", {dims(DType::f32, {"N"}), longs({1}, {1})}), to_string(dims(DType::f32, {"N", "1"})));
  EXPECT_EQ(refusal("Unsqueeze", {floats({2}, {1, 2}), longs({2}, {0, 0})}),
            "test.onnx: node 'n' (Unsqueeze): axis 0 is given twice");
}

TEST(Transpose, PermutesAxes) {
  EXPECT_EQ(eval("Transpose", {floats({2, 3}, {1, 2, 3, 4, 5, 6})}).to_f32(), (Floats{1, 4, 2, 5, 3, 6}));
  const Tensor y = eval("Transpose", {kCube}, {{"perm", ints({2, 0, 1})}});
  EXPECT_EQ(y.shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(y.as<float>()[1 * 6 + 1 * 3 + 2], kCube.as<float>()[1 * 12 + 2 * 4 + 1]);
  EXPECT_EQ(inferred("Transpose", {dims(DType::f32, {"N", "H", "3"})}, {{"perm", ints({0, 2, 1})}}),
            to_string(dims(DType::f32, {"N", "3", "H"})));
  EXPECT_EQ(refusal("Transpose", {kCube}, {{"perm", ints({0, 1})}}),
            "test.onnx: node 'n' (Transpose): perm has 2 entries; expected 3, the rank of the input");
}

TEST(Transpose, WithoutAPermutationOfAScalarOrVector) {
  EXPECT_EQ(eval("Transpose", {floats({}, {3})}).to_f32(), (Floats{3}));
  EXPECT_EQ(eval("Transpose", {halves({2}, {1, 2})}).to_f32(), (Floats{1, 2}));
}

TEST(ExpandAndTile, Repeat) {
  EXPECT_EQ(eval("Expand", {floats({2, 1}, {1, 2}), longs({3}, {2, 1, 2})}).to_f32(), (Floats{1, 1, 2, 2, 1, 1, 2, 2}));
  EXPECT_EQ(eval("Tile", {floats({2, 2}, {1, 2, 3, 4}), longs({2}, {2, 2})}).to_f32(),
            (Floats{1, 2, 1, 2, 3, 4, 3, 4, 1, 2, 1, 2, 3, 4, 3, 4}));
  EXPECT_EQ(inferred("Tile", {dims(DType::f32, {"N", "2", "1"}), longs({3}, {1, 3, 5})}),
            to_string(dims(DType::f32, {"N", "6", "5"})));
}

TEST(Dropout, LeavesInferenceAlone) {
  const auto out = eval_all("Dropout", {kCube, floats({}, {0.5f})}, {}, 2);
  EXPECT_EQ(out[0].to_f32(), kCube.to_f32());
  EXPECT_EQ(out[1].to_s64(), Ints(24, 1));
  EXPECT_EQ(refusal("Dropout", {kCube, floats({}, {0.5f}), bools({}, {1})}),
            "node 'n' (Dropout): training_mode is true; expected an inference graph");
}

// Per-tensor parameters go through; those along an axis that may move do not.
TEST(Movers, CarryQuantizationParameters) {
  const auto quant_after = [](const QuantParams& params) {
    Graph g;
    Type type = Type::known(DType::s8, {2, 3});
    type.quant = std::make_shared<QuantParams>(params);
    Node* n = g.add_node("Transpose", {g.add_input("x", type)}, 1, "n");
    infer_types(g, *n);
    return n->output()->quant() != nullptr;
  };
  EXPECT_TRUE(quant_after({{0.5f}, {3}, -1}));
  EXPECT_FALSE(quant_after({{0.5f, 0.25f}, {0, 0}, 0}));
}

}  // namespace
}  // namespace octet::graph::test
