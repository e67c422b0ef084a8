#include "engine/compile.h"

#include <unordered_map>

#include "engine/lower/lower.h"
#include "engine/placement.h"
#include "graph/op_def.h"

namespace octet {
namespace {

using graph::Graph;
using graph::Node;
using graph::Value;

void fix_shapes(Graph& graph, const std::vector<Shape>& shapes) {
  for (size_t i = 0; i < shapes.size(); ++i) {
    Value* input = graph.inputs()[i];
    graph::Type type = input->type();
    type.dims = std::vector<graph::Dim>(shapes[i].begin(), shapes[i].end());
    input->set_type(type);
  }
  graph::infer_types(graph);
}

void check_static(const Graph& graph) {
  for (const Value* v : graph.inputs())
    if (size_of(v->dtype()) == 0)
      throw Error(ErrorCode::unsupported, graph.file + ": input '" + v->name() + "' is " + to_string(v->type()) +
                                              "; expected numbers, which octet plans are made for");
  for (const auto& node : graph.nodes())
    for (const Value* v : node->outputs())
      if (!v->type().static_shape() || size_of(v->dtype()) == 0)
        throw Error(ErrorCode::unsupported, graph.file + ": node '" + node->name() + "' (" + std::string(node->op_name()) +
                                                "): its output is " + to_string(v->type()) +
                                                ", known only when it has run; octet plans need shapes known from the inputs' shapes");
}

// An interface value that is no node's own output (a constant, or an input handed through) gets a node, so that it has a place.
void materialize_outputs(Graph& graph) {
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    Value* v = graph.outputs()[i];
    if (v->producer() && v->layout == graph::Layout::plain) continue;
    Node* copy = graph.add_node("Identity", {v});
    copy->output()->set_type(v->type());
    copy->why = "it hands a constant, an input or an image to an output of the model";
    graph.set_output(i, copy->output());
  }
}

}  // namespace

std::shared_ptr<const Plan> compile(const Graph& optimized, const std::vector<Shape>& shapes, const kernels::Isa& isa, int threads,
                                    const graph::PassOptions& passes, WeightCache& weights) {
  auto plan = std::make_shared<Plan>();
  plan->graph = optimized.clone();
  Graph& graph = *plan->graph;
  fix_shapes(graph, shapes);
  graph::optimize(graph, passes);
  materialize_outputs(graph);
  check_static(graph);

  const bool kernels_run = isa.id != kernels::IsaId::reference;
  if (kernels_run)
    graph::assign_layouts(graph, takes_channels_last);
  const Placement placement = place_values(graph, isa);
  plan->threads = threads;
  plan->arena_bytes = placement.arena_bytes;
  Lowering lowering(isa, threads, placement, weights, *plan);
  for (const auto& node : graph.nodes()) {
    std::string why;
    const LowerDef* def = kernels_run ? find_lowering(*node, &why) : nullptr;
    if (kernels_run && !def) node->why += (node->why.empty() ? "" : "; ") + why;
    if (def)
      def->lower(lowering, *node);
    else
      lower_eval(lowering, *node);
  }

  lowering.finish();

  const auto bind = [&](const Value* v, const std::string& name) {
    return Binding{name, v->dtype(), v->type().shape(), lowering.location(v)};
  };
  for (const Value* v : graph.inputs()) plan->inputs.push_back(bind(v, v->name()));
  for (size_t i = 0; i < graph.outputs().size(); ++i) plan->outputs.push_back(bind(graph.outputs()[i], graph.output_names()[i]));
  return plan;
}

}  // namespace octet
