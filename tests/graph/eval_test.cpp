#include "graph/eval.h"

#include <gtest/gtest.h>
#include <xmmintrin.h>

#include "tests/graph/builder.h"

namespace octet::graph::test {
namespace {

TEST(RunReference, EvaluatesInOrderAndKeepsValuesThatAreUsedAgain) {
  Builder b;
  Value* x = b.input("x", {3});
  Value* y = b.op("Relu", {x});
  Value* z = b.op("Add", {y, y});
  b.output(b.op("Add", {z, y}));
  b.output(y);
  const std::vector<Tensor> in{Tensor::of<float>(DType::f32, {3}, {-1, 2, 3})};
  const std::vector<Tensor> out = run_reference(b.graph, in);
  EXPECT_EQ(out[0].to_f32(), (std::vector<float>{0, 6, 9}));
  EXPECT_EQ(out[1].to_f32(), (std::vector<float>{0, 2, 3}));
}

TEST(RunReference, RefusesAnInputOfAnotherShape) {
  Builder b;
  b.output(b.op("Relu", {b.input("x", {3})}));
  const std::vector<Tensor> in{Tensor(DType::f32, {4})};
  try {
    run_reference(b.graph, in);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_STREQ(e.what(), "test.onnx: input 'x' is float32[4]; expected float32[3]");
  }
}

TEST(Evaluate, FlushesDenormalsAndRestoresTheCallersState) {
  Builder b;
  Value* y = b.op("Mul", {b.input("x", {1}), b.scalar(0.5f)});
  const unsigned before = _mm_getcsr();
  const std::vector<Tensor> in{Tensor::of<float>(DType::f32, {1}, {1.5e-38f}), Tensor::scalar(0.5f)};
  EXPECT_EQ(evaluate(*y->producer(), in)[0].as<float>()[0], 0.0f);
  EXPECT_EQ(_mm_getcsr(), before);
}

TEST(Evaluate, AnOperatorWithoutScalarFormIsRefused) {
  OpDef op;
  op.name = "Formless";
  op.inputs = {{"x"}};
  Graph g;
  Node* n = g.add_node(op, {g.add_input("x", Type::known(DType::f32, {1}))}, 1, "n");
  const std::vector<Tensor> in{Tensor(DType::f32, {1})};
  try {
    evaluate(*n, in);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    EXPECT_STREQ(e.what(), "node 'n' (Formless): has no scalar form; expected a pass to rewrite it");
  }
}

}  // namespace
}  // namespace octet::graph::test
