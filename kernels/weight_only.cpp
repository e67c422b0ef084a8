#include "kernels/weight_only.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/aligned_buffer.h"
#include "kernels/amx/tile_config.h"
#include "kernels/packed_weights.h"
#include "kernels/partition.h"
#include "kernels/weight_only/kernel.h"
#include "kernels/weight_only/tiles.h"

namespace octet::kernels {
namespace {

constexpr int64_t kMostGroups = 8;  // dword vectors a round of the kernel

int64_t per_dword(int bits) { return 32 / bits; }

uint32_t field_of(const WeightOnlyWeights& w, int64_t n, int64_t k) {
  const int64_t inside = k % w.block;
  const uint8_t* row = w.q + (n * w.blocks() + k / w.block) * w.block_bytes();
  return w.bits == 8 ? row[inside] : (row[inside / 2] >> (inside % 2 * 4)) & 15u;
}

struct Packed {
  int64_t n = 0, k = 0;
  int bits = 4;
  bool zeros = false;
  int64_t blocks = 1;
  int64_t block = 8;   // of k, padded to whole rounds
  int64_t rounds = 1;  // a block
  int64_t groups = 1;  // dword vectors a round
  int64_t panel_bytes = 0;
  AlignedBuffer b;
};

// A block of k in whole rounds: one block of all k is cut into rounds of kMostGroups, and the last may be padded.
void choose_rounds(const WeightOnlyWeights& w, Packed& packed) {
  const int64_t k = w.blocks() == 1 ? w.k : w.block, each = per_dword(w.bits);
  const int64_t groups = (k + each - 1) / each;
  packed.groups = std::min(groups, kMostGroups);
  if (w.blocks() > 1)
    while (groups % packed.groups != 0) --packed.groups;
  packed.rounds = (groups + packed.groups - 1) / packed.groups;
  packed.block = packed.rounds * packed.groups * each;
}

std::byte* pack_block(const WeightOnlyWeights& w, const Packed& packed, int64_t lanes, int64_t first, int64_t block,
                      std::byte* to) {
  const int64_t each = per_dword(w.bits), begin = block * w.block, end = std::min(w.k, begin + w.block);
  for (int64_t k = begin; k < begin + packed.block; k += each)
    for (int64_t lane = 0; lane < lanes; ++lane, to += 4) {
      uint32_t dword = 0;
      for (int64_t i = 0; i < each && k + i < end && first + lane < w.n; ++i)
        dword |= field_of(w, first + lane, k + i) << (w.bits == 8 ? 8 * i : i % 4 * 8 + i / 4 * 4);
      std::memcpy(to, &dword, 4);
    }
  for (int64_t lane = 0; lane < lanes; ++lane, to += 4)
    if (first + lane < w.n) std::memcpy(to, w.scale + (first + lane) * w.blocks() + block, 4);
  if (!packed.zeros) return to;
  for (int64_t lane = 0; lane < lanes; ++lane, ++to)
    if (first + lane < w.n) *to = static_cast<std::byte>(w.zero[(first + lane) * w.blocks() + block]);
  return to;
}

class Product final : public WeightOnlyProduct {
 public:
  Product(const Isa& isa, int64_t m, std::vector<float> bias, std::shared_ptr<const PackedWeights> weights)
      : packed_weights_(std::move(weights)),
        w_(packed_weights_->as<Packed>()),
        m_(m),
        lanes_(isa.lanes()),
        most_rows_(std::min<int64_t>(weight_only_rows(isa), m)),
        name_("weight-only int" + std::to_string(w_.bits) + " " + std::string(isa.name)) {
    panels_ = (w_.n + lanes_ - 1) / lanes_;
    if (!bias.empty()) {
      bias.resize(static_cast<size_t>(panels_ * lanes_));
      bias_ = AlignedBuffer(bias.size() * 4);
      std::memcpy(bias_.as<float>(), bias.data(), bias.size() * 4);
    }
    for (const bool tail : {false, true})
      for (int64_t rows = 1; rows <= most_rows_; ++rows) {
        if (rows != most_rows_ && rows != m_ % most_rows_) continue;
        if (tail ? w_.n % lanes_ == 0 : w_.n < lanes_) continue;
        std::shared_ptr<const Code>& code = code_[tail][static_cast<size_t>(rows)];
        code = weight_only_code(isa, {static_cast<int>(rows), w_.bits, static_cast<int>(w_.groups), w_.rounds == 1, w_.zeros,
                                      bias_.bytes() > 0, tail});
      }
  }

  size_t workspace_bytes() const override {
    return static_cast<size_t>(m_ * w_.blocks) * sizeof(DigitBlock) + static_cast<size_t>(m_ * row_bytes());
  }

  void run(const WeightOnlyArgs& args, int part, int parts) const noexcept override {
    const WorkRange panels = split_work(panels_, part, parts);
    if (panels.size() == 0) return;
    auto* owed = static_cast<DigitBlock*>(args.workspace);
    auto* digits = reinterpret_cast<int8_t*>(owed + m_ * w_.blocks);
    const int32_t common = w_.zeros ? -1 : -(1 << (w_.bits - 1));
    for (int64_t row = 0; row < m_; ++row)
      for (int64_t b = 0; b < w_.blocks; ++b) {
        const int64_t begin = b * w_.block;
        DigitBlock& block = owed[row * w_.blocks + b];
        block = to_digits(args.x + row * w_.k + begin, std::min(w_.block, w_.k - begin), w_.block,
                          digits + row * row_bytes() + begin * 3);
        for (int32_t& sum : block.sum) sum *= common;
      }

    WeightOnlyCall call{};
    call.x_row = row_bytes();
    call.owed_row = w_.blocks * static_cast<int64_t>(sizeof(DigitBlock));
    call.y_row = w_.n * 4;
    call.blocks = w_.blocks;
    call.rounds = w_.rounds;
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const int64_t column = panel * lanes_;
      call.columns = w_.n - column;
      const auto& code = code_[call.columns < lanes_];
      call.b = w_.b.as<std::byte>() + panel * w_.panel_bytes;
      if (bias_.bytes() > 0) call.bias = bias_.as<float>() + column;
      for (int64_t row = 0; row < m_; row += most_rows_) {
        call.x = digits + row * row_bytes();
        call.owed = owed + row * w_.blocks;
        call.y = args.y + row * w_.n + column;
        code[static_cast<size_t>(std::min(most_rows_, m_ - row))]->entry<WeightOnlyFunction>()(&call);
      }
    }
  }

  std::string name() const override { return name_; }

 private:
  int64_t row_bytes() const { return w_.blocks * w_.block * 3; }

  std::shared_ptr<const PackedWeights> packed_weights_;
  const Packed& w_;
  const int64_t m_, lanes_, most_rows_;
  int64_t panels_ = 0;
  AlignedBuffer bias_;
  std::array<std::array<std::shared_ptr<const Code>, 8>, 2> code_;  // by whether columns are missing, and rows
  std::string name_;
};

// Many rows on AMX (weight_only/tiles.h).
class TileProduct final : public WeightOnlyProduct {
 public:
  static bool takes(const Isa& isa, int64_t m, const Packed& w) {
    constexpr int64_t kLeastRows = 8;  // fewer are as fast one by one
    return isa.dot == DotKind::tile && m >= kLeastRows && !(w.zeros && w.bits == 8);
  }

  TileProduct(const Isa& isa, int64_t m, std::vector<float> bias, std::shared_ptr<const PackedWeights> weights)
      : packed_weights_(std::move(weights)),
        w_(packed_weights_->as<Packed>()),
        m_(m),
        name_("weight-only int" + std::to_string(w_.bits) + " tiles " + std::string(isa.name)) {
    panels_ = (w_.n + kLanes - 1) / kLanes;
    if (!bias.empty()) {
      bias.resize(static_cast<size_t>(panels_ * kLanes));
      bias_ = AlignedBuffer(bias.size() * 4);
      std::memcpy(bias_.as<float>(), bias.data(), bias.size() * 4);
    }
    const bool bias_last = bias_.bytes() > 0;
    for (int i = 0; i < kForms; ++i) {
      const bool resume = (i & 1) != 0, last = (i & 2) != 0, tail = (i & 4) != 0, cut = (i & 8) != 0;
      const int64_t rows = cut ? m % kTileRows : std::min<int64_t>(kTileRows, m);
      if (rows > 0)
        code_[i] = weight_only_tile_code(isa, {resume, static_cast<int>(rows), w_.block, last && bias_last, tail});
    }
  }

  size_t workspace_bytes() const override {
    return kSumBytes + static_cast<size_t>(group_units() + group_digits() + group_weights());
  }

  void run(const WeightOnlyArgs& args, int part, int parts) const noexcept override {
    const WorkRange panels = split_work(panels_, part, parts);
    if (panels.size() == 0) return;
    configure_tiles();
    auto* sums = static_cast<int32_t*>(args.workspace);
    auto* units = reinterpret_cast<float*>(static_cast<std::byte*>(args.workspace) + kSumBytes);
    auto* digits = reinterpret_cast<int8_t*>(units) + group_units();
    int8_t* weights = digits + group_digits();
    for (int64_t first = 0; first < m_; first += group_rows()) {
      const int64_t rows = std::min(group_rows(), m_ - first);
      for (int64_t row = 0; row < rows; ++row) take_row(args.x + (first + row) * w_.k, row, digits, units);
      for (int64_t panel = panels.begin; panel < panels.end; panel += group_panels()) {
        const WorkRange some{panel, std::min(panels.end, panel + group_panels())};
        for (int64_t block = 0; block < w_.blocks; block += slab_blocks()) {
          const WorkRange blocks{block, std::min(w_.blocks, block + slab_blocks())};
          for (int64_t p = some.begin; p < some.end; ++p) unpack(p, blocks, weights + (p - some.begin) * slab_weights());
          for (int64_t row = 0; row < rows; row += kTileRows)
            for (int64_t p = some.begin; p < some.end; ++p)
              multiply({digits + row / kTileRows * tile_digits() + block * block_tiles() * 3 * kTileBytes,
                        weights + (p - some.begin) * slab_weights(), nullptr, units + row * w_.blocks + block * kTileRows,
                        nullptr, args.y + (first + row) * w_.n, sums, 4 * w_.n, w_.panel_bytes / w_.blocks, blocks.size(),
                        block_tiles(), 0},
                       p, blocks, std::min<int64_t>(kTileRows, rows - row) == kTileRows);
        }
      }
    }
  }

  std::string name() const override { return name_; }

 private:
  static constexpr int64_t kLanes = 16, kTileBytes = kTileRows * 64;
  static constexpr size_t kSumBytes = 6 * kTileBytes;
  static constexpr int kForms = 16;  // bits: y goes on, last blocks, columns are missing, the last rows

  int64_t block_tiles() const { return (w_.block + kTileK - 1) / kTileK; }
  int64_t tile_digits() const { return w_.blocks * block_tiles() * 3 * kTileBytes; }  // of 16 rows
  int64_t dword_bytes() const { return w_.block / per_dword(w_.bits) * kLanes * 4; }  // of a block, its scales behind them
  // Rows that share unpacked weights; blocks whose digits stay in the first-level cache; panels whose weights of them stay
  // in the second.
  int64_t group_rows() const { return std::min<int64_t>(128, (m_ + kTileRows - 1) / kTileRows * kTileRows); }
  int64_t slab_blocks() const { return std::clamp<int64_t>(512 / (block_tiles() * kTileK), 1, w_.blocks); }
  int64_t slab_weights() const { return slab_blocks() * w_.block * kLanes; }
  int64_t group_panels() const { return std::clamp<int64_t>((256 << 10) / slab_weights(), 1, panels_); }
  int64_t group_units() const { return group_rows() * w_.blocks * 4; }  // bytes, multiples of 64, as the next two
  int64_t group_digits() const { return group_rows() / kTileRows * tile_digits(); }
  int64_t group_weights() const { return group_panels() * slab_weights() + kTileBytes; }

  // Digits as [row / 16][block][tile of 64 k][digit][16][64], units as [row / 16][block][16].
  void take_row(const float* x, int64_t row, int8_t* digits, float* units) const {
    const int64_t block_bytes = block_tiles() * 3 * kTileBytes, tile = row / kTileRows, line = row % kTileRows;
    for (int64_t b = 0; b < w_.blocks; ++b) {
      const int64_t begin = b * w_.block;
      int8_t* to = digits + tile * tile_digits() + b * block_bytes + line * kTileK;
      for (int64_t t = 0; t < 3 * block_tiles(); ++t) std::memset(to + t * kTileBytes, 0, kTileK);
      const DigitBlock block =
          to_digits(x + begin, std::min(w_.block, w_.k - begin), 0, to, {4, kTileBytes, 3 * kTileBytes});
      units[(tile * w_.blocks + b) * kTileRows + line] = block.unit;
    }
  }

  void unpack(int64_t panel, WorkRange blocks, int8_t* to) const {
    const int64_t stride = w_.panel_bytes / w_.blocks;
    for (int64_t b = blocks.begin; b < blocks.end; ++b, to += w_.block * kLanes) {
      const std::byte* from = w_.b.as<std::byte>() + panel * w_.panel_bytes + b * stride;
      unpack_block(from, w_.block, w_.bits, w_.zeros ? from + dword_bytes() + kLanes * 4 : nullptr, to);
    }
  }

  // `call` but for what depends on the panel.
  void multiply(WeightOnlyTileCall call, int64_t panel, WorkRange blocks, bool whole) const {
    const int64_t column = panel * kLanes;
    call.scale = w_.b.as<std::byte>() + panel * w_.panel_bytes + blocks.begin * call.scale_stride + dword_bytes();
    if (bias_.bytes() > 0) call.bias = bias_.as<float>() + column;
    call.y += column;
    call.columns = w_.n - column;
    const int form = (blocks.begin > 0 ? 1 : 0) | (blocks.end == w_.blocks ? 2 : 0) | (call.columns < kLanes ? 4 : 0) |
                     (whole || m_ < kTileRows ? 0 : 8);
    code_[form]->entry<WeightOnlyTileFunction>()(&call);
  }

  std::shared_ptr<const PackedWeights> packed_weights_;
  const Packed& w_;
  const int64_t m_;
  int64_t panels_ = 0;
  AlignedBuffer bias_;
  std::shared_ptr<const Code> code_[kForms];
  std::string name_;
};

}  // namespace

std::shared_ptr<const PackedWeights> pack_weight_only(const Isa& isa, const WeightOnlyWeights& w) {
  assert(isa.lanes() > 0 && (w.bits == 4 || w.bits == 8) && w.n > 0 && w.k > 0 && (w.block % 8 == 0 || w.blocks() == 1));
  Packed packed;
  packed.n = w.n, packed.k = w.k, packed.bits = w.bits, packed.blocks = w.blocks();
  packed.zeros = w.zero != nullptr;
  choose_rounds(w, packed);
  const int64_t lanes = isa.lanes(), panels = (w.n + lanes - 1) / lanes;
  packed.panel_bytes = packed.blocks * (packed.block / per_dword(w.bits) * lanes * 4 + lanes * (packed.zeros ? 5 : 4));
  packed.b = AlignedBuffer(static_cast<size_t>(panels * packed.panel_bytes));
  std::byte* to = packed.b.as<std::byte>();
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t block = 0; block < packed.blocks; ++block) to = pack_block(w, packed, lanes, panel * lanes, block, to);

  auto result = std::make_shared<PackedWeights>();
  result->isa = isa.id;
  result->kind = PackedKind::weight_only;
  result->shape = {.oc = w.n, .ic = w.k};
  result->bytes = static_cast<size_t>(panels * packed.panel_bytes);
  result->description =
      "blocks of " + std::to_string(w.blocks() == 1 ? w.k : w.block) + ", " + (packed.zeros ? "zero points" : "symmetric");
  result->payload = std::make_shared<const Packed>(std::move(packed));
  return result;
}

std::unique_ptr<WeightOnlyProduct> make_weight_only(const Isa& isa, int64_t m, std::vector<float> bias,
                                                    std::shared_ptr<const PackedWeights> weights) {
  assert(weights->kind == PackedKind::weight_only && weights->isa == isa.id && m > 0);
  if (TileProduct::takes(isa, m, weights->as<Packed>()))
    return std::make_unique<TileProduct>(isa, m, std::move(bias), std::move(weights));
  return std::make_unique<Product>(isa, m, std::move(bias), std::move(weights));
}

void weight_only_reference(const WeightOnlyWeights& w, int64_t m, const float* bias, const float* x, float* y) {
  for (int64_t row = 0; row < m; ++row, x += w.k)
    for (int64_t n = 0; n < w.n; ++n) {
      float total = 0;
      for (int64_t b = 0; b < w.blocks(); ++b) {
        const int64_t begin = b * w.block, count = std::min(w.block, w.k - begin), at = n * w.blocks() + b;
        float largest = 0;
        bool finite = true;
        for (int64_t i = 0; i < count; ++i) {
          finite = finite && std::isfinite(x[begin + i]);
          largest = std::max(largest, std::fabs(x[begin + i]));
        }
        int exponent = 0;
        std::frexp(largest, &exponent);
        if (finite && largest < 0x1p-104f) continue;
        const int32_t zero = w.zero ? w.zero[at] : 1 << (w.bits - 1);
        int32_t sums[3] = {0, 0, 0};
        for (int64_t i = 0; finite && i < count; ++i) {
          auto integer = static_cast<int32_t>(std::nearbyint(std::ldexp(x[begin + i], 22 - exponent)));
          for (int32_t& sum : sums) {
            const auto digit = static_cast<int8_t>(integer & 255);
            sum += digit * (static_cast<int32_t>(field_of(w, n, begin + i)) - zero);
            integer = (integer - digit) / 256;
          }
        }
        const auto s = [&](int p) { return static_cast<float>(sums[p]); };
        const float joined = std::fma(s(2), 65536.0f, std::fma(s(1), 256.0f, s(0)));
        const float unit = finite ? std::ldexp(1.0f, exponent - 22) : std::numeric_limits<float>::quiet_NaN();
        total = std::fma(joined * unit, w.scale[at], total);
      }
      y[row * w.n + n] = bias ? total + bias[n] : total;
    }
}

}  // namespace octet::kernels
