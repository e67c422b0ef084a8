#include "kernels/weight_only.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>

#include "kernels/aligned_buffer.h"
#include "kernels/packed_weights.h"
#include "kernels/partition.h"
#include "kernels/weight_only/kernel.h"

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
        dword |= field_of(w, first + lane, k + i) << (w.bits * static_cast<int>(i));
      std::memcpy(to, &dword, 4);
    }
  for (int64_t lane = 0; lane < lanes; ++lane, to += 4)
    if (first + lane < w.n) std::memcpy(to, w.scale + (first + lane) * w.blocks() + block, 4);
  if (!packed.zeros) return to;
  for (int64_t lane = 0; lane < lanes; ++lane, ++to)
    if (first + lane < w.n) *to = static_cast<std::byte>(w.zero[(first + lane) * w.blocks() + block]);
  return to;
}

// Four chains of additions, element i in chain i % 4.
float sum_of_block(const float* x, int64_t count) {
  float chain[4] = {};
  for (int64_t i = 0; i < count; ++i) chain[i % 4] += x[i];
  return (chain[0] + chain[1]) + (chain[2] + chain[3]);
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
        code = weight_only_code(
            isa, {static_cast<int>(rows), w_.bits, static_cast<int>(w_.groups), w_.zeros, bias_.bytes() > 0, tail});
      }
  }

  size_t workspace_bytes() const override {
    return static_cast<size_t>(m_ * w_.blocks * 4 + (padded() ? m_ * w_.blocks * w_.block * 4 : 0)) + 64;
  }

  void run(const WeightOnlyArgs& args, int part, int parts) const noexcept override {
    const WorkRange panels = split_work(panels_, part, parts);
    if (panels.size() == 0) return;
    float* sums = static_cast<float*>(args.workspace);
    const float* x = args.x;
    if (padded()) x = pad(args.x, sums + (m_ * w_.blocks + 15) / 16 * 16);
    const int64_t width = padded() ? w_.blocks * w_.block : w_.k;
    for (int64_t row = 0; row < m_; ++row)
      for (int64_t b = 0; b < w_.blocks; ++b)
        sums[row * w_.blocks + b] = sum_of_block(x + row * width + b * w_.block, w_.block);

    WeightOnlyCall call{};
    call.x_row = width * 4;
    call.sums_row = w_.blocks * 4;
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
        call.x = x + row * width;
        call.sums = sums + row * w_.blocks;
        call.y = args.y + row * w_.n + column;
        code[static_cast<size_t>(std::min(most_rows_, m_ - row))]->entry<WeightOnlyFunction>()(&call);
      }
    }
  }

  std::string name() const override { return name_; }

 private:
  bool padded() const { return w_.blocks * w_.block != w_.k; }

  const float* pad(const float* x, float* to) const {
    const int64_t width = w_.blocks * w_.block;
    for (int64_t row = 0; row < m_; ++row) {
      std::memcpy(to + row * width, x + row * w_.k, static_cast<size_t>(w_.k) * 4);
      std::fill(to + row * width + w_.k, to + (row + 1) * width, 0.0f);
    }
    return to;
  }

  std::shared_ptr<const PackedWeights> packed_weights_;
  const Packed& w_;
  const int64_t m_, lanes_, most_rows_;
  int64_t panels_ = 0;
  AlignedBuffer bias_;
  std::array<std::array<std::shared_ptr<const Code>, 8>, 2> code_;  // by whether columns are missing, and rows
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
  return std::make_unique<Product>(isa, m, std::move(bias), std::move(weights));
}

void weight_only_reference(const WeightOnlyWeights& w, int64_t m, const float* bias, const float* x, float* y) {
  for (int64_t row = 0; row < m; ++row, x += w.k)
    for (int64_t n = 0; n < w.n; ++n) {
      float total = 0;
      for (int64_t b = 0; b < w.blocks(); ++b) {
        const int64_t begin = b * w.block, count = std::min(w.block, w.k - begin);
        float chain[4] = {};
        for (int64_t i = 0; i < count; ++i) {
          const float q = static_cast<float>(field_of(w, n, begin + i)) * weight_unit(w.bits, static_cast<int>(i % 4));
          chain[i % 4] = std::fma(x[begin + i], q, chain[i % 4]);
        }
        const auto inverse = [&](int c) { return 1.0f / weight_unit(w.bits, c); };
        float s = std::fma(chain[1], inverse(1), chain[0]) + std::fma(chain[3], inverse(3), chain[2] * inverse(2));
        const int64_t at = n * w.blocks() + b;
        const float zero = w.zero ? static_cast<float>(w.zero[at]) : static_cast<float>(1 << (w.bits - 1));
        s = std::fma(-zero, sum_of_block(x + begin, count), s);
        total = std::fma(s, w.scale[at], total);
      }
      y[row * w.n + n] = bias ? total + bias[n] : total;
    }
}

}  // namespace octet::kernels
