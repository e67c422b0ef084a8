// TensorScatter: new rows of a cache are written where they belong, in place where the cache is not needed any more.
#include <algorithm>
#include <cstring>

#include "engine/lower/families.h"
#include "graph/op_def.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;

struct Rows {
  int64_t slices = 1;  // before the axis, a batch
  int64_t batch = 1, cache_rows = 1, new_rows = 1, row_bytes = 0;
};

Rows rows_of(const Node& node) {
  const Shape cache = node.input(0)->type().shape(), update = node.input(1)->type().shape();
  const auto rank = static_cast<int64_t>(cache.size());
  const auto axis = static_cast<size_t>((node.attr("axis", int64_t{-2}) + rank) % rank);
  Rows r{1, cache[0], cache[axis], update[axis], static_cast<int64_t>(size_of(node.output()->dtype()))};
  for (size_t i = 1; i < axis; ++i) r.slices *= cache[i];
  for (size_t i = axis + 1; i < cache.size(); ++i) r.row_bytes *= cache[i];
  return r;
}

bool takes(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  for (size_t i = 0; i < 2; ++i)
    if (!node.input(i)->type().static_shape() || size_of(node.input(i)->dtype()) == 0) return no("its shape is not known");
  if (node.attr("mode", "linear") != "linear") return no("only linear mode has a kernel");
  const Value* indices = node.input(2);
  if (indices && !indices->is_constant()) return no("where to write is known only at run time");
  const Rows r = rows_of(node);
  for (int64_t b = 0; b < r.batch; ++b) {
    const int64_t at = indices ? indices->constant().at_s64(b) : 0;
    if (at < 0 || at + r.new_rows > r.cache_rows) return no("the new rows do not fit into the cache");
  }
  return true;
}

void lower(Lowering& lowering, const Node& node) {
  const Value *cache = node.input(0), *update = node.input(1), *indices = node.input(2), *y = node.output();
  const auto image = [&](const Value* v) { return !v->is_constant() && lowering.place(v).image; };
  if (image(cache) || image(update) || image(y)) return lower_eval(lowering, node);
  const bool in_place = !cache->is_constant() && lowering.place(cache).group == lowering.place(y).group;
  std::vector<int64_t> at;
  const Rows r = rows_of(node);
  for (int64_t b = 0; b < r.batch; ++b) at.push_back(indices ? indices->constant().at_s64(b) : 0);
  const Location from = lowering.location(cache), rows = lowering.location(update), to = lowering.location(y);
  lowering.add_step(node, in_place ? "scatter in place" : "scatter", [=](const RunContext& context, int part, int parts) {
    const int64_t all = r.batch * r.slices, slice_bytes = r.cache_rows * r.row_bytes, new_bytes = r.new_rows * r.row_bytes;
    for (int64_t s = all * part / parts; s < all * (part + 1) / parts; ++s) {
      std::byte* target = to.in(context) + s * slice_bytes;
      if (!in_place) std::memcpy(target, from.in(context) + s * slice_bytes, static_cast<size_t>(slice_bytes));
      std::memcpy(target + at[static_cast<size_t>(s / r.slices)] * r.row_bytes, rows.in(context) + s * new_bytes,
                  static_cast<size_t>(new_bytes));
    }
  });
}

std::vector<int> overwrites(const Node&) { return {0}; }

}  // namespace

std::span<const LowerDef> scatter_lowerings() {
  static const LowerDef kDefs[] = {{"TensorScatter", takes, lower, nullptr, overwrites}};
  return kDefs;
}

}  // namespace octet
