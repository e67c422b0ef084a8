// octet.Attention onto kernels/attention.h.
#include <array>
#include <memory>
#include <optional>

#include "engine/lower/families.h"
#include "graph/ops/fused_attention.h"
#include "kernels/attention.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;
using graph::ops::AttentionGeometry;
using graph::ops::HeadStrides;

enum Input : size_t { kQ, kK, kV, kMask, kQScale, kQZeroPoint, kKScale, kVScale, kVZeroPoint };

bool takes_attention(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  for (const Value* v : node.inputs()) {
    if (!v) continue;
    if (!v->type().static_shape()) return no("its shape is not known");
    if (element_count(v->type().shape()) == 0) return no("the tensor is empty");
  }
  for (const size_t i : {kQ, kK, kV}) {
    const DType dtype = node.input(i)->dtype();
    if (dtype != DType::u8 && dtype != DType::f32) return no("only uint8 and float32 have a kernel");
    if (node.input(i)->is_constant()) return no("an operand is constant");
  }
  return true;
}

AttentionGeometry geometry(const Node& node) {
  const auto shape = [&](size_t i) { return node.input(i)->type().shape(); };
  const Shape mask = node.input(kMask) ? shape(kMask) : Shape{};
  return graph::ops::attention_geometry(node, shape(kQ), shape(kK), shape(kV), node.input(kMask) ? &mask : nullptr);
}

void set_quantization(const Node& node, kernels::AttentionProblem& p) {
  p.parameters_at_run = node.input(kQScale) != nullptr;
  if (p.parameters_at_run) return;
  const QuantParams* y = p.y_dtype == DType::u8 ? node.output()->quant() : nullptr;
  const auto scale = [&](size_t i) { return node.input(i)->quant()->scale.at(0); };
  p.factors = numerics::attention_factors(scale(kQ), scale(kK), scale(kV), p.factors.score, y ? y->scale.at(0) : 1.0f);
  p.q_zero_point = node.input(kQ)->quant()->zero_point.at(0);
  p.v_zero_point = node.input(kV)->quant()->zero_point.at(0);
  p.y_zero_point = y ? y->zero_point.at(0) : 0;
}

kernels::AttentionProblem problem_of(const Node& node, const AttentionGeometry& g) {
  kernels::AttentionProblem p;
  p.batch = g.batch, p.heads = g.heads, p.kv_heads = g.kv_heads;
  p.queries = g.queries, p.keys = g.keys, p.size = g.size, p.value_size = g.value_size;
  const Value* y = node.output();
  p.dtype = node.input(kQ)->dtype();
  p.y_dtype = y->dtype();
  const auto bytes = [](const HeadStrides& s, DType dtype) {
    const auto element = static_cast<int64_t>(size_of(dtype));
    return kernels::HeadLayout{s.batch * element, s.head * element, s.row * element};
  };
  p.q = bytes(g.q, p.dtype), p.k = bytes(g.k, p.dtype), p.v = bytes(g.v, p.dtype), p.y = bytes(g.y, p.y_dtype);
  p.factors.score = node.attr("scale", 1.0f);
  if (p.dtype == DType::u8) set_quantization(node, p);
  p.causal = node.attr("causal", int64_t{0}) != 0;
  p.masked = node.input(kMask) != nullptr;
  p.mask_batches = g.mask_batches;
  p.mask = g.mask;
  return p;
}

// Where the parameters that come at run time lie; fills them in.
class RunTimeParameters {
 public:
  RunTimeParameters(Lowering& lowering, const Node& node) : present_(node.input(kQScale)), scale_(node.attr("scale", 1.0f)) {
    for (size_t i = 0; present_ && i < at_.size(); ++i) at_[i] = lowering.location(node.input(kQScale + i));
  }
  void set(const RunContext& context, kernels::AttentionArgs& args) const {
    if (!present_) return;
    const auto scale = [&](size_t i) { return *reinterpret_cast<const float*>(at_[i - kQScale].in(context)); };
    const auto zero_point = [&](size_t i) { return *reinterpret_cast<const uint8_t*>(at_[i - kQScale].in(context)); };
    args.factors = numerics::attention_factors_at_run(scale(kQScale), scale(kKScale), scale(kVScale), scale_);
    args.q_zero_point = zero_point(kQZeroPoint), args.v_zero_point = zero_point(kVZeroPoint);
  }

 private:
  bool present_;
  float scale_;
  std::array<Location, kVZeroPoint - kQScale + 1> at_;
};

void lower_attention(Lowering& lowering, const Node& node) {
  const auto in_image = [&](const Value* v) { return v && !v->is_constant() && lowering.place(v).image; };
  for (const Value* v : {node.input(kQ), node.input(kK), node.input(kV), node.input(kMask), node.output()})
    if (in_image(v)) return lower_eval(lowering, node);
  const AttentionGeometry g = geometry(node);
  kernels::AttentionProblem problem = problem_of(node, g);
  problem.keeps_range = problem.dtype == DType::u8 && problem.y_dtype == DType::f32 && lowering.range(node.output());
  std::string reason;
  const std::shared_ptr<const kernels::Attention> kernel = kernels::make_attention(lowering.isa(), problem, &reason);
  if (!kernel) {
    lower_eval(lowering, node);
    lowering.last_step().info.why = reason;
    return;
  }
  lowering.need_workspace(kernel->workspace_bytes());
  if (problem.keeps_range) lowering.keep_range(node.output());
  const std::optional<Location> range = problem.keeps_range ? lowering.range(node.output()) : std::nullopt;
  const Location q = lowering.location(node.input(kQ)), k = lowering.location(node.input(kK)),
                 v = lowering.location(node.input(kV));
  const Location y = lowering.location(node.output());
  const Location mask = problem.masked ? lowering.location(node.input(kMask)) : Location{};
  const auto element = static_cast<int64_t>(size_of(problem.dtype));
  StepInfo& info = lowering.add_step(
      node, kernel->name(),
      [kernel, q, k, v, y, mask, q_at = g.q.offset * element, k_at = g.k.offset * element, v_at = g.v.offset * element,
       masked = problem.masked, range,
       parameters = RunTimeParameters(lowering, node)](const RunContext& context, int part, int parts) {
        const auto bytes = [&](const Location& at, int64_t offset) {
          return reinterpret_cast<const uint8_t*>(at.in(context)) + offset;
        };
        kernels::AttentionArgs args{bytes(q, q_at), bytes(k, k_at),
                                    bytes(v, v_at), masked ? reinterpret_cast<const float*>(mask.in(context)) : nullptr,
                                    y.in(context),  context.workspace(part)};
        parameters.set(context, args);
        if (range) {
          args.range = reinterpret_cast<float*>(range->in(context)) + 2 * part;
          args.range[0] = args.range[1] = 0;
        }
        kernel->run(args, part, parts);
      });
  info.gmac = static_cast<double>(g.batch * g.heads) * static_cast<double>(g.queries * g.keys) *
              static_cast<double>(g.size + g.value_size) / 1e9;
}

}  // namespace

std::span<const LowerDef> attention_lowerings() {
  static const LowerDef kDefs[] = {{"octet.Attention", takes_attention, lower_attention}};
  return kDefs;
}

}  // namespace octet
