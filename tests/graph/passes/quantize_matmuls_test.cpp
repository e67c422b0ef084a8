#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

TEST(QuantizeMatmuls, BetweenQuantizedTensorsIsOneOperator) {
  Builder b;
  Value *q = b.dq(b.input("q", {2, 3, 5, 8}, DType::u8), 0.02f, 120),
        *k = b.dq(b.input("k", {2, 3, 8, 7}, DType::u8), 0.03f, 130);
  b.output(b.q(b.op("MatMul", {q, k}), 0.05f, 100));
  EXPECT_LE(difference_after(b.graph, {quantize_matmuls}), 1);  // a tie
  EXPECT_EQ(op_names(b.graph), (Names{"QLinearMatMul"}));
  EXPECT_EQ(to_string(b.graph.outputs()[0]->type()), "uint8[2,3,5,7] q(0.05,100)");
}

TEST(QuantizeMatmuls, AResultInFloatKeepsItsType) {
  Builder b;
  Value *q = b.dq(b.input("q", {5, 8}, DType::u8), 0.02f, 120), *k = b.dq(b.input("k", {8, 7}, DType::u8), 0.03f, 130);
  b.output(b.op("MatMul", {q, k}));
  EXPECT_LE(difference_after(b.graph, {quantize_matmuls}), 1e-4);
  EXPECT_EQ(op_names(b.graph), (Names{"com.microsoft.MatMulIntegerToFloat"}));
}

TEST(QuantizeMatmuls, AnOperandInFloatSaysWhyNot) {
  Builder b;
  Value* q = b.dq(b.input("q", {5, 8}, DType::u8), 0.02f, 120);
  b.output(b.op("MatMul", {q, b.input("k", {8, 7})}));
  EXPECT_EQ(difference_after(b.graph, {quantize_matmuls}), 0);
  EXPECT_EQ(find_node(b.graph, "MatMul")->why, "not both of its operands are quantized");
}

TEST(QuantizeMatmuls, ASumThatCouldLeaveInt32StaysInFloat) {
  Builder b;
  Value *q = b.dq(b.input("q", {1, 40000}, DType::u8), 0.02f, 0), *k = b.dq(b.input("k", {40000, 1}, DType::u8), 0.03f, 0);
  b.output(b.op("MatMul", {q, k}));
  EXPECT_EQ(difference_after(b.graph, {quantize_matmuls}), 0);
  EXPECT_EQ(find_node(b.graph, "MatMul")->why, "its sum could leave int32");
}

TEST(NormaliseDynamic, AProductOfTwoAtRunTimeIsOneOperator) {
  Builder b;
  const Node *p = b.node("DynamicQuantizeLinear", {b.input("p", {3, 5, 8})}, {}, 3),
             *q = b.node("DynamicQuantizeLinear", {b.input("q", {3, 8, 7})}, {}, 3);
  Value* sum = b.op("MatMulInteger", {p->output(0), q->output(0), p->output(2), q->output(2)});
  Value* scale = b.op("Mul", {p->output(1), q->output(1)});
  b.output(b.op("Mul", {b.op("Cast", {sum}, {{"to", int64_t{1}}}), scale}));
  EXPECT_EQ(difference_after(b.graph, {normalise_dynamic}), 0);
  EXPECT_EQ(op_names(b.graph),
            (Names{"DynamicQuantizeLinear", "DynamicQuantizeLinear", "com.microsoft.MatMulIntegerToFloat"}));
}

}  // namespace
}  // namespace octet::graph::test
