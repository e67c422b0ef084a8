// What comes before the cells of an epilogue: constants and parameters in registers, and values out of offset sums.
#include <algorithm>
#include <cstddef>

#include "kernels/jit/epilogue_emitter.h"

namespace octet::kernels {

using Xbyak::Xmm;

void load_epilogue_constants(Assembler& as, const EpilogueForm& form, const EpilogueRegisters& regs) {
  const auto load = [&](int reg, size_t offset) {
    as.vmovups(as.v(reg), as.at(regs.constants, static_cast<int64_t>(offset)));
  };
  if (regs.pack_order >= 0) load(regs.pack_order, offsetof(EpilogueConstants, pack_order));
  const std::vector<size_t> constants = cell_constants(form, !regs.residual.empty());
  for (size_t i = 0; i < std::min(constants.size(), regs.spare.size()); ++i) load(regs.spare[i], constants[i]);
  if (regs.residual.empty()) return;
  load(regs.residual[0], offsetof(EpilogueConstants, residual_shuffle));
  load(regs.residual[1], offsetof(EpilogueConstants, sum_offset));
  load(regs.residual[2], offsetof(EpilogueConstants, residual_scale));
  // Every dword's lowest byte.
  as.mov(regs.scratch.cvt64(), uint64_t{0x1111111111111111});
  as.kmovq(Xbyak::Opmask(regs.residual_opmask), regs.scratch.cvt64());
}

void load_epilogue_params(Assembler& as, const EpilogueRegisters& regs) {
  const auto param = [&](size_t record, size_t field) {
    return as.at(regs.params, static_cast<int64_t>(record * sizeof(ChannelParams) + field));
  };
  for (size_t i = 0; i < regs.scales.size(); ++i) as.vmovups(as.v(regs.scales[i]), param(i, offsetof(ChannelParams, scale)));
  for (size_t i = 0; i < regs.int_biases.size(); ++i)
    as.vmovups(as.v(regs.int_biases[i]), param(i, offsetof(ChannelParams, int_bias)));
  for (size_t i = 0; i < regs.biases.size(); ++i) as.vmovups(as.v(regs.biases[i]), param(i, offsetof(ChannelParams, bias)));
  for (size_t i = 0; i < regs.offsets.size(); ++i)
    as.vmovups(as.v(regs.offsets[i]), param(i, offsetof(ChannelParams, bias)));
}

EpilogueForm emit_offset_values(Assembler& as, const EpilogueForm& form, const EpilogueRegisters& regs,
                                std::span<const EpilogueCell> cells) {
  std::vector<int> columns;
  for (const EpilogueCell& c : cells)
    if (std::find(columns.begin(), columns.end(), c.column) == columns.end()) columns.push_back(c.column);
  size_t slot = 0;
  const auto load = [&](size_t field, int column) {
    const Xmm t = as.v(regs.temps[slot++ % regs.temps.size()]);
    const size_t record = static_cast<size_t>(column / 16) * sizeof(ChannelParams),
                 lane = static_cast<size_t>(column % 16) * 4;
    as.vmovups(t, as.at(regs.params, static_cast<int64_t>(record + field + lane)));
    return t;
  };
  for (int column : columns) {
    const Xmm scale = load(offsetof(ChannelParams, scale), column), offset = load(offsetof(ChannelParams, bias), column);
    for (const EpilogueCell& c : cells)
      if (c.column == column) as.vfmadd213ps(as.v(c.reg), scale, offset);
  }
  EpilogueForm rest = form;
  rest.offset_sum = false;
  rest.float_sum = true;
  return rest;
}

}  // namespace octet::kernels
