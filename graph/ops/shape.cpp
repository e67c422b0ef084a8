// Operators that read or change shapes: Shape, Size, Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Tile,
// Identity, Dropout. Quantized bytes pass through them.
#include <algorithm>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

// --- Shape, Size
// -------------------------------------------------------------------------------------------------------------
struct Extent {
  int64_t begin, end;
};
Extent shape_extent(const Node& node, int64_t rank) {
  const auto clamp = [rank](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank); };
  const int64_t begin = clamp(node.attr("start", int64_t{0}));
  return {begin, std::max(begin, clamp(node.attr("end", rank)))};
}
void infer_shape(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  if (!x) return set_dims(ctx, 0, DType::s64, Dims(1));
  const Extent e = shape_extent(ctx.node(), static_cast<int64_t>(x->size()));
  set_dims(ctx, 0, DType::s64, Dims{Dim(e.end - e.begin)});
}
void eval_shape(EvalContext& ctx) {
  const Shape& x = ctx.in(0).shape();
  const Extent e = shape_extent(ctx.node(), static_cast<int64_t>(x.size()));
  ctx.out() = Tensor::of_s64({x.begin() + e.begin, x.begin() + e.end});
}
void infer_size(InferContext& ctx) { set_dims(ctx, 0, DType::s64, Dims{}); }
void eval_size(EvalContext& ctx) { ctx.out() = Tensor::of<int64_t>(DType::s64, {}, {ctx.in(0).size()}); }

// --- Reshape
// ----------------------------------------------------------------------------------------------------------------- The size
// that -1 stands for: input elements over the other output elements. Dimensions taken over with 0 and equal symbols cancel,
// so that [N,3,4] into [0,-1] is [N,12].
Dim remaining(Dims in, Dims out) {
  int64_t above = 1, below = 1;
  const auto divide_symbols = [&](Dims& dims, int64_t& numbers) {
    std::erase_if(dims, [&](const Dim& d) {
      if (d.known()) numbers *= d.value;
      return d.known();
    });
  };
  divide_symbols(in, above);
  divide_symbols(out, below);
  for (const Dim& d : out) {
    const auto match = std::find(in.begin(), in.end(), d);
    if (match == in.end()) return Dim();
    in.erase(match);
  }
  if (below == 0 || above % below != 0) return Dim();
  if (in.empty()) return Dim(above / below);
  return in.size() == 1 && above == below ? in[0] : Dim();
}

template <class Ctx>
MaybeDims reshape_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  const MaybeValues wanted = shape_values(ctx, 1);
  if (!wanted) return std::nullopt;
  const bool allow_zero = ctx.node().attr("allowzero", int64_t{0}) != 0;
  Dims out(wanted->size()), in_rest, out_rest;
  std::vector<bool> taken(x ? x->size() : 0, false);
  std::optional<size_t> open;
  for (size_t i = 0; i < out.size(); ++i) {
    const ShapeValue& v = (*wanted)[i];
    if (v.number == -1) {
      if (open) fail(ctx, "the new shape has -1 twice; expected at most once");
      open = i;
    } else if (v.number == 0 && !allow_zero) {
      if (x && i >= x->size())
        fail(ctx, "the new shape copies dimension " + std::to_string(i) + ", which the input " + describe(*x) + " lacks");
      if (x) {
        out[i] = (*x)[i];
        taken[i] = true;
      } else {
        out_rest.emplace_back();
      }
    } else {
      if (v.number && *v.number < -1)
        fail(ctx, "the new shape holds " + std::to_string(*v.number) + "; expected sizes, 0 or -1");
      out[i] = v.dim();
      out_rest.push_back(out[i]);
    }
  }
  if (!x) return out;
  for (size_t i = 0; i < x->size(); ++i)
    if (!taken[i]) in_rest.push_back((*x)[i]);
  if (open) out[*open] = remaining(in_rest, out_rest);
  const Dim before = product(*x, 0, x->size()), after = product(out, 0, out.size());
  const bool static_in = std::all_of(x->begin(), x->end(), [](const Dim& d) { return d.known(); });
  const bool rest_known = std::all_of(out_rest.begin(), out_rest.end(), [](const Dim& d) { return d.known(); });
  const bool misfit =
      open ? static_in && rest_known && !out[*open].known() : before.known() && after.known() && before.value != after.value;
  if (misfit)
    fail(ctx, "cannot reshape " + describe(*x) + " to " + describe(out) + "; expected the same number of elements");
  return out;
}

void infer_reshape(InferContext& ctx) {
  expect_rank(ctx, 1, dims_of(ctx, 1), 1, 1);
  set_moved(ctx, 0, 0, reshape_dims(ctx));
}
void eval_reshape(EvalContext& ctx) { ctx.out() = ctx.in(0).reshaped(to_shape(*reshape_dims(ctx))); }

// --- Flatten, Squeeze, Unsqueeze
// -----------------------------------------------------------------------------------------------
template <class Ctx>
MaybeDims flatten_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  if (!x) return Dims(2);
  const auto rank = static_cast<int64_t>(x->size());
  int64_t axis = ctx.node().attr("axis", int64_t{1});
  if (axis < -rank || axis > rank)
    fail(ctx, "axis " + std::to_string(axis) + " is out of range for rank " + std::to_string(rank));
  if (axis < 0) axis += rank;
  const auto split = static_cast<size_t>(axis);
  return Dims{product(*x, 0, split), product(*x, split, x->size())};
}

template <class Ctx>
MaybeDims squeeze_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  if (!x) return std::nullopt;
  std::vector<bool> drop(x->size(), false);
  if (ctx.has(1)) {
    const auto axes = int_values(ctx, 1);
    if (!axes) return std::nullopt;
    for (const int64_t a : normalize_axes(ctx, *axes, static_cast<int64_t>(x->size()))) {
      const auto i = static_cast<size_t>(a);
      if ((*x)[i].known() && (*x)[i].value != 1)
        fail(ctx, "cannot squeeze axis " + std::to_string(a) + " of " + describe(*x) + "; expected size 1");
      drop[i] = true;
    }
  } else {
    for (size_t i = 0; i < x->size(); ++i) {
      if (!(*x)[i].known()) return std::nullopt;
      drop[i] = (*x)[i].value == 1;
    }
  }
  Dims out;
  for (size_t i = 0; i < x->size(); ++i)
    if (!drop[i]) out.push_back((*x)[i]);
  return out;
}

template <class Ctx>
MaybeDims unsqueeze_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  const auto axes = int_values(ctx, 1);
  if (!x || !axes) return std::nullopt;
  const size_t rank = x->size() + axes->size();
  std::vector<bool> fresh(rank, false);
  for (const int64_t a : normalize_axes(ctx, *axes, static_cast<int64_t>(rank))) fresh[static_cast<size_t>(a)] = true;
  Dims out;
  for (size_t i = 0, from = 0; i < rank; ++i) out.push_back(fresh[i] ? Dim(1) : (*x)[from++]);
  return out;
}

template <MaybeDims (*Rule)(const InferContext&)>
void infer_view(InferContext& ctx) {
  set_moved(ctx, 0, 0, Rule(ctx));
}
template <MaybeDims (*Rule)(const EvalContext&)>
void eval_view(EvalContext& ctx) {
  const Shape shape = to_shape(*Rule(ctx));
  if (element_count(shape) != ctx.in(0).size())
    fail(ctx, "shape " + octet::to_string(ctx.in(0).shape()) + " does not fit " + octet::to_string(shape));
  ctx.out() = ctx.in(0).reshaped(shape);
}

// --- Transpose
// -----------------------------------------------------------------------------------------------------------------
template <class Ctx>
std::vector<size_t> permutation(const Ctx& ctx, size_t rank) {
  const std::vector<int64_t> perm = ctx.node().ints("perm");
  std::vector<size_t> out(rank);
  if (perm.empty()) {
    for (size_t i = 0; i < rank; ++i) out[i] = rank - 1 - i;
    return out;
  }
  if (perm.size() != rank)
    fail(ctx, "perm has " + std::to_string(perm.size()) + " entries; expected " + std::to_string(rank) +
                  ", the rank of the input");
  const std::vector<int64_t> axes = normalize_axes(ctx, perm, static_cast<int64_t>(rank));
  for (size_t i = 0; i < rank; ++i) out[i] = static_cast<size_t>(axes[i]);
  return out;
}
void infer_transpose(InferContext& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  if (!x) {
    const size_t rank = ctx.node().ints("perm").size();
    return set_moved(ctx, 0, 0, rank ? MaybeDims(Dims(rank)) : std::nullopt);
  }
  Dims out;
  for (const size_t axis : permutation(ctx, x->size())) out.push_back((*x)[axis]);
  set_moved(ctx, 0, 0, out);
}
void eval_transpose(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Strides from = strides_of(x.shape());
  Shape shape;
  Strides strides;
  for (const size_t axis : permutation(ctx, x.shape().size())) {
    shape.push_back(x.shape()[axis]);
    strides.push_back(from[axis]);
  }
  ctx.out() = gather_strided(ctx, x, shape, strides);
}

// --- Expand, Tile
// ----------------------------------------------------------------------------------------------------------------
template <class Ctx>
MaybeDims expand_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  const MaybeValues wanted = shape_values(ctx, 1);
  if (!x || !wanted) return std::nullopt;
  Dims to;
  for (const ShapeValue& v : *wanted) to.push_back(v.dim());
  return broadcast(ctx, x, to);
}
void eval_expand(EvalContext& ctx) {
  const Shape shape = to_shape(*expand_dims(ctx));
  ctx.out() = gather_strided(ctx, ctx.in(0), shape, broadcast_strides(ctx.in(0).shape(), shape));
}

template <class Ctx>
MaybeDims tile_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  if (!x) return std::nullopt;
  const MaybeValues repeats = shape_values(ctx, 1);
  if (!repeats) return Dims(x->size());
  if (repeats->size() != x->size())
    fail(ctx, "repeats has " + std::to_string(repeats->size()) + " entries; expected " + std::to_string(x->size()) +
                  ", the rank of the input");
  Dims out(x->size());
  for (size_t i = 0; i < out.size(); ++i) {
    const Dim times = (*repeats)[i].dim();
    if (times.known() && (*x)[i].known())
      out[i] = Dim(times.value * (*x)[i].value);
    else if (times == Dim(1))
      out[i] = (*x)[i];
    else if ((*x)[i] == Dim(1))
      out[i] = times;
  }
  return out;
}
// As a walk over [repeat 0, dim 0, repeat 1, dim 1, ...] that stands still along the repeats.
void eval_tile(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Shape shape = to_shape(*tile_dims(ctx));
  const std::vector<int64_t> repeats = ctx.in(1).to_s64();
  const Strides from = strides_of(x.shape());
  Shape split;
  Strides strides;
  for (size_t i = 0; i < from.size(); ++i) {
    split.insert(split.end(), {repeats[i], x.shape()[i]});
    strides.insert(strides.end(), {0, from[i]});
  }
  ctx.out() = gather_strided(ctx, x, split, strides).reshaped(shape);
}

// --- Identity, Dropout
// -------------------------------------------------------------------------------------------------------------
void eval_identity(EvalContext& ctx) { ctx.out() = ctx.in(0); }

void infer_identity(InferContext& ctx) {
  if (ctx.type(0).is_tensor()) return infer_same_as_input(ctx);
  ctx.set(0, ctx.type(0));
}

// Inference leaves the data alone; the mask keeps everything.
void infer_dropout(InferContext& ctx) {
  infer_same_as_input(ctx);
  if (ctx.node().outputs().size() > 1) set_dims(ctx, 1, DType::boolean, dims_of(ctx, 0));
}
void eval_dropout(EvalContext& ctx) {
  if (ctx.has(2) && ctx.in(2).at_s64(0) != 0)
    ctx.fail(ErrorCode::unsupported, "training_mode is true; expected an inference graph");
  ctx.out() = ctx.in(0);
  if (ctx.output_count() < 2) return;
  Tensor mask(DType::boolean, ctx.in(0).shape());
  std::fill_n(mask.mutable_as<uint8_t>(), mask.size(), uint8_t{1});
  ctx.out(1) = mask;
}

OpDef mover(std::string name, std::vector<InputSchema> inputs, std::vector<AttrSchema> attrs, void (*infer)(InferContext&),
            void (*eval)(EvalContext&), LayoutRole layout = LayoutRole::plain_only) {
  return {.name = std::move(name),
          .inputs = std::move(inputs),
          .attrs = std::move(attrs),
          .infer = infer,
          .eval = eval,
          .quant = QuantRole::transparent,
          .layout = layout};
}

std::vector<OpDef> define() {
  std::vector<OpDef> ops = {
      {.name = "Shape",
       .inputs = {{"data"}},
       .attrs = {{"start", AttrKind::i}, {"end", AttrKind::i}},
       .infer = infer_shape,
       .eval = eval_shape},
      {.name = "Size", .inputs = {{"data"}}, .attrs = {}, .infer = infer_size, .eval = eval_size},
      mover("Reshape", {{"data"}, {"shape"}}, {{"allowzero", AttrKind::i}}, infer_reshape, eval_reshape),
      mover("Flatten", {{"input"}}, {{"axis", AttrKind::i}}, infer_view<flatten_dims>, eval_view<flatten_dims>),
      mover("Squeeze", {{"data"}, {"axes", true}}, {}, infer_view<squeeze_dims>, eval_view<squeeze_dims>),
      mover("Unsqueeze", {{"data"}, {"axes"}}, {}, infer_view<unsqueeze_dims>, eval_view<unsqueeze_dims>),
      mover("Transpose", {{"data"}}, {{"perm", AttrKind::ints}}, infer_transpose, eval_transpose),
      mover("Expand", {{"input"}, {"shape"}}, {}, infer_view<expand_dims>, eval_expand),
      mover("Tile", {{"input"}, {"repeats"}}, {}, infer_view<tile_dims>, eval_tile),
      mover("Identity", {{"input"}}, {}, infer_identity, eval_identity, LayoutRole::any),
      mover("Dropout", {{"data"}, {"ratio", true}, {"training_mode", true}}, {{"seed", AttrKind::i}}, infer_dropout,
            eval_dropout, LayoutRole::any),
  };
  ops.back().max_outputs = 2;
  ops[ops.size() - 2].any_kind = true;
  return ops;
}

}  // namespace

std::span<const OpDef> shape_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
