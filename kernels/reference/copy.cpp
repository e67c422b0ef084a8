#include <cstring>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace octet::kernels {
namespace {

template <class T>
void copy_rows(const CopyProblem& p, const KernelArgs& args, WorkRange rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t n = row / p.h, h = row % p.h;
    const auto* x = static_cast<const uint8_t*>(args.a) + n * p.from.image + h * p.from.row;
    auto* y = static_cast<uint8_t*>(args.y) + n * p.to.image + h * p.to.row;
    for (int64_t w = 0; w < p.w; ++w)
      for (int64_t c = 0; c < p.c; ++c)
        std::memcpy(y + w * p.to.pixel + c * p.to_channel, x + w * p.from.pixel + c * p.from_channel, sizeof(T));
  }
}

}  // namespace

void copy_reference_rows(const CopyProblem& problem, const KernelArgs& args, WorkRange rows) {
  switch (problem.element) {
    case 1: return copy_rows<uint8_t>(problem, args, rows);
    case 2: return copy_rows<uint16_t>(problem, args, rows);
    case 4: return copy_rows<uint32_t>(problem, args, rows);
    default: return copy_rows<uint64_t>(problem, args, rows);
  }
}

void copy_reference(const CopyProblem& problem, const KernelArgs& args) {
  copy_reference_rows(problem, args, {0, problem.n * problem.h});
}

}  // namespace octet::kernels
