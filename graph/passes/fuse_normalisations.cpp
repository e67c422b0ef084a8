// Normalisations over the last axes that exporters spell out become the operator they are.
//
//   d = x - ReduceMean(x)
//   d / Sqrt(ReduceMean(d²) + ε) [· scale] [+ bias]   →  LayerNormalization(x, scale, bias) {axis, ε}
//   x / Sqrt(ReduceMean(x²) + ε) [· scale]            →  RMSNormalization(x, scale)
//
// Squares as Mul(d, d) or Pow(d, 2); the root as Div by Sqrt, Mul by Reciprocal(Sqrt) or 1 / Sqrt, or Pow -0.5. Two Subs of
// the same mean (as PyTorch's old exporter has them) are one after merge_duplicates. float32, constant scale and bias over
// exactly the normalised axes; an absent scale is ones.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

Node* producer(const Value* v, std::string_view op) {
  return v && v->producer() && v->producer()->op_name() == op ? v->producer() : nullptr;
}

// The other operand of a binary node.
Value* other(const Node& node, const Value* v) { return node.input(node.input(0) == v ? 1 : 0); }

// v in Mul(v, v) or Pow(v, 2).
Value* square_of(const Value* v) {
  if (const Node* mul = producer(v, "Mul"); mul && mul->input(0) == mul->input(1)) return mul->input(0);
  if (const Node* pow = producer(v, "Pow"); pow && scalar_constant(pow->input(1)) == 2.0f) return pow->input(0);
  return nullptr;
}

struct Mean {
  Value* of;
  int64_t first;  // of the axes, which are the last ones
};

std::optional<Mean> mean_of(const Value* v) {
  const Node* mean = producer(v, "ReduceMean");
  if (!mean || mean->attr("keepdims", int64_t{1}) != 1 || !mean->input(1) || !mean->input(1)->is_constant())
    return std::nullopt;
  if (!mean->input(0)->type().ranked()) return std::nullopt;
  const int64_t rank = mean->input(0)->type().rank();
  std::vector<int64_t> axes = mean->input(1)->constant().to_s64();
  for (int64_t& a : axes) a = a < 0 ? a + rank : a;
  std::sort(axes.begin(), axes.end());
  for (size_t i = 0; i < axes.size(); ++i)
    if (axes[i] != rank - static_cast<int64_t>(axes.size() - i)) return std::nullopt;
  if (axes.empty()) return std::nullopt;
  return Mean{mean->input(0), axes[0]};
}

// What is divided by a root of a sum: v / Sqrt(s), v · Reciprocal(Sqrt(s)), v · (1 / Sqrt(s)), v · Pow(s, -0.5).
struct Quotient {
  Value *numerator, *sum;
};

const Value* inverse_root_of(const Value* v) {
  if (const Node* r = producer(v, "Reciprocal"))
    if (const Node* sqrt = producer(r->input(0), "Sqrt")) return sqrt->input(0);
  if (const Node* d = producer(v, "Div"); d && scalar_constant(d->input(0)) == 1.0f)
    if (const Node* sqrt = producer(d->input(1), "Sqrt")) return sqrt->input(0);
  if (const Node* p = producer(v, "Pow"); p && scalar_constant(p->input(1)) == -0.5f) return p->input(0);
  return nullptr;
}

std::optional<Quotient> quotient(const Node& node) {
  if (node.op_name() == "Div") {
    const Node* sqrt = producer(node.input(1), "Sqrt");
    if (sqrt) return Quotient{node.input(0), sqrt->input(0)};
  }
  if (node.op_name() == "Mul")
    for (const size_t side : {size_t{0}, size_t{1}})
      if (const Value* sum = inverse_root_of(node.input(side)))
        return Quotient{node.input(1 - side), const_cast<Value*>(sum)};
  return std::nullopt;
}

struct Found {
  Value* x;
  bool centred;
  int64_t axis;
  float epsilon;
};

std::optional<Found> find(const Node& node) {
  const std::optional<Quotient> q = quotient(node);
  const Node* add = q ? producer(q->sum, "Add") : nullptr;
  if (!add) return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const std::optional<float> epsilon = scalar_constant(add->input(side));
    const std::optional<Mean> variance = epsilon ? mean_of(add->input(1 - side)) : std::nullopt;
    if (!variance || square_of(variance->of) != q->numerator) continue;
    if (const Node* sub = producer(q->numerator, "Sub"))
      if (const std::optional<Mean> mean = mean_of(sub->input(1));
          mean && mean->of == sub->input(0) && mean->first == variance->first)
        return Found{sub->input(0), true, mean->first, *epsilon};
    return Found{q->numerator, false, variance->first, *epsilon};
  }
  return std::nullopt;
}

// Shape of the normalised axes, when known.
std::optional<Shape> inner_shape(const Value* x, int64_t axis) {
  Shape shape;
  for (int64_t a = axis; a < x->type().rank(); ++a) {
    const int64_t d = known_dim(x, static_cast<int>(a));
    if (d < 0) return std::nullopt;
    shape.push_back(d);
  }
  return shape;
}

// A float constant over exactly the normalised axes, leading ones left out.
std::optional<Tensor> as_inner(const Value* v, const Shape& shape) {
  if (!v || !v->is_constant() || v->dtype() != DType::f32 || v->constant().size() != element_count(shape))
    return std::nullopt;
  Shape own = v->constant().shape();
  while (own.size() > shape.size() && own[0] == 1) own.erase(own.begin());
  if (own != shape) return std::nullopt;
  return v->constant().reshaped(shape);
}

// The sole consumer of y when it is `op` with a constant over the normalised axes.
struct Tail {
  Node* node;
  Tensor constant;
};
std::optional<Tail> tail(const Graph& graph, Value* y, std::string_view op, const Shape& shape) {
  Node* next = sole_consumer(graph, y);
  if (!next || next->op_name() != op || !same_shape(next->output(), y)) return std::nullopt;
  const std::optional<Tensor> constant = as_inner(other(*next, y), shape);
  return constant ? std::optional<Tail>({next, *constant}) : std::nullopt;
}

bool fuse(Graph& graph, Node* node) {
  if (node->outputs().size() != 1 || node->output()->dtype() != DType::f32) return false;
  const std::optional<Found> found = find(*node);
  if (!found || found->x->dtype() != DType::f32 || !same_shape(found->x, node->output())) return false;
  const std::optional<Shape> shape = inner_shape(found->x, found->axis);
  if (!shape) {
    node->why = "a normalisation over axes of unknown size stays spelled out";
    return false;
  }
  Value* y = node->output();
  Node* last = node;
  Tensor scale(DType::f32, *shape);
  std::fill_n(scale.mutable_as<float>(), scale.size(), 1.0f);
  Value* bias = nullptr;
  if (const auto t = tail(graph, y, "Mul", *shape)) {
    scale = t->constant;
    last = t->node;
    y = last->output();
  }
  if (found->centred)
    if (const auto t = tail(graph, y, "Add", *shape)) {
      bias = graph.add_constant(t->constant, other(*t->node, y)->name());
      last = t->node;
      y = last->output();
    }
  Node* norm =
      graph.add_node(found->centred ? "LayerNormalization" : "RMSNormalization",
                     {found->x, graph.add_constant(std::move(scale), node->name() + "/scale")}, 1, last->name(), last);
  if (bias) graph.set_input(norm, 2, bias);
  norm->set_attr("axis", int64_t{found->axis});
  norm->set_attr("epsilon", found->epsilon);
  infer_types(graph, *norm);
  substitute(graph, y, norm->output());
  return true;
}

}  // namespace

int fuse_normalisations(Graph& graph) {
  return rewrite_each(graph, [&](Node* node) { return fuse(graph, node); });
}

}  // namespace octet::graph
