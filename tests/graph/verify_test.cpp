#include <gtest/gtest.h>

#include "tests/graph/builder.h"

namespace octet::graph::test {
namespace {

std::string violation(const Graph& graph) {
  try {
    verify(graph);
  } catch (const std::logic_error& e) {
    return e.what();
  }
  return "";
}

struct Chain : Builder {
  Value* x = input("x", {2, 3});
  Value* y = op("Relu", {x});
  Value* z = op("Sigmoid", {y});
  Chain() { output(z); }
};

TEST(Verify, AcceptsASoundGraph) { EXPECT_EQ(violation(Chain().graph), ""); }

TEST(Verify, FindsAUseBeforeItsProducer) {
  Chain c;
  c.graph.move_before(c.z->producer(), c.y->producer());
  EXPECT_NE(violation(c.graph).find("nothing produced before it"), std::string::npos) << violation(c.graph);
}

TEST(Verify, FindsAnUnknownAttribute) {
  Chain c;
  c.y->producer()->set_attr("strides", std::vector<int64_t>{1});
  EXPECT_NE(violation(c.graph).find("'strides'"), std::string::npos) << violation(c.graph);
}

TEST(Verify, FindsAnAttributeOfTheWrongKind) {
  Builder b;
  Node* n = b.node("Transpose", {b.input("x", {2, 3})});
  b.output(n->output());
  n->set_attr("perm", int64_t{1});
  EXPECT_NE(violation(b.graph).find("wrong kind"), std::string::npos) << violation(b.graph);
}

TEST(Verify, FindsAMissingInput) {
  Chain c;
  c.graph.set_input(c.y->producer(), 0, nullptr);
  EXPECT_NE(violation(c.graph).find("lacks its input"), std::string::npos) << violation(c.graph);
}

TEST(Verify, FindsATypeThatInferenceDenies) {
  Chain c;
  c.y->set_type(Type::known(DType::f32, {2, 4}));
  EXPECT_NE(violation(c.graph).find("inference finds float32[2,3]"), std::string::npos) << violation(c.graph);
}

TEST(Verify, FindsScalesWithoutZeroPoints) {
  Chain c;
  Type t = c.x->type();
  t.dtype = DType::u8;
  t.quant = std::make_shared<const QuantParams>(QuantParams{{1.0f, 2.0f}, {0}, 1});
  c.x->set_type(t);
  c.y->set_type(t);
  c.z->set_type(t);
  EXPECT_NE(violation(c.graph), "");
}

}  // namespace
}  // namespace octet::graph::test
