// From an optimized graph to a plan for one combination of input shapes.
//
//   clone ▶ fix shapes ▶ optimize ▶ gather what only run time knows into regions ▶ layouts ▶ placement ▶ steps
#pragma once

#include <memory>
#include <vector>

#include "engine/plan_cache.h"

namespace octet {

// `shapes`: one for every graph input, in order; ignored where the input is no tensor. Throws Error when the graph cannot
// run with them. `settings` must outlive the plan.
std::shared_ptr<const Plan> compile(const graph::Graph& optimized, const std::vector<Shape>& shapes, int threads,
                                    const PlanSettings& settings);

}  // namespace octet
