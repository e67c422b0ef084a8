// Attention: softmax(q k^T scale + mask) v, on u8 operands by the arithmetic of octet/attention_numerics.h, or on f32:
//
//   s = chain of fma over size of q * k;  x = s * score factor (+ mask);  p = e / sum16(e), e = exp(x - max x);  y = chain
//   over keys
//
// Heads are read where products left them and written where the next product wants them: an operand is a pointer and three
// strides. For every key and value head K and V are packed once; then a block of query rows meets all keys:
//
//   Q rows ──dot──▶ scores, int32 [rows][keys] ──softmax──▶ P, u8 [rows][keys] ──dot──▶ sums, int32 [rows][value size] ──▶ y
//
// Nothing larger than a block of rows by all keys is ever held. Every stage works in one thread's workspace; threads share
// the (sample, head, block of rows) units out among themselves and pack for themselves, so that there is no barrier inside.
//
//   amx                     tiles of 16 rows by 16 keys, u8 x s8
//   avx512_vnni, avx2_vnni  vpdpbusd, u8 x s8: k and v without 128; q's zero point as the start of each key's sum
//   avx512, avx2            vpmaddwd on 16-bit operands: as many products an instruction as vpmaddubsw under the proofs that
//                           exactness would ask for, and none needed
//   f32                     FMA, by the vector width alone
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/isa.h"
#include "octet/attention_numerics.h"
#include "octet/types.h"

namespace octet::kernels {

// Bytes from one sample, head or row to the next; the elements of a row are contiguous.
struct HeadLayout {
  int64_t batch = 0, head = 0, row = 0;
};

struct AttentionProblem {
  int64_t batch = 1, heads = 1, kv_heads = 1, queries = 1, keys = 1, size = 1, value_size = 1;
  HeadLayout q, k, v, y;
  DType dtype = DType::u8;             // of q, k and v; or f32
  DType y_dtype = DType::u8;           // or f32; f32 when the operands are
  numerics::AttentionFactors factors;  // f32: the score factor is the scale, the others are not used
  int32_t q_zero_point = 0, v_zero_point = 0, y_zero_point = 0;
  bool parameters_at_run = false;  // u8 to f32: factors and the zero points of q and v come with the arguments
  bool keeps_range = false;        // f32 of u8: the least and the greatest y, to AttentionArgs::range
  bool causal = false;             // hides key j from query i when j > i + keys - queries
  bool masked = false;
  // Floats between samples, heads, queries and keys of the mask, 0 where it is broadcast; sample b takes b % mask_batches.
  int64_t mask_batches = 1;
  std::array<int64_t, 4> mask{};
};

// q, k and v may be read up to kSlack (layout.h) bytes behind their last element.
struct AttentionArgs {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  const float* mask = nullptr;
  void* y = nullptr;
  std::byte* workspace = nullptr;  // of this part, on a cache line's boundary
  // With parameters_at_run: numerics::attention_factors_at_run, and what DynamicQuantizeLinear chose.
  numerics::AttentionFactors factors{};
  int32_t q_zero_point = 0, v_zero_point = 0;
  float* range = nullptr;  // of this part: {least, greatest}, widened; a NaN is none
};
// The arguments with the problem's own parameters unless they have some.
inline AttentionArgs with_parameters(AttentionArgs args, const AttentionProblem& problem) {
  if (problem.parameters_at_run) return args;
  args.factors = problem.factors;
  args.q_zero_point = problem.q_zero_point, args.v_zero_point = problem.v_zero_point;
  return args;
}

class Attention {
 public:
  virtual ~Attention() = default;
  virtual void run(const AttentionArgs& args, int part, int parts) const noexcept = 0;
  virtual size_t workspace_bytes() const = 0;
  virtual std::string name() const = 0;
};

// Null, with a reason, for sizes and scales that have no kernel. The reference takes them all.
std::unique_ptr<Attention> make_attention(const Isa& isa, const AttentionProblem& problem, std::string* reason = nullptr);
void attention_reference(const AttentionProblem& problem, const AttentionArgs& args);

}  // namespace octet::kernels
