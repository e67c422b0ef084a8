// What the operator definitions share: typed dispatch, dimensions, axes, broadcasting.
//
// Shape rules are written once and run twice. A rule is a template over the context: under InferContext it sees dimensions
// that may be symbolic and only constant inputs; under EvalContext everything is known. dims_of, value_of and shape_values
// give it the same view of both:
//
//             dims_of(ctx, i)          value_of(ctx, i)             shape_values(ctx, i)
//   infer     maybe unknown, symbols   the constant, else null      integers, and symbols where they can be followed
//   eval      known                    the tensor                   integers
//
// Inference never fails on what it does not know: an unknown rank gives an unknown rank, an unknown dimension an unknown
// one.
//
// Element types: Half and BFloat are the 16-bit floats in memory; Compute<T> is what T is computed in (float for both).
// Strings are not computed with: an operator given one says so.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graph/op_def.h"
#include "octet/numerics.h"

namespace octet::graph::ops {

// --- element types -----------------------------------------------------------------------------------------------------
struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(float v) : bits(float_to_half(v)) {}
  explicit operator float() const { return half_to_float(bits); }
};
struct BFloat {
  uint16_t bits = 0;
  BFloat() = default;
  explicit BFloat(float v) : bits(float_to_bfloat16(v)) {}
  explicit operator float() const { return bfloat16_to_float(bits); }
};

template <class T>
inline constexpr bool kSmallFloat = std::is_same_v<T, Half> || std::is_same_v<T, BFloat>;
template <class T>
inline constexpr bool kFloating = std::is_floating_point_v<T> || kSmallFloat<T>;
template <class T>
using Compute = std::conditional_t<kSmallFloat<T>, float, T>;

template <class T>
struct Tag {
  using type = T;
};

// Calls f(Tag<T>{}) with the type in memory; false when the element type is not of the kind.
template <class F>
bool visit_float(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: f(Tag<float>{}); return true;
    case DType::f64: f(Tag<double>{}); return true;
    case DType::f16: f(Tag<Half>{}); return true;
    case DType::bf16: f(Tag<BFloat>{}); return true;
    default: return false;
  }
}
template <class F>
bool visit_integer(DType dtype, F&& f) {
  switch (dtype) {
    case DType::s8: f(Tag<int8_t>{}); return true;
    case DType::u8: f(Tag<uint8_t>{}); return true;
    case DType::s16: f(Tag<int16_t>{}); return true;
    case DType::u16: f(Tag<uint16_t>{}); return true;
    case DType::s32: f(Tag<int32_t>{}); return true;
    case DType::u32: f(Tag<uint32_t>{}); return true;
    case DType::s64: f(Tag<int64_t>{}); return true;
    case DType::u64: f(Tag<uint64_t>{}); return true;
    default: return false;
  }
}
template <class F>
bool visit_number(DType dtype, F&& f) {
  return visit_float(dtype, f) || visit_integer(dtype, f);
}
// By the size of the element only, for operators that move elements.
template <class F>
bool visit_bytes(DType dtype, F&& f) {
  switch (size_of(dtype)) {
    case 1: f(Tag<uint8_t>{}); return true;
    case 2: f(Tag<uint16_t>{}); return true;
    case 4: f(Tag<uint32_t>{}); return true;
    case 8: f(Tag<uint64_t>{}); return true;
    default: return false;
  }
}
// ONNX TensorProto.DataType, as the attributes `to` and `dtype` hold it; undefined for a type octet does not know.
DType dtype_from_onnx(int64_t code);

// Smallest and largest quantum of an integer type of at most 16 bits.
struct QuantRange {
  int32_t lo = 0, hi = 255;
};
QuantRange quant_range(DType dtype);

// --- failing, in either context ----------------------------------------------------------------------------------------
[[noreturn]] inline void fail(const InferContext& ctx, const std::string& message) { ctx.fail(message); }
[[noreturn]] inline void fail(const EvalContext& ctx, const std::string& message) {
  ctx.fail(ErrorCode::invalid_model, message);
}
[[noreturn]] void fail_dtype(const EvalContext& ctx, DType dtype);

template <class F>
void with_number(EvalContext& ctx, DType dtype, F&& f) {
  if (!visit_number(dtype, f)) fail_dtype(ctx, dtype);
}
template <class F>
void with_float(EvalContext& ctx, DType dtype, F&& f) {
  if (!visit_float(dtype, f)) fail_dtype(ctx, dtype);
}
template <class F>
void with_integer(EvalContext& ctx, DType dtype, F&& f) {
  if (!visit_integer(dtype, f)) fail_dtype(ctx, dtype);
}
template <class F>
void with_bytes(EvalContext& ctx, DType dtype, F&& f) {
  if (!visit_bytes(dtype, f)) fail_dtype(ctx, dtype);
}

// --- the same view of both contexts ------------------------------------------------------------------------------------
using Dims = std::vector<Dim>;
using MaybeDims = std::optional<Dims>;

Dims to_dims(const Shape& shape);
Shape to_shape(const Dims& dims);  // all must be known
std::string describe(const Dims& dims);

inline MaybeDims dims_of(const InferContext& ctx, size_t i) { return ctx.type(i).dims; }
inline MaybeDims dims_of(const EvalContext& ctx, size_t i) { return to_dims(ctx.in(i).shape()); }
inline const Tensor* value_of(const InferContext& ctx, size_t i) { return ctx.constant(i); }
inline const Tensor* value_of(const EvalContext& ctx, size_t i) { return ctx.has(i) ? &ctx.in(i) : nullptr; }
inline DType dtype_of(const InferContext& ctx, size_t i) { return ctx.type(i).dtype; }
inline DType dtype_of(const EvalContext& ctx, size_t i) { return ctx.in(i).dtype(); }
inline size_t count_inputs(const InferContext& ctx) { return ctx.node().inputs().size(); }
inline size_t count_inputs(const EvalContext& ctx) { return ctx.input_count(); }

// One integer of a tensor that holds a shape: a number, or the symbol of a dimension, or neither.
struct ShapeValue {
  std::optional<int64_t> number;
  std::string symbol;

  static ShapeValue of(const Dim& dim) {
    return dim.known() ? ShapeValue{dim.value, {}} : ShapeValue{std::nullopt, dim.symbol};
  }
  Dim dim() const { return number ? (*number < 0 ? Dim() : Dim(*number)) : Dim(symbol); }
};
using MaybeValues = std::optional<std::vector<ShapeValue>>;

// The content of an integer input of rank 0 or 1; see shape_values.cpp for what is followed. Absent: not known.
MaybeValues shape_values(const InferContext& ctx, size_t i);
MaybeValues shape_values(const EvalContext& ctx, size_t i);
// The same when every element is a number.
template <class Ctx>
std::optional<std::vector<int64_t>> int_values(const Ctx& ctx, size_t i) {
  if (const Tensor* constant = value_of(ctx, i)) return constant->to_s64();
  const MaybeValues values = shape_values(ctx, i);
  if (!values) return std::nullopt;
  std::vector<int64_t> out;
  for (const ShapeValue& v : *values) {
    if (!v.number) return std::nullopt;
    out.push_back(*v.number);
  }
  return out;
}
// How many elements a rank-1 input has; -1 when not known.
int64_t known_length(const InferContext& ctx, size_t i);

// --- dimensions --------------------------------------------------------------------------------------------------------
// -rank <= axis < rank, made non-negative; otherwise fails.
template <class Ctx>
int64_t normalize_axis(const Ctx& ctx, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    fail(ctx, "axis " + std::to_string(axis) + " is out of range; expected " + std::to_string(-rank) + " to " +
                  std::to_string(rank - 1) + " for rank " + std::to_string(rank));
  return axis < 0 ? axis + rank : axis;
}
// Several axes, normalised; a repeated one fails.
template <class Ctx>
std::vector<int64_t> normalize_axes(const Ctx& ctx, std::vector<int64_t> axes, int64_t rank) {
  std::vector<bool> seen(static_cast<size_t>(rank < 0 ? 0 : rank), false);
  for (int64_t& axis : axes) {
    axis = normalize_axis(ctx, axis, rank);
    if (seen[static_cast<size_t>(axis)]) fail(ctx, "axis " + std::to_string(axis) + " is given twice");
    seen[static_cast<size_t>(axis)] = true;
  }
  return axes;
}
template <class Ctx>
void expect_rank(const Ctx& ctx, size_t input, const MaybeDims& dims, size_t least, size_t most) {
  if (!dims || (dims->size() >= least && dims->size() <= most)) return;
  const std::string wanted = least == most ? std::to_string(least) : std::to_string(least) + " to " + std::to_string(most);
  fail(ctx, "input " + std::to_string(input) + " has shape " + describe(*dims) + "; expected rank " + wanted);
}
// Two dimensions that must be equal: fails when both are known and differ; gives the better known.
template <class Ctx>
Dim same_dim(const Ctx& ctx, const Dim& a, const Dim& b, const char* what) {
  if (a.known() && b.known() && a.value != b.value)
    fail(ctx, std::string(what) + " disagree: " + std::to_string(a.value) + " and " + std::to_string(b.value));
  if (a.known()) return a;
  if (b.known()) return b;
  return a.symbol.empty() ? b : a;
}
template <class Ctx>
Dim broadcast_dim(const Ctx& ctx, const Dim& a, const Dim& b) {
  if (a.known() && a.value == 1) return b;
  if (b.known() && b.value == 1) return a;
  if (a.known() && b.known() && a.value != b.value)
    fail(ctx, "dimensions " + std::to_string(a.value) + " and " + std::to_string(b.value) + " do not broadcast");
  if (a.known()) return a;
  if (b.known()) return b;
  return a == b ? a : Dim();
}
template <class Ctx>
MaybeDims broadcast(const Ctx& ctx, const MaybeDims& a, const MaybeDims& b) {
  if (!a || !b) return std::nullopt;
  const Dims& longer = a->size() >= b->size() ? *a : *b;
  const Dims& shorter = a->size() >= b->size() ? *b : *a;
  Dims out = longer;
  const size_t lead = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) out[lead + i] = broadcast_dim(ctx, longer[lead + i], shorter[i]);
  return out;
}
// Product of dims[from, to) when all are known.
Dim product(const Dims& dims, size_t from, size_t to);
int64_t product(const Shape& shape, size_t from, size_t to);

void set_dims(InferContext& ctx, size_t output, DType dtype, const MaybeDims& dims);
// For operators that have a quantized form: keeps the quantization parameters that a pass gave the output.
void set_keeping_quant(InferContext& ctx, size_t output, DType dtype, const MaybeDims& dims);
// For operators that move elements: the parameters of input i go through when they are per tensor.
void set_moved(InferContext& ctx, size_t output, size_t i, const MaybeDims& dims);
// Fails when both element types are known and differ.
void expect_same_dtype(const InferContext& ctx, size_t a, size_t b);
// Fails when the element type is known and neither a float nor a quantized integer.
void expect_real(const InferContext& ctx, size_t i);
void expect_dtype(const InferContext& ctx, size_t i, std::initializer_list<DType> allowed);

void infer_same_as_input(InferContext& ctx);  // output 0 is like input 0, quantization parameters included
void infer_like_input(InferContext& ctx);     // element type and dimensions of input 0; the output keeps its own parameters

// --- walking -----------------------------------------------------------------------------------------------------------
using Strides = std::vector<int64_t>;

Strides strides_of(const Shape& shape);
// Strides, in elements of a dense `from`, that walk it as if it had the shape `to`: 0 where it is broadcast.
Strides broadcast_strides(const Shape& from, const Shape& to);

// Walks `shape` in row-major order, one run along the last axis at a time: f(offsets of each operand, run length, steps).
template <size_t N, class F>
void for_each_run(const Shape& shape, const std::array<Strides, N>& strides, F&& f) {
  using Offsets = std::array<int64_t, N>;
  if (element_count(shape) == 0) return;
  const size_t outer = shape.empty() ? 0 : shape.size() - 1;
  const int64_t length = shape.empty() ? 1 : shape.back();
  Offsets offset{}, step{};
  if (!shape.empty())
    for (size_t k = 0; k < N; ++k) step[k] = strides[k].back();
  Shape index(outer, 0);
  for (;;) {
    f(std::as_const(offset), length, std::as_const(step));
    size_t axis = outer;
    for (;;) {
      if (axis == 0) return;
      --axis;
      ++index[axis];
      for (size_t k = 0; k < N; ++k) offset[k] += strides[k][axis];
      if (index[axis] < shape[axis]) break;
      for (size_t k = 0; k < N; ++k) offset[k] -= strides[k][axis] * index[axis];
      index[axis] = 0;
    }
  }
}

// out[i...] = in[base + i . strides], dense output of `shape`; any element type of a fixed size.
Tensor gather_strided(EvalContext& ctx, const Tensor& in, const Shape& shape, const Strides& strides, int64_t base = 0);

// Element i... is in[maps[0][i0], maps[1][i1], ...]; an index of -1 on any axis gives `fill` (one element; required then).
Tensor gather_mapped(EvalContext& ctx, const Tensor& in, const std::vector<std::vector<int64_t>>& maps,
                     const Tensor* fill = nullptr);

// --- conversions -------------------------------------------------------------------------------------------------------
Tensor to_float32(const Tensor& t);                 // from any float type
Tensor from_float32(const Tensor& t, DType dtype);  // to f16 or bf16 (f32: itself)

// Rare operators compute in double, whatever the type: read all elements, compute, round once (integers: towards zero).
std::vector<double> to_f64(const Tensor& t);
Tensor from_f64(const EvalContext& ctx, const std::vector<double>& values, DType dtype, const Shape& shape);

// Runs a definition written for f32 and f64 on 16-bit floats too: inputs widened, and where input 0 is narrow the first
// `narrowed` outputs rounded once.
template <void (*F)(EvalContext&), size_t narrowed = SIZE_MAX>
void widen_small_floats(EvalContext& ctx) {
  const auto small = [](DType d) { return d == DType::f16 || d == DType::bf16; };
  bool any = false;
  std::vector<Tensor> inputs(ctx.input_count());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!ctx.has(i)) continue;
    inputs[i] = ctx.in(i);
    if (!small(inputs[i].dtype())) continue;
    any = true;
    inputs[i] = to_float32(inputs[i]);
  }
  if (!any) return F(ctx);
  std::vector<Tensor> outputs(ctx.output_count());
  EvalContext wide(ctx.node(), inputs, outputs);
  F(wide);
  const DType dtype = ctx.in(0).dtype();
  for (size_t i = 0; i < outputs.size(); ++i)
    ctx.out(i) = i < narrowed && small(dtype) ? from_float32(outputs[i], dtype) : outputs[i];
}

// Sum of at(0..n-1): 16 virtual lanes in float, in order in double and in integers (which wrap).
template <class T, class F>
T sum_of(int64_t n, F at) {
  if constexpr (std::is_same_v<T, float>) {
    return numerics::sum16(static_cast<size_t>(n), [&](size_t i) { return at(static_cast<int64_t>(i)); });
  } else if constexpr (std::is_same_v<T, double>) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += at(i);
    return sum;
  } else {
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<uint64_t>(at(i));
    return static_cast<T>(sum);
  }
}

// A scale, zero point or other scalar input. Fails unless the input has exactly one element.
float scalar_f32(const EvalContext& ctx, size_t i);
int64_t scalar_s64(const EvalContext& ctx, size_t i);

}  // namespace octet::graph::ops
