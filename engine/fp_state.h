// Denormals to zero for the length of a scope, the caller's setting restored: every step of a run computes under the same
// control word, whatever the embedding program uses.
#pragma once

#include <xmmintrin.h>

namespace octet {

class FpState {
 public:
  FpState() : saved_(_mm_getcsr()) { _mm_setcsr(kExceptionsMasked | kFlushToZero | kDenormalsAreZero); }
  ~FpState() { _mm_setcsr(saved_); }
  FpState(const FpState&) = delete;
  FpState& operator=(const FpState&) = delete;

 private:
  static constexpr unsigned kExceptionsMasked = 0x1f80, kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  unsigned saved_;
};

}  // namespace octet
