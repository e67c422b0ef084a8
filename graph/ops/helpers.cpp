#include "graph/ops/helpers.h"

#include <algorithm>
#include <cassert>

namespace octet::graph::ops {

DType dtype_from_onnx(int64_t code) {
  switch (code) {
    case 1: return DType::f32;
    case 2: return DType::u8;
    case 3: return DType::s8;
    case 4: return DType::u16;
    case 5: return DType::s16;
    case 6: return DType::s32;
    case 7: return DType::s64;
    case 8: return DType::string;
    case 9: return DType::boolean;
    case 10: return DType::f16;
    case 11: return DType::f64;
    case 12: return DType::u32;
    case 13: return DType::u64;
    case 16: return DType::bf16;
    case 17: return DType::f8e4m3fn;
    case 18: return DType::f8e4m3fnuz;
    case 19: return DType::f8e5m2;
    case 20: return DType::f8e5m2fnuz;
    case 21: return DType::u4;
    case 22: return DType::s4;
    case 23: return DType::f4e2m1;
    case 24: return DType::f8e8m0;
    case 25: return DType::u2;
    case 26: return DType::s2;
    default: return DType::undefined;
  }
}

QuantRange quant_range(DType dtype) {
  switch (dtype) {
    case DType::s8: return {-128, 127};
    case DType::u8: return {0, 255};
    case DType::s16: return {-32768, 32767};
    case DType::u16: return {0, 65535};
    case DType::s4: return {-8, 7};
    case DType::u4: return {0, 15};
    case DType::s2: return {-2, 1};
    case DType::u2: return {0, 3};
    default: assert(false && "not a quantized element type"); return {};
  }
}

void fail_dtype(const EvalContext& ctx, DType dtype) {
  ctx.fail(ErrorCode::unsupported, "element type " + std::string(to_string(dtype)) + " is not supported by this operator");
}

Dims to_dims(const Shape& shape) { return Dims(shape.begin(), shape.end()); }

Shape to_shape(const Dims& dims) {
  Shape shape;
  shape.reserve(dims.size());
  for (const Dim& d : dims) {
    assert(d.known());
    shape.push_back(d.value);
  }
  return shape;
}

std::string describe(const Dims& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i) text += ",";
    text += dims[i].known() ? std::to_string(dims[i].value) : dims[i].symbol.empty() ? "?" : dims[i].symbol;
  }
  return text + "]";
}

int64_t known_length(const InferContext& ctx, size_t i) {
  const Type& type = ctx.type(i);
  return type.ranked() && type.rank() == 1 ? (*type.dims)[0].value : -1;
}

Dim product(const Dims& dims, size_t from, size_t to) {
  int64_t n = 1;
  const Dim* symbol = nullptr;
  for (size_t i = from; i < to; ++i) {
    if (dims[i].known()) {
      n *= dims[i].value;
    } else if (symbol) {
      return Dim();
    } else {
      symbol = &dims[i];
    }
  }
  if (!symbol) return Dim(n);
  return n == 1 ? *symbol : Dim();
}

int64_t product(const Shape& shape, size_t from, size_t to) {
  int64_t n = 1;
  for (size_t i = from; i < to; ++i) n *= shape[i];
  return n;
}

void set_dims(InferContext& ctx, size_t output, DType dtype, const MaybeDims& dims) {
  ctx.set(output, Type{dtype, dims, nullptr});
}

void set_keeping_quant(InferContext& ctx, size_t output, DType dtype, const MaybeDims& dims) {
  ctx.set(output, Type{dtype, dims, ctx.node().output(output)->type().quant});
}

void set_moved(InferContext& ctx, size_t output, size_t i, const MaybeDims& dims) {
  const Type& from = ctx.type(i);
  ctx.set(output, Type{from.dtype, dims, from.quant && from.quant->per_tensor() ? from.quant : nullptr});
}

void expect_same_dtype(const InferContext& ctx, size_t a, size_t b) {
  const DType da = ctx.type(a).dtype;
  const DType db = ctx.type(b).dtype;
  if (da == db || da == DType::undefined || db == DType::undefined) return;
  fail(ctx, "inputs " + std::to_string(a) + " and " + std::to_string(b) + " have element types " +
                std::string(to_string(da)) + " and " + std::string(to_string(db)) + "; expected one type");
}

void expect_dtype(const InferContext& ctx, size_t i, std::initializer_list<DType> allowed) {
  const DType dtype = ctx.type(i).dtype;
  if (dtype == DType::undefined || std::find(allowed.begin(), allowed.end(), dtype) != allowed.end()) return;
  std::string names;
  for (const DType d : allowed) names += (names.empty() ? "" : " or ") + std::string(to_string(d));
  fail(ctx, "input " + std::to_string(i) + " has element type " + std::string(to_string(dtype)) + "; expected " + names);
}

void infer_same_as_input(InferContext& ctx) { set_moved(ctx, 0, 0, ctx.type(0).dims); }

void infer_like_input(InferContext& ctx) { set_keeping_quant(ctx, 0, ctx.type(0).dtype, ctx.type(0).dims); }

Strides strides_of(const Shape& shape) {
  Strides strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

Strides broadcast_strides(const Shape& from, const Shape& to) {
  assert(from.size() <= to.size());
  const Strides dense = strides_of(from);
  Strides strides(to.size(), 0);
  const size_t lead = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) {
    assert(from[i] == 1 || from[i] == to[lead + i]);
    if (from[i] != 1) strides[lead + i] = dense[i];
  }
  return strides;
}

Tensor gather_strided(EvalContext& ctx, const Tensor& in, const Shape& shape, const Strides& strides, int64_t base) {
  Tensor out(in.dtype(), shape);
  with_bytes(ctx, in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = in.as<T>() + base;
    T* y = out.mutable_as<T>();
    for_each_run<1>(shape, {strides}, [&](const auto& offset, int64_t length, const auto& step) {
      for (int64_t i = 0; i < length; ++i) *y++ = x[offset[0] + i * step[0]];
    });
  });
  return out;
}

Tensor gather_mapped(EvalContext& ctx, const Tensor& in, const std::vector<std::vector<int64_t>>& maps, const Tensor* fill) {
  Shape shape;
  for (const auto& m : maps) shape.push_back(static_cast<int64_t>(m.size()));
  if (maps.empty()) return in;
  const Strides strides = strides_of(in.shape());
  Tensor out(in.dtype(), shape);
  with_bytes(ctx, in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = in.as<T>();
    T* y = out.mutable_as<T>();
    const T outside = fill ? *fill->as<T>() : T{};
    const std::vector<int64_t>& last = maps.back();
    Shape outer(shape.begin(), shape.end() - 1);
    std::vector<size_t> index(outer.size(), 0);
    const int64_t rows = element_count(outer);
    for (int64_t r = 0; r < rows; ++r) {
      int64_t base = 0;
      for (size_t a = 0; a < index.size(); ++a) {
        const int64_t i = maps[a][index[a]];
        base = i < 0 || base < 0 ? -1 : base + i * strides[a];
      }
      for (const int64_t i : last) *y++ = base < 0 || i < 0 ? outside : x[base + i];
      for (size_t a = index.size(); a-- > 0;) {
        if (++index[a] < maps[a].size()) break;
        index[a] = 0;
      }
    }
  });
  return out;
}

Tensor to_float32(const Tensor& t) {
  if (t.dtype() == DType::f32) return t;
  Tensor out(DType::f32, t.shape());
  float* y = out.mutable_as<float>();
  for (int64_t i = 0; i < t.size(); ++i) y[i] = static_cast<float>(t.at_f64(i));
  return out;
}

Tensor from_float32(const Tensor& t, DType dtype) {
  if (dtype == DType::f32) return t;
  assert(dtype == DType::f16 || dtype == DType::bf16);
  Tensor out(dtype, t.shape());
  const float* x = t.as<float>();
  auto* y = out.mutable_as<uint16_t>();
  for (int64_t i = 0; i < t.size(); ++i) y[i] = dtype == DType::f16 ? float_to_half(x[i]) : float_to_bfloat16(x[i]);
  return out;
}

std::vector<double> to_f64(const Tensor& t) {
  std::vector<double> out(static_cast<size_t>(t.size()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = t.at_f64(static_cast<int64_t>(i));
  return out;
}

Tensor from_f64(const EvalContext& ctx, const std::vector<double>& values, DType dtype, const Shape& shape) {
  Tensor out(dtype, shape);
  const bool known = visit_number(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* y = out.mutable_as<T>();
    for (const double v : values) *y++ = static_cast<T>(static_cast<Compute<T>>(v));
  });
  if (!known) fail_dtype(ctx, dtype);
  return out;
}

float scalar_f32(const EvalContext& ctx, size_t i) {
  const Tensor& t = ctx.in(i);
  if (t.size() != 1)
    fail(ctx, "input " + std::to_string(i) + " has shape " + octet::to_string(t.shape()) + "; expected one element");
  return static_cast<float>(t.at_f64(0));
}

int64_t scalar_s64(const EvalContext& ctx, size_t i) {
  const Tensor& t = ctx.in(i);
  if (!t.is_tensor() || t.size() != 1)
    fail(ctx, "input " + std::to_string(i) + " has shape " + octet::to_string(t.shape()) + "; expected one element");
  return t.at_s64(0);
}

}  // namespace octet::graph::ops
