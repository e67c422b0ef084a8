#include "kernels/select.h"

namespace octet::kernels {

void select_reference(const SelectProblem& p, const SelectArgs& args) {
  for (int64_t r = 0; r < p.rows; ++r)
    for (int64_t i = 0; i < p.length; ++i) {
      const bool chosen = args.condition[r * p.condition_outer + i * p.condition_inner] != 0;
      const uint32_t a = static_cast<const uint32_t*>(args.a)[r * p.a_outer + i * p.a_inner];
      const uint32_t b = static_cast<const uint32_t*>(args.b)[r * p.b_outer + i * p.b_inner];
      static_cast<uint32_t*>(args.y)[r * p.y_outer + i] = chosen ? a : b;
    }
}

}  // namespace octet::kernels
