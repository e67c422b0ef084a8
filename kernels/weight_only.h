// Products of float activations and weights of 4 or 8 bits that share a scale and a zero point in blocks of k: the weights
// are dequantized inside the kernel, so that a product of one row reads 4 or 8 bits a weight and nothing else.
//
//   y[m][n] = sum over blocks b of  scale[n][b] * sum over k in b of (q[n][k] - zero[n][b]) * x[m][k]     (+ bias[n])
//
// The order of the sum, which every ISA follows and `weight_only_reference` writes out. In a block, k counted from its
// start:
//
//   chain[c] = fma(x[k], float(q[k] * unit[c]), chain[c])     from +0, over k with k % 4 == c; unit = 1, 16, 256, 4096 for 4
//   bits
//                                                             and 1, 256, 65536, 1 for 8: where a field lies in its word
//   s        = fma(chain[1], 1/unit[1], chain[0]) + fma(chain[3], 1/unit[3], chain[2] * (1/unit[2]))
//   s        = fma(-zero, sum of x over the block, s)         that sum: four chains of additions alike, (0 + 1) + (2 + 3)
//   y        = fma(s, scale, y)                               from +0, block by block; then + bias
//
// Units are powers of two, so they only save shifts: the sum is the one of float(q). Weights lie in panels of as many
// columns as a vector has lanes; a dword of a lane holds 8 (4) neighbouring k of its column:
//
//   panel    block 0: [dwords of k 0..7][dwords of k 8..15] … [scale] [zero, u8]   block 1: …     the order of use
//
// A dword vector costs a vpand, a vcvtdq2ps and an FMA a k: 25 operations for 128 weights of 4 bits on AVX-512, two at once,
// which is 5.1 bytes a cycle; on AVX2, where two of three ports convert and multiply, 3.8. That is about what memory
// delivers to one core, and half of what the last-level cache does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/isa.h"

namespace octet::kernels {

class PackedWeights;

struct WeightOnlyWeights {
  int64_t n = 0, k = 0;
  int64_t block = 0;              // k that share a scale: a multiple of 8, or all of them
  int bits = 4;                   // 4 or 8
  const uint8_t* q = nullptr;     // [n][blocks][row_bytes()], two fields a byte from the low half on
  const float* scale = nullptr;   // [n][blocks]
  const uint8_t* zero = nullptr;  // [n][blocks], or null: 2^(bits - 1) everywhere
  int64_t blocks() const { return (k + block - 1) / block; }
  int64_t block_bytes() const { return (block * bits + 7) / 8; }
};
std::shared_ptr<const PackedWeights> pack_weight_only(const Isa& isa, const WeightOnlyWeights& weights);

struct WeightOnlyArgs {
  const float* x = nullptr;   // [m][k]
  float* y = nullptr;         // [m][n]
  void* workspace = nullptr;  // per thread, workspace_bytes(), 64-byte aligned
};

class WeightOnlyProduct {
 public:
  virtual ~WeightOnlyProduct() = default;
  virtual void run(const WeightOnlyArgs& args, int part, int parts) const noexcept = 0;
  virtual size_t workspace_bytes() const = 0;
  virtual std::string name() const = 0;
};
// `bias`: size n or empty. The ISA is not reference.
std::unique_ptr<WeightOnlyProduct> make_weight_only(const Isa& isa, int64_t m, std::vector<float> bias,
                                                    std::shared_ptr<const PackedWeights> weights);

// The scalar specification. Not threaded.
void weight_only_reference(const WeightOnlyWeights& weights, int64_t m, const float* bias, const float* x, float* y);

}  // namespace octet::kernels
