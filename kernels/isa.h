// The instruction sets octet generates code for, as values.
//
// An Isa is a handful of facts that generators read: vector width, number of registers, how a u8 x s8 product is formed.
// Adding a vector ISA is a row in kIsas. `reference` is the scalar path: no JIT, the specification of every kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace octet::kernels {

enum class IsaId : uint8_t { reference, avx2, avx2_vnni, avx512, avx512_vnni, amx };

// How u8 x s8 products are summed into int32.
enum class DotKind : uint8_t {
  none,      // reference
  maddubs,   // vpmaddubsw under a proof made at packing ("bin programs", see product_pack.h)
  vpdpbusd,  // VNNI
  tile,      // AMX for products, vpdpbusd for everything else
};

struct Isa {
  IsaId id;
  std::string_view name;
  int vector_bytes;  // 0, 32 or 64
  int vector_count;  // architectural vector registers
  DotKind dot;
  bool zmm() const { return vector_bytes == 64; }
  int lanes() const { return vector_bytes / 4; }  // 32-bit lanes
};

// Slowest first; the last supported one is the default.
std::span<const Isa> all_isas();
const Isa& isa(IsaId id);
// Null when no ISA has that name.
const Isa* find_isa(std::string_view name);
// Whether CPU and operating system offer it. For amx this asks the kernel once for permission to use tile data, which must
// happen before threads are made. When false, `reason` (if given) says what is missing.
bool supported(const Isa& isa, std::string* reason = nullptr);
const Isa& best_isa();

}  // namespace octet::kernels
