// K and V to the panels of form.h.
//
// Keys: a vector of a K panel is one dword (4 elements, or a float) of each of lanes() keys, gathered; on 16 bits it makes
// two vectors.
//   v0 offsets of the rows | v1 gathered | v2 v3 scratch | v4 gather mask (AVX2) | v5 sum of the keys | v6 ones
// On zmm, four to a lane, whole groups of 16 bytes are transposed instead: 64 bytes of 16 keys in 80 inserts and unpacks, not 16
// gathers.
//   zmm8..23 [16 bytes][keys j, 4 + j, 8 + j, 12 + j]   zmm24..27 scratch   r8 a key
// Values: lanes() columns of 4 keys, each widened to dwords, shifted and joined.
//   v0..v3 the keys | v4 zero points
#include <cstddef>

#include "kernels/attention/generators.h"
#include "kernels/jit/epilogue_emitter.h"
#include "kernels/jit/vector_emitter.h"

namespace octet::kernels::attention {
namespace {

using Xbyak::Xmm;

constexpr int kRows = 0, kData = 1, kLow = 2, kHigh = 3, kMask = 4, kSum = 5, kOnes = 6;

void emit_gather(VectorEmitter& e, int d, int64_t offset) {
  if (e.zmm()) {
    e.kxnorw(e.k1, e.k1, e.k1);
    e.vpgatherdd(Xbyak::Zmm(d) | e.k1, e.ptr[e.rsi + Xbyak::Zmm(kRows) + disp(offset)]);
  } else {
    e.vpcmpeqd(e.v(kMask), e.v(kMask), e.v(kMask));
    e.vpgatherdd(Xbyak::Ymm(d), e.ptr[e.rsi + Xbyak::Ymm(kRows) + disp(offset)], Xbyak::Ymm(kMask));
  }
}

// Bytes 0 and 1 of each dword of s as 16-bit numbers less 128.
void emit_widen(VectorEmitter& e, int d, int s) {
  const Xmm out = e.v(d), low = e.v(kHigh);
  e.bit_and(low, e.v(s), e.constant_bits(0xff));
  e.vpslld(out, e.v(s), 8);
  e.bit_and(out, out, e.constant_bits(0xff0000));
  e.bit_or(out, out, low);
  e.vpsubw(out, out, e.constant_bits(0x00800080));
}

// In v1, four elements of each key: with the sign that makes them s8, added to the sum, stored.
template <class Store>
void emit_key_vector(VectorEmitter& e, int64_t left, Store store) {
  e.bit_xor(e.v(kData), e.v(kData), e.constant_bits(0x80808080));
  if (left < 4) e.bit_and(e.v(kData), e.v(kData), e.constant_bits((1u << (8 * left)) - 1));
  e.dot_u8s8(e.v(kSum), e.v(kOnes), e.v(kData));
  store(kData);
}

// Up to four groups of 16 bytes from `at` on of 16 keys, whose offsets lie at rax.
template <class Store>
void emit_transposed(VectorEmitter& e, int64_t at, int groups, Store store) {
  constexpr int kGroups = 8, kScratch = 24;
  const auto keys = [](int group, int j) { return Xbyak::Zmm(kGroups + 4 * group + j); };
  for (int key = 0; key < 16; ++key) {
    e.movsxd(e.r8, e.dword[e.rax + 4 * static_cast<size_t>(key)]);
    e.add(e.r8, e.rsi);
    for (int group = 0; group < groups; ++group) {
      const auto from = e.ptr[e.r8 + disp(at + 16 * group)];
      const Xbyak::Zmm to = keys(group, key % 4);
      if (key < 4)
        e.vmovdqu32(Xbyak::Xmm(to.getIdx()), from);
      else
        e.vinserti32x4(to, to, from, static_cast<uint8_t>(key / 4));
    }
  }
  const auto scratch = [](int i) { return Xbyak::Zmm(kScratch + i); };
  const Xbyak::Zmm data(kData);
  for (int group = 0; group < groups; ++group) {
    for (int pair = 0; pair < 2; ++pair) {
      e.vpunpckldq(scratch(2 * pair), keys(group, 2 * pair), keys(group, 2 * pair + 1));
      e.vpunpckhdq(scratch(2 * pair + 1), keys(group, 2 * pair), keys(group, 2 * pair + 1));
    }
    for (int half = 0; half < 2; ++half) {
      e.vpunpcklqdq(data, scratch(half), scratch(2 + half));
      emit_key_vector(e, 4, store);
      e.vpunpckhqdq(data, scratch(half), scratch(2 + half));
      emit_key_vector(e, 4, store);
    }
  }
}

void emit_pack_keys(VectorEmitter& e, const Form& form, int64_t size) {
  const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
  e.mov(e.rsi, field(offsetof(PackKeysArgs, k)));
  e.mov(e.rdx, field(offsetof(PackKeysArgs, panel)));
  e.mov(e.rax, field(offsetof(PackKeysArgs, rows)));
  e.load(e.v(kRows), e.rax);
  if (form.group == 4) {
    e.zero(kSum);
    e.vmovups(e.v(kOnes), e.constant_bits(0x01010101));
  }
  int64_t step = 0;
  const auto store = [&](int v) { e.store(e.rdx + disp(step++ * e.vector_bytes()), e.v(v)); };
  for (int64_t at = 0; form.group == 1 && at < size; ++at) {
    e.zero(kData);
    emit_gather(e, kData, 4 * at);
    store(kData);
  }
  const int64_t transposed = e.zmm() && form.group == 4 ? size / 16 * 16 : 0;
  for (int64_t at = 0; at < transposed; at += 64)
    emit_transposed(e, at, static_cast<int>(std::min<int64_t>(4, (transposed - at) / 16)), store);
  for (int64_t at = transposed; form.group != 1 && at < size; at += 4) {
    const int64_t left = std::min<int64_t>(4, size - at);
    e.zero(kData);
    emit_gather(e, kData, at);
    if (form.group == 4) {
      emit_key_vector(e, left, store);
      continue;
    }
    for (const int64_t half : {0, 2}) {
      if (left <= half) break;
      if (half == 2) e.vpsrld(e.v(kData), e.v(kData), 16);
      emit_widen(e, kLow, kData);
      if (left == half + 1) e.bit_and(e.v(kLow), e.v(kLow), e.constant_bits(0xffff));
      store(kLow);
    }
  }
  if (step < form.steps) e.zero(kData);
  while (step < form.steps) store(kData);
  if (form.group == 4) {
    e.mov(e.rax, field(offsetof(PackKeysArgs, starts)));
    e.vpbroadcastd(e.v(kLow), e.ptr[e.rdi + offsetof(PackKeysArgs, minus_zq)]);
    e.vpmulld(e.v(kSum), e.v(kSum), e.v(kLow));
    if (form.pipelined) e.vpaddd(e.v(kSum), e.v(kSum), e.constant_bits(kSumCentre));
    e.store(e.rax, e.v(kSum));
  }
  e.vzeroupper();
  e.ret();
}

void emit_pack_values(VectorEmitter& e, const Form& form) {
  constexpr int kZeroPoints = 4;
  const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
  const Xbyak::Reg64 keys[] = {e.r8, e.r9, e.r10, e.r11};
  e.mov(keys[0], field(offsetof(PackValuesArgs, v)));
  e.mov(e.rax, field(offsetof(PackValuesArgs, row)));
  e.mov(e.rdx, field(offsetof(PackValuesArgs, packed)));
  e.mov(e.rcx, field(offsetof(PackValuesArgs, quads)));
  for (int i = 1; i < 4; ++i) e.lea(keys[i], e.ptr[keys[i - 1] + e.rax]);
  if (form.group == 2) e.vpbroadcastd(e.v(kZeroPoints), e.ptr[e.rdi + offsetof(PackValuesArgs, zero_points)]);
  Xbyak::Label next;
  e.L(next);
  e.mov(e.rsi, e.rdx);
  for (int64_t panel = 0; panel < form.value_panels; ++panel) {
    for (int i = 0; i < 4; ++i) e.load_u8(e.v(i), keys[i] + disp(panel * form.lanes));
    if (form.group == 4) {
      e.join_lanes(0, 4);
      e.bit_xor(e.v(0), e.v(0), e.constant_bits(0x80808080));
      e.store(e.rsi, e.v(0));
    } else {
      for (const int pair : {0, 2}) {
        e.join_lanes(pair, 2);
        e.vpsubw(e.v(pair), e.v(pair), e.v(kZeroPoints));
        e.store(e.rsi + disp(pair / 2 * e.vector_bytes()), e.v(pair));
      }
    }
    if (panel + 1 < form.value_panels) e.add(e.rsi, field(offsetof(PackValuesArgs, panel_step)));
  }
  e.mov(e.rax, field(offsetof(PackValuesArgs, next)));
  for (const Xbyak::Reg64& key : keys) e.add(key, e.rax);
  e.add(e.rdx, field(offsetof(PackValuesArgs, quad_step)));
  e.dec(e.rcx);
  e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
  e.vzeroupper();
  e.ret();
}

}  // namespace

std::shared_ptr<const Code> pack_keys_code(const Isa& isa, const Form& form, int64_t size) {
  return vector_code(isa,
                     CodeKey("attention keys").add(form.group).add(size).add(form.steps).add(form.pipelined).add(isa.id),
                     [&](VectorEmitter& e) { emit_pack_keys(e, form, size); });
}

std::shared_ptr<const Code> pack_values_code(const Isa& isa, const Form& form) {
  return vector_code(isa, CodeKey("attention values").add(form.group).add(form.value_panels),
                     [&](VectorEmitter& e) { emit_pack_values(e, form); });
}

}  // namespace octet::kernels::attention
