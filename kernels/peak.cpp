// Registers: v0..v11 accumulators (f32, vpdpbusd) or v0..v7 accumulators and v8..v11 products (maddubs), v12 v13 operands,
// v14 16-bit ones. Tiles: 0..3 accumulators, 4 5 and 6 7 operands. rdi rounds (or bytes), rsi buffer.
#include "kernels/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/jit/vector_emitter.h"

namespace octet::kernels {
namespace {

constexpr int kUnroll = 8;  // bodies a loop round

enum class PeakForm : uint8_t { fma, maddubs, vpdpbusd, tile };

PeakForm form_of(const Isa& isa, bool integer) {
  if (!integer) return PeakForm::fma;
  switch (isa.dot) {
    case DotKind::tile: return PeakForm::tile;
    case DotKind::vpdpbusd: return PeakForm::vpdpbusd;
    default: return PeakForm::maddubs;
  }
}

// Multiply-adds of one body.
double body_macs(PeakForm form, const Isa& isa) {
  switch (form) {
    case PeakForm::fma: return 12.0 * isa.lanes();
    case PeakForm::maddubs: return 8.0 * isa.vector_bytes;
    case PeakForm::vpdpbusd: return 12.0 * isa.vector_bytes;
    case PeakForm::tile: return 4.0 * 16 * 16 * 64;
  }
  return 0;
}

void emit_body(VectorEmitter& e, PeakForm form) {
  switch (form) {
    case PeakForm::fma:
      for (int i = 0; i < 12; ++i) e.vfmadd231ps(e.v(i), e.v(12), e.v(13));
      break;
    case PeakForm::maddubs:
      for (int half = 0; half < 8; half += 4) {
        for (int i = 0; i < 4; ++i) e.vpmaddubsw(e.v(8 + i), e.v(12), e.v(13));
        for (int i = 0; i < 4; ++i) e.vpmaddwd(e.v(8 + i), e.v(8 + i), e.v(14));
        for (int i = 0; i < 4; ++i) e.vpaddd(e.v(half + i), e.v(half + i), e.v(8 + i));
      }
      break;
    case PeakForm::vpdpbusd:
      for (int i = 0; i < 12; ++i) e.dot_u8s8(e.v(i), e.v(12), e.v(13));
      break;
    case PeakForm::tile:
      for (int i = 0; i < 4; ++i) e.tdpbusd(Xbyak::Tmm(i), Xbyak::Tmm(4 + i / 2), Xbyak::Tmm(6 + i % 2));
      break;
  }
}

// Intel SDM, LDTILECFG: palette 1, eight tiles of 16 rows of 64 bytes.
struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

void generate_products(VectorEmitter& e, PeakForm form) {
  Xbyak::Label loop;
  if (form == PeakForm::tile) {
    e.ldtilecfg(e.ptr[e.rsi]);
    for (int i = 0; i < 8; ++i) e.tilezero(Xbyak::Tmm(i));
  } else {
    for (int i = 0; i < 12; ++i) e.zero(i);
    const bool is_float = form == PeakForm::fma;
    e.vmovups(e.v(12), is_float ? e.constant(1.0f) : e.constant_bits(0x01010101u));
    e.vmovups(e.v(13), is_float ? e.constant(1e-3f) : e.constant_bits(0x01ff02feu));
    e.vmovups(e.v(14), e.constant_bits(0x00010001u));
  }
  e.align(32);
  e.L(loop);
  for (int i = 0; i < kUnroll; ++i) emit_body(e, form);
  e.dec(e.rdi);
  e.jnz(loop);
  if (form == PeakForm::tile) e.tilerelease();
  e.vzeroupper();
  e.ret();
}

// rdi bytes, a multiple of 8 vectors.
void generate_reads(VectorEmitter& e) {
  Xbyak::Label loop;
  for (int i = 0; i < 8; ++i) e.zero(i);
  e.align(32);
  e.L(loop);
  for (int i = 0; i < 8; ++i) e.bit_or(e.v(i), e.v(i), e.ptr[e.rsi + disp(i * e.vector_bytes())]);
  e.add(e.rsi, imm(8 * e.vector_bytes()));
  e.sub(e.rdi, imm(8 * e.vector_bytes()));
  e.jnz(loop);
  e.vzeroupper();
  e.ret();
}

using MeasuredCode = void (*)(int64_t count, const void* data);

template <class Run>
double seconds_of(Run run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Work a second: `run(n)` does n units; n grows until a round takes 2 ms, then the best of ten rounds counts.
template <class Run>
double best_rate(Run run) {
  int64_t n = 1;
  while (seconds_of([&] { run(n); }) < 2e-3) n *= 2;
  double best = 0;
  for (int round = 0; round < 10; ++round) best = std::max(best, static_cast<double>(n) / seconds_of([&] { run(n); }));
  return best;
}

}  // namespace

double measure_peak_gops(const Isa& isa, bool integer) {
  if (isa.id == IsaId::reference || !supported(isa)) return 0;
  const PeakForm form = form_of(isa, integer);
  const auto code =
      vector_code(isa, CodeKey("peak").add(form).add(isa.id), [&](VectorEmitter& e) { generate_products(e, form); });
  alignas(64) static const TileConfig config;
  const double bodies = kUnroll * best_rate([&](int64_t n) { code->entry<MeasuredCode>()(n, &config); });
  return 2 * bodies * body_macs(form, isa) * 1e-9;
}

double measure_read_gbs(size_t bytes) {
  constexpr size_t kAlignment = 512;  // 8 zmm
  const size_t rounded = std::max(kAlignment, bytes / kAlignment * kAlignment);
  std::vector<uint8_t> memory(rounded + kAlignment, 1);
  const uint8_t* data = memory.data() + (kAlignment - reinterpret_cast<uintptr_t>(memory.data()) % kAlignment);
  if (best_isa().id == IsaId::reference) {
    volatile uint64_t sink = 0;
    return static_cast<double>(rounded) * 1e-9 * best_rate([&](int64_t n) {
             uint64_t all = 0, word;
             for (int64_t i = 0; i < n; ++i)
               for (size_t at = 0; at < rounded; at += 8) std::memcpy(&word, data + at, 8), all |= word;
             sink = all;
           });
  }
  const auto code = vector_code(best_isa(), CodeKey("read"), generate_reads);
  return static_cast<double>(rounded) * 1e-9 * best_rate([&](int64_t n) {
           for (int64_t i = 0; i < n; ++i) code->entry<MeasuredCode>()(static_cast<int64_t>(rounded), data);
         });
}

}  // namespace octet::kernels
