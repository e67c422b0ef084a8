// MatMul, com.microsoft.FusedMatMul, Gemm, Det. Float: one FMA chain over k an output, starting at +0; Gemm then multiplies
// by alpha (unless it is 1) and adds beta * C. Integers wrap.
#include "graph/ops/matmul.h"

#include <cmath>

#include "graph/ops/families.h"

namespace octet::graph::ops {
namespace {

template <class T>
T multiply_add(T a, T b, T sum) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fma(a, b, sum);
  else
    return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b) + static_cast<uint64_t>(sum));
}

// The types that products are defined for; 16-bit floats are widened before.
constexpr TypeSet kProductTypes = kFloats | TypeSet{DType::s32, DType::u32, DType::s64, DType::u64};
template <class F>
void with_product_type(EvalContext& ctx, DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(Tag<float>{});
    case DType::f64: return f(Tag<double>{});
    case DType::s32: return f(Tag<int32_t>{});
    case DType::u32: return f(Tag<uint32_t>{});
    case DType::s64: return f(Tag<int64_t>{});
    case DType::u64: return f(Tag<uint64_t>{});
    default: fail_dtype(ctx, dtype);
  }
}

void infer_matmul(InferContext& ctx) {
  expect_same_dtype(ctx, 0, 1);
  const DType dtype = dtype_of(ctx, 0) == DType::undefined ? dtype_of(ctx, 1) : dtype_of(ctx, 0);
  set_keeping_quant(ctx, 0, dtype, matmul_dims(ctx, 0, 1));
}

void eval_matmul(EvalContext& ctx) {
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(1);
  if (a.dtype() != b.dtype()) fail_dtype(ctx, b.dtype());
  Tensor y(a.dtype(), to_shape(*matmul_dims(ctx, 0, 1)));
  with_product_type(ctx, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each_matrix(a.shape(), b.shape(), [&](int64_t at_a, int64_t at_b, int64_t at_y, int64_t m, int64_t n, int64_t k) {
      matmul_rows(m, n, k, a.as<T>() + at_a, b.as<T>() + at_b, y.mutable_as<T>() + at_y, multiply_add<T>);
    });
  });
  ctx.out() = y;
}

// --- FusedMatMul: alpha * A' B'. transBatch moves the first axis behind those between it and the last; trans exchanges the
// last two then. Vectors stay what they are.
std::vector<int64_t> fused_order(const Node& node, bool left, size_t rank) {
  std::vector<int64_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = static_cast<int64_t>(i);
  if (rank < 2) return order;
  if (node.attr(left ? "transBatchA" : "transBatchB", int64_t{0}) != 0)
    std::rotate(order.begin(), order.begin() + 1, order.end() - 1);
  if (node.attr(left ? "transA" : "transB", int64_t{0}) != 0) std::swap(order[rank - 1], order[rank - 2]);
  return order;
}

template <class Dimensions>
Dimensions reordered(const Dimensions& dims, const std::vector<int64_t>& order) {
  Dimensions out;
  for (const int64_t axis : order) out.push_back(dims[static_cast<size_t>(axis)]);
  return out;
}

void infer_fused_matmul(InferContext& ctx) {
  expect_same_dtype(ctx, 0, 1);
  MaybeDims a = dims_of(ctx, 0), b = dims_of(ctx, 1);
  if (a) a = reordered(*a, fused_order(ctx.node(), true, a->size()));
  if (b) b = reordered(*b, fused_order(ctx.node(), false, b->size()));
  set_dims(ctx, 0, dtype_of(ctx, 0), matmul_dims(ctx, a, b));
}

Tensor reordered_tensor(const Tensor& t, const std::vector<int64_t>& order) {
  if (std::is_sorted(order.begin(), order.end())) return t;
  const Strides dense = strides_of(t.shape());
  Strides strides;
  for (const int64_t axis : order) strides.push_back(dense[static_cast<size_t>(axis)]);
  Tensor y(t.dtype(), reordered(t.shape(), order));
  float* out = y.mutable_as<float>();
  for_each_run<1>(y.shape(), {strides}, [&](const auto& at, int64_t length, const auto& step) {
    for (int64_t i = 0; i < length; ++i) *out++ = t.as<float>()[at[0] + i * step[0]];
  });
  return y;
}

void eval_fused_matmul(EvalContext& ctx) {
  if (ctx.in(1).dtype() != DType::f32) fail_dtype(ctx, ctx.in(1).dtype());
  const Tensor a = reordered_tensor(ctx.in(0), fused_order(ctx.node(), true, ctx.in(0).shape().size()));
  const Tensor b = reordered_tensor(ctx.in(1), fused_order(ctx.node(), false, ctx.in(1).shape().size()));
  const float alpha = ctx.node().attr("alpha", 1.0f);
  const auto dims = [](const Tensor& t) { return MaybeDims(Dims(t.shape().begin(), t.shape().end())); };
  Tensor y(DType::f32, to_shape(*matmul_dims(ctx, dims(a), dims(b))));
  for_each_matrix(a.shape(), b.shape(), [&](int64_t at_a, int64_t at_b, int64_t at_y, int64_t m, int64_t n, int64_t k) {
    matmul_rows(m, n, k, a.as<float>() + at_a, b.as<float>() + at_b, y.mutable_as<float>() + at_y, multiply_add<float>);
  });
  if (alpha != 1.0f)
    for (int64_t i = 0; i < y.size(); ++i) y.mutable_as<float>()[i] *= alpha;
  ctx.out() = y;
}

// --- Gemm
// --------------------------------------------------------------------------------------------------------------------
template <class Ctx>
MaybeDims gemm_dims(const Ctx& ctx) {
  const MaybeDims a = dims_of(ctx, 0);
  const MaybeDims b = dims_of(ctx, 1);
  expect_rank(ctx, 0, a, 2, 2);
  expect_rank(ctx, 1, b, 2, 2);
  const size_t trans_a = ctx.node().attr("transA", int64_t{0}) != 0;
  const size_t trans_b = ctx.node().attr("transB", int64_t{0}) != 0;
  Dims out(2);
  if (a) out[0] = (*a)[trans_a];
  if (b) out[1] = (*b)[1 - trans_b];
  if (a && b) same_dim(ctx, (*a)[1 - trans_a], (*b)[trans_b], "inner dimensions");
  return out;
}

void infer_gemm(InferContext& ctx) {
  expect_same_dtype(ctx, 0, 1);
  const MaybeDims dims = gemm_dims(ctx);
  if (ctx.has(2)) {
    expect_same_dtype(ctx, 0, 2);
    const MaybeDims c = dims_of(ctx, 2);
    expect_rank(ctx, 2, c, 0, 2);
    broadcast(ctx, dims, c);
  }
  set_keeping_quant(ctx, 0, dtype_of(ctx, 0), dims);
}

void eval_gemm(EvalContext& ctx) {
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(1);
  const bool trans_a = ctx.node().attr("transA", int64_t{0}) != 0;
  const bool trans_b = ctx.node().attr("transB", int64_t{0}) != 0;
  const float alpha = ctx.node().attr("alpha", 1.0f);
  const float beta = ctx.node().attr("beta", 1.0f);
  const Shape shape = to_shape(*gemm_dims(ctx));
  const int64_t m = shape[0], n = shape[1];
  const int64_t k = a.shape()[trans_a ? 0 : 1];
  Tensor y(a.dtype(), shape);
  with_product_type(ctx, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::vector<T> left, right;
    if (trans_a) left = transposed_matrix(a.as<T>(), k, m);
    if (trans_b) right = transposed_matrix(b.as<T>(), n, k);
    T* out = y.mutable_as<T>();
    matmul_rows(m, n, k, trans_a ? left.data() : a.as<T>(), trans_b ? right.data() : b.as<T>(), out, multiply_add<T>);
    if (alpha != 1.0f)
      for (int64_t i = 0; i < m * n; ++i) out[i] = static_cast<T>(out[i] * static_cast<T>(alpha));
    if (!ctx.has(2) || beta == 0.0f) return;
    const Tensor& c = ctx.in(2);
    const Strides step = broadcast_strides(c.shape(), shape);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const T v = c.as<T>()[i * step[0] + j * step[1]];
        out[i * n + j] = static_cast<T>(out[i * n + j] + (beta == 1.0f ? v : static_cast<T>(v * static_cast<T>(beta))));
      }
  });
  ctx.out() = y;
}

// --- Det: of the last two axes, by elimination with the largest pivot of each column, in double
// ------------------------------------
template <class Ctx>
MaybeDims det_dims(const Ctx& ctx) {
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 2, 64);
  if (!x) return std::nullopt;
  same_dim(ctx, x->back(), (*x)[x->size() - 2], "the last two dimensions");
  return Dims(x->begin(), x->end() - 2);
}
void infer_det(InferContext& ctx) { set_dims(ctx, 0, dtype_of(ctx, 0), det_dims(ctx)); }
double determinant(std::vector<double> m, size_t n) {
  double det = 1;
  for (size_t c = 0; c < n; ++c) {
    size_t pivot = c;
    for (size_t r = c + 1; r < n; ++r)
      if (std::fabs(m[r * n + c]) > std::fabs(m[pivot * n + c])) pivot = r;
    if (m[pivot * n + c] == 0) return 0;
    if (pivot != c) {
      std::swap_ranges(m.begin() + static_cast<std::ptrdiff_t>(pivot * n),
                       m.begin() + static_cast<std::ptrdiff_t>((pivot + 1) * n),
                       m.begin() + static_cast<std::ptrdiff_t>(c * n));
      det = -det;
    }
    det *= m[c * n + c];
    for (size_t r = c + 1; r < n; ++r) {
      const double factor = m[r * n + c] / m[c * n + c];
      for (size_t k = c; k < n; ++k) m[r * n + k] -= factor * m[c * n + k];
    }
  }
  return det;
}
void eval_det(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (!is_float(x.dtype())) fail_dtype(ctx, x.dtype());
  const Shape shape = to_shape(*det_dims(ctx));
  const int64_t n = x.shape().back();
  const std::vector<double> values = to_f64(x);
  std::vector<double> out;
  for (int64_t i = 0; i < element_count(shape); ++i)
    out.push_back(determinant({values.begin() + i * n * n, values.begin() + (i + 1) * n * n}, static_cast<size_t>(n)));
  ctx.out() = from_f64(ctx, out, x.dtype(), shape);
}

std::vector<OpDef> define() {
  return {{.name = "Det", .inputs = {{"X"}}, .attrs = {}, .infer = infer_det, .eval = eval_det, .types = kFloats},
          {.name = "MatMul",
           .inputs = {{"A"}, {"B"}},
           .attrs = {},
           .infer = infer_matmul,
           .eval = widen_small_floats<eval_matmul>,
           .quant = QuantRole::product,
           .types = kProductTypes},
          {.name = "com.microsoft.FusedMatMul",
           .inputs = {{"A"}, {"B"}},
           .attrs = {{"alpha", AttrKind::f},
                     {"transA", AttrKind::i},
                     {"transB", AttrKind::i},
                     {"transBatchA", AttrKind::i},
                     {"transBatchB", AttrKind::i}},
           .infer = infer_fused_matmul,
           .eval = widen_small_floats<eval_fused_matmul>,
           .types = TypeSet{DType::f32}},
          {.name = "Gemm",
           .inputs = {{"A"}, {"B"}, {"C", true}},
           .attrs = {{"alpha", AttrKind::f}, {"beta", AttrKind::f}, {"transA", AttrKind::i}, {"transB", AttrKind::i}},
           .infer = infer_gemm,
           .eval = widen_small_floats<eval_gemm>,
           .quant = QuantRole::product,
           .types = kProductTypes}};
}

}  // namespace

std::span<const OpDef> matmul_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
