#include "engine/lower/bounded.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/lower/families.h"
#include "engine/lower/product.h"
#include "engine/regions.h"
#include "kernels/packed_weights.h"
#include "kernels/reference/reference.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;

struct Bounds {
  float least = 0, most = 0;  // with 0, which every range holds
  kernels::DynamicParams params;
  // From 0 on: saturation is all the clamp there need be, and of the range only the greatest is not known.
  bool saturates() const { return least == 0 && params.zero_point == 0; }
};

Bounds bounds_of(const kernels::Epilogue& e) {
  Bounds b{std::min(0.0f, e.act_lo), std::max(0.0f, e.act_hi), {}};
  b.params = kernels::dynamic_params(b.least, b.most);
  return b;
}

kernels::Epilogue at_bounds(kernels::Epilogue e) {
  const Bounds bounds = bounds_of(e);
  e.out = DType::u8;
  e.y_scale = bounds.params.scale;
  e.zero_point = bounds.params.zero_point;
  e.keeps_range = true;
  if (e.act_lo == 0 && bounds.saturates()) {
    e.act = kernels::ActKind::none;
    e.range_of_most = true;
  }
  return e;
}

// Of all parts, each with a pair {least, greatest} of its own.
bool reaches(const Bounds& bounds, bool clamped, const float* pairs, int parts) {
  float least = 0, most = 0;
  for (int p = 0; p < parts; ++p) {
    least = std::min(least, pairs[2 * p]);
    most = std::max(most, pairs[2 * p + 1]);
  }
  return clamped ? least == bounds.least && most == bounds.most : most >= bounds.most;
}

float* floats(std::byte* p) { return reinterpret_cast<float*>(p); }

}  // namespace

const Node* foreseen_quantization(const graph::Graph& graph, const Node& product) {
  if (product.op_name() != "octet.Conv" && product.op_name() != "octet.Gemm") return nullptr;
  const Value* y = product.output();
  if (!product.input(kXScale) || product.input(kResidual) || y->dtype() != DType::f32 || y->uses().size() != 1 ||
      graph.is_output(y))
    return nullptr;
  const Node* quantize = y->uses()[0].node;
  if (quantize->op_name() != "DynamicQuantizeLinear" || product.attr("act", "") != "clip") return nullptr;
  if (!is_static(product) || !is_static(*quantize) || !find_lowering(product) || !find_lowering(*quantize)) return nullptr;
  if (product.op_name() == "octet.Conv" && !product_in_images(product)) return nullptr;
  if (y->layout != quantize->output(0)->layout) return nullptr;
  kernels::Epilogue e;
  e.act = kernels::ActKind::clamp;
  e.act_lo = product.attr("act_min", -INFINITY);
  e.act_hi = product.attr("act_max", INFINITY);
  return e.act_lo < e.act_hi && kernels::unsupported_reason(at_bounds(e), false).empty() ? quantize : nullptr;
}

const Node* foreseen_product(const graph::Graph& graph, const Node& quantize) {
  const Node* product = quantize.input(0)->producer();
  return product && foreseen_quantization(graph, *product) == &quantize ? product : nullptr;
}

void lower_foreseen(Lowering& lowering, const Node& product, const Node& quantize) {
  kernels::ConvProblem in_floats = product_problem(lowering, product);
  in_floats.epilogue.keeps_range = true;
  kernels::ConvProblem in_bytes = in_floats;
  in_bytes.epilogue = at_bounds(in_floats.epilogue);
  in_bytes.y = product_layout(lowering, quantize.output(0), in_bytes.shape.oc);
  const auto weights = pack_product(lowering, product, in_floats.shape);
  std::string reason;
  const std::shared_ptr<kernels::Conv> bytes = kernels::make_conv(lowering.isa(), in_bytes, weights, lowering.threads(),
                                                                  &reason),
                                       values = kernels::make_conv(lowering.isa(), in_floats, weights, lowering.threads(),
                                                                   &reason);
  if (!bytes || !values) {
    lower_eval(lowering, product);
    lower_eval(lowering, quantize);
    return;
  }
  for (const auto& conv : {bytes, values}) lowering.need_workspace(conv->workspace_bytes());
  lowering.add_product(bytes);
  const ProductArgs args(lowering, product);
  const Bounds bounds = bounds_of(in_floats.epilogue);
  const bool clamped = in_bytes.epilogue.act == kernels::ActKind::clamp;
  const float largest = clamped ? INFINITY : kernels::largest_x_scale(in_bytes.epilogue, weights->facts.bound);
  const int threads = lowering.threads();
  const Location range = *lowering.range(product.output()),
                 seen = lowering.scratch(static_cast<size_t>(threads) * 2 * sizeof(float)),
                 state = *lowering.state(product.output()), y = lowering.location(quantize.output(0)),
                 y_values = lowering.location(product.output()), scale = lowering.location(quantize.output(1)),
                 zero_point = lowering.location(quantize.output(2));
  const auto state_of = [state](const RunContext& context) { return reinterpret_cast<int32_t*>(state.in(context)); };

  if (args.needs_halo()) add_run_time_halo(lowering, product, quantize);
  StepInfo& info = lowering.add_step(quantize, bytes->name() + ", " + kernels::describe(*weights) + ", at its bounds",
                                     [=](const RunContext& context, int part, int parts) {
                                       float* mine = floats(seen.in(context)) + 2 * part;
                                       mine[0] = mine[1] = 0;
                                       kernels::ConvArgs call = args.of(context, part);
                                       if (!tries_bounds(*state_of(context)) || !(call.x_scale <= largest)) return;
                                       call.y = y.in(context);
                                       call.range = mine;
                                       bytes->run(call, part, parts);
                                     });
  info.gmac = product_gmac(product);
  lowering.add_step(quantize, values->name() + ", in float32 where they are not reached",
                    [=](const RunContext& context, int part, int parts) {
                      if (reaches(bounds, clamped, floats(seen.in(context)), parts)) {
                        if (part != 0) return;
                        *floats(scale.in(context)) = bounds.params.scale;
                        *reinterpret_cast<uint8_t*>(zero_point.in(context)) = static_cast<uint8_t>(bounds.params.zero_point);
                        return;
                      }
                      kernels::ConvArgs call = args.of(context, part);
                      call.y = y_values.in(context);
                      call.range = floats(range.in(context)) + 2 * part;
                      call.range[0] = call.range[1] = 0;
                      values->run(call, part, parts);
                    });
  const Lowering::Run apply = dynamic_quantization(lowering, quantize);
  lowering.add_step(quantize, "quantize dynamic where they are not reached",
                    [=](const RunContext& context, int part, int parts) {
                      const bool reached = reaches(bounds, clamped, floats(seen.in(context)), parts);
                      if (part == 0) *state_of(context) = next_state(*state_of(context), reached);
                      if (!reached) apply(context, part, parts);
                    });
}

}  // namespace octet
