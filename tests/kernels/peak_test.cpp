#include "kernels/peak.h"

#include <gtest/gtest.h>

namespace octet::kernels {
namespace {

// Bounds no real core leaves: 0.05 to 64 multiply-add vectors a nanosecond.
TEST(Peak, OfEverySupportedIsaIsPlausible) {
  for (const Isa& isa : all_isas())
    for (bool integer : {false, true}) {
      const double gops = measure_peak_gops(isa, integer);
      if (isa.id == IsaId::reference || !supported(isa)) {
        EXPECT_EQ(gops, 0.0) << isa.name;
        continue;
      }
      const double macs_a_vector = isa.dot == DotKind::tile && integer ? 16 * 16 * 64
                                   : integer                           ? isa.vector_bytes
                                                                       : isa.lanes();
      EXPECT_GT(gops, 0.05 * macs_a_vector * 2 / 4) << isa.name;
      EXPECT_LT(gops, 64 * macs_a_vector * 2) << isa.name;
    }
}

TEST(Peak, ReadBandwidthIsPlausible) {
  for (size_t bytes : {size_t{0}, size_t{1000}, size_t{1} << 20}) {
    const double gbs = measure_read_gbs(bytes);
    EXPECT_GT(gbs, 0.05) << bytes;
    EXPECT_LT(gbs, 5000) << bytes;
  }
}

}  // namespace
}  // namespace octet::kernels
