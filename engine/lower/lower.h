// Lowering: from a node to the steps that compute it.
//
// One file here per family; lower.cpp names them all, once. A lowering says whether kernels can take a node, what halo it
// wants around its inputs, which operands it may overwrite, and makes the steps. A node without a lowering, or one that its
// lowering declines, runs through the operator's scalar form (`lower_eval`), which copes with any placement.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/placement.h"
#include "engine/plan.h"
#include "engine/plan_cache.h"
#include "engine/weight_cache.h"
#include "graph/ir.h"
#include "kernels/conv.h"
#include "kernels/isa.h"

namespace octet {

class Lowering {
 public:
  // Values that are not static (engine/regions.h) get slots.
  Lowering(const PlanSettings& settings, int threads, const Placement& placement, Plan& plan);

  const kernels::Isa& isa() const { return *settings_.isa; }
  int threads() const { return threads_; }
  WeightCache& weights() { return *settings_.weights; }
  const PlanSettings& settings() const { return settings_; }
  const graph::Graph& graph() const { return *plan_.graph; }
  const Place& place(const graph::Value* value) const { return placement_.at(value); }
  int slot(const graph::Value* value) const;  // -1: it has a place in the arena, or is constant
  bool touches_slots(const graph::Node& node) const;
  Location location(const graph::Value* value) const;
  bool is_slice(const graph::Value* part, const graph::Value* whole, int64_t channel) const {
    return placement_.is_slice(part, whole, channel);
  }

  using Run = std::function<void(const RunContext&, int part, int parts)>;
  // A step of `node`; fills in what its StepInfo can know from the node. The first step of a node also fills the halos of
  // its image outputs.
  StepInfo& add_step(const graph::Node& node, std::string kernel, Run run);
  Step& last_step();
  void need_workspace(size_t bytes);
  // Arena memory that belongs to the steps of one node, whichever thread runs them; it holds nothing from node to node.
  Location scratch(size_t bytes);
  // What a DynamicQuantizeLinear reads: `threads` pairs {least, greatest} of float32, a part's own each, 0 included. A step
  // that stores `x` may find them on the way (keep_range); otherwise the quantization does. Nothing where none quantizes x.
  std::optional<Location> range(const graph::Value* x) const;
  // A line of the arena beside it that steps alone write: what it holds at first is not known, and later what they left
  // there.
  std::optional<Location> state(const graph::Value* x) const;
  void keep_range(const graph::Value* x) { kept_ranges_.insert(x); }
  bool keeps_range(const graph::Value* x) const { return kept_ranges_.contains(x); }
  // A node that a step of another does as well, so that its lowering has nothing to add.
  void set_done(const graph::Node* node) { done_.insert(node); }
  bool is_done(const graph::Node* node) const { return done_.contains(node); }
  int new_call();  // one of Frame::calls
  // A product of the plan, in order of execution: its weights are part of the stream that products fetch ahead.
  void add_product(std::shared_ptr<kernels::Conv> conv) { products_.push_back(std::move(conv)); }
  // Once, after the last node.
  void finish();

 private:
  const PlanSettings& settings_;
  int threads_;
  const Placement& placement_;
  Plan& plan_;
  size_t scratch_at_;
  std::unordered_map<const graph::Value*, size_t> ranges_;  // offsets in the arena
  std::unordered_set<const graph::Value*> kept_ranges_;
  std::unordered_set<const graph::Node*> done_;
  std::unordered_map<const graph::Value*, int> slots_;
  const graph::Node* last_node_ = nullptr;
  std::vector<std::shared_ptr<kernels::Conv>> products_;
};

struct LowerDef {
  std::string_view op;
  // Types, ranks and attributes the kernels take; shapes are known. Says why not.
  bool (*takes)(const graph::Node&, std::string* why);
  void (*lower)(Lowering&, const graph::Node&);
  // Halo wanted around the image input 0.
  Halo (*halo)(const graph::Node&) = nullptr;
  // Inputs the first output may overwrite, in order of preference.
  std::vector<int> (*in_place)(const graph::Node&) = nullptr;
};

std::span<const LowerDef> all_lowerings();
// Null when the operator has none, or when it does not take this node (then `why`, if given, says so).
const LowerDef* find_lowering(const graph::Node& node, std::string* why = nullptr);
// Whether kernels take the node's images channels-last: operators on images, and those that move their elements. Of a
// QuantizeLinear: whether one takes its input plain and gives its output channels-last.
bool takes_channels_last(const graph::Node& node);
// QuantizeLinear of colour images whose kernel lays them channels-last on the way.
bool quantizes_to_pixels(const graph::Node& node);
// Output 0 is a dense reinterpretation of input 0: no step at all when both are plain.
bool is_view(const graph::Node& node);

// What a step of the node reads and writes, once each.
size_t step_bytes(const graph::Node& node);

void lower_eval(Lowering& lowering, const graph::Node& node);
void lower_control(Lowering& lowering, const graph::Node& node);  // If, Loop, Scan, SequenceMap
void lower_region(Lowering& lowering, const graph::Node& node);   // octet.Region

}  // namespace octet
