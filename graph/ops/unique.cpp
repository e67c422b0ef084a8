// Unique: the different elements, or the different slices along an axis, in ascending order (lexicographic; NaN last, and
// equal to itself) or in that of their first occurrence. How many there are, only the data tell.
#include <algorithm>
#include <numeric>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

template <class Ctx>
std::optional<size_t> axis_of(const Ctx& ctx, size_t rank) {
  if (!ctx.node().has_attr("axis")) return std::nullopt;
  return static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(rank)));
}

void infer_unique(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  const bool flat = !ctx.node().has_attr("axis");
  MaybeDims out = flat ? MaybeDims(Dims(1)) : x;
  Dim slices;
  if (x && flat) slices = product(*x, 0, x->size());
  if (x && !flat) {
    Dim& d = (*out)[*axis_of(ctx, x->size())];
    slices = d;
    d = Dim();
  }
  set_moved(ctx, 0, 0, out);
  set_dims(ctx, 1, DType::s64, Dims(1));
  set_dims(ctx, 2, DType::s64, Dims{slices});
  set_dims(ctx, 3, DType::s64, Dims(1));
}

// -1, 0, 1 as a is before, like, after b.
template <class C>
int compare(C a, C b) {
  const bool nan_a = a != a, nan_b = b != b;
  if (nan_a || nan_b) return static_cast<int>(nan_a) - static_cast<int>(nan_b);
  return a < b ? -1 : b < a ? 1 : 0;
}

// The slices in order, and for each the number of its class: equal slices have one class; classes count upwards.
struct Classes {
  std::vector<int64_t> first, count;  // one each a class
  std::vector<int64_t> of;            // one a slice
};
template <class Compare>
Classes classes_of(int64_t slices, bool sorted, Compare compare_slices) {
  std::vector<int64_t> order(static_cast<size_t>(slices));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return compare_slices(a, b) < 0; });
  Classes c;
  c.of.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || compare_slices(order[i - 1], order[i]) != 0) {
      c.first.push_back(order[i]);
      c.count.push_back(0);
    }
    ++c.count.back();
    c.of[static_cast<size_t>(order[i])] = static_cast<int64_t>(c.first.size()) - 1;
  }
  if (sorted) return c;
  std::vector<size_t> by_first(c.first.size());
  std::iota(by_first.begin(), by_first.end(), size_t{0});
  std::sort(by_first.begin(), by_first.end(), [&](size_t a, size_t b) { return c.first[a] < c.first[b]; });
  Classes out;
  std::vector<int64_t> renamed(by_first.size());
  for (size_t i = 0; i < by_first.size(); ++i) {
    renamed[by_first[i]] = static_cast<int64_t>(i);
    out.first.push_back(c.first[by_first[i]]);
    out.count.push_back(c.count[by_first[i]]);
  }
  for (const int64_t name : c.of) out.of.push_back(renamed[static_cast<size_t>(name)]);
  return out;
}

void eval_unique(EvalContext& ctx) {
  const std::optional<size_t> given = axis_of(ctx, ctx.in(0).shape().size());
  const Tensor x = given ? ctx.in(0) : ctx.in(0).reshaped({ctx.in(0).size()});
  const size_t axis = given.value_or(0);
  const Shape& shape = x.shape();
  const int64_t slices = shape[axis], outer = product(shape, 0, axis), inner = product(shape, axis + 1, shape.size());
  const bool sorted = ctx.node().attr("sorted", int64_t{1}) != 0;
  Classes classes;
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = Compute<T>;
    classes = classes_of(slices, sorted, [&](int64_t a, int64_t b) {
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t i = 0; i < inner; ++i) {
          const auto at = [&](int64_t slice) { return static_cast<C>(x.as<T>()[(o * slices + slice) * inner + i]); };
          if (const int order = compare(at(a), at(b))) return order;
        }
      return 0;
    });
  };
  if (x.dtype() == DType::boolean)
    run(Tag<uint8_t>{});
  else
    with_number(ctx, x.dtype(), run);
  std::vector<std::vector<int64_t>> maps;
  for (size_t a = 0; a < shape.size(); ++a) {
    std::vector<int64_t> all(static_cast<size_t>(shape[a]));
    std::iota(all.begin(), all.end(), int64_t{0});
    maps.push_back(a == axis ? classes.first : std::move(all));
  }
  ctx.out(0) = gather_mapped(ctx, x, maps);
  if (ctx.output_count() > 1) ctx.out(1) = Tensor::of_s64(classes.first);
  if (ctx.output_count() > 2) ctx.out(2) = Tensor::of_s64(classes.of);
  if (ctx.output_count() > 3) ctx.out(3) = Tensor::of_s64(classes.count);
}

std::vector<OpDef> define() {
  return {{.name = "Unique",
           .inputs = {{"X"}},
           .attrs = {{"axis", AttrKind::i}, {"sorted", AttrKind::i}},
           .max_outputs = 4,
           .infer = infer_unique,
           .eval = eval_unique}};
}

}  // namespace

std::span<const OpDef> unique_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
