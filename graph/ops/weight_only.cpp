// com.microsoft.MatMulNBits: a float matrix by weights of 4 or 8 bits that share scale and zero point in blocks of K.
//
//   A [.., K] · B [N, blocks, block_size * bits / 8] u8, two fields a byte from the low half on · scales [N, blocks]
//   zero_points [N, ceil(blocks * bits / 8)] u8, packed alike, or [N, blocks] of A's type; 2^(bits - 1) without
//
//   y[m][n] = sum over blocks b of  scale * sum over k of (q - zero) * A[m][k]     (+ bias[n])
//
// A block of A is rounded to integers of 23 bits in units of 2^(E - 22), 2^E the least power of two above its largest
// magnitude, so that the sums are exact; an integer is digit0 + 256 digit1 + 65536 digit2, digits from -128 to 127, and S[p]
// the sum of digit_p * (q - zero). The block adds fma(S[2], 65536, fma(S[1], 256, S[0])) * unit, times its scale by one more
// FMA. A block below 2^-104 counts as zeros, one that is not finite gives NaN. accuracy_level permits a lower precision of
// the sum than float32; it is always float32 here.
#include <algorithm>
#include <cmath>
#include <limits>

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
  constexpr int64_t kMost = 16384;  // sums of a block fit int32
  if (l.block < 16 || l.block > kMost || (l.block & (l.block - 1)) != 0)
    fail(ctx, "block_size is " + std::to_string(l.block) + "; expected a power of two from 16 to 16384");
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

// What a block adds up to, before its scale.
template <class Q>
float sum_of_block(const float* x, int64_t count, Q q) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(x[i])) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, std::fabs(x[i]));
  }
  if (largest < 0x1p-104f) return 0;
  int exponent = 0;
  std::frexp(largest, &exponent);
  int32_t sums[3] = {0, 0, 0};
  for (int64_t i = 0; i < count; ++i) {
    auto integer = static_cast<int32_t>(std::nearbyint(std::ldexp(x[i], 22 - exponent)));
    for (int32_t& sum : sums) {
      const auto digit = static_cast<int8_t>(integer & 255);
      sum += digit * q(i);
      integer = (integer - digit) / 256;
    }
  }
  const float joined = std::fma(static_cast<float>(sums[2]), 65536.0f,
                                std::fma(static_cast<float>(sums[1]), 256.0f, static_cast<float>(sums[0])));
  return joined * std::ldexp(1.0f, exponent - 22);
}

void eval(EvalContext& ctx) {
  const Layout l = layout_of(ctx);
  check(ctx, l);
  const Tensor &a = ctx.in(kA), &b = ctx.in(kB), &scales = ctx.in(kScales);
  Shape shape = a.shape();
  shape.back() = l.n;
  Tensor y(DType::f32, shape);
  const bool packed_zeros = ctx.has(kZeroPoints) && ctx.in(kZeroPoints).dtype() == DType::u8;
  const auto zero_point = [&](int64_t n, int64_t block) -> int32_t {
    if (!ctx.has(kZeroPoints)) return 1 << (l.bits - 1);
    const Tensor& zeros = ctx.in(kZeroPoints);
    if (packed_zeros) return static_cast<int32_t>(field_at(zeros.as<uint8_t>() + n * l.zero_bytes(), block, l.bits));
    const float zero = zeros.as<float>()[n * l.blocks() + block];
    if (!(zero >= 0 && zero <= 255) || zero != std::nearbyint(zero))
      fail(ctx, "a zero point is " + std::to_string(zero) + "; expected an integer from 0 to 255");
    return static_cast<int32_t>(zero);
  };
  const int64_t rows = a.size() / l.k;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t n = 0; n < l.n; ++n) {
      float total = 0;
      for (int64_t block = 0; block < l.blocks(); ++block) {
        const int64_t begin = block * l.block, count = std::min(l.block, l.k - begin), at = n * l.blocks() + block;
        const uint8_t* q = b.as<uint8_t>() + at * l.block_bytes();
        const int32_t zero = zero_point(n, block);
        const float sum = sum_of_block(a.as<float>() + row * l.k + begin, count,
                                       [&](int64_t i) { return static_cast<int32_t>(field_at(q, i, l.bits)) - zero; });
        total = std::fma(sum, scales.as<float>()[at], total);
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
