// Values whose shapes are known only at run time, control flow and sequences, on every ISA and with one thread and two.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "engine/frame.h"
#include "engine/model.h"
#include "engine/model_impl.h"
#include "engine/regions.h"
#include "kernels/isa.h"
#include "tests/graph/builder.h"

namespace octet {
namespace {

using graph::Dim;
using graph::Graph;
using graph::Node;
using graph::Tensor;
using graph::Type;
using graph::Value;
using graph::ValueKind;
using graph::test::Builder;
using graph::test::random_floats;

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const kernels::Isa& isa : kernels::all_isas())
    if (kernels::supported(isa)) names.emplace_back(isa.name);
  return names;
}

Tensor longs(const std::vector<int64_t>& values) { return Tensor::of_s64(values); }
Tensor truth(bool value) { return Tensor::of<uint8_t>(DType::boolean, {}, {static_cast<uint8_t>(value)}); }

std::shared_ptr<Graph> body(const std::function<void(Builder&)>& fill) {
  Builder b;
  b.graph.name = "body";
  fill(b);
  return b.graph.clone();
}
Value* any_input(Builder& b, const std::string& name) { return b.graph.add_input(name, Type{}); }

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.kind() != b.kind() || a.dtype() != b.dtype()) return false;
  if (!a.is_tensor()) {
    if (a.elements().size() != b.elements().size()) return false;
    for (size_t i = 0; i < a.elements().size(); ++i)
      if (!same_bits(a.elements()[i], b.elements()[i])) return false;
    return true;
  }
  return a.shape() == b.shape() && std::memcmp(a.as<std::byte>(), b.as<std::byte>(), a.bytes()) == 0;
}

using Inputs = std::vector<Tensor>;

// Runs the inputs one after another in one session, on every ISA and thread count, and checks each against scalar evaluation
// of the graph as it was built.
void expect_reference(const Builder& b, const std::vector<Inputs>& runs) {
  for (const std::string& isa : isas())
    for (const int threads : {1, 2}) {
      const Model model = model_from_graph(b.graph.clone(), {isa, {}});
      Session session(model, {.threads = threads});
      for (const Inputs& inputs : runs) {
        for (size_t i = 0; i < inputs.size(); ++i) set_input_value(session, i, inputs[i]);
        session.run();
        const std::vector<Tensor> wanted = graph::run_reference(b.graph, inputs);
        for (size_t i = 0; i < wanted.size(); ++i)
          EXPECT_TRUE(same_bits(output_value(session, i), wanted[i])) << isa << ", " << threads << " threads, output " << i;
      }
    }
}

Tensor mask(const std::vector<float>& values) {
  return Tensor::of<float>(DType::f32, {static_cast<int64_t>(values.size())}, values);
}

// The rows of `table` that a mask picks, through a product, then back to one row: unknown in the middle, known at the end.
TEST(Dynamic, RowsPickedAtRunTimeGoThroughAProduct) {
  Builder b;
  Value *x = b.input("mask", {6}), *table = b.input("table", {6, 16});
  Value* rows = b.op("Squeeze", {b.op("NonZero", {x}), b.ints({0})});
  Value* picked = b.op("Gather", {table, rows});
  Value* product = b.op("Relu", {b.op("MatMul", {picked, b.graph.add_constant(random_floats({16, 24}, 3))})});
  Value* one_row = b.op("ReduceSum", {product, b.ints({0})}, {{"keepdims", int64_t{1}}});
  b.output(product);
  b.output(b.op("Tanh", {one_row}));
  const Tensor t = random_floats({6, 16}, 1);
  expect_reference(b, {{mask({1, 0, 1, 0, 0, 1}), t},
                       {mask({0, 0, 0, 0, 1, 0}), t},
                       {mask({1, 1, 1, 1, 1, 1}), t},
                       {mask({0, 0, 0, 0, 0, 0}), t}});
}

TEST(Dynamic, WhatIsKnownBehindARegionStaysInTheOuterPlan) {
  Builder b;
  Value* x = b.input("mask", {6});
  Value* count = b.op("Cast", {b.op("Shape", {b.op("NonZero", {x})})}, {{"to", int64_t{1}}});  // [1, how many]
  Value* y = b.op("Sigmoid", {b.op("Exp", {count})});
  b.output(y);
  const Model model = model_from_graph(b.graph.clone());
  Session session(model, {.threads = 1});
  set_input_value(session, 0, mask({1, 0, 1, 0, 0, 1}));
  session.run();
  std::vector<std::string> outer;
  for (const Step& s : model.impl().plan({{6}}, 1)->steps) outer.push_back(s.info.op);
  EXPECT_EQ(outer, (std::vector<std::string>{"NonZero", "octet.Region", "Cast", "Exp", "Sigmoid"}));
}

TEST(Dynamic, ShapesComputedFromDataReshapeAndExpand) {
  Builder b;
  Value *x = b.input("x", {2, 12}), *shape = b.input("shape", {3}, DType::s64), *many = b.input("many", {1}, DType::s64);
  Value* reshaped = b.op("Reshape", {x, shape});
  b.output(b.op("Add", {reshaped, b.op("ConstantOfShape", {shape})}));
  b.output(
      b.op("Expand", {b.op("Unsqueeze", {reshaped, b.ints({0})}), b.op("Concat", {many, shape}, {{"axis", int64_t{0}}})}));
  const Tensor t = random_floats({2, 12}, 5);
  expect_reference(
      b, {{t, longs({4, 3, 2}), longs({2})}, {t, longs({1, 4, 6}), longs({1})}, {t, longs({4, 3, 2}), longs({3})}});
}

TEST(Dynamic, ARangeOfRunTimeLength) {
  Builder b;
  Value* n = b.input("n", {}, DType::s64);
  Value *zero = b.constant<int64_t>(DType::s64, {}, {0}), *one = b.constant<int64_t>(DType::s64, {}, {1});
  b.output(b.op("Mul", {b.op("Range", {zero, n, one}), n}));
  const auto scalar = [](int64_t v) { return Tensor::of<int64_t>(DType::s64, {}, {v}); };
  expect_reference(b, {{scalar(5)}, {scalar(0)}, {scalar(3)}});
}

TEST(Dynamic, TopKOfRunTimeK) {
  Builder b;
  Node* top = b.node("TopK", {b.input("x", {3, 8}), b.input("k", {1}, DType::s64)}, {}, 2);
  b.output(b.op("Relu", {top->output(0)}));
  b.output(top->output(1));
  const Tensor x = random_floats({3, 8}, 6);
  expect_reference(b, {{x, longs({3})}, {x, longs({8})}, {x, longs({1})}});
}

TEST(Control, BranchesArePlansOfTheirOwn) {
  Builder b;
  Value *condition = b.input("condition", {}, DType::boolean), *x = b.input("x", {2, 16});
  Node* n = b.graph.add_node("If", {condition, b.op("Relu", {x})});
  n->set_attr("captures", int64_t{1});
  n->set_attr("then_branch", body([](Builder& t) {
                t.output(t.op("MatMul", {any_input(t, "h"), t.graph.add_constant(random_floats({16, 16}, 1))}));
              }));
  n->set_attr("else_branch", body([](Builder& t) { t.output(t.op("Tanh", {any_input(t, "h")})); }));
  graph::infer_types(b.graph);
  b.output(b.op("Sigmoid", {n->output()}));
  const Tensor t = random_floats({2, 16}, 2);
  expect_reference(b, {{truth(true), t}, {truth(false), t}, {truth(true), random_floats({2, 16}, 3)}});

  const Model model = model_from_graph(b.graph.clone(), {"avx2", {}});
  Session session(model, {.threads = 1});
  set_input_value(session, 0, truth(true));
  set_input_value(session, 1, t);
  session.run();
  std::vector<std::string> kernels;
  for (const StepInfo& s : session.steps()) kernels.push_back(s.op);
  EXPECT_EQ(kernels, (std::vector<std::string>{"Relu", "If", "octet.Gemm", "Sigmoid"}));
}

// h = tanh(x_t * W + h * R) for as many steps as asked, all h collected, the scale captured.
TEST(Control, ALoopCarriesItsState) {
  Builder b;
  Value *trips = b.input("trips", {}, DType::s64), *start = b.input("start", {1, 8}), *scale = b.input("scale", {1, 8});
  Node* loop = b.graph.add_node("Loop", {trips, nullptr, start, scale}, 2, "loop");
  loop->set_attr("captures", int64_t{1});
  loop->set_attr("body", body([](Builder& t) {
                   any_input(t, "i");
                   Value *go = any_input(t, "go"), *h = any_input(t, "h");
                   Value* product = t.op("MatMul", {h, t.graph.add_constant(random_floats({8, 8}, 4))});
                   Value* next = t.op("Mul", {t.op("Tanh", {product}), any_input(t, "scale")});
                   t.output(go);
                   t.output(next);
                   t.output(next);
                 }));
  graph::infer_types(b.graph);
  b.output(loop->output(0));
  b.output(b.op("Exp", {loop->output(1)}));
  const auto trips_of = [](int64_t n) { return Tensor::of<int64_t>(DType::s64, {}, {n}); };
  expect_reference(b, {{trips_of(5), random_floats({1, 8}, 1), random_floats({1, 8}, 2)},
                       {trips_of(0), random_floats({1, 8}, 1), random_floats({1, 8}, 2)},
                       {trips_of(2), random_floats({1, 8}, 3), random_floats({1, 8}, 4)}});
}

// Values handed on crosswise: neither may overwrite the other before it is read.
TEST(Control, ALoopMaySwapWhatItCarries) {
  Builder b;
  Node* loop =
      b.graph.add_node("Loop", {b.input("trips", {}, DType::s64), nullptr, b.input("a", {4}), b.input("b", {4})}, 2, "loop");
  loop->set_attr("body", body([](Builder& t) {
                   any_input(t, "i");
                   Value *go = any_input(t, "go"), *a = any_input(t, "a"), *c = any_input(t, "c");
                   t.output(go);
                   t.output(c);
                   t.output(a);
                 }));
  graph::infer_types(b.graph);
  b.output(loop->output(0));
  b.output(loop->output(1));
  expect_reference(b, {{Tensor::of<int64_t>(DType::s64, {}, {3}), random_floats({4}, 1), random_floats({4}, 2)}});
}

// The carried value grows: every iteration has another shape, more of them than a call keeps frames.
TEST(Control, ALoopOfChangingShapes) {
  Builder b;
  Node* loop = b.graph.add_node("Loop", {b.input("trips", {}, DType::s64), nullptr, b.input("x", {1, 8})}, 1, "loop");
  loop->set_attr(
      "body", body([](Builder& t) {
        any_input(t, "i");
        Value *go = any_input(t, "go"), *x = any_input(t, "x");
        Value* row = t.op("ReduceMax", {x, t.ints({0})}, {{"keepdims", int64_t{1}}});
        t.output(go);
        t.output(t.op("Relu", {t.op("Concat", {x, t.op("MatMul", {row, t.graph.add_constant(random_floats({8, 8}, 9))})},
                                    {{"axis", int64_t{0}}})}));
      }));
  graph::infer_types(b.graph);
  b.output(loop->output());
  const auto trips_of = [](int64_t n) { return Tensor::of<int64_t>(DType::s64, {}, {n}); };
  expect_reference(
      b, {{trips_of(20), random_floats({1, 8}, 1, 0.0f, 1.0f)}, {trips_of(3), random_floats({1, 8}, 2, 0.0f, 1.0f)}});
}

TEST(Control, ScanSlicesAndCollects) {
  Builder b;
  Node* scan = b.graph.add_node("Scan", {b.input("h", {2, 8}), b.input("x", {5, 2, 8})}, 2, "scan");
  scan->set_attr("num_scan_inputs", int64_t{1});
  scan->set_attr(
      "body", body([](Builder& t) {
        Value *h = any_input(t, "h"), *x = any_input(t, "x");
        Value* next = t.op("Tanh", {t.op("Add", {t.op("MatMul", {h, t.graph.add_constant(random_floats({8, 8}, 5))}), x})});
        t.output(next);
        t.output(t.op("Identity", {next}));
      }));
  graph::infer_types(b.graph);
  b.output(scan->output(0));
  b.output(scan->output(1));
  expect_reference(b, {{random_floats({2, 8}, 1), random_floats({5, 2, 8}, 2)}});
}

// A loop inside a branch, whose body reads a value two levels out and has a data-dependent shape in it.
TEST(Control, NestsToAnyDepth) {
  Builder b;
  Value *condition = b.input("condition", {}, DType::boolean), *x = b.input("x", {8}), *table = b.input("table", {8, 4});
  Node* n = b.graph.add_node("If", {condition, x, table});
  n->set_attr("captures", int64_t{2});
  n->set_attr("then_branch", body([](Builder& t) {
                Value *inner_x = any_input(t, "x"), *inner_table = any_input(t, "table");
                Node* loop = t.graph.add_node("Loop", {t.ints({3}), nullptr, inner_x, inner_table}, 2, "loop");
                loop->set_attr("captures", int64_t{1});
                loop->set_attr("body", body([](Builder& u) {
                                 any_input(u, "i");
                                 Value *go = any_input(u, "go"), *state = any_input(u, "state"),
                                       *rows = any_input(u, "table");
                                 Value* at = u.op("Squeeze", {u.op("NonZero", {u.op("Relu", {state})}), u.ints({0})});
                                 Value* sum = u.op("ReduceSum", {u.op("Gather", {rows, at})}, {{"keepdims", int64_t{0}}});
                                 u.output(go);
                                 u.output(u.op("Sub", {state, u.scalar(0.25f)}));
                                 u.output(sum);
                               }));
                t.output(loop->output(1));
              }));
  n->set_attr("else_branch", body([](Builder& t) {
                any_input(t, "x");
                t.output(t.op("ReduceMax", {any_input(t, "table"), t.ints({1})}, {{"keepdims", int64_t{0}}}));
              }));
  graph::infer_types(b.graph);
  b.output(n->output());
  const Tensor state = random_floats({8}, 1), rows = random_floats({8, 4}, 2);
  expect_reference(b, {{truth(true), state, rows}, {truth(false), state, rows}, {truth(true), random_floats({8}, 5), rows}});
}

TEST(Control, SequencesGrowInALoopAndComeOutAsATensor) {
  Builder b;
  Value* x = b.input("x", {4, 3});
  Value* sequence = b.graph.add_input("sequence", {DType::f32, std::nullopt, nullptr, ValueKind::sequence});
  Node* loop = b.graph.add_node("Loop", {b.input("trips", {}, DType::s64), nullptr, sequence, x}, 1, "loop");
  loop->set_attr("captures", int64_t{1});
  loop->set_attr("body", body([](Builder& t) {
                   Value *i = any_input(t, "i"), *go = any_input(t, "go");
                   Value* held = t.graph.add_input("held", {DType::f32, std::nullopt, nullptr, ValueKind::sequence});
                   Value* row = t.op("Exp", {t.op("Gather", {any_input(t, "x"), i})});
                   t.output(go);
                   t.output(t.op("SequenceInsert", {held, row}));
                 }));
  graph::infer_types(b.graph);
  b.output(loop->output());
  b.output(b.op("Relu", {b.op("ConcatFromSequence", {loop->output()}, {{"axis", int64_t{0}}, {"new_axis", int64_t{1}}})}));
  const auto trips_of = [](int64_t n) { return Tensor::of<int64_t>(DType::s64, {}, {n}); };
  const Tensor given = Tensor::sequence(DType::f32, {random_floats({3}, 7)});
  expect_reference(b, {{random_floats({4, 3}, 1), given, trips_of(4)}, {random_floats({4, 3}, 2), given, trips_of(1)}});
}

TEST(Control, AnErrorInABodyEndsTheRunAndTheNextOneWorks) {
  Builder b;
  Value *sequence = b.graph.add_input("sequence", {DType::f32, std::nullopt, nullptr, ValueKind::sequence}),
        *at = b.input("at", {}, DType::s64);
  Node* n = b.graph.add_node("If", {b.input("condition", {}, DType::boolean), sequence, at}, 1, "choice");
  n->set_attr("captures", int64_t{2});
  const auto pick = [](const char* op) {
    return body([op](Builder& t) {
      Value* s = t.graph.add_input("s", {DType::f32, std::nullopt, nullptr, ValueKind::sequence});
      t.output(t.op(op, {t.op("SequenceAt", {s, any_input(t, "at")})}));
    });
  };
  n->set_attr("then_branch", pick("Relu"));
  n->set_attr("else_branch", pick("Exp"));
  graph::infer_types(b.graph);
  b.output(n->output());
  const auto scalar = [](int64_t v) { return Tensor::of<int64_t>(DType::s64, {}, {v}); };
  for (const int threads : {1, 2}) {
    const Model model = model_from_graph(b.graph.clone());
    Session session(model, {.threads = threads});
    set_input_value(session, 0, Tensor::sequence(DType::f32, {random_floats({3}, 7)}));
    set_input_value(session, 2, truth(true));
    for (int again = 0; again < 20; ++again) {
      set_input_value(session, 1, scalar(5));
      EXPECT_THROW(session.run(), Error);
      set_input_value(session, 1, scalar(0));
      EXPECT_NO_THROW(session.run());
    }
  }
}

// Not dynamic at all: constant indices at one distance are a copy by kernels, others (0, 1, 3) are picked row by row.
TEST(Gather, PicksByStepsWithoutEvaluation) {
  Builder b;
  Value* x = b.input("x", {2, 6, 5});
  b.output(b.op("Gather", {x, b.ints({1, 3, 5})}, {{"axis", int64_t{1}}}));
  b.output(b.op("Gather", {x, b.constant<int64_t>(DType::s64, {}, {-1})}, {{"axis", int64_t{2}}}));
  b.output(b.op("Gather", {x, b.ints({4, 2, 0})}, {{"axis", int64_t{1}}}));
  b.output(b.op("Gather", {x, b.ints({0, 1, 3})}, {{"axis", int64_t{1}}}));
  expect_reference(b, {{random_floats({2, 6, 5}, 1)}});
  const Model model = model_from_graph(b.graph.clone(), {"avx2", {}});
  Session session(model, {.threads = 1});
  session.prepare();
  int evaluated = 0;
  for (const StepInfo& s : session.steps()) evaluated += s.kernel == "eval";
  EXPECT_EQ(evaluated, 0);
}

TEST(PlanCache, KeepsSoManyPlansAndNoMore) {
  Builder b;
  Value* x = b.graph.add_input("x", {DType::f32, std::vector<Dim>{Dim("N"), Dim(4)}, nullptr});
  b.output(b.op("Relu", {x}));
  const Model model = model_from_graph(b.graph.clone());
  Session session(model, {.threads = 1});
  for (int64_t n = 1; n <= static_cast<int64_t>(PlanCache::kMost) + 5; ++n) {
    const Tensor t = random_floats({n, 4}, static_cast<uint32_t>(n));
    session.set_input("x", t.view());
    session.run();
  }
  EXPECT_EQ(model.impl().plans().size(), PlanCache::kMost);
}

TEST(Regions, SmallOnesWithoutProductsAreNotPlanned) {
  const Inputs small{random_floats({10}, 1)}, large{Tensor(DType::f32, {1 << 17})};
  EXPECT_FALSE(worth_a_plan(false, small));
  EXPECT_TRUE(worth_a_plan(true, small));
  EXPECT_TRUE(worth_a_plan(false, large));
}

}  // namespace
}  // namespace octet
