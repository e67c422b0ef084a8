#include "engine/model.h"

#include <algorithm>
#include <cstdlib>

#include "engine/fp_state.h"
#include "engine/model_impl.h"
#include "frontends/onnx/onnx.h"
#include "kernels/product/channel_order.h"

namespace octet {
namespace {

std::string names_of_isas() {
  std::string names;
  for (const kernels::Isa& isa : kernels::all_isas()) names += (names.empty() ? "" : ", ") + std::string(isa.name);
  return names;
}

const kernels::Isa& named_isa(const std::string& name, const std::string& source) {
  const kernels::Isa* isa = kernels::find_isa(name);
  if (!isa)
    throw Error(ErrorCode::invalid_argument, source + ": unknown ISA '" + name + "'; expected one of " + names_of_isas());
  std::string reason;
  if (!kernels::supported(*isa, &reason))
    throw Error(ErrorCode::invalid_argument, source + ": ISA '" + name + "' is not available here: " + reason);
  return *isa;
}

// The option decides; without one the best this CPU has. OCTET_ISA caps either.
const kernels::Isa& choose_isa(const std::string& option) {
  const kernels::Isa* chosen = option.empty() ? &kernels::best_isa() : &named_isa(option, "isa");
  const char* cap = std::getenv("OCTET_ISA");
  if (cap && *cap) {
    const kernels::Isa& limit = named_isa(cap, "OCTET_ISA");
    if (chosen->id > limit.id) chosen = &limit;
  }
  return *chosen;
}

ValueInfo describe(const std::string& name, const graph::Type& type) {
  ValueInfo info{name, type.dtype, {}, {}};
  if (!type.ranked()) return info;
  for (const graph::Dim& d : *type.dims) {
    info.shape.push_back(d.known() ? d.value : -1);
    info.symbols.push_back(d.known() ? "" : d.symbol);
  }
  return info;
}

// Where sums have to be kept inside int16, neighbouring channels are chosen for it.
void order_for_kernels(graph::Graph& graph, const kernels::Isa& isa) {
  const int columns = kernels::ordered_columns(isa);
  if (columns == 0) return;
  graph::order_channels(
      graph, columns, [](std::span<const graph::ChannelUse> uses, int64_t channels, int panel, bool within_panels) {
        std::vector<kernels::ChannelUse> weights;
        for (const graph::ChannelUse& use : uses) {
          const Shape& shape = use.weights->shape();
          weights.push_back({use.weights->as<int8_t>(), shape[0],
                             static_cast<int64_t>(use.weights->size()) / (shape[0] * shape[1]), use.output_order});
        }
        return kernels::order_channels(weights, channels, panel, within_panels);
      });
}

}  // namespace

ModelImpl::ModelImpl(std::unique_ptr<graph::Graph> graph, const ModelOptions& options)
    : graph_(std::move(graph)),
      settings_{&choose_isa(options.isa), {}, &weights_},
      plans_(*graph_, settings_),
      keeping_plans_(*graph_, keeping_settings_) {
  const FpState fp_state;
  settings_.passes.disabled = options.disabled_passes;
  keeping_settings_ = settings_;
  keeping_settings_.keep_caches = true;
  graph::infer_types(*graph_);
  for (const graph::Value* v : graph_->inputs()) inputs_.push_back(describe(v->name(), v->type()));
  for (size_t i = 0; i < graph_->outputs().size(); ++i)
    outputs_.push_back(describe(graph_->output_names()[i], graph_->outputs()[i]->type()));
  timings_ = graph::optimize(*graph_, settings_.passes);
  order_for_kernels(*graph_, isa());
}

size_t ModelImpl::weight_bytes() const {
  if (isa().id != kernels::IsaId::reference) return weights_.bytes();
  size_t bytes = 0;
  for (const auto& node : graph_->nodes())
    for (const graph::Value* v : node->inputs())
      if (v && v->is_constant()) bytes += v->constant().bytes();
  return bytes;
}

Model Model::load(const std::string& path, const ModelOptions& options) {
  return model_from_graph(onnx::import_model(path), options);
}

const std::vector<ValueInfo>& Model::inputs() const { return impl_->inputs(); }
const std::vector<ValueInfo>& Model::outputs() const { return impl_->outputs(); }
std::string_view Model::isa() const { return impl_->isa().name; }
size_t Model::weight_bytes() const { return impl_->weight_bytes(); }

Model model_from_graph(std::unique_ptr<graph::Graph> graph, const ModelOptions& options) {
  return Model(std::make_shared<ModelImpl>(std::move(graph), options));
}

const graph::Graph& optimized_graph(const Model& model) { return model.impl().graph(); }
const std::vector<graph::PassTiming>& pass_timings(const Model& model) { return model.impl().pass_timings(); }

std::string_view version() { return OCTET_VERSION; }

}  // namespace octet
