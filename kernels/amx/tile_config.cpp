#include "kernels/amx/tile_config.h"

#include <cstdint>
#include <cstring>
#include <memory>

#include "kernels/isa.h"
#include "kernels/jit/assembler.h"
#include "kernels/jit/cache.h"

namespace octet::kernels {
namespace {

// The operand of LDTILECFG (Intel SDM volume 1, section 18.3).
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

TileConfig our_config() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.bytes_per_row[i] = 64;
    config.rows[i] = 16;
  }
  return config;
}

struct TileCode {
  std::unique_ptr<const Code> load, store, release;
};

const TileCode& tile_code() {
  static const TileCode code = [] {
    using namespace Xbyak::util;
    const auto build = [](auto emit) {
      auto as = std::make_unique<Assembler>(isa(IsaId::amx));
      emit(*as);
      as->ret();
      return std::make_unique<const Code>(std::move(as));
    };
    return TileCode{build([](Assembler& as) { as.ldtilecfg(as.ptr[rdi]); }),
                    build([](Assembler& as) { as.sttilecfg(as.ptr[rdi]); }), build([](Assembler& as) { as.tilerelease(); })};
  }();
  return code;
}

}  // namespace

void configure_tiles() noexcept {
  static const TileConfig wanted = our_config();
  TileConfig current;
  tile_code().store->entry<void (*)(TileConfig*)>()(&current);
  if (std::memcmp(&current, &wanted, sizeof wanted) != 0) tile_code().load->entry<void (*)(const TileConfig*)>()(&wanted);
}

void release_tiles() noexcept {
  static const bool usable = supported(isa(IsaId::amx));
  if (usable) tile_code().release->entry<void (*)()>()();
}

}  // namespace octet::kernels
