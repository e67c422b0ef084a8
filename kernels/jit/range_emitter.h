// The least and the greatest of what an epilogue stores as float32, for the quantization at run time that follows: what is
// stored need not be read again for them. 0 belongs to every range, and a NaN to none.
//
// A run keeps them lane by lane in its thread's workspace, behind a copy of the Conv's constants that the kernels find by
// the same register; or in registers, where a generator has some to spare.
//
//   begin_range   constants, zeros for both            kernel: least = min(value, least), the value first: a NaN leaves it
//   end_range     all lanes to ConvArgs::range
#pragma once

#include <span>
#include <vector>

#include "kernels/jit/epilogue_emitter.h"

namespace octet::kernels {

struct RangedConstants {
  EpilogueConstants constants;
  float least[16], most[16];
  int32_t lanes[32];  // 16 of -1, then zeros: from lanes + 16 - n on, the mask of n lanes
};

// Workspace of a run; 0 when the epilogue keeps no range.
inline size_t range_bytes(const Epilogue& epilogue) { return epilogue.keeps_range ? sizeof(RangedConstants) : 0; }
// The constants for a run: the given ones, or, with a range, their copy in `room` (64-byte aligned).
const EpilogueConstants* begin_range(const Epilogue& epilogue, const EpilogueConstants& constants, void* room) noexcept;
// Widens `range`, {least, greatest}; nothing when it is null or the epilogue keeps none.
void end_range(const Epilogue& epilogue, const EpilogueConstants* constants, float* range) noexcept;

struct RangeRegisters {
  Xbyak::Reg64 constants;
  int temps[2] = {};             // clobbered; unused with registers
  std::vector<int> least, most;  // hold the bounds, cells taking them in turn; or empty: they lie in memory
  bool only_most = false;        // the least stays as it is
};
// Values that lie in the cells' registers. Lanes behind the valid ones become 0.
void emit_range(Assembler& as, const RangeRegisters& regs, std::span<const EpilogueCell> cells);
// To and from the registers, once a kernel call.
void load_range(Assembler& as, const RangeRegisters& regs);
void store_range(Assembler& as, const RangeRegisters& regs);

}  // namespace octet::kernels
