#include "kernels/aligned_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <mutex>

namespace octet::kernels {
namespace {

constexpr size_t kLine = 64, kHugePage = size_t{2} << 20, kRegionBytes = size_t{32} << 20;

// Memory-safety tools see the ends of buffers only when each is an allocation of its own.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kShare = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kShare = false;
#else
constexpr bool kShare = true;
#endif
#else
constexpr bool kShare = true;
#endif

struct Region {
  std::byte* begin = nullptr;
  size_t bytes = 0, used = 0, buffers = 0;
};

struct Regions {
  std::mutex mutex;
  Region* open = nullptr;  // the one that buffers are cut from

  static Region* map(size_t bytes) {
    const size_t whole = (std::max(bytes, kRegionBytes) + kHugePage - 1) / kHugePage * kHugePage;
    // One huge page more than needed, so that a boundary of one lies inside; the ends are given back.
    void* raw = mmap(nullptr, whole + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) throw std::bad_alloc();
    const auto address = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t begin = (address + kHugePage - 1) / kHugePage * kHugePage;
    if (begin > address) munmap(raw, begin - address);
    if (const size_t rest = address + kHugePage - begin; rest > 0) munmap(reinterpret_cast<void*>(begin + whole), rest);
    madvise(reinterpret_cast<void*>(begin), whole, MADV_HUGEPAGE);
    return new Region{reinterpret_cast<std::byte*>(begin), whole, 0, 0};
  }
  static void unmap(Region* region) {
    munmap(region->begin, region->bytes);
    delete region;
  }

  std::byte* take(size_t bytes, Region*& region) {
    const std::lock_guard lock(mutex);
    if (!open || open->used + bytes > open->bytes) {
      if (open && open->buffers == 0) unmap(open);
      open = map(bytes);
    }
    region = open;
    std::byte* data = open->begin + open->used;
    open->used += bytes;
    ++open->buffers;
    return data;
  }
  void give_back(Region* region) {
    const std::lock_guard lock(mutex);
    if (--region->buffers > 0) return;
    if (region == open) open = nullptr;
    unmap(region);
  }
};

Regions& regions() {
  static auto* const all = new Regions;  // outlives every buffer
  return *all;
}

}  // namespace

// One line in front of the data names the region, or none.
std::byte* AlignedBuffer::allocate(size_t bytes) {
  const size_t with_header = (bytes + 2 * kLine - 1) / kLine * kLine;
  Region* region = nullptr;
  std::byte* header = kShare && bytes >= kSharedBytes
                          ? regions().take(with_header, region)
                          : static_cast<std::byte*>(::operator new (with_header, std::align_val_t{kLine}));
  *reinterpret_cast<Region**>(header) = region;
  return header + kLine;
}

void AlignedBuffer::release(std::byte* data) {
  std::byte* header = data - kLine;
  if (Region* region = *reinterpret_cast<Region**>(header))
    regions().give_back(region);
  else
    ::operator delete (header, std::align_val_t{kLine});
}

}  // namespace octet::kernels
