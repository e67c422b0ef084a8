#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

std::shared_ptr<Graph> body(const std::function<void(Builder&)>& fill) {
  Builder b;
  b.graph.name = "body";
  fill(b);
  return b.graph.clone();
}

Value* any_input(Builder& b, const std::string& name) { return b.graph.add_input(name, Type{}); }

std::vector<Tensor> run(Graph& g, const std::vector<Tensor>& inputs) {
  infer_types(g);
  verify(g);
  return run_reference(g, inputs);
}

// y = condition ? x + 1 : x * 2, with x captured.
TEST(If, RunsOneBranchWithWhatItCaptures) {
  Builder b;
  Value *condition = b.input("condition", {}, DType::boolean), *x = b.input("x", {2});
  Node* n = b.graph.add_node("If", {condition, x});
  n->set_attr("captures", number(1));
  n->set_attr("then_branch", body([](Builder& t) { t.output(t.op("Add", {any_input(t, "x"), t.scalar(1)})); }));
  n->set_attr("else_branch", body([](Builder& t) { t.output(t.op("Mul", {any_input(t, "x"), t.scalar(2)})); }));
  b.output(n->output());
  EXPECT_EQ(run(b.graph, {bools({}, {1}), floats({2}, {3, 4})})[0].to_f32(), (Floats{4, 5}));
  EXPECT_EQ(run(b.graph, {bools({}, {0}), floats({2}, {3, 4})})[0].to_f32(), (Floats{6, 8}));
  EXPECT_EQ(to_string(n->output()->type()), "float32[2]");
}

TEST(If, BranchesOfDifferentShapesLeaveTheDimensionOpen) {
  Builder b;
  Value* condition = b.input("condition", {}, DType::boolean);
  Node* n = b.graph.add_node("If", {condition});
  n->set_attr("then_branch", body([](Builder& t) { t.output(t.floats({1, 2}, {1, 2})); }));
  n->set_attr("else_branch", body([](Builder& t) { t.output(t.floats({1, 3}, {1, 2, 3})); }));
  b.output(n->output());
  EXPECT_EQ(run(b.graph, {bools({}, {0})})[0].shape(), (Shape{1, 3}));
  EXPECT_EQ(to_string(n->output()->type()), "float32[1,?]");
}

TEST(If, RefusesBranchesOfDifferentTypes) {
  Builder b;
  Node* n = b.graph.add_node("If", {b.input("condition", {}, DType::boolean)}, 1, "n");
  n->set_attr("then_branch", body([](Builder& t) { t.output(t.scalar(1)); }));
  n->set_attr("else_branch", body([](Builder& t) { t.output(t.ints({1})); }));
  EXPECT_EQ(message_of([&] { infer_types(b.graph); }),
            "test.onnx: node 'n' (If): output 0 is float32[] here and int64[1] there; expected one element type");
}

// sum += i while sum < limit; every sum is collected.
struct Summing {
  Builder b;
  Node* loop;

  explicit Summing(bool limited) {
    Value *trips = b.input("trips", {}, DType::s64), *start = b.input("start", {1}, DType::s64);
    Value* limit = b.input("limit", {1}, DType::s64);
    loop = b.graph.add_node("Loop", {trips, nullptr, start, limit}, 2, "loop");
    loop->set_attr("captures", number(1));
    loop->set_attr("body", body([&](Builder& t) {
                     Value *i = t.input("i", {}, DType::s64), *go = t.input("go", {}, DType::boolean);
                     Value *sum = t.input("sum", {1}, DType::s64), *bound = t.input("bound", {1}, DType::s64);
                     Value* next = t.op("Add", {sum, i});
                     Value* below = t.op("Squeeze", {t.op("Less", {next, bound})});
                     t.output(limited ? below : t.op("Identity", {go}));
                     t.output(next);
                     t.output(next);
                   }));
    b.output(loop->output(0));
    b.output(loop->output(1));
  }
};

TEST(Loop, CarriesValuesAndCollectsScans) {
  Summing s(false);
  const auto out = run(s.b.graph, {longs({}, {4}), longs({1}, {10}), longs({1}, {0})});
  EXPECT_EQ(out[0].to_s64(), (Ints{16}));
  EXPECT_EQ(out[1].to_s64(), (Ints{10, 11, 13, 16}));
  EXPECT_EQ(out[1].shape(), (Shape{4, 1}));
}

TEST(Loop, EndsWhenItsConditionSaysSo) {
  Summing s(true);
  const auto out = run(s.b.graph, {longs({}, {100}), longs({1}, {0}), longs({1}, {6})});
  EXPECT_EQ(out[1].to_s64(), (Ints{0, 1, 3, 6}));
}

TEST(Loop, NoTripsGiveWhatWentInAndNoScans) {
  Summing s(false);
  const auto out = run(s.b.graph, {longs({}, {0}), longs({1}, {7}), longs({1}, {0})});
  EXPECT_EQ(out[0].to_s64(), (Ints{7}));
  EXPECT_EQ(out[1].shape(), (Shape{0, 1}));
}

// x grows by one row an iteration: its first dimension is open, the other stays.
TEST(Loop, WhatChangesItsShapeIsOfOpenShape) {
  Builder b;
  Node* loop = b.graph.add_node("Loop", {b.ints({3}), nullptr, b.input("x", {1, 2})}, 1, "loop");
  loop->set_attr("body", body([](Builder& t) {
                   any_input(t, "i");
                   Value *go = any_input(t, "go"), *x = any_input(t, "x");
                   Node* grown = t.node("Concat", {x, t.floats({1, 2}, {8, 9})}, {{"axis", number(0)}});
                   t.output(go);
                   t.output(grown->output());
                 }));
  b.output(loop->output());
  const auto out = run(b.graph, {floats({1, 2}, {1, 2})});
  EXPECT_EQ(out[0].to_f32(), (Floats{1, 2, 8, 9, 8, 9, 8, 9}));
  EXPECT_EQ(to_string(loop->output()->type()), "float32[?,2]");
}

TEST(Scan, WalksAnyAxisInEitherDirection) {
  Builder b;
  Value *start = b.input("start", {2}), *x = b.input("x", {2, 3});
  Node* scan = b.graph.add_node("Scan", {start, x}, 2, "scan");
  scan->set_attr("num_scan_inputs", number(1));
  scan->set_attr("scan_input_axes", ints({1}));
  scan->set_attr("scan_input_directions", ints({1}));
  scan->set_attr("scan_output_axes", ints({-1}));
  scan->set_attr("body", body([](Builder& t) {
                   Value* sum = t.op("Add", {any_input(t, "sum"), any_input(t, "slice")});
                   t.output(sum);
                   t.output(sum);
                 }));
  b.output(scan->output(0));
  b.output(scan->output(1));
  const auto out = run(b.graph, {floats({2}, {0, 0}), floats({2, 3}, {1, 2, 3, 10, 20, 30})});
  EXPECT_EQ(out[0].to_f32(), (Floats{6, 60}));
  EXPECT_EQ(out[1].to_f32(), (Floats{3, 5, 6, 30, 50, 60}));
  EXPECT_EQ(to_string(scan->output(1)->type()), "float32[2,3]");
}

TEST(Nested, ALoopInABranchReadsWhatIsTwoLevelsOut) {
  Builder b;
  Value *condition = b.input("condition", {}, DType::boolean), *x = b.input("x", {1});
  Node* n = b.graph.add_node("If", {condition, x});
  n->set_attr("captures", number(1));
  n->set_attr("then_branch", body([](Builder& t) {
                Value* inner_x = any_input(t, "x");
                Node* loop = t.graph.add_node("Loop", {t.ints({3}), nullptr, t.floats({1}, {0}), inner_x}, 1, "loop");
                loop->set_attr("captures", number(1));
                loop->set_attr("body", body([](Builder& u) {
                                 any_input(u, "i");
                                 Value *go = any_input(u, "go"), *sum = any_input(u, "sum");
                                 u.output(go);
                                 u.output(u.op("Add", {sum, any_input(u, "x")}));
                               }));
                t.output(loop->output());
              }));
  n->set_attr("else_branch", body([](Builder& t) { t.output(any_input(t, "x")); }));
  b.output(n->output());
  EXPECT_EQ(run(b.graph, {bools({}, {1}), floats({1}, {5})})[0].to_f32(), (Floats{15}));
  EXPECT_EQ(run(b.graph, {bools({}, {0}), floats({1}, {5})})[0].to_f32(), (Floats{5}));
}

TEST(Graph, CopiesHaveSubgraphsOfTheirOwn) {
  Summing s(false);
  infer_types(s.b.graph);
  const auto copy = s.b.graph.clone();
  const Graph* original = s.loop->subgraphs()[0];
  EXPECT_NE(copy->nodes().front()->subgraphs()[0], original);
  EXPECT_EQ(print(*copy), print(s.b.graph));
}

}  // namespace
}  // namespace octet::graph::test
