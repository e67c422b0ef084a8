// The families of micro-benchmarks, registered by main in this order. A family that is known when it is compiled may use BENCHMARK
// instead and needs no line here.
#pragma once

namespace octet::bench {

void register_ops();  // ops_bench.cpp: kernels/ops.h

}  // namespace octet::bench
