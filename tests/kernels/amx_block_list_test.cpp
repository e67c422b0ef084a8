#include "kernels/amx/block_list.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

namespace octet::kernels::amx {
namespace {

ConvProblem matrix(int64_t rows, int64_t k, int64_t columns, ResidualKind residual = ResidualKind::none) {
  ConvProblem p;
  p.shape.ic = k, p.shape.oc = columns;
  p.shape.iw = p.shape.ow = rows;
  p.shape.ih = p.shape.oh = 1;
  p.x = {k, rows * k, rows * k};
  p.y = {columns, rows * columns, rows * columns};
  p.epilogue.out = DType::u8;
  p.epilogue.residual = residual;
  return p;
}

constexpr Caches kCaches{48 * 1024, 2048 * 1024};

Share share_of(const ConvProblem& p, int threads) {
  return choose_share(p, p.shape.ow / 32, p.shape.oc / 32, static_cast<size_t>(p.shape.ic * p.shape.oc), threads, kCaches);
}

TEST(AmxBlockList, ThreadsShareWhatMovesLeast) {
  EXPECT_EQ(share_of(matrix(3136, 64, 256), 2), Share::rows);
  EXPECT_EQ(share_of(matrix(128, 768, 3072), 2), Share::channels);
  EXPECT_EQ(share_of(matrix(128, 3072, 768), 2), Share::rows) << "x is a sixth of the weights";
  EXPECT_EQ(share_of(matrix(128, 3072, 768, ResidualKind::u8_once), 2), Share::rows);
  EXPECT_EQ(share_of(matrix(128, 384, 1536), 2), Share::rows) << "the weights stay near";
  EXPECT_EQ(share_of(matrix(128, 768, 3072), 1), Share::list);
  EXPECT_EQ(share_of(matrix(64, 64, 64), 3), Share::list) << "too few of both";
}

// x of a tile is its number, so that a block says which tiles it has.
BlockList list_of(const ConvProblem& p, const Blocking& blocking, Share share, int threads) {
  const Tiling tiling = make_tiling(p, p.shape.oc / 16);
  const int64_t k_steps = (p.shape.ic + 63) / 64;
  return list_blocks({p, tiling, blocking, (p.shape.oc + 15) / 16, k_steps, k_steps * kTileBytes, (p.shape.oc + 15) / 16, 0,
                      [](int64_t tile, int64_t) { return tile; }},
                     share, threads);
}

using Product = std::tuple<int64_t, int64_t>;  // tile, bytes of the panel and its part of K in the weights

std::multiset<Product> products(const BlockList& list, int64_t begin, int64_t end, int64_t panel_bytes) {
  std::multiset<Product> all;
  for (int64_t b = begin; b < end; ++b) {
    const Block& block = list.blocks[static_cast<size_t>(b)];
    const BlockShape& shape = list.shapes[static_cast<size_t>(b)];
    for (int i = 0; i < shape.m; ++i)
      for (int j = 0; j < shape.n; ++j) all.insert({block.x[i], block.weights + j * panel_bytes});
  }
  return all;
}

TEST(AmxBlockList, PartsRunEveryProductOnceAndPartsOfKTogether) {
  const ConvProblem p = matrix(200, 512, 336);  // 13 tiles, 21 panels, 8 k steps
  const int64_t panel_bytes = 8 * kTileBytes;
  for (const Blocking& blocking : {Blocking{.m = 1, .n = 4, .chunk = 8}, Blocking{.m = 2, .n = 2, .chunk = 21},
                                   Blocking{.m = 2, .n = 2, .chunk = 6, .k_parts = 2}})
    for (const Share share : {Share::list, Share::rows, Share::channels})
      for (const int threads : {1, 2, 3})
        for (const int parts : {1, 2, 3, 7}) {
          if (threads == 1 && share != Share::list) continue;
          const BlockList list = list_of(p, blocking, share, threads);
          std::multiset<Product> all;
          std::map<Product, int> ran_by;
          for (int part = 0; part < parts; ++part)
            list.for_share(part, parts, [&](int64_t begin, int64_t end) {
              for (const Product& product : products(list, begin, end, panel_bytes)) {
                all.insert(product);
                const auto& [tile, weights] = product;
                const int by = ran_by.insert({{tile, weights / panel_bytes}, part}).first->second;
                EXPECT_EQ(by, part) << "sums stay with their thread between parts of K";
              }
            });
          EXPECT_EQ(all.size(), static_cast<size_t>(13 * 21 * blocking.k_parts));
          EXPECT_EQ(std::set<Product>(all.begin(), all.end()).size(), all.size());
        }
}

TEST(AmxBlockList, AThreadsPartIsOneStretch) {
  for (const Share share : {Share::rows, Share::channels})
    for (int part = 0; part < 2; ++part) {
      int stretches = 0;
      list_of(matrix(200, 512, 336), {.m = 2, .n = 2, .chunk = 4, .k_parts = 2}, share, 2)
          .for_share(part, 2, [&](int64_t, int64_t) { ++stretches; });
      EXPECT_EQ(stretches, 1);
    }
}

TEST(AmxBlockList, EachPartFetchesAllOfItsRanges) {
  BlockList list = list_of(matrix(200, 512, 336), {.m = 1, .n = 4, .chunk = 8}, Share::rows, 2);
  const std::vector<std::byte> weights(300 * 1024);
  const std::vector<std::vector<ByteRange>> of_parts = {{{weights.data(), 5000}, {weights.data() + 90000, 200000}},
                                                        {{weights.data() + 6000, 70}}};
  const int lines = assign_prefetch(list, of_parts);
  for (int part = 0; part < 2; ++part) {
    std::set<const std::byte*> fetched;
    list.for_share(part, 2, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        for (int line = 0; line < lines; ++line) fetched.insert(list.blocks[static_cast<size_t>(b)].prefetch + line * 64);
    });
    for (const ByteRange& range : of_parts[static_cast<size_t>(part)])
      for (size_t at = 0; at < range.bytes; at += 64) EXPECT_TRUE(fetched.count(range.data + at)) << part << " " << at;
  }
}

}  // namespace
}  // namespace octet::kernels::amx
