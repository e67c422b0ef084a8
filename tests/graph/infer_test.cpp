#include <gtest/gtest.h>

#include "tests/graph/builder.h"

namespace octet::graph::test {
namespace {

// An operator that knows nothing of its result but the element type.
void infer_nothing(InferContext& c) { c.set_unranked(0, c.type(0).dtype); }
void infer_rank(InferContext& c) { c.set(0, c.type(0).dtype, {Dim(), Dim()}); }
void infer_refuses(InferContext& c) { c.fail("x has shape [2]; expected rank 4"); }

OpDef simple(void (*infer)(InferContext&)) {
  OpDef op;
  op.name = "Simple";
  op.inputs = {{"x"}};
  op.infer = infer;
  return op;
}

struct OneNode {
  explicit OneNode(const OpDef& op) {
    graph.file = "model.onnx";
    node = graph.add_node(op, {graph.add_input("x", Type::known(DType::f32, {2, 3}))}, 1, "n");
    graph.add_output(node->output());
  }
  Graph graph;
  Node* node;
};

TEST(Infer, ADeclaredShapeStandsWhereTheOperatorCannotTell) {
  const OpDef op = simple(infer_nothing);
  OneNode g(op);
  g.node->output()->set_type(Type::known(DType::f32, {7, 8}));
  infer_types(g.graph);
  EXPECT_EQ(to_string(g.node->output()->type()), "float32[7,8]");
}

TEST(Infer, KnownSizesRefineUnknownOnes) {
  const OpDef op = simple(infer_rank);
  OneNode g(op);
  Type declared = Type::known(DType::f32, {1, 8});
  (*declared.dims)[0] = Dim(std::string("N"));
  g.node->output()->set_type(declared);
  infer_types(g.graph);
  EXPECT_EQ(to_string(g.node->output()->type()), "float32[N,8]");
}

TEST(Infer, QuantizationParametersStayWithTheElementType) {
  const OpDef op = simple([](InferContext& c) { c.set(0, c.type(0)); });
  OneNode g(op);
  Type t = Type::known(DType::u8, {2, 3});
  g.graph.inputs()[0]->set_type(t);
  t.quant = std::make_shared<const QuantParams>(QuantParams{{0.5f}, {3}, -1});
  g.node->output()->set_type(t);
  infer_types(g.graph);
  EXPECT_EQ(to_string(g.node->output()->type()), "uint8[2,3] q(0.5,3)");
  g.graph.inputs()[0]->set_type(Type::known(DType::f32, {2, 3}));
  infer_types(g.graph);
  EXPECT_EQ(to_string(g.node->output()->type()), "float32[2,3]");
}

TEST(Infer, OperandsOfATypeThatTheOperatorDoesNotTakeAreRefused) {
  OpDef op = simple(infer_nothing);
  op.types = kIntegers;
  OneNode g(op);
  try {
    infer_types(g.graph);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    EXPECT_STREQ(e.what(), "model.onnx: node 'n' (Simple): input 0 has element type float32; expected an integer type");
  }
  g.graph.inputs()[0]->set_type(Type::known(DType::s16, {2, 3}));
  EXPECT_NO_THROW(infer_types(g.graph));
}

TEST(Infer, ErrorsNameFileNodeAndOperator) {
  const OpDef op = simple(infer_refuses);
  OneNode g(op);
  try {
    infer_types(g.graph);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_model);
    EXPECT_STREQ(e.what(), "model.onnx: node 'n' (Simple): x has shape [2]; expected rank 4");
  }
}

TEST(Infer, AMissingInputIsNamed) {
  const OpDef op = simple(infer_nothing);
  OneNode g(op);
  g.graph.set_input(g.node, 0, nullptr);
  try {
    infer_types(g.graph);
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "model.onnx: node 'n' (Simple): input 'x' is missing; expected a value");
  }
}

}  // namespace
}  // namespace octet::graph::test
