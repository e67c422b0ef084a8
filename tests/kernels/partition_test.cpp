#include "kernels/partition.h"

#include <gtest/gtest.h>

#include <vector>

namespace octet::kernels {
namespace {

TEST(Partition, PartsTouchEveryElementOnce) {
  for (int64_t rows : {1, 2, 3, 7, 64})
    for (int64_t length : {1, 63, 64, 65, 500})
      for (int parts = 1; parts <= 6; ++parts) {
        std::vector<int> touched(static_cast<size_t>(rows * length), 0);
        for (int part = 0; part < parts; ++part) {
          const RunRange range = split_runs(rows, length, part, parts);
          for (int64_t r = range.rows.begin; r < range.rows.end; ++r)
            for (int64_t i = range.columns.begin; i < range.columns.end; ++i) ++touched[static_cast<size_t>(r * length + i)];
        }
        EXPECT_EQ(touched, std::vector<int>(touched.size(), 1)) << rows << " x " << length << " in " << parts;
      }
}

TEST(Partition, ManyRowsAreShared) {
  EXPECT_EQ(split_runs(100, 1000, 1, 2).rows, (WorkRange{50, 100}));
  EXPECT_EQ(split_runs(100, 1000, 1, 2).columns, (WorkRange{0, 1000}));
}

TEST(Partition, FewLongRowsAreCutAtCacheLines) {
  EXPECT_EQ(split_runs(1, 1000, 0, 2).columns, (WorkRange{0, 512}));
  EXPECT_EQ(split_runs(1, 1000, 1, 2).columns, (WorkRange{512, 1000}));
}

}  // namespace
}  // namespace octet::kernels
