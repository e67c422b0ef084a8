// The functions of octet/numerics.h and octet/numerics_functions.h as JIT emission: the same operations in the same order,
// so the same bits in every lane.
//
// Each works in place on vector register x with three scratch registers t0..t2 (numbers, all different). Independent vectors
// are emitted one after the other; the processor overlaps them.
#pragma once

#include <span>

#include "kernels/jit/vector_emitter.h"

namespace octet::kernels {

void emit_exp(VectorEmitter& e, int x, int t0, int t1, int t2);
void emit_sigmoid(VectorEmitter& e, int x, int t0, int t1, int t2);
// Takes one scratch register more.
void emit_tanh(VectorEmitter& e, int x, int t0, int t1, int t2, int t3);
void emit_erf(VectorEmitter& e, int x, int t0, int t1);
void emit_expm1(VectorEmitter& e, int x, int t0, int t1, int t2);
// Several vectors stage by stage, where a function's chain is longer than what the scheduler holds of it. All but x are
// scratch; only AVX2 uses `upper` and `t`.
struct GeluRegisters {
  int x, a, n, g, c, upper = 0, t = 0;
};
void emit_gelu(VectorEmitter& e, std::span<const GeluRegisters> vectors);
// `keep` holds x meanwhile.
void emit_gelu_tanh(VectorEmitter& e, int x, int t0, int t1, int t2, int keep);
void emit_softplus(VectorEmitter& e, int x, int t0, int t1, int t2, int keep);
void emit_mish(VectorEmitter& e, int x, int t0, int t1, int t2, int keep);

}  // namespace octet::kernels
