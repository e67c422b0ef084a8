#include "kernels/amx/block_list.h"

#include <algorithm>

#include "kernels/amx/dense.h"

namespace octet::kernels::amx {

Share choose_share(const ConvProblem& problem, int64_t rows, int64_t columns, size_t weight_bytes, int threads,
                   const Caches& caches) {
  if (threads == 1) return Share::list;
  constexpr int64_t kMuchMore = 6;
  const ConvShape& s = problem.shape;
  const ResidualKind kind = problem.epilogue.residual;
  const int64_t residual = kind == ResidualKind::none ? 0 : kind == ResidualKind::f32 ? 4 : 1;
  const auto read = static_cast<size_t>(s.n * (s.ih * s.iw * s.ic + s.oh * s.ow * s.oc * residual));
  const bool weights_lead = weight_bytes > kMuchMore * read && weight_bytes >= caches.second_level / 2;
  if (weights_lead && columns >= threads) return Share::channels;
  return rows >= threads ? Share::rows : Share::list;
}

WorkRange part_of(int64_t count, int64_t block, int part, int parts) {
  const WorkRange blocks = split_work((count + block - 1) / block, part, parts);
  return {std::min(blocks.begin * block, count), std::min(blocks.end * block, count)};
}

namespace {

void list_chunk(const ListProblem& p, int64_t group, WorkRange panels, WorkRange tiles, int part, BlockList& list) {
  const ConvShape& s = p.problem.shape;
  const Epilogue& e = p.problem.epilogue;
  const Blocking& b = p.blocking;
  const int64_t channels = s.oc / s.groups;
  const int64_t y_bytes = static_cast<int64_t>(size_of(e.out)), r_bytes = e.residual == ResidualKind::f32 ? 4 : 1;
  int64_t partial = 0;
  const auto begin = static_cast<int64_t>(list.blocks.size());
  for (int64_t tile = tiles.begin; tile < tiles.end; tile += b.m) {
    const auto m = static_cast<int>(std::min<int64_t>(b.m, tiles.end - tile));
    for (int64_t panel = panels.begin; panel < panels.end; panel += b.n) {
      const auto n = static_cast<int>(std::min<int64_t>(b.n, panels.end - panel));
      Block& block = list.blocks.emplace_back();
      for (int i = 0; i < m; ++i) block.x[i] = p.x(tile + i, group);
      const int64_t channel = group * channels + panel * 16;
      block.weights = (group * p.panels + panel) * p.panel_bytes + k_part(p.k_steps, b, part).first * kTileBytes;
      block.partial = partial;
      partial += m * n * kTileBytes;
      block.params = (group * p.records_per_group + panel) * static_cast<int64_t>(sizeof(ChannelParams));
      block.y = channel * y_bytes;
      block.residual = channel * r_bytes;
      block.rows = tile * kTileRows * static_cast<int64_t>(sizeof(TileRow));
      bool dense = p.dense_params > 0 && n == p.panels && part + 1 == b.k_parts;
      for (int i = 0; i < m; ++i) dense = dense && tile_is_dense(p.problem, p.tiling, tile + i);
      if (dense) block.params = p.dense_params * static_cast<int64_t>(sizeof(ChannelParams));
      list.shapes.push_back({m, n, static_cast<int>(std::min<int64_t>(16, channels - (panel + n - 1) * 16)), dense, part});
    }
  }
  const int64_t count = panels.end - panels.begin;
  list.chunks.push_back({begin, static_cast<int64_t>(list.blocks.size()), (count + b.n - 1) / b.n, count});
}

}  // namespace

BlockList list_blocks(const ListProblem& p, Share share, int threads) {
  BlockList list;
  list.share = share;
  list.splits_k = p.blocking.k_parts > 1;
  const int lists = share == Share::list ? 1 : threads;
  const WorkRange all_tiles{0, p.tiling.tiles()}, all_panels{0, p.panels};
  for (int thread = 0; thread < lists; ++thread) {
    const WorkRange tiles = share == Share::rows ? part_of(all_tiles.end, p.blocking.m, thread, lists) : all_tiles;
    const WorkRange panels = share == Share::channels ? part_of(all_panels.end, p.blocking.n, thread, lists) : all_panels;
    for (int64_t group = 0; group < p.problem.shape.groups; ++group)
      for (int64_t chunk = panels.begin; chunk < panels.end; chunk += p.blocking.chunk)
        for (int k = 0; k < p.blocking.k_parts; ++k)
          list_chunk(p, group, {chunk, std::min(chunk + p.blocking.chunk, panels.end)}, tiles, k, list);
    if (lists > 1) list.ends.push_back(static_cast<int64_t>(list.blocks.size()));
  }
  return list;
}

int assign_prefetch(BlockList& list, std::span<const std::vector<ByteRange>> of_parts) {
  constexpr size_t kLine = 64;
  const auto parts = static_cast<int>(of_parts.size());
  size_t per_block = 1;
  for (int part = 0; part < parts; ++part) {
    const std::vector<ByteRange>& ranges = of_parts[static_cast<size_t>(part)];
    size_t blocks = 0;
    list.for_share(part, parts, [&](int64_t begin, int64_t end) { blocks += static_cast<size_t>(end - begin); });
    const auto blocks_taking = [&](size_t lines) {
      size_t taking = 0;
      for (const ByteRange& range : ranges) taking += (range.bytes + lines * kLine - 1) / (lines * kLine);
      return taking;
    };
    while (blocks_taking(per_block) > std::max(blocks, ranges.size())) per_block += per_block < 8 ? 1 : 8;
  }
  for (int part = 0; part < parts; ++part) {
    std::span<const ByteRange> ranges = of_parts[static_cast<size_t>(part)];
    const auto* last = reinterpret_cast<const std::byte*>(list.blocks.data());  // for a part that has nothing to fetch
    size_t at = 0;                                                              // in the first range
    list.for_share(part, parts, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        if (!ranges.empty()) {
          last = ranges.front().data + at;
          at += per_block * kLine;
          if (at >= ranges.front().bytes) ranges = ranges.subspan(1), at = 0;
        }
        list.blocks[static_cast<size_t>(b)].prefetch = last;
      }
    });
  }
  return static_cast<int>(per_block);
}

}  // namespace octet::kernels::amx
