// Matrix products, common to MatMul, Gemm, MatMulInteger and the QLinear forms: numpy's rules for batches and vectors, and
// the sum of products, one chain over k an output.
#pragma once

#include <algorithm>

#include "graph/ops/helpers.h"

namespace octet::graph::ops {

// numpy.matmul: a vector on the left is a row, on the right a column, and the axis it gained is dropped again.
template <class Ctx>
MaybeDims matmul_dims(const Ctx& ctx, MaybeDims a, MaybeDims b) {
  if (!a || !b) return std::nullopt;
  if (a->empty() || b->empty())
    fail(ctx, "operands have shapes " + describe(*a) + " and " + describe(*b) + "; expected rank 1 or more");
  const bool row = a->size() == 1;
  const bool column = b->size() == 1;
  if (row) a->insert(a->begin(), Dim(1));
  if (column) b->push_back(Dim(1));
  same_dim(ctx, a->back(), (*b)[b->size() - 2], "inner dimensions");
  Dims out = *broadcast(ctx, Dims(a->begin(), a->end() - 2), Dims(b->begin(), b->end() - 2));
  if (!row) out.push_back((*a)[a->size() - 2]);
  if (!column) out.push_back(b->back());
  return out;
}

template <class Ctx>
MaybeDims matmul_dims(const Ctx& ctx, size_t ai, size_t bi) {
  return matmul_dims(ctx, dims_of(ctx, ai), dims_of(ctx, bi));
}

// sums[m][n] = chain of step(a[m][k], b[k][n], sum) over k; b is dense [K][N].
template <class A, class B, class S, class Step>
void matmul_rows(int64_t m, int64_t n, int64_t k, const A* a, const B* b, S* sums, Step step) {
  for (int64_t i = 0; i < m; ++i, a += k, sums += n) {
    std::fill(sums, sums + n, S{});
    for (int64_t l = 0; l < k; ++l) {
      const A left = a[l];
      const B* row = b + l * n;
      for (int64_t j = 0; j < n; ++j) sums[j] = step(left, row[j], sums[j]);
    }
  }
}

// Calls f(a matrix, b matrix, output matrix, m, n, k) with element offsets for every matrix of the batch.
template <class F>
void for_each_matrix(Shape a, Shape b, F&& f) {
  if (a.size() == 1) a.insert(a.begin(), 1);
  if (b.size() == 1) b.push_back(1);
  const int64_t m = a[a.size() - 2], k = a.back(), n = b.back();
  const Shape batch_a(a.begin(), a.end() - 2), batch_b(b.begin(), b.end() - 2);
  Shape batch(std::max(batch_a.size(), batch_b.size()), 1);
  for (size_t i = 0; i < batch.size(); ++i) {
    if (i < batch_a.size()) batch[batch.size() - 1 - i] = batch_a[batch_a.size() - 1 - i];
    if (i < batch_b.size() && batch_b[batch_b.size() - 1 - i] != 1)
      batch[batch.size() - 1 - i] = batch_b[batch_b.size() - 1 - i];
  }
  int64_t out = 0;
  for_each_run<2>(batch, {broadcast_strides(batch_a, batch), broadcast_strides(batch_b, batch)},
                  [&](const auto& at, int64_t length, const auto& step) {
                    for (int64_t i = 0; i < length; ++i, out += m * n)
                      f((at[0] + i * step[0]) * m * k, (at[1] + i * step[1]) * k * n, out, m, n, k);
                  });
}

// A dense copy of a matrix with rows and columns exchanged.
template <class T>
std::vector<T> transposed_matrix(const T* x, int64_t rows, int64_t columns) {
  std::vector<T> y(static_cast<size_t>(rows * columns));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) y[static_cast<size_t>(c * rows + r)] = x[r * columns + c];
  return y;
}

}  // namespace octet::graph::ops
