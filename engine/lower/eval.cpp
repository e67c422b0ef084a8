// Steps that evaluate an operator's scalar form; those that run graphs: control flow and regions.
#include <algorithm>
#include <memory>

#include "engine/frame.h"
#include "engine/lower/lower.h"
#include "engine/lower/ports.h"
#include "engine/regions.h"
#include "graph/eval.h"

namespace octet {
namespace {

using graph::Graph;
using graph::Node;
using graph::Tensor;
using graph::Value;

// An operator may hand on an input, or part of it; what a slot keeps must not be the arena, which is written again.
bool lies_in(const Tensor& t, const std::vector<Tensor>& inputs) {
  if (!t.is_tensor())
    return std::any_of(t.elements().begin(), t.elements().end(), [&](const Tensor& e) { return lies_in(e, inputs); });
  if (size_of(t.dtype()) == 0) return false;
  return std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& in) {
    return in.is_tensor() && in.defined() && t.as<std::byte>() >= in.as<std::byte>() &&
           t.as<std::byte>() < in.as<std::byte>() + std::max<size_t>(in.bytes(), 1);
  });
}

void write_all(const Node& node, const std::vector<Port>& ports, std::vector<Tensor> tensors,
               const std::vector<Tensor>& arena_inputs, const RunContext& context) {
  for (size_t i = 0; i < ports.size(); ++i) {
    Tensor& t = tensors[i];
    ports[i].write(node, i, ports[i].in_slot() && lies_in(t, arena_inputs) ? owned(t) : std::move(t), context);
  }
}

std::vector<Tensor> from_arena(const std::vector<Port>& ports, const std::vector<Tensor>& tensors) {
  std::vector<Tensor> found;
  for (size_t i = 0; i < ports.size(); ++i)
    if (!ports[i].in_slot() && tensors[i].defined()) found.push_back(tensors[i]);
  return found;
}

// The graphs of a node and their plans.
struct Callee {
  const Graph* graph;
  std::unique_ptr<PlanCache> plans;
};

}  // namespace

void lower_eval(Lowering& lowering, const Node& node) {
  const bool slots = lowering.touches_slots(node);
  lowering.add_step(node, slots ? "eval at run time" : "eval",
                    [&node, slots, in = ports_to_read(lowering, node), out = ports_to_write(lowering, node)](
                        const RunContext& context, int part, int) {
                      if (part != 0) return;
                      const std::vector<Tensor> inputs = read_all(in, context);
                      write_all(node, out, graph::evaluate(node, inputs),
                                slots ? from_arena(in, inputs) : std::vector<Tensor>{}, context);
                    });
}

// The operator's own evaluation, which says which graph runs when; the graphs run as plans, by all threads.
void lower_control(Lowering& lowering, const Node& node) {
  auto callees = std::make_shared<std::vector<Callee>>();
  for (Graph* g : node.subgraphs()) callees->push_back({g, std::make_unique<PlanCache>(*g, lowering.settings())});
  const int call = lowering.new_call();
  lowering.add_step(node, "calls its graphs",
                    [&node, callees, call, in = ports_to_read(lowering, node), out = ports_to_write(lowering, node)](
                        const RunContext& context, int part, int) {
                      Call& c = *context.frame->calls[static_cast<size_t>(call)];
                      c.run(*context.team, part, [&](const Call::RunGraph& run) {
                        const graph::EvalContext::RunGraph run_graph = [&](const Graph& g, std::span<const Tensor> inputs,
                                                                           size_t changed) {
                          const auto callee =
                              std::find_if(callees->begin(), callees->end(), [&](const Callee& e) { return e.graph == &g; });
                          return run(*callee->plans, inputs, changed);
                        };
                        std::vector<Tensor> outputs = graph::evaluate(node, read_all(in, context), &run_graph);
                        // What a graph gave lies in its frame.
                        for (size_t i = 0; i < out.size(); ++i)
                          out[i].write(node, i, out[i].in_slot() && outputs[i].is_tensor() ? owned(outputs[i]) : outputs[i],
                                       context);
                      });
                    });
  lowering.last_step().call = call;
}

void lower_region(Lowering& lowering, const Node& node) {
  const Graph& body = *node.subgraphs().at(0);
  auto plans = std::make_shared<PlanCache>(body, lowering.settings());
  const bool heavy = has_products(body);
  const int call = lowering.new_call();
  lowering.add_step(node, "plan by shapes found",
                    [&node, &body, plans, heavy, call, in = ports_to_read(lowering, node),
                     out = ports_to_write(lowering, node)](const RunContext& context, int part, int) {
                      Call& c = *context.frame->calls[static_cast<size_t>(call)];
                      c.run(*context.team, part, [&](const Call::RunGraph& run) {
                        const std::vector<Tensor> inputs = read_all(in, context);
                        const bool planned = worth_a_plan(heavy, inputs);
                        std::vector<Tensor> outputs =
                            planned ? run(*plans, inputs, inputs.size()) : graph::run_reference(body, inputs);
                        for (size_t i = 0; i < out.size(); ++i) {
                          const bool own = out[i].in_slot() && (planned || lies_in(outputs[i], inputs));
                          out[i].write(node, i, own ? owned(outputs[i]) : std::move(outputs[i]), context);
                        }
                      });
                    });
  lowering.last_step().call = call;
}

}  // namespace octet
