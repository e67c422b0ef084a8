// A quantized Add goes into the integer product that made its first operand, both roundings kept.
//
//   Add(octet.Conv(x, w, b) : u8 q(sm,zm), r : u8) {act} : u8   →   octet.Conv(x, w, b, r) {mid_scale, mid_zero_point, act}
//
// The product must not be used elsewhere and have no residual or activation yet; a relu that its zero point 0 makes idle
// does not count. Shapes must be equal.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

// An activation that changes nothing between the rounding to [0, 255] and the addition.
bool idle_activation(const Node& product) {
  if (!product.has_attr("act")) return true;
  return product.attr("act", "") == "relu" && product.output()->quant()->zero_point[0] == 0;
}

bool fuse(Graph& graph, Node* add) {
  if (add->op_name() != "Add" || !add->output()->quant() || add->output()->dtype() != DType::u8) return false;
  Value *c = add->input(0), *r = add->input(1);
  Node* product = c->producer();
  if (!is_product(product) || !c->quant()) return false;
  if (!graph.single_use(c) || product->input(kResidual) || c == r) {
    add->why = "the product before it is used elsewhere or has a residual already";
    return false;
  }
  if (!idle_activation(*product)) {
    add->why = "the product before it has an activation";
    return false;
  }
  if (r->is_constant() || r->dtype() != DType::u8 || !r->quant() || !same_shape(c, r)) {
    add->why = "its other operand has another shape or is constant";
    return false;
  }
  const QuantParams mid = *c->quant();
  for (const char* key : {"act", "act_min", "act_max"}) {
    product->erase_attr(key);
    if (const Attribute* a = add->find_attr(key)) product->set_attr(key, *a);
  }
  product->set_attr("mid_scale", mid.scale[0]);
  product->set_attr("mid_zero_point", int64_t{mid.zero_point[0]});
  graph.set_input(product, kResidual, r);
  const Type type = add->output()->type();
  graph.move_before(product, add);
  substitute(graph, add->output(), c);
  c->set_type(type);
  return true;
}

}  // namespace

int fuse_residual(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) changes += fuse(graph, node) ? 1 : 0;
  return changes;
}

}  // namespace octet::graph
