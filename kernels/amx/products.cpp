#include "kernels/amx/products.h"

#include <algorithm>

namespace octet::kernels::amx {
namespace {

// Panels in the order in which they are multiplied and stored.
int panel_at(const BlockSpec& spec, int j) { return spec.dense ? spec.n - 1 - j : j; }

// Product j of block b is number b * n + j; the one that had its accumulator before lies accumulators() products back.
std::vector<TileProduct> plan_resident(const BlockSpec& spec, int variant) {
  const int n = spec.n, ring = accumulators(spec);
  std::vector<TileProduct> products;
  for (int j = 0; j < n; ++j)
    products.push_back({.c = (variant * n + j) % ring,
                        .a = ring,
                        .b = ring + 1 + panel_at(spec, j),
                        .first = true,
                        .stored = panel_at(spec, (j + n - ring) % n),
                        .stores_running = j == 0 || j >= ring,
                        .loads = {},
                        .panel = panel_at(spec, j)});
  products.front().loads.push_back({true, ring, 0, 0});
  return products;
}

}  // namespace

int accumulators(const BlockSpec& spec) { return spec.resident ? std::min(spec.n, 7 - spec.n) : spec.m * spec.n; }

int variants(const BlockSpec& spec) {
  const int sums = accumulators(spec);
  return sums < spec.m * spec.n ? sums : 1;
}

std::vector<TileProduct> plan_products(const BlockSpec& spec, int variant) {
  if (spec.resident) return plan_resident(spec, variant);
  const int m = spec.m, n = spec.n;
  const bool keep_x = m <= n;
  const int kept = keep_x ? m : n, others = keep_x ? n : m;
  const int first_kept = m * n, first_other = first_kept + kept, spare = 8 - first_other;
  std::vector<TileProduct> products;
  int rotation = 0;
  for (size_t k = 0; k < spec.steps.size(); ++k)
    for (int j = 0; j < others; ++j) {
      const int moves = first_other + rotation++ % spare;
      for (int i = 0; i < kept; ++i) {
        const int tile = keep_x ? i : j, panel = panel_at(spec, keep_x ? j : i), stays = first_kept + i;
        TileProduct p{.c = tile * n + panel,
                      .a = keep_x ? stays : moves,
                      .b = keep_x ? moves : stays,
                      .first = k == 0,
                      .stored = tile * n + panel,
                      .stores_running = products.empty(),
                      .loads = {},
                      .panel = panel};
        if (j == 0) p.loads.push_back({keep_x, stays, keep_x ? tile : panel, k});
        if (i == 0) p.loads.push_back({!keep_x, moves, keep_x ? panel : tile, k});
        products.push_back(std::move(p));
      }
    }
  return products;
}

}  // namespace octet::kernels::amx
