// Sequences and optionals. A sequence's type tells the element type and what the shapes of its elements have in common.
#include <algorithm>
#include <cstring>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

Type sequence_of(const Type& element) { return {element.dtype, element.dims, nullptr, ValueKind::sequence}; }
Type element_of(const Type& holder) { return {holder.dtype, holder.dims, nullptr}; }

void expect_kind(const InferContext& ctx, size_t i, ValueKind kind) {
  if (ctx.type(i).kind != kind && ctx.type(i).dtype != DType::undefined)  // of an undefined type nothing is known
    ctx.fail("input " + std::to_string(i) + " is " + to_string(ctx.type(i)) + "; expected a " +
             std::string(to_string(kind)));
}

// Optionals hold what a caller put into them, so kinds are looked at again when values are there.
void expect_held(const EvalContext& ctx, size_t i, ValueKind kind) {
  if (ctx.in(i).kind() != kind)
    fail(ctx, "input " + std::to_string(i) + " is of kind " + std::string(to_string(ctx.in(i).kind())) + "; expected a " +
                  std::string(to_string(kind)));
}

MaybeDims common(const MaybeDims& a, const MaybeDims& b) {
  if (!a || !b || a->size() != b->size()) return std::nullopt;
  Dims out = *a;
  for (size_t i = 0; i < out.size(); ++i)
    if (!(out[i] == (*b)[i])) out[i] = Dim();
  return out;
}

void expect_element(const InferContext& ctx, const Type& sequence, const Type& element) {
  if (sequence.dtype != element.dtype && sequence.dtype != DType::undefined && element.dtype != DType::undefined)
    ctx.fail("puts " + to_string(element) + " into a " + to_string(sequence) + "; expected one element type");
}

int64_t position(EvalContext& ctx, size_t input, int64_t size, int64_t most) {
  const int64_t given = scalar_s64(ctx, input), at = given < 0 ? given + size : given;
  if (at < 0 || at > most)
    ctx.fail(ErrorCode::invalid_argument, "position " + std::to_string(given) + " is out of range for a sequence of " +
                                              std::to_string(size) + " elements");
  return at;
}

// --- SequenceEmpty, SequenceConstruct -------------------------------------------------------------------------------------
void infer_empty(InferContext& ctx) {
  const DType dtype = dtype_from_onnx(ctx.node().attr("dtype", int64_t{1}));
  if (dtype == DType::undefined) ctx.fail("attribute 'dtype' names no element type that octet knows");
  ctx.set(0, Type{dtype, std::nullopt, nullptr, ValueKind::sequence});
}
void eval_empty(EvalContext& ctx) {
  ctx.out() = Tensor::sequence(dtype_from_onnx(ctx.node().attr("dtype", int64_t{1})), {});
}

void infer_construct(InferContext& ctx) {
  Type type = sequence_of(ctx.type(0));
  for (size_t i = 0; i < ctx.node().inputs().size(); ++i) {
    expect_kind(ctx, i, ValueKind::tensor);
    expect_same_dtype(ctx, 0, i);
    type.dims = common(type.dims, ctx.type(i).dims);
  }
  ctx.set(0, std::move(type));
}
void eval_construct(EvalContext& ctx) {
  std::vector<Tensor> elements;
  for (size_t i = 0; i < ctx.input_count(); ++i) {
    expect_held(ctx, i, ValueKind::tensor);
    elements.push_back(ctx.in(i));
  }
  ctx.out() = Tensor::sequence(ctx.in(0).dtype(), std::move(elements));
}

// --- SequenceInsert, SequenceErase, SequenceAt, SequenceLength
// --------------------------------------------------------------
void infer_insert(InferContext& ctx) {
  expect_kind(ctx, 0, ValueKind::sequence);
  expect_kind(ctx, 1, ValueKind::tensor);
  expect_element(ctx, ctx.type(0), ctx.type(1));
  Type type = sequence_of(ctx.type(1));
  // An empty sequence says nothing of shapes, so neither may the result.
  type.dims = common(ctx.type(0).dims, ctx.type(1).dims);
  ctx.set(0, std::move(type));
}
void eval_insert(EvalContext& ctx) {
  expect_held(ctx, 0, ValueKind::sequence);
  expect_held(ctx, 1, ValueKind::tensor);
  std::vector<Tensor> elements = ctx.in(0).elements();
  const auto size = static_cast<int64_t>(elements.size());
  const int64_t at = ctx.has(2) ? position(ctx, 2, size, size) : size;
  const Tensor& tensor = ctx.in(1);
  elements.insert(elements.begin() + at, tensor);
  ctx.out() = Tensor::sequence(tensor.dtype(), std::move(elements));
}

void infer_erase(InferContext& ctx) {
  expect_kind(ctx, 0, ValueKind::sequence);
  ctx.set(0, sequence_of(ctx.type(0)));
}
void eval_erase(EvalContext& ctx) {
  expect_held(ctx, 0, ValueKind::sequence);
  std::vector<Tensor> elements = ctx.in(0).elements();
  const auto size = static_cast<int64_t>(elements.size());
  const int64_t at = ctx.has(1) ? position(ctx, 1, size, size - 1) : size - 1;
  if (at < 0) ctx.fail(ErrorCode::invalid_argument, "the sequence is empty; expected an element to erase");
  elements.erase(elements.begin() + at);
  ctx.out() = Tensor::sequence(ctx.in(0).dtype(), std::move(elements));
}

void infer_at(InferContext& ctx) {
  expect_kind(ctx, 0, ValueKind::sequence);
  ctx.set(0, element_of(ctx.type(0)));
}
void eval_at(EvalContext& ctx) {
  expect_held(ctx, 0, ValueKind::sequence);
  const int64_t size = ctx.in(0).size();
  ctx.out() = ctx.in(0).at(position(ctx, 1, size, size - 1));
}

void infer_length(InferContext& ctx) {
  expect_kind(ctx, 0, ValueKind::sequence);
  ctx.set(0, DType::s64, Dims{});
}
void eval_length(EvalContext& ctx) {
  expect_held(ctx, 0, ValueKind::sequence);
  ctx.out() = Tensor::of<int64_t>(DType::s64, {}, {ctx.in(0).size()});
}

// --- SplitToSequence
// --------------------------------------------------------------------------------------------------------
void infer_split(InferContext& ctx) {
  expect_kind(ctx, 0, ValueKind::tensor);
  Type type = sequence_of(ctx.type(0));
  if (type.ranked()) {
    const int64_t axis = normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), type.rank());
    if (!ctx.has(1) && ctx.node().attr("keepdims", int64_t{1}) == 0)
      type.dims->erase(type.dims->begin() + axis);
    else
      (*type.dims)[static_cast<size_t>(axis)] = ctx.has(1) ? Dim() : Dim(1);
  }
  ctx.set(0, std::move(type));
}
void eval_split(EvalContext& ctx) {
  expect_held(ctx, 0, ValueKind::tensor);
  const Tensor& x = ctx.in(0);
  const int64_t axis = normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), static_cast<int64_t>(x.shape().size()));
  const int64_t size = x.shape()[static_cast<size_t>(axis)];
  const bool squeeze = !ctx.has(1) && ctx.node().attr("keepdims", int64_t{1}) == 0;
  std::vector<int64_t> sizes;
  if (!ctx.has(1)) {
    sizes.assign(static_cast<size_t>(size), 1);
  } else if (ctx.in(1).shape().empty()) {
    const int64_t chunk = scalar_s64(ctx, 1);
    if (chunk <= 0) fail(ctx, "split is " + std::to_string(chunk) + "; expected a positive size");
    for (int64_t left = size; left > 0; left -= chunk) sizes.push_back(std::min(chunk, left));
  } else {
    sizes = ctx.in(1).to_s64();
    int64_t sum = 0;
    for (const int64_t s : sizes) {
      if (s < 0 || s > size - sum) fail(ctx, "split does not add up to " + std::to_string(size) + ", the size of the axis");
      sum += s;
    }
    if (sum != size) fail(ctx, "split adds up to " + std::to_string(sum) + "; expected " + std::to_string(size));
  }
  std::vector<Tensor> parts;
  const Strides strides = strides_of(x.shape());
  int64_t from = 0;
  for (const int64_t s : sizes) {
    Shape shape = x.shape();
    shape[static_cast<size_t>(axis)] = s;
    Tensor part = gather_strided(ctx, x, shape, strides, from * strides[static_cast<size_t>(axis)]);
    if (squeeze) {
      shape.erase(shape.begin() + axis);
      part = part.reshaped(shape);
    }
    parts.push_back(std::move(part));
    from += s;
  }
  ctx.out() = Tensor::sequence(x.dtype(), std::move(parts));
}

// --- ConcatFromSequence
// -------------------------------------------------------------------------------------------------------
void infer_concat(InferContext& ctx) {
  expect_kind(ctx, 0, ValueKind::sequence);
  Type type = element_of(ctx.type(0));
  if (type.ranked()) {
    const bool fresh = ctx.node().attr("new_axis", int64_t{0}) != 0;
    const int64_t axis = normalize_axis(ctx, ctx.node().attr("axis", int64_t{0}), type.rank() + (fresh ? 1 : 0));
    if (fresh)
      type.dims->insert(type.dims->begin() + axis, Dim());
    else
      (*type.dims)[static_cast<size_t>(axis)] = Dim();
  }
  ctx.set(0, std::move(type));
}
void eval_concat(EvalContext& ctx) {
  expect_held(ctx, 0, ValueKind::sequence);
  const std::vector<Tensor>& elements = ctx.in(0).elements();
  if (elements.empty()) ctx.fail(ErrorCode::invalid_argument, "the sequence is empty; expected elements to put together");
  const bool fresh = ctx.node().attr("new_axis", int64_t{0}) != 0;
  Shape first = elements[0].shape();
  const int64_t axis_attr = ctx.node().attr("axis", int64_t{0});
  const auto axis =
      static_cast<size_t>(normalize_axis(ctx, axis_attr, static_cast<int64_t>(first.size()) + (fresh ? 1 : 0)));
  const auto widened = [&](const Tensor& t) {
    Shape s = t.shape();
    if (fresh) s.insert(s.begin() + static_cast<std::ptrdiff_t>(axis), 1);
    return s;
  };
  Shape shape = widened(elements[0]);
  shape[axis] = 0;
  for (const Tensor& t : elements) {
    Shape s = widened(t);
    const int64_t along = axis < s.size() ? s[axis] : 0;
    if (axis < s.size()) s[axis] = shape[axis];
    if (s != shape || t.dtype() != elements[0].dtype())
      fail(ctx, "elements have shapes " + octet::to_string(first) + " and " + octet::to_string(t.shape()) +
                    "; they do not go together");
    shape[axis] += along;
  }
  Tensor y(elements[0].dtype(), shape);
  if (size_of(y.dtype()) == 0) fail_dtype(ctx, y.dtype());
  const int64_t rows = product(shape, 0, axis);
  const auto e = static_cast<int64_t>(size_of(y.dtype()));
  const int64_t pitch = product(shape, axis, shape.size()) * e;
  int64_t offset = 0;
  for (const Tensor& t : elements) {
    const int64_t bytes = rows == 0 ? 0 : static_cast<int64_t>(t.bytes()) / rows;
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(y.mutable_as<std::byte>() + r * pitch + offset, t.as<std::byte>() + r * bytes, static_cast<size_t>(bytes));
    offset += bytes;
  }
  ctx.out() = y;
}

// --- Optional, OptionalHasElement, OptionalGetElement
// --------------------------------------------------------------------------
bool holds_sequence(ValueKind kind) { return kind == ValueKind::sequence || kind == ValueKind::optional_sequence; }

// The attribute `type` as the importer gives it: {1 for a sequence, element type}.
void infer_optional(InferContext& ctx) {
  if (ctx.has(0)) {
    Type type = ctx.type(0);
    if (type.kind == ValueKind::tensor) type.kind = ValueKind::optional;
    if (type.kind == ValueKind::sequence) type.kind = ValueKind::optional_sequence;
    type.quant = nullptr;
    return ctx.set(0, std::move(type));
  }
  const std::vector<int64_t> type = ctx.node().ints("type");
  const bool sequence = type.size() == 2 && type[0] != 0;
  ctx.set(0, Type{type.size() == 2 ? dtype_from_onnx(type[1]) : DType::undefined, std::nullopt, nullptr,
                  sequence ? ValueKind::optional_sequence : ValueKind::optional});
}
void eval_optional(EvalContext& ctx) {
  const std::vector<int64_t> type = ctx.node().ints("type");
  const DType element = type.size() == 2 ? dtype_from_onnx(type[1]) : DType::undefined;
  ctx.out() = ctx.has(0) && ctx.in(0).kind() == ValueKind::optional
                  ? ctx.in(0)
                  : Tensor::optional(element, ctx.has(0) ? ctx.in(0) : Tensor());
}

void infer_has(InferContext& ctx) { ctx.set(0, DType::boolean, Dims{}); }
void eval_has(EvalContext& ctx) {
  const bool has = ctx.has(0) && (ctx.in(0).kind() != ValueKind::optional || !ctx.in(0).elements().empty());
  ctx.out() = Tensor::of<uint8_t>(DType::boolean, {}, {static_cast<uint8_t>(has)});
}

void infer_get(InferContext& ctx) {
  Type type = element_of(ctx.type(0));
  if (holds_sequence(ctx.type(0).kind)) type.kind = ValueKind::sequence;
  ctx.set(0, std::move(type));
}
void eval_get(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (x.kind() != ValueKind::optional) {
    ctx.out() = x;
    return;
  }
  if (x.elements().empty()) ctx.fail(ErrorCode::invalid_argument, "the optional holds nothing; expected an element");
  ctx.out() = x.elements()[0];
}

std::vector<OpDef> define() {
  using enum AttrKind;
  std::vector<OpDef> ops = {
      {.name = "SequenceEmpty", .inputs = {}, .attrs = {{"dtype", i}}, .infer = infer_empty, .eval = eval_empty},
      {.name = "SequenceConstruct",
       .inputs = {{"inputs", false, true}},
       .attrs = {},
       .infer = infer_construct,
       .eval = eval_construct},
      {.name = "SequenceInsert",
       .inputs = {{"input_sequence"}, {"tensor"}, {"position", true}},
       .attrs = {},
       .infer = infer_insert,
       .eval = eval_insert},
      {.name = "SequenceErase",
       .inputs = {{"input_sequence"}, {"position", true}},
       .attrs = {},
       .infer = infer_erase,
       .eval = eval_erase},
      {.name = "SequenceAt", .inputs = {{"input_sequence"}, {"position"}}, .attrs = {}, .infer = infer_at, .eval = eval_at},
      {.name = "SequenceLength", .inputs = {{"input_sequence"}}, .attrs = {}, .infer = infer_length, .eval = eval_length},
      {.name = "SplitToSequence",
       .inputs = {{"input"}, {"split", true}},
       .attrs = {{"axis", i}, {"keepdims", i}},
       .infer = infer_split,
       .eval = eval_split},
      {.name = "ConcatFromSequence",
       .inputs = {{"input_sequence"}},
       .attrs = {{"axis", i, true}, {"new_axis", i}},
       .infer = infer_concat,
       .eval = eval_concat},
      {.name = "Optional",
       .inputs = {{"input", true}},
       .attrs = {{"type", ints}},
       .infer = infer_optional,
       .eval = eval_optional},
      {.name = "OptionalHasElement", .inputs = {{"input", true}}, .attrs = {}, .infer = infer_has, .eval = eval_has},
      {.name = "OptionalGetElement", .inputs = {{"input"}}, .attrs = {}, .infer = infer_get, .eval = eval_get},
  };
  for (OpDef& op : ops) op.any_kind = true;
  return ops;
}

}  // namespace

std::span<const OpDef> sequence_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
