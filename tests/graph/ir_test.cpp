#include <gtest/gtest.h>

#include "tests/graph/builder.h"

namespace octet::graph::test {
namespace {

TEST(Ir, UsesFollowEveryEdit) {
  Builder b;
  Value* x = b.input("x", {2});
  Value* y = b.op("Add", {x, x});
  Value* z = b.op("Relu", {y});
  b.output(z);
  EXPECT_EQ(x->uses().size(), 2u);
  b.graph.set_input(y->producer(), 1, b.floats({2}, {1, 2}));
  EXPECT_EQ(x->uses().size(), 1u);
  b.graph.replace_uses(y, x);
  EXPECT_TRUE(y->uses().empty());
  b.graph.erase(y->producer());
  EXPECT_EQ(op_names(b.graph), std::vector<std::string>{"Relu"});
  EXPECT_EQ(x->uses().size(), 1u);
}

TEST(Ir, ReplacingAnOutputKeepsItsName) {
  Builder b;
  Value* x = b.input("x", {2});
  Value* y = b.op("Relu", {x});
  b.graph.add_output(y, "prob");
  b.graph.replace_uses(y, x);
  EXPECT_EQ(b.graph.outputs()[0], x);
  EXPECT_EQ(b.graph.output_names()[0], "prob");
}

TEST(Ir, CloneSharesNothingButConstantBytes) {
  Builder b;
  Value* x = b.input("x", {2});
  Value* c = b.floats({2}, {1, 2}, "c");
  b.output(b.op("Add", {x, c}));
  const auto copy = b.graph.clone();
  EXPECT_EQ(print(*copy), print(b.graph));
  EXPECT_EQ(copy->find_value("c")->constant().as<float>(), c->constant().as<float>());
  copy->set_input(copy->nodes().front().get(), 1, copy->find_value("x"));
  EXPECT_EQ(x->uses().size(), 1u);
}

TEST(Ir, SortPutsProducersFirstAndNamesANodeOnACycle) {
  Builder b;
  Value* x = b.input("x", {2});
  Value* y = b.op("Relu", {x});
  Value* z = b.op("Relu", {y});
  b.output(z);
  b.graph.move_before(z->producer(), y->producer());
  b.graph.sort();
  EXPECT_TRUE(b.graph.comes_before(y->producer(), z->producer()));
  b.graph.set_input(y->producer(), 0, z);
  try {
    b.graph.sort();
    FAIL() << "a cycle was sorted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_model);
    EXPECT_NE(std::string(e.what()).find("Relu0"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace octet::graph::test
