// The general registers of a product kernel.
//
//   rdi args | r15 block | during the sum: rsi x, r8 weights, r9 offsets, rdx runs (chains: then what to
//   fetch), r10 bins or groups left,
//   rax rcx r11 rbx rbp r12 r13 r14 offsets of the groups in flight
//   in the epilogue: rax y, rcx residual, rdx params, r11 constants, ebx scratch
#pragma once

#include <xbyak/xbyak.h>

namespace octet::kernels::product_registers {

using Xbyak::Reg64;
inline const Reg64 kArgs(Xbyak::Operand::RDI), kBlock(Xbyak::Operand::R15);
inline const Reg64 kX(Xbyak::Operand::RSI), kWeights(Xbyak::Operand::R8), kOffsets(Xbyak::Operand::R9);
inline const Reg64 kRuns(Xbyak::Operand::RDX), kPrefetch(Xbyak::Operand::RDX), kLeft(Xbyak::Operand::R10);
inline const Reg64 kBinPrefetch(Xbyak::Operand::R14);  // kOffset[7] is free where a bin has at most kMaxGroupsYmm groups
inline const Reg64 kOffset[8] = {Reg64(Xbyak::Operand::RAX), Reg64(Xbyak::Operand::RCX), Reg64(Xbyak::Operand::R11),
                                 Reg64(Xbyak::Operand::RBX), Reg64(Xbyak::Operand::RBP), Reg64(Xbyak::Operand::R12),
                                 Reg64(Xbyak::Operand::R13), Reg64(Xbyak::Operand::R14)};

}  // namespace octet::kernels::product_registers
