// What this machine can do at best, measured: the yardsticks that benchmarks and `octet cpu --measure` set results against.
//
// Arithmetic peaks are loops of one product form with every operand in a register and enough independent accumulators to
// hide the latency; an operation is a multiplication or an addition, so a multiply-add counts two.
//
//   f32                         vfmadd231ps
//   u8 x s8, maddubs            vpmaddubsw, vpmaddwd, vpaddd: the form that sums one group of four at a time. Kernels that
//   add
//                               several groups in 16 bits first (proved safe at packing) may exceed it
//   u8 x s8, vpdpbusd, tile     vpdpbusd, tdpbusd on 16 x 64 tiles
//
// The measurement takes some tens of milliseconds of one thread and reports the best of several rounds.
#pragma once

#include <cstddef>

#include "kernels/isa.h"

namespace octet::kernels {

// Billions of operations a second of one thread. 0 for the reference ISA and for ISAs this machine does not support.
double measure_peak_gops(const Isa& isa, bool integer);

// Billions of bytes a second that one thread reads from a buffer of `bytes`, over and over, with the widest vectors there
// are.
double measure_read_gbs(size_t bytes);

}  // namespace octet::kernels
