#include "tools/quantizer.h"

#include <map>

#include "engine/calibration.h"
#include "engine/model.h"
#include "graph/quantize/dialects.h"
#include "graph/quantize/equalise.h"
#include "graph/quantize/quantize.h"
#include "graph/quantize/weight_only.h"

namespace octet::tools {
namespace {

constexpr size_t kSyntheticCalibration = 16;
constexpr uint64_t kCalibrationSeed = 1000;  // other inputs than those evaluated

}  // namespace

Dialect parse_dialect(const std::string& name) {
  constexpr std::pair<std::string_view, Dialect> kDialects[] = {
      {"qdq", Dialect::qdq}, {"qlinear", Dialect::qlinear}, {"dynamic", Dialect::dynamic}};
  for (const auto& [known, dialect] : kDialects)
    if (known == name) return dialect;
  throw Error(ErrorCode::invalid_argument, "--dialect: '" + name + "' is unknown; expected qdq, qlinear or dynamic");
}

Quantized quantize_model(const ModelSource& source, const QuantizeRequest& request,
                         const std::function<void(const std::string&)>& progress) {
  if (source.quantized)
    throw Error(ErrorCode::invalid_argument,
                source.file + ": it computes with quantized activations already; expected a float model");
  Quantized result;
  const auto prepared = source.graph->clone();
  prepared->file = source.file;
  graph::prepare_for_quantization(*prepared);
  const auto quantize_weights = [&](const graph::Graph& graph, const std::string& note) {
    result.graph = graph::quantize_weights(graph, {request.weight_bits, request.block});
    result.graph->file = source.file;
    result.note =
        "weights of " + std::to_string(request.weight_bits) + " bits in blocks of " + std::to_string(request.block) + note;
    return std::move(result);
  };
  if (request.weight_bits > 0 && !request.cache) return quantize_weights(*prepared, " only");
  const bool dynamic = request.dialect == Dialect::dynamic;
  const graph::QuantScope scope = !request.cache            ? graph::QuantScope::products
                                  : request.weight_bits > 0 ? graph::QuantScope::caches
                                                            : graph::QuantScope::products_and_caches;
  const std::vector<std::string> values =
      dynamic ? graph::values_to_equalise(*prepared) : graph::values_to_calibrate(*prepared, scope);
  const auto quantize_at_run_time = [&](const std::string& note) {
    result.graph = graph::quantize_dynamic(*prepared);
    result.graph->file = source.file;
    result.note = "activations quantized at run time" + note;
    return std::move(result);
  };
  if (dynamic && (values.empty() || !request.equalise)) return quantize_at_run_time("");
  const Model model = model_from_graph(prepared->clone(), {request.isa, {}});  // for the declarations of its inputs
  if (dynamic && !request.data && !sizes_known(model.inputs(), request.shapes))
    return quantize_at_run_time(
        ", channels as they are: the input has no size and there is no --data or --shape to equalise them by");
  result.note = request.data ? request.data->hold_out_calibration()
                             : "calibrated on " + std::to_string(kSyntheticCalibration) + " synthetic inputs (seeded " +
                                   describe_synthetic(model) + ")";
  const size_t samples = request.data ? request.data->calibration_size() : kSyntheticCalibration;
  const int64_t batch = fixed_batch(model.inputs());
  const auto feed = [&](size_t index, Session& session) {
    const size_t first = index * static_cast<size_t>(batch);
    if (first >= samples) return false;
    progress("calibrating " + source.name + ": " + std::to_string(first) + " of " + std::to_string(samples));
    if (request.data) {
      const std::vector<Sample> list =
          request.data->calibration_samples(first, std::min(samples - first, static_cast<size_t>(batch)));
      set_inputs(session, model.inputs(), stack(model.inputs(), list, batch, request.data->file() + " for " + source.file));
    } else {
      set_inputs(session, model.inputs(),
                 synthetic_inputs(model, resolve_shapes(model.inputs(), batch, request.shapes, source.file),
                                  kCalibrationSeed + index));
    }
    return true;
  };
  if (dynamic) {
    const int equalised = graph::equalise_channels(
        *prepared, calibrate_channels(*prepared, values, feed, {request.isa, {}}, {.threads = request.threads}));
    return quantize_at_run_time(", the channels of " + std::to_string(equalised) + " equalised, " + result.note);
  }
  graph::Ranges ranges;
  for (const auto& [name, range] : calibrate(*prepared, values, feed, {request.isa, {}}, {.threads = request.threads}))
    ranges[name] = {range.min, range.max};
  result.graph = graph::quantize_static(*prepared, ranges,
                                        {request.portable ? graph::QuantStyle::portable : graph::QuantStyle::fused, scope});
  if (request.weight_bits > 0) return quantize_weights(*result.graph, ", a cache of 8 bits, " + result.note);
  if (request.signed_activations) graph::to_signed_activations(*result.graph);
  if (request.dialect == Dialect::qlinear) graph::to_qlinear(*result.graph);
  result.graph->file = source.file;
  return result;
}

}  // namespace octet::tools
