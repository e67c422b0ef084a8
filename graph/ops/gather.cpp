// Indexed reads and writes: Gather, GatherElements, GatherND, ScatterElements, ScatterND, Compress. A negative index counts
// from the end; one out of range is an error that names it.
#include <algorithm>
#include <cstring>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

int64_t checked_index(const EvalContext& ctx, int64_t index, int64_t n) {
  if (index < -n || index >= n)
    ctx.fail(ErrorCode::invalid_argument, "index " + std::to_string(index) + " is out of range; expected " +
                                              std::to_string(-n) + " to " + std::to_string(n - 1));
  return index < 0 ? index + n : index;
}

template <class Ctx>
size_t axis_of(const Ctx& ctx, size_t rank) {
  return static_cast<size_t>(normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(rank)));
}

// --- Gather
// ------------------------------------------------------------------------------------------------------------------
template <class Ctx>
MaybeDims gather_dims(const Ctx& ctx) {
  const MaybeDims data = dims_of(ctx, 0);
  const MaybeDims indices = dims_of(ctx, 1);
  if (!data || !indices) return std::nullopt;
  const size_t axis = axis_of(ctx, data->size());
  Dims out(data->begin(), data->begin() + static_cast<std::ptrdiff_t>(axis));
  out.insert(out.end(), indices->begin(), indices->end());
  out.insert(out.end(), data->begin() + static_cast<std::ptrdiff_t>(axis) + 1, data->end());
  return out;
}
void infer_gather(InferContext& ctx) {
  expect_dtype(ctx, 1, {DType::s32, DType::s64});
  set_moved(ctx, 0, 0, gather_dims(ctx));
}
void eval_gather(EvalContext& ctx) {
  const Tensor& data = ctx.in(0);
  const Tensor& indices = ctx.in(1);
  const size_t axis = axis_of(ctx, data.shape().size());
  const int64_t n = data.shape()[axis];
  const int64_t outer = product(data.shape(), 0, axis);
  const int64_t inner = product(data.shape(), axis + 1, data.shape().size());
  Tensor y(data.dtype(), to_shape(*gather_dims(ctx)));
  const auto bytes = static_cast<size_t>(inner) * size_of(data.dtype());
  if (size_of(data.dtype()) == 0) fail_dtype(ctx, data.dtype());
  auto* to = y.mutable_as<std::byte>();
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < indices.size(); ++i, to += bytes) {
      const int64_t index = checked_index(ctx, indices.at_s64(i), n);
      if (bytes) std::memcpy(to, data.as<std::byte>() + static_cast<size_t>(o * n + index) * bytes, bytes);
    }
  ctx.out() = y;
}

// --- GatherElements, ScatterElements: indices has the rank of data; the axis' coordinate is replaced
// -------------------------------
void infer_gather_elements(InferContext& ctx) {
  expect_dtype(ctx, 1, {DType::s32, DType::s64});
  const MaybeDims data = dims_of(ctx, 0), indices = dims_of(ctx, 1);
  if (data) axis_of(ctx, data->size());
  if (data && indices && data->size() != indices->size())
    fail(ctx, "indices have shape " + describe(*indices) + "; expected rank " + std::to_string(data->size()) +
                  ", that of the data");
  set_moved(ctx, 0, 0, indices);
}

// Offset into `data` for every element of `indices`, in order.
std::vector<int64_t> element_offsets(const EvalContext& ctx, const Shape& data, const Tensor& indices, size_t axis) {
  const Strides strides = strides_of(data);
  Strides rest = strides;
  rest[axis] = 0;
  std::vector<int64_t> offsets;
  offsets.reserve(static_cast<size_t>(indices.size()));
  for_each_run<1>(indices.shape(), {rest}, [&](const auto& at, int64_t length, const auto& step) {
    for (int64_t i = 0; i < length; ++i) {
      const int64_t index = checked_index(ctx, indices.at_s64(static_cast<int64_t>(offsets.size())), data[axis]);
      offsets.push_back(at[0] + i * step[0] + index * strides[axis]);
    }
  });
  return offsets;
}

void eval_gather_elements(EvalContext& ctx) {
  const Tensor& data = ctx.in(0);
  const std::vector<int64_t> offsets = element_offsets(ctx, data.shape(), ctx.in(1), axis_of(ctx, data.shape().size()));
  Tensor y(data.dtype(), ctx.in(1).shape());
  with_bytes(ctx, data.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (size_t i = 0; i < offsets.size(); ++i) y.mutable_as<T>()[i] = data.as<T>()[offsets[i]];
  });
  ctx.out() = y;
}

enum class Reduction : uint8_t { none, add, mul, max, min };
template <class Ctx>
Reduction reduction_of(const Ctx& ctx) {
  const std::string name = ctx.node().attr("reduction", "none");
  if (name == "none") return Reduction::none;
  if (name == "add") return Reduction::add;
  if (name == "mul") return Reduction::mul;
  if (name == "max") return Reduction::max;
  if (name == "min") return Reduction::min;
  fail(ctx, "reduction is '" + name + "'; expected none, add, mul, max or min");
}
template <class C>
C reduced(Reduction r, C old, C v) {
  switch (r) {
    case Reduction::none: break;
    case Reduction::add: return static_cast<C>(old + v);
    case Reduction::mul: return static_cast<C>(old * v);
    case Reduction::max: return old > v ? old : v;
    case Reduction::min: return old < v ? old : v;
  }
  return v;
}

Tensor copy_of(EvalContext& ctx, const Tensor& t) { return gather_strided(ctx, t, t.shape(), strides_of(t.shape())); }

// Writes updates[i] to data[offsets[i / run] + i % run], in order.
void scatter(EvalContext& ctx, const std::vector<int64_t>& offsets, int64_t run) {
  const Tensor& updates = ctx.in(2);
  const Reduction reduction = reduction_of(ctx);
  Tensor y = copy_of(ctx, ctx.in(0));
  if (updates.size() != static_cast<int64_t>(offsets.size()) * run || updates.dtype() != y.dtype())
    fail(ctx, "updates have shape " + octet::to_string(updates.shape()) + ", which does not fit the indices");
  if (reduction == Reduction::none) {
    with_bytes(ctx, y.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (int64_t i = 0; i < updates.size(); ++i)
        y.mutable_as<T>()[offsets[static_cast<size_t>(i / run)] + i % run] = updates.as<T>()[i];
    });
  } else {
    with_number(ctx, y.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      using C = Compute<T>;
      for (int64_t i = 0; i < updates.size(); ++i) {
        T& to = y.mutable_as<T>()[offsets[static_cast<size_t>(i / run)] + i % run];
        to = static_cast<T>(reduced(reduction, static_cast<C>(to), static_cast<C>(updates.as<T>()[i])));
      }
    });
  }
  ctx.out() = y;
}

void infer_scatter(InferContext& ctx) {
  expect_dtype(ctx, 1, {DType::s32, DType::s64});
  expect_same_dtype(ctx, 0, 2);
  reduction_of(ctx);
  infer_same_as_input(ctx);
}
void eval_scatter_elements(EvalContext& ctx) {
  const Shape& data = ctx.in(0).shape();
  if (ctx.in(1).shape().size() != data.size()) fail(ctx, "indices and data differ in rank");
  scatter(ctx, element_offsets(ctx, data, ctx.in(1), axis_of(ctx, data.size())), 1);
}

// --- GatherND, ScatterND: the last axis of indices holds coordinates
// -------------------------------------------------------------
template <class Ctx>
MaybeDims gather_nd_dims(const Ctx& ctx) {
  const MaybeDims data = dims_of(ctx, 0), indices = dims_of(ctx, 1);
  if (!data || !indices || indices->empty() || !indices->back().known()) return std::nullopt;
  const auto batch = ctx.node().attr("batch_dims", int64_t{0});
  const int64_t depth = batch + indices->back().value;
  if (batch < 0 || depth > static_cast<int64_t>(data->size()))
    fail(ctx, "indices hold " + std::to_string(indices->back().value) + " coordinates; expected at most " +
                  std::to_string(static_cast<int64_t>(data->size()) - batch));
  Dims out(indices->begin(), indices->end() - 1);
  out.insert(out.end(), data->begin() + depth, data->end());
  return out;
}
void infer_gather_nd(InferContext& ctx) {
  expect_dtype(ctx, 1, {DType::s64});
  set_moved(ctx, 0, 0, gather_nd_dims(ctx));
}

// Offset into `data` for every coordinate tuple; the first `batch` axes go along with those of indices.
std::vector<int64_t> tuple_offsets(const EvalContext& ctx, const Shape& data, const Tensor& indices, int64_t batch) {
  const Strides strides = strides_of(data);
  const int64_t depth = indices.shape().back();
  const int64_t tuples = depth ? indices.size() / depth : product(indices.shape(), 0, indices.shape().size() - 1);
  const int64_t batches = product(data, 0, static_cast<size_t>(batch));
  const int64_t per_batch = batches ? tuples / batches : 0;
  const int64_t batch_stride = product(data, static_cast<size_t>(batch), data.size());
  std::vector<int64_t> offsets;
  for (int64_t t = 0; t < tuples; ++t) {
    int64_t offset = per_batch ? t / per_batch * batch_stride : 0;
    for (int64_t d = 0; d < depth; ++d) {
      const auto axis = static_cast<size_t>(batch + d);
      offset += checked_index(ctx, indices.at_s64(t * depth + d), data[axis]) * strides[axis];
    }
    offsets.push_back(offset);
  }
  return offsets;
}
void eval_gather_nd(EvalContext& ctx) {
  const Tensor& data = ctx.in(0);
  const Tensor& indices = ctx.in(1);
  const int64_t batch = ctx.node().attr("batch_dims", int64_t{0});
  Tensor y(data.dtype(), to_shape(*gather_nd_dims(ctx)));
  const std::vector<int64_t> offsets = tuple_offsets(ctx, data.shape(), indices, batch);
  const int64_t run = product(data.shape(), static_cast<size_t>(batch + indices.shape().back()), data.shape().size());
  with_bytes(ctx, data.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = y.mutable_as<T>();
    for (const int64_t offset : offsets) to = std::copy_n(data.as<T>() + offset, run, to);
  });
  ctx.out() = y;
}
void eval_scatter_nd(EvalContext& ctx) {
  const Shape& data = ctx.in(0).shape();
  const Tensor& indices = ctx.in(1);
  if (indices.shape().empty() || indices.shape().back() > static_cast<int64_t>(data.size()))
    fail(ctx, "indices have shape " + octet::to_string(indices.shape()) + "; expected at most " +
                  std::to_string(data.size()) + " coordinates");
  scatter(ctx, tuple_offsets(ctx, data, indices, 0),
          product(data, static_cast<size_t>(indices.shape().back()), data.size()));
}

// --- Compress: slices where the condition holds; how many, only the data tell
// ------------------------------------------------------
void infer_compress(InferContext& ctx) {
  expect_dtype(ctx, 1, {DType::boolean});
  if (!ctx.node().has_attr("axis")) return set_moved(ctx, 0, 0, Dims(1));
  MaybeDims dims = dims_of(ctx, 0);
  if (dims) (*dims)[axis_of(ctx, dims->size())] = Dim();
  set_moved(ctx, 0, 0, dims);
}
void eval_compress(EvalContext& ctx) {
  const bool flat = !ctx.node().has_attr("axis");
  const Tensor data = flat ? ctx.in(0).reshaped({ctx.in(0).size()}) : ctx.in(0);
  const size_t axis = flat ? 0 : axis_of(ctx, data.shape().size());
  std::vector<std::vector<int64_t>> maps;
  for (size_t a = 0; a < data.shape().size(); ++a) {
    std::vector<int64_t> map;
    for (int64_t i = 0; i < data.shape()[a]; ++i) {
      const bool chosen = i < ctx.in(1).size() && ctx.in(1).as<uint8_t>()[i] != 0;
      if (a != axis || chosen) map.push_back(i);
    }
    maps.push_back(std::move(map));
  }
  ctx.out() = gather_mapped(ctx, data, maps);
}

OpDef indexed(std::string name, std::vector<InputSchema> inputs, std::vector<AttrSchema> attrs, void (*infer)(InferContext&),
              void (*eval)(EvalContext&), QuantRole quant) {
  return {.name = std::move(name),
          .inputs = std::move(inputs),
          .attrs = std::move(attrs),
          .infer = infer,
          .eval = eval,
          .quant = quant};
}

std::vector<OpDef> define() {
  constexpr QuantRole moves = QuantRole::transparent;
  constexpr AttrKind i = AttrKind::i, s = AttrKind::s;
  return {
      indexed("Gather", {{"data"}, {"indices"}}, {{"axis", i}}, infer_gather, eval_gather, moves),
      indexed("GatherElements", {{"data"}, {"indices"}}, {{"axis", i}}, infer_gather_elements, eval_gather_elements, moves),
      indexed("GatherND", {{"data"}, {"indices"}}, {{"batch_dims", i}}, infer_gather_nd, eval_gather_nd, moves),
      indexed("ScatterElements", {{"data"}, {"indices"}, {"updates"}}, {{"axis", i}, {"reduction", s}}, infer_scatter,
              eval_scatter_elements, QuantRole::none),
      indexed("ScatterND", {{"data"}, {"indices"}, {"updates"}}, {{"reduction", s}}, infer_scatter, eval_scatter_nd,
              QuantRole::none),
      indexed("Compress", {{"input"}, {"condition"}}, {{"axis", i}}, infer_compress, eval_compress, QuantRole::none),
  };
}

}  // namespace

std::span<const OpDef> gather_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
