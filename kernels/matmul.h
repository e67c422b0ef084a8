// Products of two float matrices that both change at run time: the scores and contexts of attention.
//
// y = a[m][k] * b[k][n] (* alpha), one FMA chain over k an output from +0, as everywhere. Nothing is packed: a is read where
// its strides say, so it may lie transposed; b is read row by row as it lies, in blocks of up to 6 rows of a by 2 vectors of
// b's columns, every sum in a register.
//
// A b that lies transposed, [n][k], as the keys of a decoder's cache do, is turned 32 columns at a time into a workspace
// that stays in L1: a step that writes the whole of it to memory and reads it again costs more than the product of one row.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/ops.h"

namespace octet::kernels {

struct MatmulProblem {
  int64_t m = 1, n = 1, k = 1;
  bool b_transposed = false;                       // matrices of b are [n][k]
  std::vector<std::pair<int64_t, int64_t>> batch;  // elements to each matrix a and b; matrices of y are dense, in order
  // Elements between rows of a, between its neighbours along k, and between rows of b as it lies; 0: dense.
  int64_t a_row = 0, a_step = 1, b_row = 0;
  float alpha = 1.0f;  // multiplies every sum
};
KernelPtr make_matmul(const Isa& isa, const MatmulProblem& problem);

// The same for b transposed. The ISA is not reference.
struct TransposedMatmulArgs {
  const float *a = nullptr, *b = nullptr;
  float* y = nullptr;
  float* workspace = nullptr;  // per thread, workspace_bytes(), 64-byte aligned
};
class TransposedMatmul {
 public:
  virtual ~TransposedMatmul() = default;
  virtual void run(const TransposedMatmulArgs& args, int part, int parts) const noexcept = 0;
  virtual size_t workspace_bytes() const = 0;
  virtual std::string name() const = 0;
};
std::unique_ptr<TransposedMatmul> make_transposed_matmul(const Isa& isa, const MatmulProblem& problem);

void matmul_reference(const MatmulProblem& problem, const KernelArgs& args);

}  // namespace octet::kernels
