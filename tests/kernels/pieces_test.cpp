#include "kernels/jit/pieces.h"

#include <gtest/gtest.h>

namespace octet::kernels {
namespace {

TEST(Pieces, CoverEveryByteAndNoOther) {
  for (int max_bytes : {4, 8, 16, 32, 64})
    for (int bytes = 1; bytes <= 300; ++bytes) {
      std::vector<int> covered(static_cast<size_t>(bytes), 0);
      for (const Piece& piece : cover(bytes, max_bytes)) {
        EXPECT_TRUE(std::has_single_bit(static_cast<unsigned>(piece.bytes)) && piece.bytes <= max_bytes);
        ASSERT_GE(piece.offset, 0);
        ASSERT_LE(piece.offset + piece.bytes, bytes);
        for (int i = 0; i < piece.bytes; ++i) ++covered[static_cast<size_t>(piece.offset + i)];
      }
      for (int times : covered) EXPECT_GE(times, 1) << bytes << " bytes by " << max_bytes;
    }
}

TEST(Pieces, OfFloatsAreWholeFloats) {
  for (int floats = 1; floats <= 80; ++floats)
    for (const Piece& piece : cover(4 * floats, 32)) {
      EXPECT_EQ(piece.offset % 4, 0);
      EXPECT_EQ(piece.bytes % 4, 0);
    }
}

TEST(Pieces, LongRunsEndInAnOverlap) {
  EXPECT_EQ(cover(75, 32), (std::vector<Piece>{{0, 32}, {32, 32}, {43, 32}}));
  EXPECT_EQ(cover(7, 32), (std::vector<Piece>{{0, 4}, {3, 4}}));
  EXPECT_EQ(cover(64, 32), (std::vector<Piece>{{0, 32}, {32, 32}}));
}

}  // namespace
}  // namespace octet::kernels
