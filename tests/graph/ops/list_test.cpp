#include <set>

#include "graph/op_def.h"
#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

TEST(OpList, EveryOperatorIsNamedOnceAndFoundByItsName) {
  std::set<std::string> names;
  for (const OpDef* op : all_ops()) {
    EXPECT_TRUE(names.insert(op->name).second) << op->name << " is defined twice";
    EXPECT_EQ(find_op(op->name), op);
  }
  EXPECT_GT(names.size(), 150u);
  EXPECT_EQ(find_op("NoSuchOperator"), nullptr);
}

TEST(OpList, EveryOperatorInfersAndEvaluates) {
  for (const OpDef* op : all_ops()) {
    EXPECT_NE(op->infer, nullptr) << op->name;
    EXPECT_NE(op->eval, nullptr) << op->name;
    EXPECT_LE(op->min_outputs, op->max_outputs) << op->name;
  }
}

TEST(OpList, SchemasAreWellFormed) {
  for (const OpDef* op : all_ops()) {
    std::set<std::string_view> attrs;
    for (const AttrSchema& a : op->attrs)
      EXPECT_TRUE(attrs.insert(a.name).second) << op->name << " has " << a.name << " twice";
    for (size_t i = 0; i + 1 < op->inputs.size(); ++i) EXPECT_FALSE(op->inputs[i].variadic) << op->name;
  }
}

// What an operator cannot tell from operands of unknown rank it leaves open; it never fails on them.
TEST(OpList, UnknownOperandsNeverFailInference) {
  for (const OpDef* op : all_ops()) {
    bool needs_more = false;
    for (const AttrSchema& a : op->attrs) needs_more = needs_more || a.required;
    if (needs_more || op->inputs.empty() || op->inputs.back().variadic || op->name == "Constant") continue;
    Graph g;
    std::vector<Value*> inputs;
    for (const InputSchema& i : op->inputs) inputs.push_back(i.optional ? nullptr : g.add_input("", Type{}));
    if (op->name == "Resize") inputs = {inputs[0], nullptr, g.add_input("", Type{})};
    Node* n = g.add_node(*op, inputs, static_cast<size_t>(op->min_outputs), "n");
    EXPECT_NO_THROW(infer_types(g, *n)) << op->name;
  }
}

}  // namespace
}  // namespace octet::graph::test
