#include <cstring>

#include "kernels/ops.h"

namespace octet::kernels {

void interleave_reference(const InterleaveProblem& p, const KernelArgs& args) {
  const auto e = static_cast<size_t>(p.element);
  for (int64_t n = 0; n < p.n; ++n)
    for (int64_t h = 0; h < p.h; ++h)
      for (int64_t w = 0; w < p.w; ++w) {
        const auto at = [&](const ImageLayout& l) { return n * l.image + h * l.row + w * l.pixel; };
        const auto *a = static_cast<const std::byte*>(args.a) + at(p.a),
                   *b = static_cast<const std::byte*>(args.b) + at(p.b);
        auto* y = static_cast<std::byte*>(args.y) + at(p.y);
        for (int64_t c = 0; c < p.c; ++c) {
          std::memcpy(y + 2 * c * p.element, a + c * p.element, e);
          std::memcpy(y + (2 * c + 1) * p.element, b + c * p.element, e);
        }
      }
}

}  // namespace octet::kernels
