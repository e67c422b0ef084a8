// Products of two float matrices that both change at run time: the scores and contexts of attention.
//
// y = a[m][k] * b[k][n], one FMA chain over k an output from +0, as everywhere. Nothing is packed: b is read row by row as
// it lies, in blocks of up to 6 rows of a by 2 vectors of b's columns, every sum in a register.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/ops.h"

namespace octet::kernels {

struct MatmulProblem {
  int64_t m = 1, n = 1, k = 1;
  std::vector<std::pair<int64_t, int64_t>> batch;  // elements to each matrix a and b; matrices of y are dense, in order
};
KernelPtr make_matmul(const Isa& isa, const MatmulProblem& problem);
void matmul_reference(const MatmulProblem& problem, const KernelArgs& args);

}  // namespace octet::kernels
