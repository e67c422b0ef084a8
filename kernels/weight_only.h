// Products of float activations and weights of 4 or 8 bits that share a scale and a zero point in blocks of k: the weights
// are dequantized inside the kernel, so that a product of one row reads 4 or 8 bits a weight and nothing else.
//
//   y[m][n] = sum over blocks b of  scale[n][b] * sum over k in b of (q[n][k] - zero[n][b]) * x[m][k]     (+ bias[n])
//
// To multiply in float, every weight would have to become a float first: three operations a weight and row, which is half of
// what the last-level cache delivers. Instead a block of x becomes integers of 23 bits and a power of two, three signed
// bytes each, and the sums are integer products of bytes, exact in any order, on every ISA. The error against float32 is
// that of rounding x to 2^-23 of its block's largest magnitude, where a float32 chain rounds every partial sum.
//
//   E       = exponent of the largest |x| in the block (2^E > |x|);   unit = 2^(E - 22)
//   X[k]    = round(x[k] / unit), half to even  = digit0 + 256 digit1 + 65536 digit2, digits from -128 to 127
//   S[p]    = sum of digit_p[k] * (q[k] - zero), int32
//   y       = fma(fma(S[2], 65536, fma(S[1], 256, S[0])) * unit, scale, y)    from +0, block by block; then + bias
//
// A block whose largest magnitude is below 2^-104 counts as zeros; one that holds an infinity or a NaN makes its rows NaN.
// `weight_only_reference` is the scalar form. Weights lie in panels of as many columns as a vector has lanes; a dword of a
// lane holds 8 neighbouring k of its column, byte i those at i (low half) and i + 4, or (8 bits) four:
//
//   panel    block 0: [dwords of k 0..7][dwords of k 8..15] … [scale] [zero, u8]   block 1: …     the order of use
//
// With vpdpbusd 128 weights of 4 bits take 3 operations to unpack and 6 to multiply; with vpmaddubsw, whose sums of 4-bit
// weights stay far inside int16 for 8 steps, about 16. Weights of 8 bits go there as two halves. With AMX eight rows and
// more go by tiles (weight_only/tiles.h).
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
  const uint8_t* q = nullptr;     // [n][blocks][block_bytes()], two fields a byte from the low half on
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
