// A normalisation over the last axis takes in what stands around it and no product wanted.
//
//   [DQ →] x ─┬─ Add → Layer- or RMSNormalization → Q           →  octet.Norm(x, scale, bias, residual) : q, [y], [sum]
//   [DQ →] r ─┘  └→ others              └→ others
//
// Any of the DQs, the Add and the Q may be missing, but not all. What others read of the sum and of the float result stays,
// as further outputs. Of several Qs the first is taken, the others read the float result.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

struct Operand {
  Value* value = nullptr;  // float, or u8 with parameters
  bool dequantized = false;
};

Operand operand(Value* v) {
  const std::optional<Dequantize> dq = as_u8_dequantize(v);
  if (dq && dq->source->quant() && !dq->source->is_constant()) return {dq->source, true};
  return {v, false};
}

// The Add in front, of two float tensors of the normalised one's shape.
Node* sum_of(const Value* x) {
  Node* add = x->producer();
  if (!add || add->op_name() != "Add" || add->inputs().size() != 2 || add->has_attr("act")) return nullptr;
  for (const Value* v : add->inputs())
    if (v->dtype() != DType::f32 || !same_shape(v, x)) return nullptr;
  return add;
}

Node* first_quantize(const Value* y) {
  for (const Use& use : y->uses())
    if (as_u8_quantize(use.node)) return use.node;
  return nullptr;
}

bool over_last_axis(const Node& norm) {
  const Value* x = norm.input(0);
  if (!x->type().ranked() || x->dtype() != DType::f32) return false;
  const int64_t axis = norm.attr("axis", int64_t{-1}), rank = x->type().rank(), size = known_dim(x, -1);
  if (axis != -1 && axis != rank - 1) return false;
  for (const size_t i : {size_t{1}, size_t{2}}) {
    const Value* v = norm.input(i);
    if (v && (!v->is_constant() || v->dtype() != DType::f32 || v->constant().shape() != Shape{size})) return false;
  }
  return norm.outputs().size() == 1;
}

bool fuse(Graph& graph, Node* norm) {
  const bool centred = norm->op_name() == "LayerNormalization";
  if (!centred && norm->op_name() != "RMSNormalization") return false;
  Value* y = norm->output();
  Node *add = sum_of(norm->input(0)), *quantize = first_quantize(y);
  const Operand x = operand(add ? add->input(0) : norm->input(0)), residual = add ? operand(add->input(1)) : Operand{};
  if (!add && !quantize && !x.dequantized) return false;
  if (!over_last_axis(*norm)) {
    norm->why =
        "only a normalisation of one result over the last axis, with constant scale and bias, takes in its neighbours";
    return false;
  }
  const bool gives_y = y->uses().size() > (quantize ? 1u : 0u) || graph.is_output(y);
  const bool gives_sum = add && !graph.single_use(add->output());
  const size_t results = (quantize ? 1u : 0u) + (gives_y ? 1u : 0u) + (gives_sum ? 1u : 0u);
  if (results == 0) return false;
  // Where the sum was computed: others may read it before it is normalised.
  Node* fused = graph.add_node("octet.Norm", {x.value, norm->input(1)}, results, norm->name(), add ? add : norm);
  if (norm->input(2)) graph.set_input(fused, 2, norm->input(2));
  if (add) graph.set_input(fused, 3, residual.value);
  fused->set_attr("centred", int64_t{centred});
  fused->set_attr("epsilon", norm->attr("epsilon", 1e-5f));
  fused->set_attr("gives_q", int64_t{quantize != nullptr});
  fused->set_attr("gives_y", int64_t{gives_y});
  fused->set_attr("gives_sum", int64_t{gives_sum});
  if (quantize) {
    const Quantize q = *as_u8_quantize(quantize);
    fused->output()->set_type(Type{DType::u8, y->type().dims, std::make_shared<const QuantParams>(q.params)});
  }
  infer_types(graph, *fused);
  Value* sum = add ? add->output() : nullptr;
  size_t at = 0;
  if (quantize) substitute(graph, quantize->output(), fused->output(at++));
  if (gives_y) substitute(graph, y, fused->output(at++));
  if (gives_sum) substitute(graph, sum, fused->output(at));
  return true;
}

}  // namespace

int fuse_norms(Graph& graph) {
  return rewrite_each(graph, [&](Node* node) { return fuse(graph, node); });
}

}  // namespace octet::graph
