// Q/DQ motion, integer products, epilogues, tables, residuals: a QDQ graph becomes one of quantized values.
//
// Folding Q/DQ into a product may move a tie by one quantum; everything after that must not move anything.
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Ints = std::vector<int64_t>;
const std::vector<float> kScales{0.01f, 0.02f, 0.015f, 0.005f};

const std::vector<int (*)(Graph&)> kCanonical{canonical_quantization, normalise_products};

// x : u8 → DQ → Conv 3x3 (4 channels) of int8 weights → float
Value* conv(Builder& b, Value* x, uint32_t seed, Value* bias = nullptr) {
  return b.op("Conv", {x, b.weights({4, 4, 3, 3}, seed, kScales), bias}, {{"pads", Ints{1, 1, 1, 1}}});
}

Value* image(Builder& b, const std::string& name, float scale = 0.02f, int zero = 128) {
  return b.dq(b.input(name, {1, 4, 6, 6}, DType::u8), scale, zero);
}

TEST(PushDequantize, MovesRunOnBytes) {
  Builder b;
  Value* x = image(b, "x");
  Value* y = b.op("MaxPool", {x}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  y = b.op("Concat", {y, b.op("Slice", {x, b.ints({0, 0}), b.ints({3, 3}), b.ints({2, 3})})}, {{"axis", int64_t{1}}});
  y = b.op("Pad", {y, b.ints({0, 0, 1, 1, 0, 0, 1, 1})});
  y = b.op("Transpose", {y}, {{"perm", Ints{0, 2, 3, 1}}});
  Node* split = b.node("Split", {y}, {{"axis", int64_t{1}}, {"num_outputs", int64_t{2}}}, 2);
  b.output(b.op("Sigmoid", {split->output(0)}));
  b.output(split->output(1));
  EXPECT_EQ(difference_after(b.graph, {canonical_quantization, push_dequantize}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"MaxPool", "Slice", "Concat", "Pad", "Transpose", "Split", "DequantizeLinear",
                                      "DequantizeLinear", "Sigmoid"}));
  EXPECT_EQ(find_node(b.graph, "Pad")->input(2)->constant().at_s64(0), 128);
}

TEST(PushDequantize, ReluIsATableOfQuanta) {
  Builder b;
  b.output(b.op("Relu", {image(b, "x")}));
  EXPECT_EQ(difference_after(b.graph, {canonical_quantization, push_dequantize}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Table", "DequantizeLinear"}));
}

TEST(PushDequantize, SixteenBitsAreARoundingOfReals) {
  for (const DType dtype : {DType::u16, DType::s16}) {
    Builder b;
    Value* zero = b.constant<uint16_t>(dtype, {}, {40});
    Value* q = b.op("QuantizeLinear", {b.input("x", {5, 40}), b.scalar(3e-5f), zero});
    b.output(b.op("Reshape", {b.op("DequantizeLinear", {q, b.scalar(3e-5f), zero}), b.ints({40, 5})}));
    EXPECT_EQ(difference_after(b.graph, {push_dequantize}), 0);
    EXPECT_EQ(op_names(b.graph), (Names{"octet.FakeQuantize", "Reshape"}));
  }
}

TEST(PushDequantize, DifferentParametersWaitForAQuantize) {
  Builder b;
  Value* y = b.op("Concat", {image(b, "x", 0.02f), image(b, "y", 0.03f)}, {{"axis", int64_t{1}}});
  b.output(b.q(y, 0.03f, 128));
  EXPECT_EQ(push_dequantize(b.graph), 0);
  EXPECT_EQ(difference_after(b.graph, {canonical_quantization, pull_quantize, requantize}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Table", "Concat"}));
}

TEST(PullQuantize, AProductMeetsTheQuantizeBehindAPool) {
  Builder b;
  Value* y = b.op("Relu", {conv(b, image(b, "x"), 1)});
  y = b.op("MaxPool", {y}, {{"kernel_shape", Ints{2, 2}}});
  b.output(b.q(y, 0.05f, 3));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Conv", "MaxPool"}));
}

TEST(QuantizeProducts, OperandsAndBiasBecomeIntegers) {
  Builder b;
  std::vector<float> scales;
  for (const float s : kScales) scales.push_back(0.02f * s);
  b.output(conv(b, image(b, "x"), 1, b.s32_bias({100, -200, 300, 4000}, scales)));
  auto passes = kCanonical;
  passes.push_back(quantize_products);
  EXPECT_LE(difference_after(b.graph, passes), 1e-3);
  Node* node = find_node(b.graph, "octet.Conv");
  EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
  EXPECT_EQ(to_string(node->input(kX)->type()), "uint8[1,4,6,6] q(0.02,128)");
  EXPECT_EQ(to_string(node->input(kW)->type()), "int8[4,4,3,3] q(axis 0)");
  EXPECT_EQ(node->input(kBias)->dtype(), DType::s32);
  EXPECT_EQ(node->why, "its result is wanted in float32");
}

TEST(QuantizeProducts, ABiasOfAnotherScaleIsAddedInFloat) {
  Builder b;
  b.output(conv(b, image(b, "x"), 1, b.s32_bias({100, -200, 300, 4000}, {0.1f, 0.1f, 0.1f, 0.1f})));
  auto passes = kCanonical;
  passes.push_back(quantize_products);
  EXPECT_LE(difference_after(b.graph, passes), 1e-3);
  EXPECT_EQ(find_node(b.graph, "octet.Conv")->input(kBias)->dtype(), DType::f32);
}

TEST(QuantizeProducts, FloatOperandsAreDeclinedByName) {
  Builder b;
  b.output(conv(b, b.input("x", {1, 4, 6, 6}), 1));
  b.output(b.op("Conv", {image(b, "y"), b.graph.add_constant(random_floats({4, 4, 1, 1}, 1))}));
  EXPECT_LE(difference_after_optimize(b.graph), 1e-4);
  EXPECT_EQ(b.graph.outputs()[0]->producer()->why, "its input is not quantized");
  EXPECT_EQ(b.graph.outputs()[1]->producer()->why, "its weights are not quantized");
}

TEST(QuantizeProducts, ASumThatCouldLeaveInt32StaysFloat) {
  Builder b;
  Value* x = b.dq(b.input("x", {1, 70000}, DType::u8), 0.02f, 0);
  Value* w = b.constant<uint8_t>(DType::s8, {1, 70000}, std::vector<uint8_t>(70000, 127));
  b.output(b.op("Gemm", {x, b.dq(w, 0.01f, 0)}, {{"transB", int64_t{1}}}));
  optimize(b.graph);
  EXPECT_EQ(b.graph.outputs()[0]->producer()->why, "its sum could leave int32");
}

TEST(QuantizeProducts, WeightsBehindATransposeAreFound) {
  Builder b;
  Value* x = b.dq(b.input("x", {3, 8}, DType::u8), 0.02f, 100);
  Value* w = b.op("Transpose", {b.weights({4, 8}, 1, kScales)}, {{"perm", Ints{1, 0}}});
  b.output(b.q(b.op("MatMul", {x, w}), 0.3f, 100));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Gemm"});
  EXPECT_EQ(b.graph.nodes().front()->input(kW)->quant()->axis, 0);
}

TEST(FuseEpilogue, ActivationAndQuantize) {
  for (const char* act : {"Relu", "Clip", "LeakyRelu"}) {
    Builder b;
    std::vector<Value*> in{conv(b, image(b, "x"), 1)};
    if (std::string(act) == "Clip") in.insert(in.end(), {b.scalar(-3), b.scalar(6)});
    b.output(b.q(b.op(act, in), 0.05f, 100));
    EXPECT_LE(difference_after_optimize(b.graph), 1) << act;
    EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
    EXPECT_EQ(b.graph.outputs()[0]->dtype(), DType::u8);
  }
}

TEST(FuseEpilogue, ResidualOfOneRounding) {
  Builder b;
  Value* x = image(b, "x");
  Value* r = image(b, "r", 0.03f, 90);
  b.output(b.q(b.op("Relu", {b.op("Add", {r, conv(b, x, 1)})}), 0.05f, 20));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
  Node* node = find_node(b.graph, "octet.Conv");
  EXPECT_EQ(to_string(node->input(kResidual)->type()), "uint8[1,4,6,6] q(0.03,90)");
  EXPECT_FALSE(node->has_attr("mid_scale"));
}

TEST(FuseEpilogue, TheLaterOfTwoConvolutionsTakesTheSum) {
  Builder b;
  Value* x = b.input("x", {1, 4, 6, 6});
  Value* first = b.op("Conv", {x, b.graph.add_constant(random_floats({4, 4, 1, 1}, 1))});
  Value* second = b.op("Conv", {x, b.graph.add_constant(random_floats({4, 4, 1, 1}, 2))});
  b.output(b.op("Relu", {b.op("Add", {second, first})}));
  EXPECT_EQ(difference_after(b.graph, {normalise_products, fuse_epilogue}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Conv", "octet.Conv"}));
  EXPECT_EQ(b.graph.outputs()[0]->producer()->input(kResidual), b.graph.nodes().front()->output());
}

TEST(FuseEpilogue, AnAddOfAnotherShapeOrBehindAnActivationIsLeft) {
  Builder b;
  Value* x = b.input("x", {1, 4, 6, 6});
  Value* y = b.op("Conv", {x, b.graph.add_constant(random_floats({4, 4, 1, 1}, 1))});
  b.output(b.op("Add", {y, b.input("r", {1, 4, 1, 1})}));
  Value* z = b.op("Relu", {b.op("Conv", {x, b.graph.add_constant(random_floats({4, 4, 1, 1}, 2))})});
  b.output(b.op("Add", {z, x}));
  EXPECT_EQ(difference_after(b.graph, {normalise_products, fuse_epilogue}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Conv", "Add", "octet.Conv", "Add"}));
  EXPECT_FALSE(b.graph.outputs()[0]->producer()->why.empty());
}

TEST(FuseEpilogue, AFloatResultUsedTwiceIsNotRounded) {
  Builder b;
  Value* y = conv(b, image(b, "x"), 1);
  b.output(b.q(y, 0.05f, 100));
  b.output(y);
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Conv", "QuantizeLinear"}));
  EXPECT_EQ(b.graph.outputs()[1]->producer()->why, "its float32 result is used besides the QuantizeLinear");
}

// conv → Q → DQ → Add(DQ r) → Relu → Q, the sum on either side.
TEST(FuseResidual, TwoRoundingsChangeNoInteger) {
  for (const bool conv_first : {false, true}) {
    Builder b;
    Value* x = b.qdq(conv(b, image(b, "x"), 1), 0.06f, 120);
    Value* r = image(b, "r", 0.03f, 90);
    Value* sum = conv_first ? b.op("Add", {x, r}) : b.op("Add", {r, x});
    b.output(b.q(b.op("Relu", {sum}), 0.13f, 20));  // so coarse that a tie moved in between moves it by one at most
    const std::vector<Tensor> in = random_inputs(b.graph);
    const std::vector<Tensor> unfused = run_reference(b.graph, in);
    PassOptions separate;
    separate.disabled = {"fuse_residual"};
    const auto apart = b.graph.clone();
    optimize(*apart, separate);
    EXPECT_EQ(op_names(*apart), (Names{"octet.Conv", "Add"}));
    optimize(b.graph);
    EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
    EXPECT_TRUE(b.graph.nodes().front()->has_attr("mid_scale"));
    EXPECT_EQ(largest_difference(run_reference(b.graph, in)[0], run_reference(*apart, in)[0]), 0);
    EXPECT_LE(largest_difference(run_reference(b.graph, in)[0], unfused[0]), 1);
  }
}

TEST(FuseResidual, AnActivationBetweenConvAndAddIsNotSkipped) {
  Builder b;
  Value* x = b.qdq(b.op("Relu", {conv(b, image(b, "x"), 1)}), 0.06f, 30);
  b.output(b.q(b.op("Add", {x, image(b, "r", 0.03f, 90)}), 0.13f, 20));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Conv", "Add"}));
  EXPECT_EQ(find_node(b.graph, "Add")->why, "the product before it has an activation");
}

TEST(QuantizeElementwise, AFunctionOfOneValueIsATable) {
  Builder b;
  Value* x = b.dq(b.input("x", {256}, DType::u8), 0.05f, 128);
  Value* swish = b.op("Mul", {x, b.op("Sigmoid", {x})});
  b.output(b.q(b.op("Add", {swish, b.scalar(0.125f)}), 0.04f, 10));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Table"});
}

TEST(QuantizeElementwise, AFunctionOfTwoValuesIsNone) {
  Builder b;
  Value* y = b.op("Mul", {b.op("Sigmoid", {image(b, "x")}), image(b, "y")});
  b.output(b.q(y, 0.04f, 10));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(find_node(b.graph, "octet.Table"), nullptr);
  EXPECT_FALSE(find_node(b.graph, "Mul")->why.empty());
  EXPECT_EQ(find_node(b.graph, "Sigmoid")->why, "no QuantizeLinear follows it");
}

TEST(QuantizeElementwise, SumsDifferencesAndProductsOfQuanta) {
  for (const char* op : {"Add", "Sub", "Mul"}) {
    Builder b;
    b.output(b.q(b.op(op, {image(b, "x"), image(b, "y", 0.03f, 100)}), 0.05f, 127));
    EXPECT_LE(difference_after_optimize(b.graph), 1) << op;
    EXPECT_EQ(op_names(b.graph), Names{op});
  }
}

TEST(QuantizeElementwise, AConstantOperandBehindADequantize) {
  Builder b;
  Value* c = b.dq(b.graph.add_constant(random_bytes(DType::s8, {1, 4, 1, 1}, 9)), 0.01f, 3);
  b.output(b.q(b.op("Relu", {b.op("Mul", {image(b, "x"), c})}), 0.02f, 5));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), Names{"Mul"});
  Node* mul = find_node(b.graph, "Mul");
  EXPECT_EQ(mul->attr("act", ""), "relu");
  EXPECT_EQ(to_string(mul->input(1)->type()), "uint8[1,4,1,1] q(0.01,131)");
}

TEST(QuantizeElementwise, AFloatOperandIsNamed) {
  Builder b;
  b.output(b.q(b.op("Add", {image(b, "x"), b.input("real", {1, 4, 6, 6})}), 0.05f, 127));
  optimize(b.graph);
  EXPECT_EQ(find_node(b.graph, "Add")->why, "its operand real is not quantized");
}

TEST(QuantizeElementwise, AveragesOfQuanta) {
  Builder b;
  b.output(b.q(b.op("GlobalAveragePool", {image(b, "x")}), 0.01f, 120));
  b.output(
      b.q(b.op("AveragePool", {image(b, "y")}, {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}}), 0.015f, 120));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), (Names{"GlobalAveragePool", "AveragePool"}));
}

TEST(QuantizeElementwise, AClampBehindTheRoundingJoinsTheProduct) {
  Builder b;
  Value* x = b.qdq(conv(b, image(b, "x"), 1), 0.06f, 120);
  b.output(b.q(b.op("Clip", {x, b.scalar(-1), b.scalar(2)}), 0.06f, 120));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
}

TEST(MergeTables, FunctionsWithRoundingsInBetweenAreOneTable) {
  Builder b;
  Value* x = b.dq(b.input("x", {256}, DType::u8), 0.05f, 128);
  Value* gate = b.qdq(b.op("Sigmoid", {x}), 1.0f / 256, 0);
  Value* gate2 = b.qdq(b.op("Tanh", {gate}), 1.0f / 256, 0);
  b.output(b.q(b.op("Mul", {x, gate2}), 0.04f, 10));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Table"});
}

}  // namespace
}  // namespace octet::graph::test
