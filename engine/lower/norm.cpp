// LayerNormalization, RMSNormalization and octet.Norm: scale and bias over exactly the normalised, last axes.
#include "kernels/norm.h"

#include <memory>

#include "engine/lower/families.h"
#include "graph/ops/fused_norm.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;
using graph::ops::norm_output;

// Elements normalised together: from the attribute `axis` on.
int64_t normalised(const Node& node) {
  const Shape shape = node.input(0)->type().shape();
  int64_t axis = node.attr("axis", int64_t{-1}), n = 1;
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  for (size_t i = static_cast<size_t>(axis); i < shape.size(); ++i) n *= shape[i];
  return n;
}

bool takes_norm(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  const bool fused = node.op_name() == "octet.Norm";
  const Value* x = node.input(0);
  if (!x->type().static_shape() || element_count(x->type().shape()) == 0) return no("its shape is not known, or empty");
  if (!fused && (x->dtype() != DType::f32 || node.output()->dtype() != DType::f32)) return no("only float32 has a kernel");
  if (!fused && node.outputs().size() > 1) return no("the statistics as outputs have no kernel");
  const int64_t n = normalised(node);
  for (const size_t i : {size_t{1}, size_t{2}}) {
    const Value* v = node.input(i);
    if (!v) continue;
    if (v->dtype() != DType::f32) return no("scale and bias of another type than float32 have no kernel");
    if (!v->type().static_shape() || element_count(v->type().shape()) != n)
      return no("scale or bias broadcasts over the normalised axes");
  }
  return true;
}

kernels::NormOperand operand(const Value* v) {
  if (!v || v->dtype() == DType::f32) return {};
  return {true, v->quant()->scale.at(0), v->quant()->zero_point.at(0)};
}

void lower_norm(Lowering& lowering, const Node& node) {
  const auto image = [&](const Value* v) { return v && !v->is_constant() && lowering.place(v).image; };
  for (const Value* v : node.inputs())
    if (image(v)) return lower_eval(lowering, node);
  for (const Value* v : node.outputs())
    if (image(v)) return lower_eval(lowering, node);
  const bool fused = node.op_name() == "octet.Norm";
  const Value *x = node.input(0), *bias = node.input(2), *residual = fused ? node.input(3) : nullptr;
  const auto result = [&](const char* what) -> const Value* {
    if (!fused) return std::string_view(what) == "gives_y" ? node.output() : nullptr;
    const int at = norm_output(node, what);
    return at < 0 ? nullptr : node.output(static_cast<size_t>(at));
  };
  const Value *q = result("gives_q"), *y = result("gives_y"), *sum = result("gives_sum");
  kernels::NormProblem p;
  p.centred = fused ? node.attr("centred", int64_t{1}) != 0 : node.op_name() == "LayerNormalization";
  p.length = normalised(node);
  p.rows = element_count(x->type().shape()) / p.length;
  p.epsilon = node.attr("epsilon", 1e-5f);
  p.x = operand(x), p.residual = operand(residual);
  p.adds = residual != nullptr;
  p.biased = bias != nullptr;
  p.gives_q = q != nullptr, p.gives_y = y != nullptr, p.gives_sum = sum != nullptr;
  p.keeps_range = y && !q && lowering.range(y);
  if (p.keeps_range) lowering.keep_range(y);
  if (q) p.q_scale = q->quant()->scale.at(0), p.q_zero_point = q->quant()->zero_point.at(0);
  const auto floats_of = [](const Value* v) { return v ? v->constant().as<float>() : nullptr; };
  if (q && node.input(1)->is_constant() && (!bias || bias->is_constant()))
    p.bounded = kernels::norm_is_bounded(p, floats_of(node.input(1)), floats_of(bias));
  std::shared_ptr<const kernels::Norm> kernel = kernels::make_norm(lowering.isa(), p);
  lowering.need_workspace(kernel->workspace_bytes());
  struct Bound {
    bool present = false;
    Location at;
    std::byte* in(const RunContext& context) const { return present ? at.in(context) : nullptr; }
  };
  const auto bind = [&](const Value* v) { return v ? Bound{true, lowering.location(v)} : Bound{}; };
  lowering.add_step(
      node, kernel->name(),
      [kernel, x = bind(x), residual = bind(residual), scale = bind(node.input(1)), bias = bind(bias), y = bind(y),
       q = bind(q), sum = bind(sum),
       range = p.keeps_range ? Bound{true, *lowering.range(y)} : Bound{}](const RunContext& context, int part, int parts) {
        const auto floats = [&](const Bound& b) { return reinterpret_cast<float*>(b.in(context)); };
        float* mine = range.present ? floats(range) + 2 * part : nullptr;
        if (mine) mine[0] = mine[1] = 0;
        kernel->run({x.in(context), residual.in(context), floats(scale), floats(bias), floats(y),
                     reinterpret_cast<uint8_t*>(q.in(context)), floats(sum), context.workspace(part), mine},
                    part, parts);
      });
}

// The kernel reads a block of rows before it writes one.
std::vector<int> norm_in_place(const Node& node) {
  if (node.op_name() != "octet.Norm") return {0};
  return {0, 3};
}

}  // namespace

std::span<const LowerDef> norm_lowerings() {
  static const LowerDef kDefs[] = {
      {"LayerNormalization", takes_norm, lower_norm, nullptr, norm_in_place},
      {"RMSNormalization", takes_norm, lower_norm, nullptr, norm_in_place},
      {"octet.Norm", takes_norm, lower_norm, nullptr, norm_in_place},
  };
  return kDefs;
}

}  // namespace octet
