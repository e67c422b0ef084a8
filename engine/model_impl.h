// What a Model shares between its sessions: the optimized graph, the packed weights, and the plans made so far.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/compile.h"
#include "engine/weight_cache.h"
#include "graph/ir.h"
#include "graph/passes/pass.h"
#include "kernels/isa.h"
#include "octet/octet.h"

namespace octet {

class ModelImpl {
 public:
  ModelImpl(std::unique_ptr<graph::Graph> graph, const ModelOptions& options);

  // The plan for these input shapes (in the order of the inputs), made at the first call. At most kMaxPlans are kept; the one
  // used longest ago goes.
  std::shared_ptr<const Plan> plan(const std::vector<Shape>& shapes, int threads);

  const graph::Graph& graph() const { return *graph_; }
  const kernels::Isa& isa() const { return *isa_; }
  const std::vector<ValueInfo>& inputs() const { return inputs_; }
  const std::vector<ValueInfo>& outputs() const { return outputs_; }
  const std::vector<graph::PassTiming>& pass_timings() const { return timings_; }
  size_t weight_bytes() const;

 private:
  static constexpr size_t kMaxPlans = 16;

  std::unique_ptr<graph::Graph> graph_;
  const kernels::Isa* isa_;
  graph::PassOptions passes_;
  std::vector<graph::PassTiming> timings_;
  std::vector<ValueInfo> inputs_, outputs_;
  WeightCache weights_;
  std::mutex mutex_;
  struct Entry {
    std::vector<Shape> shapes;
    int threads;
    std::shared_ptr<const Plan> plan;
  };
  std::vector<Entry> plans_;  // least recently used first
};

}  // namespace octet
