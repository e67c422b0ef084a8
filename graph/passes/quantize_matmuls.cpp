// A product of two dequantized tensors that come at run time becomes an integer product: what a model quantizes of its
// attention besides its dense layers.
//
//   Q(MatMul(DQ(a:u8), DQ(b:u8)))  →  QLinearMatMul(a, sa, za, b, sb, zb, sy, zy)
//   MatMul(DQ(a:u8), DQ(b:u8))     →  com.microsoft.MatMulIntegerToFloat(a, b, sa, sb, za, zb)      wanted in float32
//
// Attention that is one node has been fused before. Declined: an operand in float, sums that could leave int32.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

// The most products of two bytes, each less a zero point, whose sum is sure to fit.
constexpr int64_t kMostTerms = INT32_MAX / (255 * 255);

// `q` is the only reader of the product, or nothing. The last node of the pattern is in front of which new ones go.
std::string quantize(Graph& graph, Node* matmul, const std::optional<Quantize>& q) {
  const std::optional<Dequantize> a = as_u8_dequantize(matmul->input(0)), b = as_u8_dequantize(matmul->input(1));
  if (!a || !b) return "not both of its operands are quantized";
  const int64_t terms = known_dim(matmul->input(0), -1);
  if (terms < 0 || terms > kMostTerms) return "its sum could leave int32";
  const auto scale = [&](const QuantParams& p) { return scale_constant(graph, p.scale); };
  const auto zero = [&](const QuantParams& p) { return zero_point_constant(graph, DType::u8, p.zero_point); };
  const QuantParams &pa = a->params, &pb = b->params;
  if (!q) {
    Value* y = insert_node(graph, "com.microsoft.MatMulIntegerToFloat",
                           {a->source, b->source, scale(pa), scale(pb), zero(pa), zero(pb)}, matmul->name(), matmul);
    y->producer()->why = matmul->why.empty() ? "its result is wanted in float32" : matmul->why;
    substitute(graph, matmul->output(), y);
    return {};
  }
  Value* old = q->node->output();
  Value* y = insert_node(graph, "QLinearMatMul",
                         {a->source, scale(pa), zero(pa), b->source, scale(pb), zero(pb), scale(q->params), zero(q->params)},
                         matmul->name(), matmul);
  y->producer()->why = matmul->why;
  Type type = y->type();
  type.quant = old->type().quant ? old->type().quant : std::make_shared<const QuantParams>(q->params);
  y->set_type(type);
  substitute(graph, old, y);
  return {};
}

bool is_candidate(const Node* node) {
  return node && node->op_name() == "MatMul" && node->output()->dtype() == DType::f32 &&
         (as_dequantize(node->input(0)) || as_dequantize(node->input(1)));
}

}  // namespace

int quantize_matmuls(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    // A product that only a Q reads has its turn with that, the last node of the pattern.
    const std::optional<Quantize> q = as_u8_quantize(node);
    Node* matmul = q && graph.single_use(q->source) ? q->source->producer() : node;
    if (!is_candidate(matmul)) continue;
    const Node* next = sole_consumer(graph, matmul->output());
    if (matmul == node && next && as_u8_quantize(next)) continue;
    const std::string declined = quantize(graph, matmul, q);
    if (declined.empty())
      ++changes;
    else if (matmul->why.empty())  // what kept it out of a fused attention says more
      matmul->why = declined;
  }
  return changes;
}

}  // namespace octet::graph
