#include "engine/lower/lower.h"

#include <algorithm>
#include <memory>

#include "engine/lower/families.h"
#include "engine/regions.h"
#include "graph/op_def.h"
#include "kernels/ops.h"

namespace octet {

using graph::Node;
using graph::Value;

std::span<const LowerDef> all_lowerings() {
  static const std::vector<LowerDef> kAll = [] {
    std::vector<LowerDef> all;
    for (const auto family :
         {product_lowerings(), conv_transpose_lowerings(), pool_lowerings(), elementwise_lowerings(), quantize_lowerings(),
          move_lowerings(), recurrent_lowerings(), resize_lowerings(), matmul_lowerings(), integer_matmul_lowerings(),
          norm_lowerings(), attention_lowerings(), weight_only_lowerings(), scatter_lowerings()})
      all.insert(all.end(), family.begin(), family.end());
    return all;
  }();
  return kAll;
}

const LowerDef* find_lowering(const Node& node, std::string* why) {
  for (const LowerDef& def : all_lowerings()) {
    if (def.op != node.op_name()) continue;
    std::string reason;
    if (def.takes(node, &reason)) return &def;
    if (why) *why = reason;
    return nullptr;
  }
  if (why) *why = "no kernel for " + std::string(node.op_name()) + ": its scalar form runs";
  return nullptr;
}

bool takes_channels_last(const Node& node) {
  const graph::OpDef& op = node.op();
  if (op.quant == graph::QuantRole::quantize) return quantizes_to_pixels(node);
  const bool moves = op.layout == graph::LayoutRole::any && op.quant == graph::QuantRole::transparent;
  return (moves || op.layout == graph::LayoutRole::channels_last) && find_lowering(node) != nullptr;
}

bool is_view(const Node& node) {
  constexpr std::string_view kViews[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"};
  if (std::find(std::begin(kViews), std::end(kViews), node.op_name()) == std::end(kViews)) return false;
  const Value* in = node.input(0);
  return !in->is_constant() && is_static(in) && is_static(node.output()) && in->dtype() == node.output()->dtype() &&
         in->layout == graph::Layout::plain && node.output()->layout == graph::Layout::plain;
}

namespace {

constexpr size_t kLine = 64;
size_t range_bytes(int threads) { return (static_cast<size_t>(threads) * 2 * sizeof(float) + kLine - 1) / kLine * kLine; }

}  // namespace

Lowering::Lowering(const PlanSettings& settings, int threads, const Placement& placement, Plan& plan)
    : settings_(settings), threads_(threads), placement_(placement), plan_(plan), scratch_at_(plan.arena_bytes) {
  const auto give_slot = [&](const Value* v) {
    if (!v->is_constant() && !is_static(v)) slots_.emplace(v, static_cast<int>(slots_.size()));
  };
  for (const Value* v : plan.graph->inputs()) give_slot(v);
  for (const auto& node : plan.graph->nodes())
    for (const Value* v : node->outputs()) give_slot(v);
  plan_.slots = static_cast<int>(slots_.size());
  for (const auto& node : plan.graph->nodes())
    if (node->op_name() == "DynamicQuantizeLinear" && ranges_.emplace(node->input(0), scratch_at_).second)
      scratch_at_ += range_bytes(threads) + kLine;
  plan_.arena_bytes = scratch_at_;
}

std::optional<Location> Lowering::range(const Value* x) const {
  const auto found = ranges_.find(x);
  return found == ranges_.end() ? std::nullopt : std::optional(Location{found->second, nullptr});
}

std::optional<Location> Lowering::state(const Value* x) const {
  const auto found = ranges_.find(x);
  return found == ranges_.end() ? std::nullopt : std::optional(Location{found->second + range_bytes(threads_), nullptr});
}

int Lowering::slot(const Value* value) const {
  const auto it = slots_.find(value);
  return it == slots_.end() ? -1 : it->second;
}

bool Lowering::touches_slots(const Node& node) const {
  const auto has = [&](const Value* v) { return v && slot(v) >= 0; };
  return std::any_of(node.inputs().begin(), node.inputs().end(), has) ||
         std::any_of(node.outputs().begin(), node.outputs().end(), has);
}

Location Lowering::scratch(size_t bytes) {
  plan_.arena_bytes = std::max(plan_.arena_bytes, scratch_at_ + bytes);
  return {scratch_at_, nullptr};
}

int Lowering::new_call() { return plan_.calls++; }

Step& Lowering::last_step() { return plan_.steps.back(); }

Location Lowering::location(const Value* value) const {
  if (value->is_constant()) return {0, value->constant().as<std::byte>()};
  return {placement_.at(value).offset, nullptr};
}

void Lowering::need_workspace(size_t bytes) {
  constexpr size_t kPage = 4096;
  plan_.workspace_bytes = std::max(plan_.workspace_bytes, (bytes + kPage - 1) / kPage * kPage);
}

void Lowering::finish() {
  std::vector<std::vector<std::vector<kernels::ByteRange>>> fetched(products_.size());
  for (int part = 0; part < threads_; ++part) {
    std::vector<kernels::PrefetchStep> steps;
    for (const auto& product : products_) steps.push_back({product->weight_ranges(part, threads_), product->fetches()});
    std::vector<std::vector<kernels::ByteRange>> plan = kernels::plan_prefetch(steps, kernels::kPrefetchAhead);
    for (size_t i = 0; i < products_.size(); ++i) fetched[i].push_back(std::move(plan[i]));
  }
  for (size_t i = 0; i < products_.size(); ++i)
    if (std::any_of(fetched[i].begin(), fetched[i].end(), [](const auto& ranges) { return !ranges.empty(); }))
      products_[i]->set_prefetch(fetched[i]);
}

namespace {

// What fills the halo of an image: the quantum of zero, or 0.
uint32_t fill_value(const Value* value) {
  return value->quant() ? static_cast<uint32_t>(static_cast<uint8_t>(value->quant()->zero_point.at(0))) : 0;
}

// A run that fills the halos of the node's image outputs before it does the work; null when there is none.
Lowering::Run with_halos(const Node& node, const Lowering& lowering, Lowering::Run run) {
  struct Fill {
    Location at;
    Place place;
    Shape shape;
    int64_t element;
    uint32_t value;
  };
  std::vector<Fill> fills;
  for (const Value* out : node.outputs()) {
    if (lowering.slot(out) >= 0) continue;
    const Place& place = lowering.place(out);
    if (!place.image || place.halo.empty()) continue;
    fills.push_back(
        {lowering.location(out), place, out->type().shape(), static_cast<int64_t>(size_of(out->dtype())), fill_value(out)});
  }
  if (fills.empty()) return run;
  return [fills = std::move(fills), run = std::move(run)](const RunContext& context, int part, int parts) {
    for (const Fill& f : fills) {
      const int64_t n = f.shape[0];
      const int64_t begin = n * part / parts, end = n * (part + 1) / parts;
      const bool mine = n >= parts || part == 0;
      const int64_t from = n >= parts ? begin : 0, to = n >= parts ? end : n;
      if (mine && to > from)
        kernels::fill_halo(f.at.in(context) + from * f.place.strides.image, f.place.strides, to - from, f.shape[2],
                           f.shape[3], f.shape[1] * f.element, f.place.halo.top, f.place.halo.left, f.place.halo.bottom,
                           f.place.halo.right, f.value, f.element);
    }
    run(context, part, parts);
  };
}

// Multiply-accumulates of a product: every output element takes as many as one output channel of the weights has elements.
double gmac_of(const Node& node) {
  const Value* w = node.input(1);
  if (node.op().quant != graph::QuantRole::product || !w || !w->is_constant() || w->constant().shape().empty()) return 0;
  const Value* y = node.output();
  if (!y->type().static_shape()) return 0;
  if (node.op_name().ends_with("ConvTranspose")) {
    const Shape x = node.input(0)->type().shape();
    return static_cast<double>(element_count(x)) * static_cast<double>(w->constant().size()) / static_cast<double>(x[1]) /
           1e9;
  }
  const int64_t channels =
      std::max<int64_t>(1, node.op_name().ends_with("MatMul") ? w->constant().shape().back() : w->constant().shape()[0]);
  return static_cast<double>(element_count(y->type().shape())) * static_cast<double>(w->constant().size() / channels) / 1e9;
}

bool is_int8(const Value* v) { return v && (v->dtype() == DType::u8 || v->dtype() == DType::s8); }

}  // namespace

size_t step_bytes(const Node& node) {
  size_t bytes = 0;
  for (const std::vector<Value*>* values : {&node.inputs(), &node.outputs()})
    for (const Value* v : *values)
      if (v && v->type().static_shape())
        bytes += static_cast<size_t>(element_count(v->type().shape())) * size_of(v->dtype());
  return bytes;
}

StepInfo& Lowering::add_step(const Node& node, std::string kernel, Run run) {
  const bool first = last_node_ != &node;
  last_node_ = &node;
  Step step;
  step.info.node = node.name().empty() ? node.output()->name() : node.name();
  step.info.op = std::string(node.op_name());
  step.info.kernel = std::move(kernel);
  step.info.type = to_string(node.output()->type());
  step.info.why = node.why;
  for (const Value* v : node.inputs()) step.info.int8 |= v && is_int8(v) && !v->is_constant();
  for (const Value* v : node.outputs()) step.info.int8 |= is_int8(v);
  step.info.bytes = step_bytes(node);
  step.info.gmac = gmac_of(node);
  step.run = first ? with_halos(node, *this, std::move(run)) : std::move(run);
  plan_.steps.push_back(std::move(step));
  return plan_.steps.back().info;
}

}  // namespace octet
