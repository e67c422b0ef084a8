// Following the integers that exporters compute from shapes: Shape → Gather/Slice/Squeeze/Unsqueeze/Concat/Cast/arithmetic →
// Reshape. With a symbolic batch such a chain is no constant, yet most of its elements are numbers and the rest are symbols
// of dimensions. Only tensors of rank 0 and 1 are followed; an element that cannot be told is neither number nor symbol.
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

constexpr int kDepth = 64;
constexpr int64_t kElements = 64;

MaybeValues follow(const Value* value, int depth);

MaybeValues constant_values(const Tensor& t) {
  if (is_float(t.dtype()) || t.dtype() == DType::string || t.shape().size() > 1 || t.size() > kElements) return std::nullopt;
  std::vector<ShapeValue> values;
  for (const int64_t v : t.to_s64()) values.push_back({v, {}});
  return values;
}

std::optional<int64_t> number(const Value* value) {
  if (!value || !value->is_constant() || value->constant().size() != 1) return std::nullopt;
  return value->constant().at_s64(0);
}

int64_t clamp_index(int64_t i, int64_t n, int64_t least, int64_t most) {
  if (i < 0) i += n;
  return i < least ? least : i > most ? most : i;
}

MaybeValues shape_of(const Node& node) {
  const Type& type = node.input(0)->type();
  if (!type.ranked()) return std::nullopt;
  const int64_t rank = type.rank();
  const int64_t start = clamp_index(node.attr("start", int64_t{0}), rank, 0, rank);
  const int64_t end = clamp_index(node.attr("end", rank), rank, 0, rank);
  std::vector<ShapeValue> values;
  for (int64_t i = start; i < end; ++i) values.push_back(ShapeValue::of((*type.dims)[static_cast<size_t>(i)]));
  return values;
}

MaybeValues gathered(const Node& node, int depth) {
  const MaybeValues data = follow(node.input(0), depth);
  const Value* indices = node.input(1);
  if (!data || !indices->is_constant() || indices->constant().shape().size() > 1) return std::nullopt;
  const auto n = static_cast<int64_t>(data->size());
  std::vector<ShapeValue> values;
  for (int64_t i : indices->constant().to_s64()) {
    if (i < 0) i += n;
    if (i < 0 || i >= n) return std::nullopt;
    values.push_back((*data)[static_cast<size_t>(i)]);
  }
  return values;
}

MaybeValues sliced(const Node& node, int depth) {
  const MaybeValues data = follow(node.input(0), depth);
  const auto start = number(node.input(1)), end = number(node.input(2));
  const auto step = node.input(4) ? number(node.input(4)) : std::optional<int64_t>(1);
  if (!data || !start || !end || !step || *step == 0) return std::nullopt;
  const auto n = static_cast<int64_t>(data->size());
  std::vector<ShapeValue> values;
  if (*step > 0) {
    const int64_t last = clamp_index(*end, n, 0, n);
    for (int64_t i = clamp_index(*start, n, 0, n); i < last; i += *step) values.push_back((*data)[static_cast<size_t>(i)]);
  } else {
    const int64_t last = clamp_index(*end, n, -1, n - 1);
    for (int64_t i = clamp_index(*start, n, -1, n - 1); i > last; i += *step)
      values.push_back((*data)[static_cast<size_t>(i)]);
  }
  return values;
}

MaybeValues concatenated(const Node& node, int depth) {
  std::vector<ShapeValue> values;
  for (const Value* input : node.inputs()) {
    MaybeValues part = follow(input, depth);
    if (!part) {
      const Type& type = input->type();
      if (!type.static_shape() || type.rank() != 1 || type.shape()[0] > kElements) return std::nullopt;
      part.emplace(static_cast<size_t>(type.shape()[0]));
    }
    values.insert(values.end(), part->begin(), part->end());
  }
  return values;
}

MaybeValues arithmetic(const Node& node, int depth) {
  const MaybeValues a = follow(node.input(0), depth), b = follow(node.input(1), depth);
  if (!a || !b || a->empty() || b->empty()) return std::nullopt;
  if (a->size() != b->size() && a->size() != 1 && b->size() != 1) return std::nullopt;
  const std::string_view op = node.op_name();
  std::vector<ShapeValue> values(std::max(a->size(), b->size()));
  for (size_t i = 0; i < values.size(); ++i) {
    const ShapeValue& x = (*a)[a->size() == 1 ? 0 : i];
    const ShapeValue& y = (*b)[b->size() == 1 ? 0 : i];
    if (x.number && y.number) {
      if (op == "Add") values[i].number = *x.number + *y.number;
      if (op == "Sub") values[i].number = *x.number - *y.number;
      if (op == "Mul") values[i].number = *x.number * *y.number;
      if (op == "Div" && *y.number != 0) values[i].number = *x.number / *y.number;
    } else if (y.number == (op == "Add" || op == "Sub" ? 0 : 1)) {
      values[i] = x;
    } else if ((op == "Add" && x.number == 0) || (op == "Mul" && x.number == 1)) {
      values[i] = y;
    }
  }
  return values;
}

MaybeValues follow(const Value* value, int depth) {
  if (!value) return std::nullopt;
  if (value->is_constant()) return constant_values(value->constant());
  const Node* node = value->producer();
  const Type& type = value->type();
  if (!node || depth == 0 || is_float(type.dtype) || (type.ranked() && type.rank() > 1)) return std::nullopt;
  const std::string_view op = node->op_name();
  if (op == "Shape") return shape_of(*node);
  if (op == "Identity" || op == "Cast" || op == "Squeeze" || op == "Unsqueeze" || op == "Reshape")
    return follow(node->input(0), depth - 1);
  if (op == "Gather") return gathered(*node, depth - 1);
  if (op == "Slice") return sliced(*node, depth - 1);
  if (op == "Concat") return concatenated(*node, depth - 1);
  if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div") return arithmetic(*node, depth - 1);
  return std::nullopt;
}

}  // namespace

MaybeValues shape_values(const InferContext& ctx, size_t i) {
  if (MaybeValues values = follow(ctx.node().input(i), kDepth)) return values;
  const int64_t length = known_length(ctx, i);
  if (length < 0 || length > kElements) return std::nullopt;
  return std::vector<ShapeValue>(static_cast<size_t>(length));
}

MaybeValues shape_values(const EvalContext& ctx, size_t i) {
  std::vector<ShapeValue> values;
  for (const int64_t v : ctx.in(i).to_s64()) values.push_back({v, {}});
  return values;
}

}  // namespace octet::graph::ops
