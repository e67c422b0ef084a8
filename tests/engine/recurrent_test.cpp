// Recurrent layers: the kernels give the bits of the scalar form, on every ISA, with one thread and two.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/model.h"
#include "kernels/isa.h"
#include "tests/graph/builder.h"

namespace octet {
namespace {

using graph::Node;
using graph::Tensor;
using graph::Value;
using graph::test::Builder;
using graph::test::random_floats;

struct Layer {
  const char* op;
  const char* direction = "forward";
  int64_t layout = 0;
  bool bias = true, states = true, peepholes = false;
  float clip = 0;
  int64_t option = 0;  // LSTM: input_forget; GRU: linear_before_reset
  std::vector<std::string> activations = {};
  int64_t steps = 5, batch = 3, inputs = 10, hidden = 7;
};

void PrintTo(const Layer& l, std::ostream* out) { *out << l.op << " " << l.direction << " layout " << l.layout; }

void build(Builder& b, const Layer& l) {
  const bool lstm = std::string(l.op) == "LSTM", gru = std::string(l.op) == "GRU";
  const int64_t directions = std::string(l.direction) == "bidirectional" ? 2 : 1,
                gates = lstm  ? 4
                        : gru ? 3
                              : 1,
                rows = gates * l.hidden;
  const auto weights = [&](const Shape& shape, uint32_t seed) {
    return b.graph.add_constant(random_floats(shape, seed, -0.7f, 0.7f));
  };
  Value* x = b.input("x", l.layout ? Shape{l.batch, l.steps, l.inputs} : Shape{l.steps, l.batch, l.inputs});
  const Shape state = l.layout ? Shape{l.batch, directions, l.hidden} : Shape{directions, l.batch, l.hidden};
  std::vector<Value*> in{x,
                         weights({directions, rows, l.inputs}, 1),
                         weights({directions, rows, l.hidden}, 2),
                         l.bias ? weights({directions, 2 * rows}, 3) : nullptr,
                         nullptr,
                         l.states ? b.input("h", state) : nullptr};
  if (lstm) in.push_back(l.states ? b.input("c", state) : nullptr);
  if (lstm) in.push_back(l.peepholes ? weights({directions, 3 * l.hidden}, 4) : nullptr);
  Node* n = b.graph.add_node(l.op, in, lstm ? 3 : 2, "layer");
  n->set_attr("hidden_size", l.hidden);
  n->set_attr("direction", std::string(l.direction));
  n->set_attr("layout", l.layout);
  if (l.clip > 0) n->set_attr("clip", l.clip);
  if (lstm && l.option) n->set_attr("input_forget", l.option);
  if (gru && l.option) n->set_attr("linear_before_reset", l.option);
  if (!l.activations.empty()) n->set_attr("activations", l.activations);
  graph::infer_types(b.graph);
  for (Value* v : n->outputs()) b.output(v);
}

class Recurrent : public ::testing::TestWithParam<Layer> {};

TEST_P(Recurrent, KernelsGiveTheBitsOfTheScalarForm) {
  Builder b;
  build(b, GetParam());
  std::vector<Tensor> inputs;
  for (const Value* v : b.graph.inputs())
    inputs.push_back(random_floats(v->type().shape(), 10 + static_cast<uint32_t>(inputs.size())));
  const std::vector<Tensor> wanted = graph::run_reference(b.graph, inputs);
  for (const kernels::Isa& isa : kernels::all_isas()) {
    if (!kernels::supported(isa)) continue;
    for (const int threads : {1, 2}) {
      const Model model = model_from_graph(b.graph.clone(), {std::string(isa.name), {}});
      Session session(model, {.threads = threads});
      for (size_t i = 0; i < inputs.size(); ++i) set_input_value(session, i, inputs[i]);
      session.run();
      session.run();  // nothing of the first run may be left in the states
      for (size_t i = 0; i < wanted.size(); ++i) {
        const Tensor got = output_value(session, i);
        ASSERT_EQ(got.shape(), wanted[i].shape());
        EXPECT_EQ(std::memcmp(got.as<float>(), wanted[i].as<float>(), got.bytes()), 0)
            << isa.name << ", " << threads << " threads, output " << i;
      }
      if (isa.id == kernels::IsaId::reference) break;
      for (const StepInfo& s : session.steps()) EXPECT_NE(s.kernel, "eval") << s.op << ": " << s.why;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Layers, Recurrent,
    ::testing::Values(Layer{"LSTM"}, Layer{"LSTM", "reverse"}, Layer{"LSTM", "bidirectional", 1},
                      Layer{"LSTM", "bidirectional", 0, false, false}, Layer{"LSTM", "forward", 1, true, true, true, 0.5f},
                      Layer{"LSTM", "forward", 0, true, true, true, 0, 1},
                      Layer{"LSTM", "forward", 0, true, true, false, 0, 0, {"HardSigmoid", "Relu", "LeakyRelu"}},
                      Layer{"LSTM", "forward", 0, true, true, false, 0, 0, {}, 1, 1, 33, 128}, Layer{"GRU"},
                      Layer{"GRU", "reverse", 1}, Layer{"GRU", "bidirectional", 0, true, true, false, 0, 1},
                      Layer{"GRU", "forward", 1, false, false, false, 0.3f, 1}, Layer{"RNN"},
                      Layer{"RNN", "bidirectional", 1}, Layer{"RNN", "reverse", 0, false, true, false, 0.4f, 0, {"Relu"}}));

}  // namespace
}  // namespace octet
