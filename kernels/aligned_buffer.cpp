#include "kernels/aligned_buffer.h"

#include <sys/mman.h>

namespace octet::kernels {

std::byte* AlignedBuffer::allocate(size_t bytes) {
  constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20;
  auto* data = static_cast<std::byte*>(::operator new(bytes, std::align_val_t{64}));
  const auto begin = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<uintptr_t>(data) + bytes) / kPage * kPage;
  if (end > begin && end - begin >= kHugePage) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  return data;
}

}  // namespace octet::kernels
