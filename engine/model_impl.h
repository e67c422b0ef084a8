// What a Model shares between its sessions: the optimized graph, the packed weights, and the plans made so far.
#pragma once

#include <memory>
#include <vector>

#include "engine/plan_cache.h"
#include "engine/weight_cache.h"
#include "graph/ir.h"
#include "graph/passes/pass.h"
#include "kernels/isa.h"
#include "octet/octet.h"

namespace octet {

class ModelImpl {
 public:
  ModelImpl(std::unique_ptr<graph::Graph> graph, const ModelOptions& options);

  // The plan for these input shapes (in the order of the inputs), made at the first call; with caches kept: kept_cache.h.
  std::shared_ptr<const Plan> plan(const std::vector<Shape>& shapes, int threads, bool keep_caches = false) {
    return (keep_caches ? keeping_plans_ : plans_).get(shapes, threads);
  }
  const PlanCache& plans() const { return plans_; }

  const graph::Graph& graph() const { return *graph_; }
  const kernels::Isa& isa() const { return *settings_.isa; }
  const std::vector<ValueInfo>& inputs() const { return inputs_; }
  const std::vector<ValueInfo>& outputs() const { return outputs_; }
  const std::vector<graph::PassTiming>& pass_timings() const { return timings_; }
  size_t weight_bytes() const;

 private:
  std::unique_ptr<graph::Graph> graph_;
  std::vector<graph::PassTiming> timings_;
  std::vector<ValueInfo> inputs_, outputs_;
  WeightCache weights_;
  PlanSettings settings_, keeping_settings_;
  PlanCache plans_, keeping_plans_;
};

}  // namespace octet
