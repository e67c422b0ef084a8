#include "kernels/amx/dense.h"

namespace octet::kernels::amx {

bool tile_is_dense(const ConvProblem& p, const Tiling& tiling, int64_t tile) {
  const bool residual = p.epilogue.residual != ResidualKind::none;
  const TileRow* rows = tiling.rows.data() + tile * kTileRows;
  if (rows[0].y < 0) return false;
  for (int64_t r = 1; r < kTileRows; ++r) {
    const int64_t distance = r * p.shape.oc;
    if (rows[r].y != rows[0].y + distance || (residual && rows[r].residual != rows[0].residual + distance)) return false;
  }
  return true;
}

bool is_dense(const ConvProblem& p, const Tiling& tiling) {
  if (p.shape.groups != 1 || p.epilogue.out != DType::u8 || p.epilogue.y_scale != 0 ||
      p.epilogue.residual == ResidualKind::f32 || dense_vectors(p.shape.oc) == 0)
    return false;
  for (int64_t tile = 0; tile + 1 < tiling.tiles(); ++tile)
    if (!tile_is_dense(p, tiling, tile)) return false;
  return true;
}

}  // namespace octet::kernels::amx
