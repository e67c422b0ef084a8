#include "kernels/isa.h"

#include <sys/syscall.h>
#include <unistd.h>
#include <xbyak/xbyak_util.h>

#include <array>
#include <cassert>

namespace octet::kernels {
namespace {

constexpr std::array<Isa, 6> kIsas = {{
    {IsaId::reference, "reference", 0, 0, DotKind::none},
    {IsaId::avx2, "avx2", 32, 16, DotKind::maddubs},
    {IsaId::avx2_vnni, "avx2_vnni", 32, 16, DotKind::vpdpbusd},
    {IsaId::avx512, "avx512", 64, 32, DotKind::maddubs},
    {IsaId::avx512_vnni, "avx512_vnni", 64, 32, DotKind::vpdpbusd},
    {IsaId::amx, "amx", 64, 32, DotKind::tile},
}};

using Xbyak::util::Cpu;

const Cpu& cpu() {
  static const Cpu instance;
  return instance;
}

struct Feature {
  Cpu::Type type;
  std::string_view name;
};

// Xbyak clears the AVX and AVX-512 bits when XCR0 says that the operating system does not save the registers; for AMX the
// request for permission below tells the same.
std::span<const Feature> features_of(IsaId id) {
  static const Feature kAvx2[] = {{Cpu::tAVX2, "AVX2"}, {Cpu::tFMA, "FMA"}};
  static const Feature kAvx2Vnni[] = {{Cpu::tAVX2, "AVX2"}, {Cpu::tFMA, "FMA"}, {Cpu::tAVX_VNNI, "AVX-VNNI"}};
  static const Feature kAvx512[] = {{Cpu::tAVX2, "AVX2"},         {Cpu::tFMA, "FMA"},
                                    {Cpu::tAVX512F, "AVX512F"},   {Cpu::tAVX512BW, "AVX512BW"},
                                    {Cpu::tAVX512VL, "AVX512VL"}, {Cpu::tAVX512DQ, "AVX512DQ"}};
  static const Feature kAvx512Vnni[] = {{Cpu::tAVX2, "AVX2"},
                                        {Cpu::tFMA, "FMA"},
                                        {Cpu::tAVX512F, "AVX512F"},
                                        {Cpu::tAVX512BW, "AVX512BW"},
                                        {Cpu::tAVX512VL, "AVX512VL"},
                                        {Cpu::tAVX512DQ, "AVX512DQ"},
                                        {Cpu::tAVX512_VNNI, "AVX512-VNNI"}};
  static const Feature kAmx[] = {{Cpu::tAVX2, "AVX2"},
                                 {Cpu::tFMA, "FMA"},
                                 {Cpu::tAVX512F, "AVX512F"},
                                 {Cpu::tAVX512BW, "AVX512BW"},
                                 {Cpu::tAVX512VL, "AVX512VL"},
                                 {Cpu::tAVX512DQ, "AVX512DQ"},
                                 {Cpu::tAVX512_VNNI, "AVX512-VNNI"},
                                 {Cpu::tAVX512_VBMI, "AVX512-VBMI"},
                                 {Cpu::tAMX_TILE, "AMX-TILE"},
                                 {Cpu::tAMX_INT8, "AMX-INT8"}};
  switch (id) {
    case IsaId::reference: return {};
    case IsaId::avx2: return kAvx2;
    case IsaId::avx2_vnni: return kAvx2Vnni;
    case IsaId::avx512: return kAvx512;
    case IsaId::avx512_vnni: return kAvx512Vnni;
    case IsaId::amx: return kAmx;
  }
  assert(false);
  return {};
}

// Linux keeps the tile data state from a process until it asks (Documentation/arch/x86/xstate.rst).
bool request_tile_permission() {
  constexpr long kReqXcompPerm = 0x1023, kXfeatureTileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kReqXcompPerm, kXfeatureTileData) == 0;
  return granted;
}

}  // namespace

std::span<const Isa> all_isas() { return kIsas; }

const Isa& isa(IsaId id) { return kIsas[static_cast<size_t>(id)]; }

const Isa* find_isa(std::string_view name) {
  for (const Isa& candidate : kIsas)
    if (candidate.name == name) return &candidate;
  return nullptr;
}

bool supported(const Isa& isa, std::string* reason) {
  for (const Feature& feature : features_of(isa.id)) {
    if (cpu().has(feature.type)) continue;
    if (reason) *reason = "the CPU or the operating system does not offer " + std::string(feature.name);
    return false;
  }
  if (isa.id == IsaId::amx && !request_tile_permission()) {
    if (reason) *reason = "the operating system refused permission to use AMX tile data";
    return false;
  }
  return true;
}

const Isa& best_isa() {
  static const Isa& best = []() -> const Isa& {
    size_t i = kIsas.size() - 1;
    while (!supported(kIsas[i])) --i;  // reference needs nothing
    return kIsas[i];
  }();
  return best;
}

}  // namespace octet::kernels
