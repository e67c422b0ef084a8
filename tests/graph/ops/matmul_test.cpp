#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

TEST(MatMul, MatricesVectorsAndBatches) {
  const Tensor a = floats({2, 2}, {1, 2, 3, 4}), b = floats({2, 2}, {5, 6, 7, 8});
  EXPECT_EQ(eval("MatMul", {a, b}).to_f32(), (Floats{19, 22, 43, 50}));
  EXPECT_EQ(eval("MatMul", {floats({2}, {1, 2}), b}).to_f32(), (Floats{19, 22}));
  EXPECT_EQ(eval("MatMul", {a, floats({2}, {1, 1})}).to_f32(), (Floats{3, 7}));
  const Tensor dot = eval("MatMul", {floats({2}, {1, 2}), floats({2}, {3, 4})});
  EXPECT_EQ(dot.shape(), Shape{});
  EXPECT_EQ(dot.to_f32(), (Floats{11}));
  const Tensor batched = eval("MatMul", {floats({2, 1, 1, 2}, {1, 2, 3, 4}), floats({3, 2, 1}, {1, 0, 0, 1, 1, 1})});
  EXPECT_EQ(batched.shape(), (Shape{2, 3, 1, 1}));
  EXPECT_EQ(batched.to_f32(), (Floats{1, 2, 3, 3, 4, 7}));
  EXPECT_EQ(eval("MatMul", {ints32({1, 2}, {1, 2}), ints32({2, 1}, {3, 4})}).to_s64(), (Ints{11}));
}

TEST(MatMul, IsOneFmaChainOverK) {
  const Tensor a = random_floats({3, 37}, 1), b = random_floats({37, 5}, 2);
  const Tensor y = eval("MatMul", {a, b});
  for (int64_t m = 0; m < 3; ++m)
    for (int64_t n = 0; n < 5; ++n) {
      float sum = 0;
      for (int64_t k = 0; k < 37; ++k) sum = std::fma(a.as<float>()[m * 37 + k], b.as<float>()[k * 5 + n], sum);
      EXPECT_EQ(y.as<float>()[m * 5 + n], sum);
    }
}

TEST(MatMul, Inference) {
  EXPECT_EQ(inferred("MatMul", {dims(DType::f32, {"B", "T", "64"}), dims(DType::f32, {"64", "32"})}),
            to_string(dims(DType::f32, {"B", "T", "32"})));
  EXPECT_EQ(inferred("MatMul", {dims(DType::f32, {"64"}), dims(DType::f32, {"B", "64", "M"})}),
            to_string(dims(DType::f32, {"B", "M"})));
  EXPECT_EQ(refusal("MatMul", {floats({1, 2}, {1, 2}), floats({3, 1}, {1, 2, 3})}),
            "test.onnx: node 'n' (MatMul): inner dimensions disagree: 2 and 3");
}

TEST(Gemm, TransposesScalesAndAdds) {
  const Tensor a = floats({2, 3}, {1, 2, 3, 4, 5, 6}), b = floats({3, 2}, {1, 0, 0, 1, 1, 1});
  EXPECT_EQ(eval("Gemm", {a, b}).to_f32(), (Floats{4, 5, 10, 11}));
  const Tensor at = floats({3, 2}, {1, 4, 2, 5, 3, 6}), bt = floats({2, 3}, {1, 0, 1, 0, 1, 1});
  EXPECT_EQ(eval("Gemm", {at, bt}, {{"transA", number(1)}, {"transB", number(1)}}).to_f32(), (Floats{4, 5, 10, 11}));
  EXPECT_EQ(eval("Gemm", {a, b, floats({2}, {10, 20})}).to_f32(), (Floats{14, 25, 20, 31}));
  EXPECT_EQ(eval("Gemm", {a, b, floats({2, 1}, {10, 20})}, {{"alpha", 2.0f}, {"beta", 0.5f}}).to_f32(),
            (Floats{13, 15, 30, 32}));
  EXPECT_EQ(eval("Gemm", {a, b, floats({}, {1})}).to_f32(), (Floats{5, 6, 11, 12}));
}

TEST(Gemm, Inference) {
  EXPECT_EQ(inferred("Gemm", {dims(DType::f32, {"N", "64"}), dims(DType::f32, {"10", "64"}), dims(DType::f32, {"10"})},
                     {{"transB", number(1)}}),
            to_string(dims(DType::f32, {"N", "10"})));
  EXPECT_EQ(refusal("Gemm", {floats({1, 2, 1}, {1, 2}), floats({1, 1}, {1})}),
            "test.onnx: node 'n' (Gemm): input 0 has shape [1,2,1]; expected rank 2");
}

TEST(Einsum, NamesItsAxes) {
  const Tensor a = floats({2, 2}, {1, 2, 3, 4}), b = floats({2, 2}, {5, 6, 7, 8});
  EXPECT_EQ(eval("Einsum", {a, b}, {{"equation", text("ij,jk->ik")}}).to_f32(), (Floats{19, 22, 43, 50}));
  EXPECT_EQ(eval("Einsum", {a}, {{"equation", text("ij->ji")}}).to_f32(), (Floats{1, 3, 2, 4}));
  EXPECT_EQ(eval("Einsum", {a}, {{"equation", text("ii")}}).to_f32(), (Floats{5}));
  EXPECT_EQ(eval("Einsum", {a}, {{"equation", text("ij->i")}}).to_f32(), (Floats{3, 7}));
  EXPECT_EQ(eval("Einsum", {a, b}, {{"equation", text("...j, ...j -> ...")}}).to_f32(), (Floats{17, 53}));
  EXPECT_EQ(inferred("Einsum", {dims(DType::f32, {"B", "T", "8"}), dims(DType::f32, {"8", "H"})},
                     {{"equation", text("bti,ih->bth")}}),
            to_string(dims(DType::f32, {"B", "T", "H"})));
  EXPECT_EQ(refusal("Einsum", {a}, {{"equation", text("ij,jk->ik")}}),
            "test.onnx: node 'n' (Einsum): equation 'ij,jk->ik' has 2 operands; expected 1");
}

TEST(Det, OfEachMatrix) {
  const Tensor y = eval("Det", {floats({2, 2, 2}, {1, 2, 3, 4, 0, 1, 1, 0})});
  EXPECT_EQ(y.shape(), (Shape{2}));
  expect_near(y, {-2, -1});
  EXPECT_EQ(eval("Det", {floats({2, 2}, {1, 2, 2, 4})}).to_f32(), Floats{0});
  EXPECT_EQ(inferred("Det", {dims(DType::f32, {"N", "3", "3"})}), "float32[N]");
  EXPECT_NE(refusal("Det", {floats({1, 2}, {1, 2})}), "");
}

TEST(FusedMatMul, ExchangesTheLastAxesAndMultipliesByAlpha) {
  const Tensor a = floats({2, 3}, {1, 2, 3, 4, 5, 6}), b = floats({2, 3}, {1, 0, 2, 0, 1, 1});
  EXPECT_EQ(eval("com.microsoft.FusedMatMul", {a, b}, {{"transB", number(1)}, {"alpha", 0.5f}}).to_f32(),
            (Floats{3.5f, 2.5f, 8, 5.5f}));
  EXPECT_EQ(eval("com.microsoft.FusedMatMul", {a, b}, {{"transA", number(1)}}).to_f32(),
            (Floats{1, 4, 6, 2, 5, 9, 3, 6, 12}));
  EXPECT_EQ(eval("com.microsoft.FusedMatMul", {a, floats({3}, {1, 1, 1})}, {{"transB", number(1)}}).to_f32(),
            (Floats{6, 15}));
}

}  // namespace
}  // namespace octet::graph::test
