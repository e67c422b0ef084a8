#include <gtest/gtest.h>

#include <functional>

#include "graph/passes/passes.h"
#include "tests/graph/builder.h"

namespace octet::graph::test {
namespace {

std::shared_ptr<Graph> body(const std::function<void(Builder&)>& fill) {
  Builder b;
  fill(b);
  return b.graph.clone();
}

Node* choose(Builder& b, Value* condition, const std::vector<Value*>& captures) {
  std::vector<Value*> in{condition};
  in.insert(in.end(), captures.begin(), captures.end());
  Node* n = b.graph.add_node("If", in);
  n->set_attr("captures", static_cast<int64_t>(captures.size()));
  for (const char* branch : {"then_branch", "else_branch"})
    n->set_attr(branch, body([&](Builder& t) {
                  std::vector<Value*> inside;
                  for (const Value* v : captures) inside.push_back(t.graph.add_input(v->name(), v->type()));
                  t.output(t.op(branch == std::string("then_branch") ? "Relu" : "Exp", {inside[0]}));
                }));
  infer_types(b.graph);
  b.output(n->output());
  return n;
}

TEST(ControlFlow, AKnownConditionLeavesItsBranch) {
  for (const bool yes : {true, false}) {
    Builder b;
    choose(b, b.constant<uint8_t>(DType::boolean, {}, {static_cast<uint8_t>(yes)}), {b.input("x", {2})});
    EXPECT_EQ(control_flow(b.graph), 1);
    infer_types(b.graph);
    verify(b.graph);
    EXPECT_EQ(op_names(b.graph), (std::vector<std::string>{yes ? "Relu" : "Exp"}));
  }
}

TEST(ControlFlow, ConstantsGoInAndWhatNobodyReadsGoes) {
  Builder b;
  Value* c = b.input("c", {}, DType::boolean);
  Node* n = choose(b, c, {b.floats({2}, {1, 2}), b.input("unread", {3})});
  EXPECT_EQ(control_flow(b.graph), 2);
  infer_types(b.graph);
  verify(b.graph);
  EXPECT_EQ(n->inputs().size(), 1u);
  for (const Graph* branch : n->subgraphs()) {
    EXPECT_TRUE(branch->inputs().empty());
    EXPECT_TRUE(branch->nodes().front()->input(0)->is_constant());
  }
}

}  // namespace
}  // namespace octet::graph::test
