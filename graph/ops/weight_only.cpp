// com.microsoft.MatMulNBits: a float matrix by weights of 4 or 8 bits that share scale and zero point in blocks of K.
//
//   A [.., K] · B [N, blocks, block_size * bits / 8] u8, two fields a byte from the low half on · scales [N, blocks]
//   zero_points [N, ceil(blocks * bits / 8)] u8, packed alike, or [N, blocks] of A's type; 2^(bits - 1) without
//
//   y[m][n] = sum over blocks b of  scale * sum over k of (q - zero) * A[m][k]     (+ bias[n])
//
// The sum's order is fixed: in a block, element k adds to chain k % 4 by FMA, its q times the power of two of its place in a
// dword of packed weights (4 bits: 1, 16, 256, 4096; 8 bits: 1, 256, 65536, 1); the chains are joined as
// (0 + 1) + (2 + 3), then zero times the block's sum of A is taken off, then the block is added times its scale.
// accuracy_level permits a lower precision of the sum than float32; it is always float32 here.
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

enum Input : size_t { kA, kB, kScales, kZeroPoints, kGroupIndex, kBias };

struct Layout {
  int64_t k = 0, n = 0, bits = 4, block = 32;
  int64_t blocks() const { return (k + block - 1) / block; }
  int64_t block_bytes() const { return block * bits / 8; }
  int64_t zero_bytes() const { return (blocks() * bits + 7) / 8; }
};

template <class Ctx>
Layout layout_of(const Ctx& ctx) {
  const auto get = [&](const char* name, int64_t fallback) { return ctx.node().attr(name, fallback); };
  const Layout l{get("K", 0), get("N", 0), get("bits", 4), get("block_size", 0)};
  if (l.k < 1 || l.n < 1)
    fail(ctx, "K is " + std::to_string(l.k) + " and N " + std::to_string(l.n) + "; expected sizes from 1");
  if (l.bits != 4 && l.bits != 8) fail(ctx, "bits is " + std::to_string(l.bits) + "; expected 4 or 8");
  if (l.block < 16 || (l.block & (l.block - 1)) != 0)
    fail(ctx, "block_size is " + std::to_string(l.block) + "; expected a power of two from 16");
  if (ctx.has(kGroupIndex)) fail(ctx, "g_idx is not supported: the columns of A are taken in their order");
  return l;
}

template <class Ctx>
void expect_size(const Ctx& ctx, size_t input, const char* name, int64_t expected) {
  const MaybeDims dims = dims_of(ctx, input);
  if (!dims) return;
  const Dim size = product(*dims, 0, dims->size());
  if (size.known() && size.value != expected)
    fail(ctx, std::string(name) + " has shape " + describe(*dims) + "; expected " + std::to_string(expected) + " elements");
}

// Fields of `bits` in bytes, from the low end on.
uint32_t field_at(const uint8_t* bytes, int64_t i, int64_t bits) {
  return bits == 8 ? bytes[i] : (bytes[i / 2] >> (i % 2 * 4)) & 15u;
}

template <class Ctx>
void check(const Ctx& ctx, const Layout& l) {
  expect_size(ctx, kB, "B", l.n * l.blocks() * l.block_bytes());
  expect_size(ctx, kScales, "scales", l.n * l.blocks());
  if (ctx.has(kZeroPoints))
    expect_size(ctx, kZeroPoints, "zero_points",
                l.n * (dtype_of(ctx, kZeroPoints) == DType::u8 ? l.zero_bytes() : l.blocks()));
  if (ctx.has(kBias)) expect_size(ctx, kBias, "bias", l.n);
}

void infer(InferContext& ctx) {
  const Layout l = layout_of(ctx);
  const DType real = dtype_of(ctx, kA);
  expect_dtype(ctx, kA, {DType::f32, DType::f16, DType::bf16});
  expect_dtype(ctx, kB, {DType::u8});
  expect_dtype(ctx, kScales, {real});
  if (ctx.has(kZeroPoints)) expect_dtype(ctx, kZeroPoints, {DType::u8, real});
  check(ctx, l);
  MaybeDims dims = dims_of(ctx, kA);
  if (dims) {
    if (dims->empty()) fail(ctx, "A is a scalar; expected rank 1 or more");
    same_dim(ctx, dims->back(), Dim(l.k), "K and the last dimension of A");
    dims->back() = Dim(l.n);
  }
  set_dims(ctx, 0, real, dims);
}

float sum_of_block(const float* x, int64_t count) {
  float chain[4] = {};
  for (int64_t i = 0; i < count; ++i) chain[i % 4] += x[i];
  return (chain[0] + chain[1]) + (chain[2] + chain[3]);
}

void eval(EvalContext& ctx) {
  const Layout l = layout_of(ctx);
  check(ctx, l);
  const Tensor &a = ctx.in(kA), &b = ctx.in(kB), &scales = ctx.in(kScales);
  Shape shape = a.shape();
  shape.back() = l.n;
  Tensor y(DType::f32, shape);
  const bool packed_zeros = ctx.has(kZeroPoints) && ctx.in(kZeroPoints).dtype() == DType::u8;
  const auto zero_point = [&](int64_t n, int64_t block) {
    if (!ctx.has(kZeroPoints)) return static_cast<float>(1 << (l.bits - 1));
    const Tensor& zeros = ctx.in(kZeroPoints);
    if (!packed_zeros) return zeros.as<float>()[n * l.blocks() + block];
    return static_cast<float>(field_at(zeros.as<uint8_t>() + n * l.zero_bytes(), block, l.bits));
  };
  const float unit[4] = {1.0f, l.bits == 4 ? 16.0f : 256.0f, l.bits == 4 ? 256.0f : 65536.0f, l.bits == 4 ? 4096.0f : 1.0f};
  const int64_t rows = a.size() / l.k;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t n = 0; n < l.n; ++n) {
      float total = 0;
      for (int64_t block = 0; block < l.blocks(); ++block) {
        const int64_t begin = block * l.block, count = std::min(l.block, l.k - begin), at = n * l.blocks() + block;
        const float* x = a.as<float>() + row * l.k + begin;
        const uint8_t* q = b.as<uint8_t>() + at * l.block_bytes();
        float chain[4] = {};
        for (int64_t i = 0; i < count; ++i)
          chain[i % 4] = std::fma(x[i], static_cast<float>(field_at(q, i, l.bits)) * unit[i % 4], chain[i % 4]);
        float s = std::fma(chain[1], 1 / unit[1], chain[0]) + std::fma(chain[3], 1 / unit[3], chain[2] * (1 / unit[2]));
        s = std::fma(-zero_point(n, block), sum_of_block(x, count), s);
        total = std::fma(s, scales.as<float>()[at], total);
      }
      y.mutable_as<float>()[row * l.n + n] = ctx.has(kBias) ? total + ctx.in(kBias).as<float>()[n] : total;
    }
  ctx.out() = y;
}

std::vector<OpDef> define() {
  return {{.name = "com.microsoft.MatMulNBits",
           .inputs = {{"A"}, {"B"}, {"scales"}, {"zero_points", true}, {"g_idx", true}, {"bias", true}},
           .attrs = {{"K", AttrKind::i, true},
                     {"N", AttrKind::i, true},
                     {"bits", AttrKind::i},
                     {"block_size", AttrKind::i, true},
                     {"accuracy_level", AttrKind::i}},
           .infer = infer,
           .eval = eval,
           .types = TypeSet{DType::f32}}};
}

}  // namespace

std::span<const OpDef> weight_only_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
