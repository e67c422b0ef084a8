#include "engine/compile.h"

#include "engine/kept_cache.h"
#include "engine/lower/lower.h"
#include "engine/placement.h"
#include "engine/regions.h"
#include "graph/op_def.h"

namespace octet {
namespace {

using graph::Graph;
using graph::Node;
using graph::Value;

void fix_shapes(Graph& graph, const std::vector<Shape>& shapes) {
  for (size_t i = 0; i < shapes.size(); ++i) {
    Value* input = graph.inputs()[i];
    if (!input->type().is_tensor()) continue;
    graph::Type type = input->type();
    type.dims = std::vector<graph::Dim>(shapes[i].begin(), shapes[i].end());
    input->set_type(type);
  }
  graph::infer_types(graph);
}

// An interface value that is no node's own output (a constant, or an input handed through) gets a node, so that it has a
// place.
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

// Does the memory of an output overlap that of an input?
bool passes_through(const Graph& graph, const Placement& placement) {
  for (const Value* out : graph.outputs())
    for (const Value* in : graph.inputs())
      if (is_static(in) && is_static(out) && placement.at(in).group == placement.at(out).group) return true;
  return false;
}

}  // namespace

std::shared_ptr<const Plan> compile(const Graph& optimized, const std::vector<Shape>& shapes, int threads,
                                    const PlanSettings& settings) {
  const kernels::Isa& isa = *settings.isa;
  auto plan = std::make_shared<Plan>();
  plan->graph = optimized.clone();
  Graph& graph = *plan->graph;
  fix_shapes(graph, shapes);
  graph::optimize(graph, settings.passes);
  if (settings.keep_caches) keep_caches(graph);
  materialize_outputs(graph);
  form_regions(graph);

  const bool kernels_run = isa.id != kernels::IsaId::reference;
  if (kernels_run) graph::assign_layouts(graph, takes_channels_last);
  const Placement placement = place_values(graph, isa);
  plan->threads = threads;
  plan->arena_bytes = placement.arena_bytes;
  plan->passes_through = passes_through(graph, placement);
  Lowering lowering(settings, threads, placement, *plan);
  for (const auto& node : graph.nodes()) {
    if (!node->subgraphs().empty()) {
      node->op_name() == "octet.Region" ? lower_region(lowering, *node) : lower_control(lowering, *node);
      continue;
    }
    std::string why;
    const LowerDef* def = kernels_run && is_static(*node) ? find_lowering(*node, &why) : nullptr;
    if (kernels_run && !is_static(*node)) why = "its shapes are known only at run time";
    if (kernels_run && !def) node->why += (node->why.empty() ? "" : "; ") + why;
    if (def)
      def->lower(lowering, *node);
    else
      lower_eval(lowering, *node);
  }

  lowering.finish();

  const auto bind = [&](const Value* v, const std::string& name) {
    const int slot = lowering.slot(v);
    if (slot >= 0) return Binding{name, v->dtype(), {}, {}, slot};
    return Binding{name, v->dtype(), v->type().shape(), lowering.location(v), -1};
  };
  for (const Value* v : graph.inputs()) plan->inputs.push_back(bind(v, v->name()));
  for (size_t i = 0; i < graph.outputs().size(); ++i)
    plan->outputs.push_back(bind(graph.outputs()[i], graph.output_names()[i]));
  return plan;
}

}  // namespace octet
