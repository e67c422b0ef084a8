#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

#include "engine/model.h"
#include "graph/eval.h"
#include "graph/op_def.h"
#include "kernels/isa.h"
#include "octet/octet.h"

namespace octet {
namespace {

using graph::Dim;
using graph::Graph;
using graph::Node;
using graph::Tensor;
using graph::Type;
using graph::Value;

Tensor random_tensor(const Shape& shape, unsigned seed) {
  Tensor t(DType::f32, shape);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_as<float>()[i] = uniform(random);
  return t;
}

// x[N,3,H,W] -> conv 3x3 -> relu -> { conv 1x1, conv 3x3 stride 2 is apart } with a residual, a concat and a global pool.
std::unique_ptr<Graph> network() {
  auto g = std::make_unique<Graph>();
  g->file = "network";
  Value* x = g->add_input("x", {DType::f32, std::vector<Dim>{Dim("N"), Dim(3), Dim("H"), Dim("W")}, nullptr});
  unsigned seed = 1;
  const auto conv = [&](Value* in, int64_t ic, int64_t oc, int64_t k) {
    Node* n = g->add_node(
        "Conv", {in, g->add_constant(random_tensor({oc, ic, k, k}, seed++)), g->add_constant(random_tensor({oc}, seed++))});
    n->set_attr("pads", std::vector<int64_t>{k / 2, k / 2, k / 2, k / 2});
    return n->output();
  };
  const auto node = [&](const char* op, std::vector<Value*> in) { return g->add_node(op, std::move(in))->output(); };
  Value* a = node("Relu", {conv(x, 3, 13, 3)});
  Value* b = node("Relu", {node("Add", {conv(a, 13, 13, 3), a})});
  Node* cat = g->add_node("Concat", {conv(b, 13, 5, 1), conv(b, 13, 7, 3)});
  cat->set_attr("axis", int64_t{1});
  Value* pooled = node("GlobalAveragePool", {cat->output()});
  g->add_output(node("Flatten", {pooled}), "y");
  g->add_output(cat->output(), "map");
  graph::infer_types(*g);
  return g;
}

std::vector<Tensor> expected(const Graph& g, const Tensor& x) { return graph::run_reference(g, std::vector<Tensor>{x}); }

bool same_bits(const Tensor& t, const TensorView& v) {
  return t.shape() == v.shape && t.dtype() == v.dtype && std::memcmp(t.as<std::byte>(), v.data, t.bytes()) == 0;
}

TEST(Session, EveryIsaAndThreadCountGivesTheReferencesBits) {
  const Tensor x = random_tensor({2, 3, 17, 11}, 99);
  const std::vector<Tensor> want = expected(*network(), x);
  for (const kernels::Isa& isa : kernels::all_isas()) {
    if (!kernels::supported(isa)) continue;
    for (const int threads : {1, 2, 3}) {
      const Model model = model_from_graph(network(), {std::string(isa.name), {}});
      Session session(model, {threads, false});
      session.set_input("x", x.view());
      session.run();
      EXPECT_TRUE(same_bits(want[0], session.output("y"))) << isa.name << " with " << threads << " threads";
      EXPECT_TRUE(same_bits(want[1], session.output("map"))) << isa.name << " with " << threads << " threads";
    }
  }
}

TEST(Session, RunsAgainWithTheSameBitsAndWithOtherShapes) {
  const Model model = model_from_graph(network());
  Session session(model, {2, true});
  for (const Shape& shape : {Shape{1, 3, 8, 8}, Shape{3, 3, 5, 9}, Shape{1, 3, 8, 8}}) {
    const Tensor x = random_tensor(shape, 5);
    const std::vector<Tensor> want = expected(*network(), x);
    session.set_input("x", x.view());
    for (int i = 0; i < 3; ++i) {
      session.run();
      EXPECT_TRUE(same_bits(want[0], session.output(0)));
      EXPECT_TRUE(same_bits(want[1], session.output(1)));
    }
  }
  EXPECT_FALSE(session.steps().empty());
}

TEST(Session, ManySessionsShareOneModel) {
  const Model model = model_from_graph(network());
  const Tensor x = random_tensor({1, 3, 9, 9}, 3);
  Session first(model, {1, false}), second(model, {1, false});
  first.set_input("x", x.view());
  second.set_input("x", x.view());
  first.run();
  const size_t bytes = model.weight_bytes();
  second.run();
  EXPECT_EQ(model.weight_bytes(), bytes) << "weights are packed once";
  EXPECT_EQ(std::memcmp(first.output("y").data, second.output("y").data, first.output("y").bytes()), 0);
}

void expect_error(const std::function<void()>& call, const std::string& part) {
  try {
    call();
    FAIL() << "expected an error with '" << part << "'";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
  }
}

TEST(Session, NamesWhatWasWrongWithAnInput) {
  const Model model = model_from_graph(network());
  Session session(model);
  expect_error([&] { session.run(); }, "'x' (float32[N,3,H,W]) was not set");
  expect_error([&] { session.set_input("z", random_tensor({1, 3, 8, 8}, 1).view()); }, "the model has 'x'");
  expect_error([&] { session.set_input("x", random_tensor({1, 4, 8, 8}, 1).view()); }, "expected float32[N,3,H,W]");
  expect_error([&] { session.set_input("x", Tensor(DType::u8, {1, 3, 8, 8}).view()); }, "got uint8[1,3,8,8]");
  expect_error([&] { session.output("y"); }, "nothing has run");
}

TEST(Model, RefusesIsasByName) {
  expect_error([] { model_from_graph(network(), {"sse9", {}}); }, "unknown ISA 'sse9'");
  for (const kernels::Isa& isa : kernels::all_isas())
    if (!kernels::supported(isa))
      expect_error([&] { model_from_graph(network(), {std::string(isa.name), {}}); }, "is not available here");
}

}  // namespace
}  // namespace octet
