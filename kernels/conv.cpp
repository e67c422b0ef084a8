// Which family packs and runs a convolution.
#include "kernels/conv.h"

#include <cassert>

#include "kernels/amx/amx_conv.h"
#include "kernels/depthwise.h"
#include "kernels/packed_weights.h"
#include "kernels/product/product_conv.h"
#include "kernels/product/weights.h"
#include "kernels/reference/reference_conv.h"

namespace octet::kernels {
namespace {

// Why no family takes the problem with these weights; empty when one does.
std::string refusal(const Isa& isa, const ConvProblem& problem, const PackedWeights& weights) {
  assert(weights.isa == isa.id);
  assert(weights.shape == packed_shape(problem.shape));
  const bool is_float = weights.dtype == DType::f32;
  if ((problem.x_dtype == DType::f32) != is_float || (!is_float && problem.x_dtype != DType::u8))
    return "a " + std::string(to_string(problem.x_dtype)) + " input does not go with " +
           std::string(is_float ? "float32" : "8-bit") + " weights";
  if (weights.x_zero_point_at_run && problem.epilogue.out == DType::u8 && problem.epilogue.y_scale == 0)
    return "an input zero point known only at run needs a float32 or int32 output, or values to quantize";
  if (!problem.epilogue.table.empty() && !has_table_stage(isa)) return std::string(isa.name) + " has no table stage here";
  return unsupported_reason(problem.epilogue, is_float);
}

}  // namespace

std::shared_ptr<const PackedWeights> pack_weights(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  assert(shape.ic % shape.groups == 0 && shape.oc % shape.groups == 0);
  if (isa.id == IsaId::reference) return pack_reference(isa, shape, weights);
  if (shape.groups == shape.ic && shape.ic > 1) return pack_depthwise(isa, shape, weights);
  if (isa.dot == DotKind::tile && !few_rows(shape))
    if (auto packed = pack_amx(isa, shape, weights)) return packed;
  return pack_product(isa, shape, weights);
}

std::unique_ptr<Conv> make_conv(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights,
                                int threads, std::string* reason) {
  assert(weights);
  if (const std::string why_not = refusal(isa, problem, *weights); !why_not.empty()) {
    if (reason) *reason = why_not;
    return nullptr;
  }
  switch (weights->kind) {
    case PackedKind::reference: return make_reference_conv(problem, std::move(weights));
    case PackedKind::product: return make_product_conv(isa, problem, std::move(weights), threads, reason);
    case PackedKind::depthwise: return make_depthwise(isa, problem, std::move(weights), threads, reason);
    case PackedKind::amx: return make_amx_conv(isa, problem, std::move(weights), threads, reason);
    case PackedKind::weight_only: break;  // weight_only.h
  }
  assert(false);
  return nullptr;
}

bool joins_table(const Isa& isa, const PackedWeights& weights) {
  return weights.kind == PackedKind::amx && has_table_stage(isa);
}

size_t packed_bytes(const PackedWeights& weights) { return weights.bytes; }

std::string describe(const PackedWeights& weights) { return weights.description; }

}  // namespace octet::kernels
