// Products of two 8-bit matrices that both change at run time: the scores and contexts of attention that a model quantizes
// itself.
//
//   sum[m][n] = sum over k of (a[m][k] - za) * (b[k][n] - zb)      exact, in int32
//
// Any mixture of u8 and s8; the zero points are one number each. The result is the sum, or float(sum) * scale, or that
// rounded half to even plus a zero point, saturated to u8 or s8.
//
// Nothing is packed ahead, so a thread packs what it multiplies: the columns of b by chunks whose panels stay in the
// second-level cache, and within a chunk the rows of a by blocks.
//
//            dot operands                       zero points
//   tile     u8 x s8, 4 of k a lane, 16 rows    sums start at 0; -za * (column sum of b) - zb * (row sum of a) + k * za * zb
//   VNNI     u8 x s8, 4 of k a lane             is added at the end. A sign is turned by its highest bit, and 128 is in the
//                                               zero point.
//   others   s16 x s16, 2 of k a lane           subtracted when packed
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/isa.h"
#include "octet/types.h"

namespace octet::kernels {

struct IntegerMatmulProblem {
  int64_t m = 1, n = 1, k = 1;
  DType a = DType::u8, b = DType::u8;              // u8 or s8
  DType y = DType::s32;                            // s32, f32, u8 or s8
  std::vector<std::pair<int64_t, int64_t>> batch;  // elements to each matrix a and b; matrices of y are dense, in order
};

struct IntegerMatmulArgs {
  const void *a = nullptr, *b = nullptr;  // kSlack readable bytes around each
  void* y = nullptr;
  std::byte* workspace = nullptr;  // per thread, workspace_bytes(), 64-byte aligned
  int32_t a_zero_point = 0, b_zero_point = 0, y_zero_point = 0;
  float scale = 1.0f;
};

class IntegerMatmul {
 public:
  virtual ~IntegerMatmul() = default;
  virtual void run(const IntegerMatmulArgs& args, int part, int parts) const noexcept = 0;
  virtual size_t workspace_bytes() const = 0;
  virtual std::string name() const = 0;
};

// m, n and k are positive.
std::unique_ptr<IntegerMatmul> make_integer_matmul(const Isa& isa, const IntegerMatmulProblem& problem);

void integer_matmul_reference(const IntegerMatmulProblem& problem, const IntegerMatmulArgs& args);

}  // namespace octet::kernels
