// The loop of integer_matmul.h: columns of one matrix b by chunks, and for each the rows of a by blocks.
#include "kernels/integer_matmul.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "kernels/amx/tile_config.h"
#include "kernels/attention/generators.h"
#include "kernels/integer_matmul/generators.h"
#include "kernels/partition.h"

namespace octet::kernels {
namespace integer_matmul {
namespace {

int64_t round_up(int64_t v, int64_t unit) { return (v + unit - 1) / unit * unit; }

template <class Args>
void call(const std::shared_ptr<const Code>& code, const Args& args) {
  code->entry<void (*)(const Args*)>()(&args);
}

// How bytes of a type become what the dot products want of that side, and by how much that moves the zero point.
struct Turn {
  uint32_t flip = 0;
  int32_t shift = 0;
};
Turn turn_of(DType dtype, int group, bool left) {
  // Words are always made of unsigned bytes. Of bytes the left ones are unsigned, the right ones signed.
  const bool turns = group == 2 || left ? dtype == DType::s8 : dtype == DType::u8;
  if (!turns) return {};
  return {group == 2 ? 0x00800080u : 0x80808080u, group == 2 || left ? 128 : -128};
}

int rows_of(const Isa& isa) {
  if (isa.dot == DotKind::tile) return 16;
  return isa.vector_count >= 32 ? 12 : 6;
}

struct Layout {
  bool tile;
  int lanes, vector_bytes, group, rows;
  int64_t quads, steps, panel_bytes, panels, left_row, sums_row;
  size_t columns = 0, column_terms = 0, left = 0, row_terms = 0, sums = 0, last_rows = 0, bytes = 0;

  Layout(const Isa& isa, const IntegerMatmulProblem& p)
      : tile(isa.dot == DotKind::tile),
        lanes(isa.lanes()),
        vector_bytes(isa.vector_bytes),
        group(isa.dot == DotKind::maddubs ? 2 : 4),
        rows(rows_of(isa)),
        quads(round_up(p.k, tile ? 64 : 4) / 4),
        steps(quads * 4 / group),
        panel_bytes(steps * vector_bytes) {
    constexpr int64_t kChunkBytes = 256 << 10, kFewest = 4, kMost = 16;
    panels = std::min((p.n + lanes - 1) / lanes, std::clamp(kChunkBytes / panel_bytes, kFewest, kMost));
    left_row = round_up(quads * 4 * (group == 2 ? 2 : 1), vector_bytes) + 64;
    sums_row = panels * vector_bytes + 64;
    const auto take = [&](size_t& at, int64_t count) {
      at = bytes;
      bytes += static_cast<size_t>(round_up(count, 64));
    };
    take(columns, panels * panel_bytes);
    take(column_terms, panels * vector_bytes);
    take(left, rows * left_row);
    take(row_terms, rows * 4);
    take(sums, rows * sums_row);
    take(last_rows, 4 * (panels * lanes + 64));
  }
  int64_t chunk() const { return panels * lanes; }
};

// Codes for a chunk of columns.
struct ChunkCodes {
  std::shared_ptr<const Code> dot[2];  // whole blocks of rows, the last one
  std::shared_ptr<const Code> store;
};

class Vectorised final : public IntegerMatmul {
 public:
  Vectorised(const Isa& isa, const IntegerMatmulProblem& problem)
      : p_(problem),
        at_(isa, problem),
        name_("matmul int8 of two at run time " + std::string(isa.name)),
        a_turn_(turn_of(p_.a, at_.group, true)),
        b_turn_(turn_of(p_.b, at_.group, false)),
        pack_left_(pack_left_code(isa, at_.group)),
        pack_right_(pack_right_code(isa, at_.group)) {
    const int64_t rest = p_.n % at_.chunk();
    if (p_.n >= at_.chunk()) codes_[0] = make_codes(isa, at_.chunk());
    if (rest > 0) codes_[1] = make_codes(isa, rest);
    const int64_t last = (p_.k - 1) % at_.vector_bytes + 1;
    for (int64_t i = 0; i < last; ++i) mask_[static_cast<size_t>(i)] = 0xff;
  }

  void run(const IntegerMatmulArgs& args, int part, int parts) const noexcept override {
    const int64_t blocks = (p_.m + at_.rows - 1) / at_.rows, chunks = (p_.n + at_.chunk() - 1) / at_.chunk();
    const WorkRange mine = split_work(static_cast<int64_t>(p_.batch.size()) * chunks * blocks, part, parts);
    if (mine.size() == 0) return;
    if (at_.tile) configure_tiles();
    int64_t packed = -1;
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t columns = i / blocks, matrix = columns / chunks;
      const int64_t first = columns % chunks * at_.chunk(), count = std::min(at_.chunk(), p_.n - first);
      const auto& [a, b] = p_.batch[static_cast<size_t>(matrix)];
      if (columns != packed) pack_columns(args, static_cast<const uint8_t*>(args.b) + b + first, count);
      packed = columns;
      multiply(args, static_cast<const uint8_t*>(args.a) + a, matrix, i % blocks * at_.rows, first, count);
    }
  }

  size_t workspace_bytes() const override { return at_.bytes; }
  std::string name() const override { return name_; }

 private:
  ChunkCodes make_codes(const Isa& isa, int64_t count) const {
    attention::Form form;
    form.group = at_.group;
    form.value_panels = (count + at_.lanes - 1) / at_.lanes;
    ChunkCodes codes;
    const auto last = static_cast<int>(p_.m % at_.rows);
    for (const int rows : {at_.rows, last}) {
      if (rows == 0 || rows > p_.m) continue;
      codes.dot[rows == at_.rows ? 0 : 1] =
          at_.tile ? attention::tile_outputs_code(isa, form) : attention::dot_code(isa, form, rows, false);
    }
    codes.store = store_code(isa, p_.y, count % at_.lanes);
    return codes;
  }

  int32_t a_zero(const IntegerMatmulArgs& args) const { return args.a_zero_point + a_turn_.shift; }
  int32_t b_zero(const IntegerMatmulArgs& args) const { return args.b_zero_point + b_turn_.shift; }
  static uint32_t words(int32_t zero_point) { return static_cast<uint32_t>(zero_point & 0xffff) * 0x10001u; }

  // Columns [0, count) of b and what their sums take from every result.
  void pack_columns(const IntegerMatmulArgs& args, const uint8_t* b, int64_t count) const noexcept {
    auto* terms = reinterpret_cast<int32_t*>(args.workspace + at_.column_terms);
    std::memset(terms, 0, static_cast<size_t>(at_.panels * at_.vector_bytes));
    const int64_t panels = (count + at_.lanes - 1) / at_.lanes, whole = p_.k / 4, left = p_.k % 4;
    const int64_t quad_bytes = 4 / at_.group * at_.vector_bytes;
    PackRightArgs pack{b,     p_.n,         args.workspace + at_.columns, at_.panel_bytes, panels, whole,
                       terms, b_turn_.flip, words(b_zero(args))};
    if (whole > 0) call(pack_right_, pack);
    if (left > 0) {
      // Rows that there are not make zeros.
      auto* rows = reinterpret_cast<uint8_t*>(args.workspace + at_.last_rows);
      const int64_t row = at_.chunk() + 64;
      std::memset(rows, at_.group == 2 ? args.b_zero_point : b_turn_.shift, static_cast<size_t>(4 * row));
      for (int64_t i = 0; i < left; ++i) std::memcpy(rows + i * row, b + (4 * whole + i) * p_.n, static_cast<size_t>(count));
      pack.b = rows, pack.b_row = row, pack.quads = 1;
      pack.to += whole * quad_bytes;
      call(pack_right_, pack);
    }
    const int64_t filled = (whole + (left > 0 ? 1 : 0)) * quad_bytes;
    for (int64_t i = 0; filled < at_.panel_bytes && i < panels; ++i)
      std::memset(args.workspace + at_.columns + static_cast<size_t>(i * at_.panel_bytes + filled), 0,
                  static_cast<size_t>(at_.panel_bytes - filled));
    if (at_.group == 2) return;
    // As unsigned numbers, which wrap as the sums do.
    const auto za = static_cast<uint32_t>(a_zero(args));
    const uint32_t both = static_cast<uint32_t>(p_.k) * za * static_cast<uint32_t>(b_zero(args));
    for (int64_t i = 0; i < panels * at_.lanes; ++i)
      terms[i] = static_cast<int32_t>(both - za * static_cast<uint32_t>(terms[i]));
  }

  void multiply(const IntegerMatmulArgs& args, const uint8_t* a, int64_t matrix, int64_t row, int64_t first,
                int64_t count) const noexcept {
    const int64_t rows = std::min<int64_t>(at_.rows, p_.m - row), panels = (count + at_.lanes - 1) / at_.lanes;
    const ChunkCodes& codes = codes_[count == at_.chunk() ? 0 : 1];
    std::byte* left = args.workspace + at_.left;
    auto* row_terms = reinterpret_cast<int32_t*>(args.workspace + at_.row_terms);
    const int64_t vectors = (at_.left_row - 64) / at_.vector_bytes;
    pack_rows(args, a + row * p_.k, rows, vectors, left, row_terms);
    auto* sums = reinterpret_cast<int32_t*>(args.workspace + at_.sums);
    call(codes.dot[rows == at_.rows ? 0 : 1],
         attention::DotArgs{left, at_.left_row, args.workspace + at_.columns, at_.panel_bytes, at_.steps, sums, at_.sums_row,
                            nullptr, panels});
    const auto element = static_cast<int64_t>(size_of(p_.y));
    const int32_t lowest = p_.y == DType::s8 ? -128 : 0;
    StoreArgs store{};
    store.sums = sums, store.sums_row = at_.sums_row;
    store.y = static_cast<std::byte*>(args.y) + ((matrix * p_.m + row) * p_.n + first) * element;
    store.y_row = p_.n * element;
    store.rows = rows, store.whole = count / at_.lanes;
    store.column_terms = reinterpret_cast<const int32_t*>(args.workspace + at_.column_terms);
    store.row_terms = row_terms;
    store.scale = args.scale;
    store.low = static_cast<float>(lowest - args.y_zero_point);
    store.high = static_cast<float>(lowest + 255 - args.y_zero_point);
    store.zero_point = args.y_zero_point - lowest;
    call(codes.store, store);
  }

  void pack_rows(const IntegerMatmulArgs& args, const uint8_t* a, int64_t rows, int64_t vectors, std::byte* to,
                 int32_t* terms) const noexcept {
    PackLeftArgs pack{a, p_.k, to, at_.left_row, rows, vectors, mask_.data(), terms, a_turn_.flip, words(a_zero(args))};
    if (at_.group == 2) {
      std::fill(terms, terms + rows, 0);
      return call(pack_left_, pack);
    }
    // What lies beyond the vector that k ends in is multiplied by zeros.
    pack.vectors = (p_.k - 1) / at_.vector_bytes;
    call(pack_left_, pack);
    const auto zb = static_cast<uint32_t>(b_zero(args));
    for (int64_t i = 0; i < rows; ++i) terms[i] = static_cast<int32_t>(0u - zb * static_cast<uint32_t>(terms[i]));
  }

  const IntegerMatmulProblem p_;
  const Layout at_;
  const std::string name_;
  const Turn a_turn_, b_turn_;
  const std::shared_ptr<const Code> pack_left_, pack_right_;
  ChunkCodes codes_[2];  // whole chunks, the last one
  alignas(64) std::array<uint8_t, 64> mask_{};
};

class Reference final : public IntegerMatmul {
 public:
  explicit Reference(const IntegerMatmulProblem& problem) : problem_(problem) {}
  void run(const IntegerMatmulArgs& args, int part, int) const noexcept override {
    if (part == 0) integer_matmul_reference(problem_, args);
  }
  size_t workspace_bytes() const override { return 0; }
  std::string name() const override { return "matmul int8 of two at run time reference"; }

 private:
  const IntegerMatmulProblem problem_;
};

}  // namespace
}  // namespace integer_matmul

std::unique_ptr<IntegerMatmul> make_integer_matmul(const Isa& isa, const IntegerMatmulProblem& problem) {
  assert(problem.m > 0 && problem.n > 0 && problem.k > 0);
  if (isa.id == IsaId::reference) return std::make_unique<integer_matmul::Reference>(problem);
  return std::make_unique<integer_matmul::Vectorised>(isa, problem);
}

}  // namespace octet::kernels
