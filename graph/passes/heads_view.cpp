#include "graph/passes/heads_view.h"

#include <algorithm>
#include <cmath>

#include "graph/passes/match.h"

namespace octet::graph {

namespace {

// Index i along a dimension is index (i / repeat) * stride along an axis of the source; axis -1: the source has no such
// axis.
struct ViewDim {
  Dim size;
  int axis = -1;
  int64_t stride = 0, repeat = 1;
};

struct View {
  std::vector<ViewDim> dims;
  std::vector<int64_t> offset;  // along each axis of the source
};

View identity(const std::vector<Dim>& dims) {
  View v;
  for (size_t i = 0; i < dims.size(); ++i) v.dims.push_back({dims[i], static_cast<int>(i), 1});
  v.offset.assign(dims.size(), 0);
  return v;
}

// Product of the sizes that are known, when at most one is not.
std::optional<int64_t> known_product(const std::vector<Dim>& dims) {
  int64_t product = 1;
  int unknown = 0;
  for (const Dim& d : dims) {
    if (d.known())
      product *= d.value;
    else
      ++unknown;
  }
  return unknown <= 1 ? std::optional(product) : std::nullopt;
}

// What splits or joins neighbouring dimensions, row-major.
class Regroup {
 public:
  Regroup(const View& in, const std::vector<Dim>& out) : left_(in.dims), out_(out) {
    std::vector<Dim> sizes;
    for (const ViewDim& d : in.dims) sizes.push_back(d.size);
    // The one size that neither side knows is the same on both.
    const auto a = known_product(sizes), b = known_product(out);
    same_unknown_ = a && b && *a == *b;
  }

  std::optional<std::vector<ViewDim>> run() {
    std::vector<ViewDim> result;
    for (const Dim& wanted : out_) {
      if (!take(wanted, result)) return std::nullopt;
    }
    for (; at_ < left_.size(); ++at_)
      if (left_[at_].size != Dim(1)) return std::nullopt;
    return result;
  }

 private:
  bool same(const Dim& a, const Dim& b) const { return a == b || (same_unknown_ && !a.known() && !b.known()); }

  bool take(const Dim& wanted, std::vector<ViewDim>& result) {
    while (at_ < left_.size() && left_[at_].size == Dim(1) && wanted != Dim(1)) ++at_;
    if (at_ < left_.size() && same(left_[at_].size, wanted)) {
      result.push_back(left_[at_++]);
      return true;
    }
    if (wanted == Dim(1)) {
      result.push_back({Dim(1)});
      return true;
    }
    if (at_ == left_.size() || !left_[at_].size.known() || !wanted.known() || wanted.value == 0) return false;
    ViewDim& d = left_[at_];
    if (d.size.value % wanted.value == 0) {
      const int64_t inner = d.size.value / wanted.value;
      if (d.repeat != 1) return false;
      result.push_back({wanted, d.axis, d.stride * inner});
      d.size = Dim(inner);
      return true;
    }
    return join(wanted.value, result);
  }

  bool join(int64_t wanted, std::vector<ViewDim>& result) {
    ViewDim joined = left_[at_++];
    while (joined.size.value < wanted && at_ < left_.size() && left_[at_].size.known()) {
      const ViewDim& next = left_[at_++];
      if (next.size.value == 1) continue;
      const int64_t size = joined.size.value * next.size.value;
      if (next.axis < 0 && joined.axis >= 0 && joined.repeat == 1)
        joined.repeat = next.size.value;
      else if (next.axis == joined.axis && next.repeat == 1 && joined.repeat == 1 &&
               joined.stride == next.size.value * next.stride)
        joined.stride = next.stride;
      else
        return false;
      joined.size = Dim(size);
    }
    if (joined.size.value != wanted) return false;
    result.push_back(joined);
    return true;
  }

  std::vector<ViewDim> left_;
  const std::vector<Dim>& out_;
  size_t at_ = 0;
  bool same_unknown_ = false;
};

std::optional<View> regrouped(View in, const std::vector<Dim>& out) {
  auto dims = Regroup(in, out).run();
  if (!dims) return std::nullopt;
  in.dims = std::move(*dims);
  return in;
}

View permuted(View in, const std::vector<int64_t>& perm) {
  std::vector<ViewDim> dims;
  for (const int64_t axis : perm) dims.push_back(in.dims[static_cast<size_t>(axis)]);
  in.dims = std::move(dims);
  return in;
}

bool cut(View& v, int64_t axis, int64_t start, int64_t step, const Dim& size) {
  ViewDim& d = v.dims[static_cast<size_t>(axis)];
  if (d.axis < 0 || d.repeat != 1 || start < 0 || step < 1) return false;
  v.offset[static_cast<size_t>(d.axis)] += start * d.stride;
  d.stride *= step;
  d.size = size;
  return true;
}

int64_t positive_axis(int64_t axis, size_t rank) { return axis < 0 ? axis + static_cast<int64_t>(rank) : axis; }

std::optional<std::vector<int64_t>> constant_ints(const Value* v) {
  return v && v->is_constant() ? std::optional(v->constant().to_s64()) : std::nullopt;
}

std::optional<View> sliced(const Node& node, View v, const std::vector<Dim>& out) {
  const auto starts = constant_ints(node.input(1)), axes = constant_ints(node.input(3)),
             steps = constant_ints(node.input(4));
  if (!starts || (node.input(3) && !axes) || (node.input(4) && !steps)) return std::nullopt;
  for (size_t i = 0; i < starts->size(); ++i) {
    const int64_t axis = positive_axis(axes ? (*axes)[i] : static_cast<int64_t>(i), v.dims.size());
    const Dim &size = v.dims[static_cast<size_t>(axis)].size, &left = out[static_cast<size_t>(axis)];
    int64_t start = (*starts)[i];
    if (size == left && start == 0) continue;
    if (!size.known() || !left.known()) return std::nullopt;
    start = std::min(start < 0 ? start + size.value : start, size.value);
    if (!cut(v, axis, start, steps ? (*steps)[i] : 1, left)) return std::nullopt;
  }
  return v;
}

std::optional<View> split(const Node& node, View v, const Value* part) {
  const int64_t axis = positive_axis(node.attr("axis", int64_t{0}), v.dims.size());
  int64_t start = 0;
  for (const Value* output : node.outputs()) {
    const int64_t size = known_dim(output, static_cast<int>(axis));
    if (size < 0) return std::nullopt;
    if (output == part) return cut(v, axis, start, 1, Dim(size)) ? std::optional(v) : std::nullopt;
    start += size;
  }
  return std::nullopt;
}

std::optional<View> gathered(const Node& node, View v) {
  const int64_t axis = positive_axis(node.attr("axis", int64_t{0}), v.dims.size());
  const auto index = constant_ints(node.input(1));
  if (!index || !node.input(1)->constant().shape().empty()) return std::nullopt;
  const ViewDim& d = v.dims[static_cast<size_t>(axis)];
  const int64_t at = (*index)[0] < 0 && d.size.known() ? (*index)[0] + d.size.value : (*index)[0];
  if (!cut(v, axis, at, 1, Dim(1))) return std::nullopt;
  v.dims.erase(v.dims.begin() + axis);
  return v;
}

std::optional<View> expanded(View v, const std::vector<Dim>& out) {
  const size_t lead = out.size() - v.dims.size();
  v.dims.insert(v.dims.begin(), lead, {Dim(1)});
  for (size_t i = 0; i < out.size(); ++i)
    if (v.dims[i].size == Dim(1) && out[i] != Dim(1)) v.dims[i] = {out[i]};
  return v;
}

std::optional<float> scalar_factor(const Node& node, const Value* through) {
  const bool divides = node.op_name() == "Div";
  if (!divides && node.op_name() != "Mul") return std::nullopt;
  if (node.input(0) != through && (divides || node.input(1) != through)) return std::nullopt;
  const Value* other = node.input(node.input(0) == through ? 1 : 0);
  const std::optional<float> factor = scalar_constant(other);
  if (!factor || other->type().rank() > (through->type().ranked() ? through->type().rank() : 0)) return std::nullopt;
  return divides ? 1.0f / *factor : *factor;
}

// The operand of `node` that its results are parts of; null when it computes.
Value* followed(const Node& node) {
  constexpr std::string_view kViews[] = {"Reshape", "Transpose", "Slice",  "Split",   "Gather",
                                         "Squeeze", "Unsqueeze", "Expand", "Identity"};
  if (std::find(std::begin(kViews), std::end(kViews), node.op_name()) != std::end(kViews)) return node.input(0);
  if (as_u8_dequantize(node.output()) || as_dequantize_at_run(node.output())) return node.input(0);
  for (const size_t side : {size_t{0}, size_t{1}})
    if (scalar_factor(node, node.input(side))) return node.input(side);
  return nullptr;
}

std::optional<View> applied(const Node& node, const View& v, const Value* result) {
  if (!result->type().ranked()) return std::nullopt;
  const std::vector<Dim>& out = *result->type().dims;
  const std::string_view op = node.op_name();
  if (op == "Reshape" || op == "Squeeze" || op == "Unsqueeze") return regrouped(v, out);
  if (op == "Transpose") {
    std::vector<int64_t> perm = node.ints("perm");
    for (size_t i = 0; perm.size() < v.dims.size() && i < v.dims.size(); ++i)
      perm.push_back(static_cast<int64_t>(v.dims.size() - 1 - i));
    return permuted(v, perm);
  }
  if (op == "Slice") return sliced(node, v, out);
  if (op == "Split") return split(node, v, result);
  if (op == "Gather") return gathered(node, v);
  if (op == "Expand") return expanded(v, out);
  return v;  // Identity, DequantizeLinear, a factor
}

bool same_size(const Dim& a, const Dim& b) { return a == b || (!a.known() && !b.known()); }

// All of the source's axis, in its order.
bool whole(const ViewDim& d, int axis, const std::vector<Dim>& source) {
  const Dim& size = source[static_cast<size_t>(axis)];
  if (d.axis < 0) return d.size == Dim(1) && size == Dim(1);
  return d.axis == axis && d.stride == 1 && d.repeat == 1 && same_size(d.size, size);
}

// v as [batch, heads, sequence, size] of a source with these dimensions: where they lie goes into h.
bool as_heads(const View& v, const std::vector<Dim>& source, HeadsView& h) {
  const ViewDim &batch = v.dims[0], &sequence = v.dims[2], &size = v.dims[3];
  ViewDim heads = v.dims[1];
  if (!heads.size.known() || !size.size.known() || heads.size.value < 1 || size.size.value < 1) return false;
  if (heads.axis < 0) heads.repeat = heads.size.value;  // one, for all
  h.size = size.size.value;
  h.repeat = heads.repeat;
  h.heads = heads.size.value / heads.repeat;
  if (v.offset[0] != 0 || !whole(batch, 0, source) || h.heads * h.repeat != heads.size.value) return false;
  if (source.size() == 3) {
    const bool contiguous = (size.axis == 2 && size.stride == 1 && size.repeat == 1) || h.size == 1;
    if (v.offset[1] != 0 || !whole(sequence, 1, source) || !contiguous) return false;
    if (heads.axis != 2 && heads.axis >= 0) return false;
    h.by_width = true;
    h.first = v.offset[2];
    h.step = heads.axis == 2 ? heads.stride : 0;
    return true;
  }
  if (source.size() != 4 || v.offset != std::vector<int64_t>(4, 0)) return false;
  heads.repeat = 1;
  heads.size = Dim(h.heads);
  return whole(heads, 1, source) && whole(sequence, 2, source) && whole(size, 3, source);
}

std::optional<View> in_head_order(View v, HeadsOrder order, int64_t heads) {
  if (order == HeadsOrder::packed) {
    if (v.dims.size() != 3 || !v.dims[2].size.known() || heads < 1 || v.dims[2].size.value % heads != 0) return std::nullopt;
    const std::vector<Dim> apart{v.dims[0].size, v.dims[1].size, Dim(heads), Dim(v.dims[2].size.value / heads)};
    const std::optional<View> split_up = regrouped(v, apart);
    return split_up ? std::optional(permuted(*split_up, {0, 2, 1, 3})) : std::nullopt;
  }
  if (v.dims.size() != 4) return std::nullopt;
  return order == HeadsOrder::columns ? permuted(v, {0, 1, 3, 2}) : v;
}

}  // namespace

std::optional<DequantizeAtRun> as_dequantize_at_run(const Value* value) {
  if (!value || !value->producer() || value->producer()->op().quant != QuantRole::dequantize) return std::nullopt;
  Node* node = value->producer();
  Value *source = node->input(0), *scale = node->input(1), *zero = node->input(2);
  if (value->dtype() != DType::f32 || source->dtype() != DType::u8 || !scale || !zero) return std::nullopt;
  if (scale->is_constant() || zero->is_constant() || scale->dtype() != DType::f32) return std::nullopt;
  for (const Value* v : {scale, zero})
    if (!v->type().static_shape() || element_count(v->type().shape()) != 1) return std::nullopt;
  return DequantizeAtRun{node, source, scale, zero};
}

std::optional<HeadsView> view_heads(Value* operand, HeadsOrder order, int64_t heads, std::string& why) {
  std::vector<Value*> values{operand};
  while (const Node* node = values.back()->producer()) {
    Value* before = followed(*node);
    if (!before || !before->type().ranked() || before->is_constant()) break;
    values.push_back(before);
  }
  for (size_t i = values.size(); i-- > 0;) {
    if (!values[i]->type().ranked()) continue;
    const std::vector<Dim>& dims = *values[i]->type().dims;
    std::optional<View> v = identity(dims);
    HeadsView view;
    for (size_t j = i; j-- > 0 && v;) {
      Node& node = *values[j]->producer();
      view.way.push_back(&node);
      if (const auto at_run = as_dequantize_at_run(values[j])) {
        view.quantized = true;
        view.scale = at_run->scale, view.zero_point = at_run->zero_point;
      } else if (as_u8_dequantize(values[j])) {
        view.quantized = true;
      }
      if (const std::optional<float> f = scalar_factor(node, values[j + 1])) {
        view.factor *= *f;
        view.factors.push_back(&node);
      }
      v = applied(node, *v, values[j]);
    }
    if (v) v = in_head_order(*v, order, heads);
    if (!v || !as_heads(*v, dims, view)) continue;
    view.source = values[i];
    return view;
  }
  why = "the heads of '" + operand->name() + "' lie in no known way; expected [batch, heads, sequence, size]";
  return std::nullopt;
}

}  // namespace octet::graph
