// MatMul of two values that change at run time (one by constant weights is an octet.Gemm), and com.microsoft.FusedMatMul,
// whose operands may lie transposed.
#include <algorithm>
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

int64_t matrix_size(const Shape& s) { return s.back() * (s.size() > 1 ? s[s.size() - 2] : 1); }

// Sizes and batch of a problem; `a_matrix` and `b_matrix` are the elements between matrices of an operand.
void set_matrices(kernels::MatmulProblem& p, const Shape& a, const Shape& b, int64_t a_matrix, int64_t b_matrix) {
  graph::ops::for_each_matrix(a, b, [&](int64_t a_at, int64_t b_at, int64_t, int64_t m, int64_t n, int64_t k) {
    p.m = m, p.n = n, p.k = k;
    p.batch.emplace_back(a_at / (m * k) * a_matrix, b_at / (k * n) * b_matrix);
  });
}

void lower_matmul(Lowering& lowering, const Node& node) {
  const Value *a = node.input(0), *b = node.input(1), *y = node.output();
  const auto in_image = [&](const Value* v) { return !v->is_constant() && lowering.place(v).image; };
  if (in_image(a) || in_image(b) || in_image(y)) return lower_eval(lowering, node);
  kernels::MatmulProblem p;
  const Shape of_a = a->type().shape(), of_b = b->type().shape();
  set_matrices(p, of_a, of_b, matrix_size(of_a), matrix_size(of_b));
  std::shared_ptr<const kernels::Kernel> kernel = kernels::make_matmul(lowering.isa(), p);
  const Location left = lowering.location(a), right = lowering.location(b), to = lowering.location(y);
  StepInfo& info =
      lowering.add_step(node, kernel->name(), [kernel, left, right, to](const RunContext& context, int part, int parts) {
        kernel->run({left.in(context), right.in(context), to.in(context)}, part, parts);
      });
  info.gmac = static_cast<double>(p.batch.size()) * static_cast<double>(p.m * p.n) * static_cast<double>(p.k) / 1e9;
}

bool takes_fused(const Node& node, std::string* why) {
  for (const size_t i : {size_t{0}, size_t{1}})
    if (node.input(i)->type().ranked() && node.input(i)->type().rank() < 2) {
      *why = "an operand is a vector";
      return false;
    }
  return takes_matmul(node, why);
}

// How the matrices of an operand of com.microsoft.FusedMatMul lie, in elements: rows and columns are those of the product.
struct Lie {
  Shape shape;  // as the product sees it
  int64_t row, column, matrix;
};
Lie lie_of(const Value* v, bool across_batches, bool exchanged) {
  const Shape s = v->type().shape();
  const auto rank = static_cast<int64_t>(s.size());
  Lie lie{s, s.back(), 1, matrix_size(s)};
  if (across_batches) {
    std::rotate(lie.shape.begin(), lie.shape.begin() + 1, lie.shape.begin() + rank - 1);
    lie.row = element_count(s) / s[0];
    if (rank > 2) lie.matrix = s.back();
  }
  if (exchanged) {
    std::swap(lie.shape[lie.shape.size() - 1], lie.shape[lie.shape.size() - 2]);
    std::swap(lie.row, lie.column);
  }
  return lie;
}

void lower_fused(Lowering& lowering, const Node& node) {
  const Value *a = node.input(0), *b = node.input(1), *y = node.output();
  const auto in_image = [&](const Value* v) { return !v->is_constant() && lowering.place(v).image; };
  if (lowering.isa().lanes() == 0 || in_image(a) || in_image(b) || in_image(y)) return lower_eval(lowering, node);
  const auto is_set = [&](const char* key) { return node.attr(key, int64_t{0}) != 0; };
  const Lie of_a = lie_of(a, is_set("transBatchA"), is_set("transA")),
            of_b = lie_of(b, is_set("transBatchB"), is_set("transB"));
  kernels::MatmulProblem p;
  p.b_transposed = of_b.column != 1;
  p.a_row = of_a.row, p.a_step = of_a.column, p.b_row = p.b_transposed ? of_b.column : of_b.row;
  p.alpha = node.attr("alpha", 1.0f);
  set_matrices(p, of_a.shape, of_b.shape, of_a.matrix, of_b.matrix);
  const Location left = lowering.location(a), right = lowering.location(b), to = lowering.location(y);
  std::string name;
  Lowering::Run run;
  if (p.b_transposed) {
    const std::shared_ptr<const kernels::TransposedMatmul> kernel = kernels::make_transposed_matmul(lowering.isa(), p);
    lowering.need_workspace(kernel->workspace_bytes());
    name = kernel->name();
    run = [kernel, left, right, to](const RunContext& context, int part, int parts) {
      kernel->run({reinterpret_cast<const float*>(left.in(context)), reinterpret_cast<const float*>(right.in(context)),
                   reinterpret_cast<float*>(to.in(context)), reinterpret_cast<float*>(context.workspace(part))},
                  part, parts);
    };
  } else {
    const std::shared_ptr<const kernels::Kernel> kernel = kernels::make_matmul(lowering.isa(), p);
    name = kernel->name();
    run = [kernel, left, right, to](const RunContext& context, int part, int parts) {
      kernel->run({left.in(context), right.in(context), to.in(context)}, part, parts);
    };
  }
  StepInfo& info = lowering.add_step(node, name, std::move(run));
  info.gmac = static_cast<double>(p.batch.size()) * static_cast<double>(p.m * p.n) * static_cast<double>(p.k) / 1e9;
}

}  // namespace

std::span<const LowerDef> matmul_lowerings() {
  static const LowerDef kDefs[] = {{"MatMul", takes_matmul, lower_matmul},
                                   {"com.microsoft.FusedMatMul", takes_fused, lower_fused}};
  return kDefs;
}

}  // namespace octet
