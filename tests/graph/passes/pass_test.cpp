#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

TEST(PassManager, AnUnknownPassNameIsAnErrorThatListsTheKnownOnes) {
  Builder b;
  b.output(b.op("Relu", {b.input("x", {1})}));
  PassOptions options;
  options.disabled = {"fold_everything"};
  try {
    optimize(b.graph, options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(e.what()).find("unknown pass 'fold_everything'; expected one of promote_half, "),
              std::string::npos);
  }
}

TEST(PassManager, ADisabledPassDoesNotRunAnywhereInTheList) {
  Builder b;
  b.output(b.op("Relu", {b.op("Identity", {b.input("x", {1})})}));
  PassOptions options;
  options.disabled = {"remove_identity"};
  for (const PassTiming& t : optimize(b.graph, options)) EXPECT_NE(t.name, "remove_identity");
  EXPECT_EQ(op_names(b.graph), (Names{"Identity", "Relu"}));
}

TEST(PassManager, DumpsBehindEveryPassThatChangedSomething) {
  Builder b;
  b.output(b.op("Relu", {b.op("Identity", {b.input("x", {1})})}));
  std::vector<std::string> dumped;
  PassOptions options;
  options.dump = [&](std::string_view pass, const Graph&) { dumped.emplace_back(pass); };
  optimize(b.graph, options);
  EXPECT_EQ(dumped, Names{"remove_identity"});
}

TEST(PassManager, ASecondRunChangesNothing) {
  Builder b;
  Value* x = b.dq(b.input("x", {1, 4, 6, 6}, DType::s8), 0.02f, 3);
  Value* y = b.op("Conv", {x, b.weights({4, 4, 1, 1}, 1, {0.01f, 0.02f, 0.03f, 0.04f})});
  b.output(b.q(b.op("Relu", {b.op("Add", {y, x})}), 0.1f, -128, DType::s8));
  optimize(b.graph);
  const std::string once = print(b.graph);
  optimize(b.graph);
  EXPECT_EQ(print(b.graph), once);
}

}  // namespace
}  // namespace octet::graph::test
