// MatMul of two values that change at run time (one by constant weights is an octet.Gemm), B as it is or transposed.
#include <memory>

#include "engine/lower/families.h"
#include "graph/ops/matmul.h"
#include "kernels/matmul.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;

bool takes_matmul(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  for (const Value* v : {static_cast<const Value*>(node.input(0)), static_cast<const Value*>(node.input(1)),
                         static_cast<const Value*>(node.output())}) {
    if (v->dtype() != DType::f32) return no("only float32 has a kernel");
    if (!v->type().static_shape()) return no("its shape is not known");
    if (element_count(v->type().shape()) == 0) return no("the tensor is empty");
  }
  return true;
}

void lower_matmul(Lowering& lowering, const Node& node) {
  const Value *a = node.input(0), *b = node.input(1), *y = node.output();
  const auto in_image = [&](const Value* v) { return !v->is_constant() && lowering.place(v).image; };
  if (in_image(a) || in_image(b) || in_image(y)) return lower_eval(lowering, node);
  kernels::MatmulProblem p;
  graph::ops::for_each_matrix(a->type().shape(), b->type().shape(),
                              [&](int64_t a_at, int64_t b_at, int64_t, int64_t m, int64_t n, int64_t k) {
                                p.m = m, p.n = n, p.k = k;
                                p.batch.emplace_back(a_at, b_at);
                              });
  std::shared_ptr<const kernels::Kernel> kernel = kernels::make_matmul(lowering.isa(), p);
  const Location left = lowering.location(a), right = lowering.location(b), to = lowering.location(y);
  StepInfo& info =
      lowering.add_step(node, kernel->name(), [kernel, left, right, to](const RunContext& context, int part, int parts) {
        kernel->run({left.in(context), right.in(context), to.in(context)}, part, parts);
      });
  info.gmac = static_cast<double>(p.batch.size()) * static_cast<double>(p.m * p.n) * static_cast<double>(p.k) / 1e9;
}

bool takes_transposed(const Node& node, std::string* why) {
  const bool plain =
      node.attr("transA", int64_t{0}) == 0 && node.attr("transB", int64_t{0}) != 0 && node.attr("alpha", 1.0f) == 1.0f;
  if (!plain) *why = "only a transposed B without a factor has a kernel";
  if (plain && node.input(1)->type().ranked() && node.input(1)->type().rank() < 2) {
    *why = "its B is a vector";
    return false;
  }
  return plain && takes_matmul(node, why);
}

void lower_transposed(Lowering& lowering, const Node& node) {
  const Value *a = node.input(0), *b = node.input(1), *y = node.output();
  const auto in_image = [&](const Value* v) { return !v->is_constant() && lowering.place(v).image; };
  if (lowering.isa().lanes() == 0 || in_image(a) || in_image(b) || in_image(y)) return lower_eval(lowering, node);
  kernels::MatmulProblem p;
  p.b_transposed = true;
  Shape columns = b->type().shape();
  std::swap(columns[columns.size() - 1], columns[columns.size() - 2]);
  graph::ops::for_each_matrix(a->type().shape(), columns,
                              [&](int64_t a_at, int64_t b_at, int64_t, int64_t m, int64_t n, int64_t k) {
                                p.m = m, p.n = n, p.k = k;
                                p.batch.emplace_back(a_at, b_at);
                              });
  const std::shared_ptr<const kernels::TransposedMatmul> kernel = kernels::make_transposed_matmul(lowering.isa(), p);
  lowering.need_workspace(kernel->workspace_bytes());
  const Location left = lowering.location(a), right = lowering.location(b), to = lowering.location(y);
  StepInfo& info =
      lowering.add_step(node, kernel->name(), [kernel, left, right, to](const RunContext& context, int part, int parts) {
        kernel->run({reinterpret_cast<const float*>(left.in(context)), reinterpret_cast<const float*>(right.in(context)),
                     reinterpret_cast<float*>(to.in(context)), reinterpret_cast<float*>(context.workspace(part))},
                    part, parts);
      });
  info.gmac = static_cast<double>(p.batch.size()) * static_cast<double>(p.m * p.n) * static_cast<double>(p.k) / 1e9;
}

}  // namespace

std::span<const LowerDef> matmul_lowerings() {
  static const LowerDef kDefs[] = {{"MatMul", takes_matmul, lower_matmul},
                                   {"com.microsoft.FusedMatMul", takes_transposed, lower_transposed}};
  return kDefs;
}

}  // namespace octet
