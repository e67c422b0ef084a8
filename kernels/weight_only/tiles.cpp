#include "kernels/weight_only/tiles.h"

#include <emmintrin.h>

#include <cstddef>

namespace octet::kernels {
namespace {

using Xbyak::Tmm;

constexpr int kDigits = 3, kDigitTile = 6, kWeightTile = 7;
constexpr int kSum = 16, kScale = 22, kByte = 23, kTwoBytes = 24;
constexpr int kPlane = kTileRows * 64;  // bytes of a tile

class Generator {
 public:
  Generator(VectorEmitter& e, const WeightOnlyTileForm& form)
      : e_(e), form_(form), tiles_((form.block + kTileK - 1) / kTileK) {}

  void emit() {
    load_arguments();
    begin_rows();
    e_.load_constant(e_.v(kByte), 256.0f);
    e_.load_constant(e_.v(kTwoBytes), 65536.0f);
    emit_blocks();
    emit_store();
    e_.vzeroupper();
    e_.ret();
  }

 private:
  Xbyak::Address field(size_t at) const { return e_.qword[e_.rdi + at]; }

  void load_arguments() {
    e_.mov(e_.rsi, field(offsetof(WeightOnlyTileCall, x)));
    e_.mov(e_.rdx, field(offsetof(WeightOnlyTileCall, b)));
    e_.mov(e_.r11d, 64);
    e_.mov(e_.r8, field(offsetof(WeightOnlyTileCall, scale)));
    e_.mov(e_.rcx, field(offsetof(WeightOnlyTileCall, units)));
    e_.mov(e_.r9, field(offsetof(WeightOnlyTileCall, sums)));
  }

  void begin_rows() {
    if (form_.tail) {
      e_.mov(e_.rax, field(offsetof(WeightOnlyTileCall, columns)));
      e_.begin_tail(e_.rax, kScale, e_.r10);
    }
    e_.mov(e_.r10, field(offsetof(WeightOnlyTileCall, y)));
    for (int row = 0; row < form_.rows; ++row) {
      if (!form_.resume)
        e_.zero(row);
      else if (form_.tail)
        e_.load_tail(e_.v(row), e_.r10);
      else
        e_.load(e_.v(row), e_.r10);
      if (form_.resume && row + 1 < form_.rows) e_.add(e_.r10, field(offsetof(WeightOnlyTileCall, y_row)));
    }
  }

  // The products of a block, the store of the sums of the one before, and the joining of those before that, in turn.
  void emit_blocks() {
    Xbyak::Label next, only_block, last_is_even, last_is_odd, done;
    const auto last_block = [&](Xbyak::Label& at) {
      e_.dec(field(offsetof(WeightOnlyTileCall, blocks)));
      e_.jz(at, Xbyak::CodeGenerator::T_NEAR);
    };
    emit_products(0);
    last_block(only_block);
    emit_products(1);
    emit_sums(0);
    e_.L(next);
    last_block(last_is_odd);
    emit_products(0);
    emit_join(0);
    emit_sums(1);
    last_block(last_is_even);
    emit_products(1);
    emit_join(1);
    emit_sums(0);
    e_.jmp(next, Xbyak::CodeGenerator::T_NEAR);
    e_.L(last_is_odd);
    emit_sums(1);
    emit_join(0);
    emit_join(1);
    e_.jmp(done, Xbyak::CodeGenerator::T_NEAR);
    e_.L(last_is_even);
    emit_sums(0);
    emit_join(1);
    emit_join(0);
    e_.jmp(done, Xbyak::CodeGenerator::T_NEAR);
    e_.L(only_block);
    emit_sums(0);
    emit_join(0);
    e_.L(done);
  }

  void emit_products(int set) {
    for (int p = 0; p < kDigits; ++p) e_.tilezero(Tmm(kDigits * set + p));
    Xbyak::Label tile;
    if (tiles_ > 1) e_.mov(e_.rax, field(offsetof(WeightOnlyTileCall, tiles)));
    e_.L(tile);
    e_.tileloadd(Tmm(kWeightTile), e_.ptr[e_.rdx + e_.r11]);
    for (int p = 0; p < kDigits; ++p) {
      e_.tileloadd(Tmm(kDigitTile), e_.ptr[e_.rsi + e_.r11 + disp(p * kPlane)]);
      e_.tdpbssd(Tmm(kDigits * set + p), Tmm(kDigitTile), Tmm(kWeightTile));
    }
    e_.add(e_.rsi, kDigits * kPlane);
    if (tiles_ > 1) {
      e_.add(e_.rdx, 16 * kTileK);
      e_.dec(e_.rax);
      e_.jnz(tile, Xbyak::CodeGenerator::T_NEAR);
    }
    // The last tile of a block may reach into the next block's weights.
    const int64_t past = (tiles_ > 1 ? tiles_ * kTileK : 0) - form_.block;
    if (past > 0)
      e_.sub(e_.rdx, static_cast<uint32_t>(16 * past));
    else if (past < 0)
      e_.add(e_.rdx, static_cast<uint32_t>(-16 * past));
  }

  static int64_t sums_at(int set, int p) { return (kDigits * set + p) * kPlane; }

  void emit_sums(int set) {
    for (int p = 0; p < kDigits; ++p) e_.tilestored(e_.ptr[e_.r9 + e_.r11 + disp(sums_at(set, p))], Tmm(kDigits * set + p));
  }

  void emit_join(int set) {
    e_.load(e_.v(kScale), e_.r8);
    for (int row = 0; row < form_.rows; ++row) {
      const int at = kSum + row % 2 * kDigits;
      for (int p = 0; p < kDigits; ++p) e_.vcvtdq2ps(e_.v(at + p), e_.ptr[e_.r9 + disp(sums_at(set, p) + row * 64)]);
      e_.vfmadd231ps(e_.v(at), e_.v(at + 1), e_.v(kByte));
      e_.vfmadd231ps(e_.v(at), e_.v(at + 2), e_.v(kTwoBytes));
      e_.vmulps(e_.v(at), e_.v(at), e_.ptr_b[e_.rcx + disp(4 * row)]);
      e_.vfmadd231ps(e_.v(row), e_.v(at), e_.v(kScale));
    }
    e_.add(e_.rcx, 4 * kTileRows);
    e_.add(e_.r8, field(offsetof(WeightOnlyTileCall, scale_stride)));
  }

  void emit_store() {
    e_.mov(e_.r8, field(offsetof(WeightOnlyTileCall, y)));
    if (form_.tail) e_.mov(e_.rcx, field(offsetof(WeightOnlyTileCall, columns)));
    if (form_.bias) e_.mov(e_.rsi, field(offsetof(WeightOnlyTileCall, bias)));
    for (int row = 0; row < form_.rows; ++row) {
      if (form_.bias) e_.vaddps(e_.v(row), e_.v(row), e_.ptr[e_.rsi]);
      if (form_.tail)
        e_.store_tail(e_.r8, row, e_.rcx, e_.rax);
      else
        e_.store(e_.r8, e_.v(row));
      if (row + 1 < form_.rows) e_.add(e_.r8, field(offsetof(WeightOnlyTileCall, y_row)));
    }
  }

  VectorEmitter& e_;
  const WeightOnlyTileForm form_;
  const int64_t tiles_;
};

__m128i load16(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }
void store16(void* at, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(at), v); }

}  // namespace

std::shared_ptr<const Code> weight_only_tile_code(const Isa& isa, const WeightOnlyTileForm& form) {
  CodeKey key("weight only tiles");
  key.add(form.resume).add(form.rows).add(form.block).add(form.bias).add(form.tail);
  return vector_code(isa, key, [&](VectorEmitter& e) { Generator(e, form).emit(); });
}

void unpack_block(const std::byte* dwords, int64_t k, int bits, const std::byte* zero, int8_t* to) {
  __m128i less[4];  // the zero point of each byte of a row of a tile
  for (__m128i& v : less) v = _mm_set1_epi8(static_cast<char>(bits == 8 ? -128 : 8));
  if (zero) {
    const __m128i all = load16(zero), low = _mm_unpacklo_epi8(all, all), high = _mm_unpackhi_epi8(all, all);
    less[0] = _mm_unpacklo_epi16(low, low), less[1] = _mm_unpackhi_epi16(low, low);
    less[2] = _mm_unpacklo_epi16(high, high), less[3] = _mm_unpackhi_epi16(high, high);
  }
  const __m128i half = _mm_set1_epi8(15);
  for (int64_t done = 0; done < k; done += 32 / bits, dwords += 64)
    for (int i = 0; i < 4; ++i) {
      const __m128i bytes = load16(dwords + 16 * i);
      int8_t* row = to + done * 16 + 16 * i;
      if (bits == 8) {
        store16(row, _mm_sub_epi8(bytes, less[i]));
        continue;
      }
      store16(row, _mm_sub_epi8(_mm_and_si128(bytes, half), less[i]));
      store16(row + 64, _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(bytes, 4), half), less[i]));
    }
}

}  // namespace octet::kernels
