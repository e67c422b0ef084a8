// From an optimized graph to a plan for one combination of input shapes.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/plan.h"
#include "engine/weight_cache.h"
#include "graph/ir.h"
#include "graph/passes/pass.h"
#include "kernels/isa.h"

namespace octet {

// `shapes`: one for every graph input, in order. Throws Error when the graph cannot run with them.
std::shared_ptr<const Plan> compile(const graph::Graph& optimized, const std::vector<Shape>& shapes, const kernels::Isa& isa, int threads,
                                    const graph::PassOptions& passes, WeightCache& weights);

}  // namespace octet
