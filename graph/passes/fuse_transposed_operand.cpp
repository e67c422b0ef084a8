// Scores of attention that stayed a product of its own: the keys need not be turned in memory first.
//
//   MatMul(q, Transpose(k))  →  com.microsoft.FusedMatMul(q, k) {transB = 1}      float32, the last two axes exchanged
//
// The same chain of sums, so not a bit changes. Declined: a Transpose that others read too, a constant (folded elsewhere).
#include <numeric>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

bool exchanges_last_axes(const Node& transpose, int rank) {
  std::vector<int64_t> expected(static_cast<size_t>(rank));
  std::iota(expected.begin(), expected.end(), 0);
  std::swap(expected[expected.size() - 1], expected[expected.size() - 2]);
  return transpose.ints("perm") == expected;
}

bool fuse(Graph& graph, Node* matmul) {
  if (matmul->op_name() != "MatMul" || matmul->output()->dtype() != DType::f32) return false;
  const Value* b = matmul->input(1);
  const Node* transpose = b->producer();
  if (!transpose || transpose->op_name() != "Transpose" || !graph.single_use(b)) return false;
  Value* k = transpose->input(0);
  if (k->dtype() != DType::f32 || !k->type().ranked() || k->type().rank() < 2 || k->is_constant()) return false;
  if (!exchanges_last_axes(*transpose, k->type().rank())) return false;
  Node* fused = graph.add_node("com.microsoft.FusedMatMul", {matmul->input(0), k}, 1, matmul->name(), matmul);
  fused->set_attr("transB", int64_t{1});
  fused->why = matmul->why;
  infer_types(graph, *fused);
  substitute(graph, matmul->output(), fused->output());
  return true;
}

}  // namespace

int fuse_transposed_operand(Graph& graph) {
  return rewrite_each(graph, [&](Node* node) { return fuse(graph, node); });
}

}  // namespace octet::graph
