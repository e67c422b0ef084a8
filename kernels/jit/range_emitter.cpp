#include "kernels/jit/range_emitter.h"

#include <algorithm>
#include <cstddef>

namespace octet::kernels {

const EpilogueConstants* begin_range(const Epilogue& epilogue, const EpilogueConstants& constants, void* room) noexcept {
  if (!epilogue.keeps_range) return &constants;
  auto* ranged = static_cast<RangedConstants*>(room);
  ranged->constants = constants;
  std::fill(std::begin(ranged->least), std::end(ranged->least), 0.0f);
  std::fill(std::begin(ranged->most), std::end(ranged->most), 0.0f);
  for (int i = 0; i < 32; ++i) ranged->lanes[i] = i < 16 ? -1 : 0;
  return &ranged->constants;
}

void end_range(const Epilogue& epilogue, const EpilogueConstants* constants, float* range) noexcept {
  if (!epilogue.keeps_range || !range) return;
  const auto* ranged = reinterpret_cast<const RangedConstants*>(constants);
  range[0] = std::min(range[0], *std::min_element(std::begin(ranged->least), std::end(ranged->least)));
  range[1] = std::max(range[1], *std::max_element(std::begin(ranged->most), std::end(ranged->most)));
}

namespace {

Xbyak::Address at(Assembler& as, const RangeRegisters& regs, size_t offset) {
  return as.at(regs.constants, static_cast<int64_t>(offset));
}

}  // namespace

void emit_range(Assembler& as, const RangeRegisters& regs, std::span<const EpilogueCell> cells) {
  const bool held = !regs.least.empty();
  const auto least = [&](size_t i) { return as.v(held ? regs.least[i % regs.least.size()] : regs.temps[0]); };
  const auto most = [&](size_t i) { return as.v(held ? regs.most[i % regs.most.size()] : regs.temps[1]); };
  if (!held) {
    if (!regs.only_most) as.vmovups(least(0), at(as, regs, offsetof(RangedConstants, least)));
    as.vmovups(most(0), at(as, regs, offsetof(RangedConstants, most)));
  }
  for (size_t i = 0; i < cells.size(); ++i) {
    const Xbyak::Xmm value = as.v(cells[i].reg);
    if (cells[i].valid < as.lanes())
      as.vandps(value, value, at(as, regs, offsetof(RangedConstants, lanes) + static_cast<size_t>(16 - cells[i].valid) * 4));
    if (!regs.only_most) as.vminps(least(i), value, least(i));
    as.vmaxps(most(i), value, most(i));
  }
  if (held) return;
  if (!regs.only_most) as.vmovups(at(as, regs, offsetof(RangedConstants, least)), least(0));
  as.vmovups(at(as, regs, offsetof(RangedConstants, most)), most(0));
}

void load_range(Assembler& as, const RangeRegisters& regs) {
  for (const int reg : regs.least) as.vmovups(as.v(reg), at(as, regs, offsetof(RangedConstants, least)));
  for (const int reg : regs.most) as.vmovups(as.v(reg), at(as, regs, offsetof(RangedConstants, most)));
}

void store_range(Assembler& as, const RangeRegisters& regs) {
  const Xbyak::Xmm least = as.v(regs.least[0]), most = as.v(regs.most[0]);
  for (size_t i = 1; i < regs.least.size(); ++i) {
    as.vminps(least, least, as.v(regs.least[i]));
    as.vmaxps(most, most, as.v(regs.most[i]));
  }
  as.vmovups(at(as, regs, offsetof(RangedConstants, least)), least);
  as.vmovups(at(as, regs, offsetof(RangedConstants, most)), most);
}

}  // namespace octet::kernels
