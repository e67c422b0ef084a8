// The plans of one graph, by the shapes of its inputs: made at first use, at most `kMost` kept, the one used longest ago
// goes.
//
// The graph of a model has one, and so has every graph that is run from within a plan: the branches of an If, the body of a
// loop, a region whose shapes are known only at run time (engine/regions.h). Caches are shared by all sessions of a model.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engine/plan.h"
#include "engine/weight_cache.h"
#include "graph/ir.h"
#include "graph/passes/pass.h"
#include "kernels/isa.h"

namespace octet {

// What a plan is made with, apart from graph and shapes; outlives all plans.
struct PlanSettings {
  const kernels::Isa* isa = nullptr;
  graph::PassOptions passes;
  WeightCache* weights = nullptr;
  bool keep_caches = false;  // engine/kept_cache.h
};

class PlanCache {
 public:
  static constexpr size_t kMost = 16;

  // `graph` must outlive the cache.
  PlanCache(const graph::Graph& graph, const PlanSettings& settings) : graph_(graph), settings_(settings) {}

  // `shapes`: one an input of the graph, in order (empty where it is no tensor). Throws Error when the graph cannot run with
  // them.
  std::shared_ptr<const Plan> get(const std::vector<Shape>& shapes, int threads);
  size_t size() const;
  const graph::Graph& graph() const { return graph_; }

 private:
  const graph::Graph& graph_;
  const PlanSettings& settings_;
  mutable std::mutex mutex_;
  struct Entry {
    std::vector<Shape> shapes;
    int threads;
    std::shared_ptr<const Plan> plan;
  };
  std::vector<Entry> plans_;  // least recently used first
};

}  // namespace octet
