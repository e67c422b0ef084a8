// Loop nest:
//
//   prepare the first product
//   for block in blocks:
//     for k step, i < m, j < n:                    one slot each (schedule.h); 16 rows or channels a tile, 64 bytes of K
//       C[i][j] += A[i](x[i] + step) . B[j](weights + j * panel_bytes + k step)
//       prepare the next product, be it the next block's first: load what it has of A and B;
//         k step 0: sums = C[i][j] of the block before; C[i][j] = 0, or the bias where there are few k steps, or the
//         sums of the part of K before
//       weights of later layers are fetched; units due in this slot: epilogue of rows of the block before -> y + row.y, or
//       the trash
//   the stages that remain, without products
//
// sums     [m][n][16 rows][16 channels] int32, 4 KiB, stays in L1; two of them by turns when units wrap
//          dense: [m][16 rows][channels]; a last panel of less than 16 spills into the next row, so it is stored first
// tiles    products.h
// vectors  0-3, 4-7 cells by turns | 8-15 29-31 temporaries, of which 13-15 wide residuals | 16-19 scales
//          28-31 the range's bounds instead of temporaries and pack order, where it is kept
//          20-23 int32 biases | 24-27 offsets or float biases | what 16-27 leave, constants | 28 pack order       k2 the
//          tail, k3 wide residuals
// general  rsi block   rax r8 r9 r10 x of the tiles (first m)   rbx panel   r13 row_bytes   r14 64
//          r12 sums being stored   rcx TileRows   rbp y   r15 residual, or the trash   r11 constants
//          rdx, rdi and what the tiles leave of r8 r9 r10: sums being read when there are two (the last one); then y and
//          residual of a unit's rows; dense: rdi the row pitch of sums, where it is not 64
//          a part of K but the last: r12 the block's partial sums, where its tiles are stored
// stack    0 args  8 the block before  16 the one before that  24 trash  32 partial sums of the block whose products start
#include "kernels/amx/generator.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "kernels/amx/dense.h"
#include "kernels/amx/products.h"
#include "kernels/amx/schedule.h"
#include "kernels/jit/assembler.h"
#include "kernels/jit/range_emitter.h"

namespace octet::kernels::amx {
namespace {

using Xbyak::Reg64;
using Xbyak::Tmm;
using namespace Xbyak::util;

constexpr int kArgs = 0, kBefore = 8, kBeforeThat = 16, kTrash = 24, kPartial = 32, kFrame = 40;
constexpr int64_t kBuffer = kMaxTiles * kTileBytes;

class Generator : public Assembler {
 public:
  Generator(const Isa& isa, const BlockSpec& spec) : Assembler(isa), spec_(spec), form_(spec.epilogue) {
    if (starts_at_bias()) form_.add_int_bias = false;
    assign_registers();
    schedule_ = make_schedule(tiles(), accumulators(), static_cast<int>(spec_.steps.size()), units());
    assert(!schedule_.two_buffers || sums_read_ != r12);
    assert(!spec_.stores_partial || (!schedule_.two_buffers && !spec_.dense && !spec_.resident));
    for (int variant = 0; variant < variants(spec_); ++variant) products_.push_back(plan_products(spec_, variant));
    begin();
    std::vector<Xbyak::Label> body(products_.size());
    Xbyak::Label drain;
    for (size_t variant = 0; variant < products_.size(); ++variant) {
      const bool last = variant + 1 == products_.size();
      Xbyak::Label end;
      align(32);
      L(body[variant]);
      products(variant);
      advance();
      cmp(rsi, ptr[rdx + offsetof(BlockArgs, block_end)]);
      je(end, T_NEAR);
      jmp(body[last ? 0 : variant + 1], T_NEAR);
      L(end);
      for (const TileProduct& p : products_[last ? 0 : variant + 1])
        if (p.first && !p.stores_running) store(p, r12);
      if (!last) jmp(drain, T_NEAR);
    }
    L(drain);
    for (int ended = 1; ended <= schedule_.last_stage; ++ended) {
      for (int slot = 0; slot < std::max(schedule_.slots, tiles()); ++slot) run(epilogue_events(slot, ended));
      if (ended < schedule_.last_stage) advance();
    }
    end();
  }

 private:
  int tiles() const { return spec_.m * spec_.n; }
  int accumulators() const { return amx::accumulators(spec_); }
  Reg64 x(int i) const { return std::array{rax, r8, r9, r10}[static_cast<size_t>(i)]; }
  bool splits_k() const { return spec_.loads_partial || spec_.stores_partial; }
  bool starts_at_bias() const {
    return spec_.epilogue.add_int_bias && spec_.m == 1 && !spec_.dense && !splits_k() &&
           spec_.steps.size() <= kMostStepsFromBias;
  }
  bool fetches_y() const { return spec_.resident && spec_.n == 4 && !has_residual(); }
  int channels() const { return 16 * (spec_.n - 1) + spec_.columns; }
  bool has_residual() const { return spec_.epilogue.residual != ResidualKind::none; }

  // A unit is the same row of 1, 2 or 4 tiles i, or so many neighbouring rows where there are fewer tiles: as many as fill
  // four cells and have registers for their addresses.
  void assign_registers() {
    free_ = {rdx};
    if (pitch() != rdi) free_.push_back(rdi);
    for (int i = starts_at_bias() ? 1 : 3; i >= spec_.m; --i) free_.push_back(x(i));
    const int units_if_one_row = spec_.dense ? units() : 16 * spec_.m;
    const bool wraps =
        make_schedule(tiles(), accumulators(), static_cast<int>(spec_.steps.size()), units_if_one_row).two_buffers;
    if (wraps) {
      sums_read_ = free_.back();
      free_.pop_back();
    }
    const size_t per_row = has_residual() ? 2 : 1;
    rows_of_unit_ = 1;
    while (rows_of_unit_ * 2 * spec_.n <= 4 && static_cast<size_t>(rows_of_unit_) * 2 * per_row <= free_.size())
      rows_of_unit_ *= 2;
    assert(per_row <= free_.size());

    registers_ = {.params = rdx, .constants = r11, .scratch = edx, .temps = {}, .opmask = 1, .pack_order = 28};
    for (int i = 8; i < 13; ++i) registers_.temps.push_back(i);
    if (form_.keeps_range) {
      registers_.temps.insert(registers_.temps.end(), {13, 14, 15});
      registers_.pack_order = -1;
      range_ = {r11, {}, {28, 29}, {30, 31}, spec_.epilogue.range_of_most};
    } else if (has_residual()) {
      registers_.temps.insert(registers_.temps.end(), {29, 30, 31});
      registers_.residual = {13, 14, 15};
      registers_.residual_opmask = 3;
    } else {
      registers_.temps.insert(registers_.temps.end(), {13, 14, 15, 29, 30, 31});
    }
    for (int j = 0; j < (spec_.dense ? dense_vectors(channels()) : spec_.n); ++j) {
      if (form_.out != DType::s32) registers_.scales.push_back(16 + j);
      if (form_.add_int_bias) registers_.int_biases.push_back(20 + j);
      if (form_.offset_sum) registers_.offsets.push_back(24 + j);
      if (form_.bias) registers_.biases.push_back(24 + j);
    }
    const auto taken = [&](int reg) {
      for (const std::vector<int>* list :
           {&registers_.scales, &registers_.int_biases, &registers_.offsets, &registers_.biases})
        if (std::find(list->begin(), list->end(), reg) != list->end()) return true;
      return false;
    };
    for (int reg = 16; reg < 28; ++reg)
      if (!taken(reg)) registers_.spare.push_back(reg);
    if (spec_.columns < 16 && !spec_.dense) registers_.tail_opmask = 2;
  }
  int units() const { return spec_.dense ? spec_.m * channels() / 4 : 16 * spec_.m / rows_of_unit_; }

  void begin() {
    for (const Reg64& r : saved()) push(r);
    sub(rsp, kFrame);
    mov(ptr[rsp + kArgs], rdi);
    mov(rdx, ptr[rdi + offsetof(BlockArgs, idle)]);
    mov(ptr[rsp + kBefore], rdx);
    mov(ptr[rsp + kBeforeThat], rdx);
    mov(rdx, ptr[rdi + offsetof(BlockArgs, trash)]);
    mov(ptr[rsp + kTrash], rdx);
    if (!has_residual()) mov(r15, rdx);
    mov(rsi, ptr[rdi + offsetof(BlockArgs, block)]);
    mov(r12, ptr[rdi + offsetof(BlockArgs, sums)]);
    mov(r11, ptr[rdi + offsetof(BlockArgs, constants)]);
    mov(r13, static_cast<uint64_t>(spec_.row_bytes));
    mov(r14d, 64);
    if (starts_at_bias()) xor_(zero_.cvt32(), zero_.cvt32());
    if (pitch() == rdi) mov(edi, static_cast<uint64_t>(4 * channels()));
    if (registers_.tail_opmask >= 0) {
      mov(edx, (1u << spec_.columns) - 1);
      kmovw(Xbyak::Opmask(registers_.tail_opmask), edx);
    }
    load_epilogue_constants(*this, form_, registers_);
    if (spec_.epilogue.keeps_range) load_range(*this, range_);
    if (schedule_.two_buffers) {
      lea(sums_read_, ptr[r12 + kBuffer]);
      set_up(2);  // units of no block run before the first set-up in the loop
    }
    point_to_block(rsi);
    if (spec_.resident)
      for (int j = 0; j < spec_.n; ++j) load({false, accumulators() + 1 + j, j, 0});
    const TileProduct& first = products_[0][0];
    for (const TileLoad& l : first.loads) load(l);
    start_sum(first);
  }
  void end() {
    if (spec_.epilogue.keeps_range) store_range(*this, range_);
    add(rsp, kFrame);
    const auto registers = saved();
    for (size_t i = registers.size(); i-- > 0;) pop(registers[i]);
    vzeroupper();
    ret();
  }
  std::array<Reg64, 6> saved() const { return {rbx, rbp, r12, r13, r14, r15}; }

  // The block that ran becomes the one before. Leaves rdx = args.
  void advance() {
    mov(rdx, ptr[rsp + kBefore]);
    mov(ptr[rsp + kBeforeThat], rdx);
    mov(ptr[rsp + kBefore], rsi);
    add(rsi, sizeof(Block));
    mov(rdx, ptr[rsp + kArgs]);
    if (schedule_.two_buffers) xchg(r12, sums_read_);
  }

  void products(size_t variant) {
    const std::vector<TileProduct>& products = products_[variant];
    for (size_t slot = 0; slot < products.size(); ++slot) {
      const TileProduct& p = products[slot];
      const bool last = slot + 1 == products.size();
      tdpbusd(Tmm(p.c), Tmm(p.a), Tmm(p.b));
      if (last) {
        lea(rdx, ptr[rsi + sizeof(Block)]);
        mov(x(0), ptr[rsp + kArgs]);
        cmp(rdx, ptr[x(0) + offsetof(BlockArgs, block_end)]);
        cmove(rdx, rsi);  // nothing uses what is loaded then, but it can be loaded
        if (spec_.stores_partial) mov(r12, ptr[rsp + kPartial]);
        point_to_block(rdx);
      }
      const TileProduct& next = last ? products_[(variant + 1) % products_.size()][0] : products[slot + 1];
      for (const TileLoad& l : next.loads) load(l);
      const std::vector<Event> due = epilogue_events(static_cast<int>(slot), 1);
      const std::span<const Event> events(due);
      const size_t before = next.first ? events.size() / 2 : 0;  // a store keeps its distance from the products (schedule.h)
      run(events.first(before));
      if (next.first) {
        store(next, next.stores_running && schedule_.two_buffers ? sums_read_ : r12);
        start_sum(next);
      }
      prefetch(static_cast<int>(slot));
      run(events.subspan(before));
    }
  }

  // Addresses of a block's operands; `block` is not x(0), which holds the arguments meanwhile.
  void point_to_block(const Reg64& block) {
    const Reg64 args = x(0);
    mov(args, ptr[rsp + kArgs]);
    for (int i = 1; i < spec_.m; ++i) {
      mov(x(i), ptr[args + offsetof(BlockArgs, x)]);
      add(x(i), ptr[block + offsetof(Block, x) + static_cast<size_t>(i) * 8]);
    }
    if (starts_at_bias()) {
      mov(bias_, ptr[args + offsetof(BlockArgs, params)]);
      add(bias_, ptr[block + offsetof(Block, params)]);
    }
    if (splits_k()) {
      mov(rbx, ptr[args + offsetof(BlockArgs, partials)]);
      add(rbx, ptr[block + offsetof(Block, partial)]);
      mov(ptr[rsp + kPartial], rbx);
    }
    mov(rbx, ptr[args + offsetof(BlockArgs, weights)]);
    add(rbx, ptr[block + offsetof(Block, weights)]);
    mov(x(0), ptr[args + offsetof(BlockArgs, x)]);
    add(x(0), ptr[block + offsetof(Block, x)]);
  }

  // All rows of a bias tile are the same 64 bytes.
  void start_sum(const TileProduct& p) {
    if (spec_.loads_partial) {
      mov(rdx, ptr[rsp + kPartial]);
      tileloadd(Tmm(p.c), at(rdx, r14, p.c * kTileBytes));
    } else if (starts_at_bias()) {
      tileloadd(Tmm(p.c), at(bias_, zero_,
                             static_cast<int64_t>(static_cast<size_t>(p.panel) * sizeof(ChannelParams) +
                                                  offsetof(ChannelParams, int_bias))));
    } else {
      tilezero(Tmm(p.c));
    }
  }

  void load(const TileLoad& l) {
    const Xbyak::Address from = l.from_x
                                    ? at(x(l.index), r13, spec_.steps[l.k])
                                    : at(rbx, r14, l.index * spec_.panel_bytes + static_cast<int64_t>(l.k) * kTileBytes);
    if (spec_.stream == (l.from_x ? Stream::x : Stream::weights))
      tileloaddt1(Tmm(l.tile), from);
    else
      tileloadd(Tmm(l.tile), from);
  }

  void prefetch(int slot) {
    const auto first_of = [&](int of_slot) {
      return (static_cast<int64_t>(of_slot) * spec_.prefetch_lines + schedule_.slots - 1) / schedule_.slots;
    };
    const int64_t first = first_of(slot), end = first_of(slot + 1);
    if (first == end) return;
    mov(rdx, ptr[rsi + offsetof(Block, prefetch)]);
    for (int64_t line = first; line < end; ++line)
      if (line % 4 < 2) prefetcht1(at(rdx, line * 64));  // the core's own prefetcher follows with the next two (prefetch.h)
  }

  void store(const TileProduct& p, const Reg64& sums) {
    const int64_t to = spec_.dense ? p.stored / spec_.n * dense_tile() + p.stored % spec_.n * 64 : p.stored * kTileBytes;
    tilestored(at(sums, pitch(), to), Tmm(p.c));
  }
  // Holds the distance of the rows of sums.
  Reg64 pitch() const { return spec_.dense && channels() != 16 ? rdi : r14; }
  int64_t dense_tile() const { return kTileRows * 4 * channels(); }

  struct Event {
    int stage;
    int unit;  // or kSetUp
  };
  static constexpr int kSetUp = -1;

  // What is due in a slot for blocks that ran `youngest` blocks ago and before, the oldest first.
  std::vector<Event> epilogue_events(int slot, int youngest) const {
    std::vector<Event> events;
    if (spec_.stores_partial) return events;
    for (int stage = schedule_.last_stage; stage >= youngest; --stage) {
      if (stage == schedule_.setup_stage && slot == schedule_.setup_slot) events.push_back({stage, kSetUp});
      for (size_t i = 0; i < schedule_.units.size(); ++i)
        if (schedule_.units[i] == Schedule::Unit{slot, stage}) events.push_back({stage, static_cast<int>(i)});
    }
    return events;
  }

  void run(std::span<const Event> events) {
    for (const Event& e : events) {
      if (e.unit == kSetUp)
        set_up(e.stage);
      else
        unit(e.unit, e.stage);
    }
  }

  // Parameters and addresses of the block `stage` blocks ago.
  void set_up(int stage) {
    const Reg64 block = rcx, args = rdx;
    mov(block, ptr[rsp + (stage == 1 ? kBefore : kBeforeThat)]);
    mov(args, ptr[rsp + kArgs]);
    mov(rbp, ptr[args + offsetof(BlockArgs, y)]);
    add(rbp, ptr[block + offsetof(Block, y)]);
    if (has_residual()) {
      mov(r15, ptr[args + offsetof(BlockArgs, residual)]);
      add(r15, ptr[block + offsetof(Block, residual)]);
    }
    mov(registers_.params, ptr[args + offsetof(BlockArgs, params)]);
    add(registers_.params, ptr[block + offsetof(Block, params)]);
    load_epilogue_params(*this, registers_);
    mov(args, ptr[rsp + kArgs]);
    mov(rcx, ptr[block + offsetof(Block, rows)]);
    add(rcx, ptr[args + offsetof(BlockArgs, rows)]);
  }

  // y = where the TileRow at `place` is stored.
  void point_to_row(const Reg64& y, size_t place) {
    mov(y, rbp);
    add(y, ptr[rcx + place + offsetof(TileRow, y)]);
    if (has_residual())
      cmovs(y, ptr[rsp + kTrash]);
    else
      cmovs(y, r15);
  }

  // The line that the row of the next tile is stored to, for writing: stores to lines of the second level hold up the
  // others, and where blocks are this short there is nothing else to hide them behind.
  void fetch_next(const Reg64& y, size_t place) {
    mov(y, ptr[rcx + place + kTileRows * sizeof(TileRow) + offsetof(TileRow, y)]);
    prefetchw(ptr[y + rbp]);
  }

  // 64 outputs of neighbouring rows.
  void dense_unit(int index, int stage) {
    const int units_of_tile = channels() / 4, tile = index / units_of_tile, first = index % units_of_tile * 4;
    const auto place = static_cast<size_t>(tile * kTileRows) * sizeof(TileRow);
    const Reg64 y = free_[0], sums = stage == 1 ? r12 : sums_read_, residual = has_residual() ? free_[1] : r15;
    point_to_row(y, place);
    if (has_residual()) {
      mov(residual, ptr[rcx + place + offsetof(TileRow, residual)]);
      add(residual, r15);
    }
    std::vector<EpilogueCell> cells;
    for (int vector = first; vector < first + 4; ++vector) {
      const int column = 16 * (vector % dense_vectors(channels()));
      const int64_t to_column = 16 * vector - column;
      cells.push_back({.reg = cell_bank_ + vector - first,
                       .column = column,
                       .valid = 16,
                       .y = {y, to_column},
                       .residual = {residual, to_column},
                       .sum = RowAddress{sums, tile * dense_tile() + vector * 64}});
    }
    cell_bank_ ^= 4;
    emit_epilogue(*this, form_, registers_, cells);
  }

  void unit(int index, int stage) {
    if (spec_.dense) return dense_unit(index, stage);
    const bool across = spec_.m % rows_of_unit_ == 0;
    const int first = across ? index / 16 * rows_of_unit_ * kTileRows + index % 16 : index * rows_of_unit_;
    const Reg64 sums = stage == 1 ? r12 : sums_read_;
    std::vector<EpilogueCell> cells;
    for (int r = 0; r < rows_of_unit_; ++r) {
      const int place_in_block = first + r * (across ? static_cast<int>(kTileRows) : 1);
      const int tile_row = place_in_block / static_cast<int>(kTileRows), row = place_in_block % static_cast<int>(kTileRows);
      const auto place = static_cast<size_t>(tile_row * kTileRows + row) * sizeof(TileRow);
      const Reg64 y = free_[static_cast<size_t>(r)];
      point_to_row(y, place);
      Reg64 residual = r15;
      if (has_residual()) {
        residual = free_[static_cast<size_t>(rows_of_unit_ + r)];
        mov(residual, ptr[rcx + place + offsetof(TileRow, residual)]);
        add(residual, r15);
      }
      for (int j = 0; j < spec_.n; ++j)
        cells.push_back({.reg = cell_bank_ + static_cast<int>(cells.size()),
                         .column = 16 * j,
                         .valid = j + 1 == spec_.n ? spec_.columns : 16,
                         .y = {y, 0},
                         .residual = {residual, 0},
                         .sum = RowAddress{sums, (tile_row * spec_.n + j) * kTileBytes + row * 64}});
    }
    cell_bank_ ^= 4;
    EpilogueForm form = form_;
    form.keeps_range = false;  // row by row instead
    EpilogueRegisters registers = registers_;
    if (spec_.epilogue.keeps_range)
      registers.with_values = [this](std::span<const EpilogueCell> values) { widen_range(values); };
    emit_epilogue(*this, form, registers, cells);
    if (fetches_y()) fetch_next(free_[0], static_cast<size_t>(first) * sizeof(TileRow));
  }

  // Rows that are stored nowhere hold anything.
  void widen_range(std::span<const EpilogueCell> cells) {
    const auto n = static_cast<size_t>(spec_.n);
    for (size_t first = 0; first < cells.size(); first += n) {
      Xbyak::Label nowhere;
      cmp(cells[first].y.base, ptr[rsp + kTrash]);
      je(nowhere, T_NEAR);
      emit_range(*this, range_, cells.subspan(first, n));
      L(nowhere);
    }
  }

  const Reg64 bias_ = r9, zero_ = r10;  // when sums start at the bias: the records of the block that starts, and a stride
  const BlockSpec spec_;
  EpilogueForm form_;  // what is left for the epilogue
  Schedule schedule_;
  std::vector<std::vector<TileProduct>> products_;  // of each variant
  EpilogueRegisters registers_;
  RangeRegisters range_;
  std::vector<Reg64> free_;
  Reg64 sums_read_ = r12;
  int rows_of_unit_ = 1;
  int cell_bank_ = 0;
};

}  // namespace

std::shared_ptr<const Code> block_kernel(const Isa& isa, const BlockSpec& spec) {
  CodeKey key("amx");
  key.add(isa.id)
      .add(spec.m)
      .add(spec.n)
      .add(spec.columns)
      .add(spec.dense)
      .add(spec.resident)
      .add(spec.stream)
      .add(spec.row_bytes)
      .add(spec.prefetch_lines)
      .add(spec.panel_bytes)
      .add(spec.loads_partial)
      .add(spec.stores_partial);
  for (const int32_t step : spec.steps) key.add(step);
  add_to_key(key, spec.epilogue);
  return cached_code(key, [&] { return std::make_unique<Generator>(isa, spec); });
}

}  // namespace octet::kernels::amx
