// Emission of kernels/epilogue.h on accumulators that lie in vector registers.
//
// A *cell* is one vector register: lanes() neighbouring output channels of one output row (int32 sums, or floats). A generator
// hands over the cells of its block in any order; four consecutive cells are packed together when the output is u8, and cells
// that touch in memory are stored together, so the cheap orders are: 4 rows of one column (AVX2 8x8, AMX 16 columns), or all
// columns of a row (4 vectors). Nothing is written beyond `valid` channels of a cell.
//
//   what is where                                 per channel                       per kernel call
//   ChannelParams, one record 16 channels         int32 bias, scale, float bias     register `params` -> record of column 0
//   EpilogueConstants, one a Conv                                                   register `constants`; all memory operands
//   EpilogueForm                                                                    baked (part of the code's key)
//
// Integer products that can load their bias into the accumulators at the start do so (ChannelParams::int_bias) and leave
// `add_int_bias` off; AMX blocks whose tiles start at zero turn it on, and let the cells be read from the stored tiles (`sum`).
//
// Offset sums: where a sum starts at bias + 0x4b000000, its bits are the float 2^23 + sum, and fma(that, scale, -2^23 * scale)
// is the product sum * scale, rounded once as the specification's: no conversion, no multiplication. offset_sum_is_exact()
// says where: u8 outputs that clamp at or above their zero point, so that a negative sum, whose bits are no such float but
// stay below it, comes out as the lowest value all the same.
//
// Centred sums: where every sum is within 2^22 and starts at bias + 0x4b400000, its bits are the float 1.5 * 2^23 + sum, and the
// subtraction of that offset is exact: it takes the place of the conversion, which AMX holds up (amx/schedule.h). ResNet-50's
// 1x1 64->256 at 56x56, us: 82 -> 67, with a residual rounded twice 158 -> 143; 128->512 at 28x28 with one 80 -> 75.
//
// The first of two roundings (u8_twice) is an addition and a subtraction of 1.5 * 2^23: its value is clamped to quanta before, so
// the sum is below 2^24 and the addition rounds half to even. The conversions it replaces hold up tile products (amx/schedule.h).
//
// A u8 store is cheap when no value can leave the int32 range before the saturating packs: EpilogueForm::clamp_first says that
// this was not provable and the float is clamped to [lo - zp, hi - zp] before it is rounded, as the specification writes it.
// Both give the same bytes where both are right.
//
// Values that are quantized (of_values) stay floats up to the clamp; x / y_scale is then had from products as in quantize.cpp.
//
// Interleaved cells come from byte unpacks: of the four cells of a row, cell q holds channels 4q..4q+3 of every 16, the order that
// two packs undo by themselves. Records hold the parameters of cell q in its order. Only for u8 without residual, zmm; quarter q
// of the packed register is stored as cell q.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/epilogue.h"
#include "kernels/jit/assembler.h"
#include "kernels/jit/cache.h"

namespace octet::kernels {

// The channel, of 64, in lane i of interleaved cell q.
constexpr int interleaved_channel(int q, int i) { return i / 4 * 16 + q * 4 + i % 4; }

// 16 output channels. A panel of 8 columns at channel 8 points 32 bytes into its record. Each field is a cache line: a tile
// that starts at the bias loads that line once a row, and lines that straddle two make sixteen slow loads of it.
struct alignas(64) ChannelParams {
  int32_t int_bias[16];
  float scale[16];
  float bias[16];
};

// Everything baked into the emitted code. Compare and key by value.
struct EpilogueForm {
  bool float_sum = false;
  bool add_int_bias = false;
  bool offset_sum = false;
  bool centred_sum = false;
  bool bias = false;
  bool residual_zero_point = false;  // some subtraction needed
  bool clamp_first = false;
  bool of_values = false;       // u8: Epilogue::y_scale is not 0
  bool zero_point = false;      // u8: not 0
  bool lo = false, hi = false;  // u8: not 0, not 255
  bool adds_lo = false;  // u8: lo is the zero point and not 0; packs saturate at 0 and lo is added: zero_point, lo off
  DType out = DType::f32;
  ResidualKind residual = ResidualKind::none;
  ActKind act = ActKind::none;
  bool table = false;  // u8, zmm
  bool interleaved = false;
  bool keeps_range = false;  // constants are RangedConstants (range_emitter.h)
  bool range_of_most = false;

  bool operator==(const EpilogueForm&) const = default;
};
EpilogueForm make_epilogue_form(const Epilogue& epilogue, bool float_sum, bool add_int_bias, bool clamp_first);
void add_to_key(CodeKey& key, const EpilogueForm& form);

// True when some |value| before rounding might reach 2^31, so that the emitted code must clamp first. bound[n] is at least
// the magnitude of every sum of channel n.
bool must_clamp_first(const Epilogue& epilogue, std::span<const int64_t> bound);

// Whether this epilogue gives the same bytes from offset sums (see above); `bound` as for must_clamp_first.
bool offset_sum_is_exact(const Epilogue& epilogue, std::span<const int64_t> bound);
inline constexpr uint32_t kSumOffset = 0x4b000000;  // the bits of 2^23
// Whether sums may be centred, and are not offset.
bool centred_sum_is_exact(const Epilogue& epilogue, std::span<const int64_t> bound);
inline constexpr uint32_t kSumCentre = 0x4b400000;  // the bits of 1.5 * 2^23

// One 64-byte vector each, so that they are memory operands at any width.
struct alignas(64) EpilogueConstants {
  float residual_scale[16];
  int32_t residual_zero_point[16];
  float mid_scale[16], mid_low[16], mid_high[16];
  float act_lo[16], act_hi[16], alpha[16];
  float low[16], high[16];  // lo - zero_point, hi - zero_point
  int16_t zero_point[32];
  uint8_t lo[64], hi[64];
  int32_t pack_order[16];  // undoes the lane interleaving of two packs
  float zero[16];
  float sum_offset[16];  // 2^23
  float minus_round_offset[16];
  float round_offset[16];              // 1.5 * 2^23: adding and subtracting it rounds a float below 2^22 to whole numbers
  uint8_t residual_shuffle[64];        // of 16 residuals in every 128 bits: bytes 4 i .. 4 i + 3 to the dwords of lane i
  float offset_residual[16];           // 2^23 + residual_zero_point
  float minus_offset_times_scale[16];  // -2^23 * residual_scale
  float y_scale[16], y_reciprocal[16];
  uint8_t table[256];
};
EpilogueConstants make_epilogue_constants(const Isa& isa, const Epilogue& epilogue);

// Records for `channels` channels starting at channel `first` of the epilogue, rounded up to whole records of zeros.
// int_bias may be empty (float sums).
void fill_channel_params(const Epilogue& epilogue, std::span<const int32_t> int_bias, int64_t first, int64_t channels,
                         ChannelParams* records);

// Offsets into EpilogueConstants of what the code of a form reads again and again, the most frequent first.
std::vector<size_t> cell_constants(const EpilogueForm& form, bool wide_residuals);

struct RowAddress {
  Xbyak::Reg64 base;
  int64_t displacement = 0;  // must fit 32 bits together with the column's offset
};

struct EpilogueCell {
  int reg = 0;          // holds the sums, or receives them from `sum`
  int column = 0;       // first channel of the cell, counted from the channel that `params` and the addresses point at
  int valid = 0;        // channels to store, 1..lanes(); cells with 0 are skipped (interleaved: not stored)
  RowAddress y;         // of column 0
  RowAddress residual;  // of column 0; unused without one
  std::optional<RowAddress> sum = {};  // where the sums lie, when not in `reg`
};

struct EpilogueRegisters {
  Xbyak::Reg64 params, constants;
  Xbyak::Reg32 scratch;    // clobbered
  std::vector<int> temps;  // at least two free vector registers; more give more overlap
  int opmask = 1;          // clobbered (AVX-512: tails, tables)
  // Registers that hold the parameters of column 0, 16, … (load_epilogue_params), or empty: they are memory operands then.
  std::vector<int> scales = {}, int_biases = {}, biases = {}, offsets = {};
  int pack_order = -1;  // register that holds EpilogueConstants::pack_order, or none
  // Wide residuals (u8 to u8, 64-byte vectors): the 16 bytes of a cell are loaded to every 128 bits and spread by a byte shuffle
  // into floats 2^23 + r, half of what a conversion takes. Registers for the shuffle, 2^23 and the scale, a mask; or none. They
  // take eight temps.
  std::vector<int> residual = {};
  int residual_opmask = -1;
  // Registers for the constants that every cell or pack of this form needs, cell_constants() in order; others are memory operands.
  std::vector<int> spare = {};
  // Registers that hold the range (range_emitter.h), or empty: it lies behind the constants.
  std::vector<int> least = {}, most = {};
  // Emits what the generator wants with the values (as floats, before they are quantized), up to four cells at a time.
  std::function<void(std::span<const EpilogueCell>)> with_values = {};
  int tail_opmask = -1;  // holds the mask of the one tail among the cells, or none: made in `scratch` when needed
};

// Fills the constant registers that `regs` names (pack_order, residual), once a kernel call.
void load_epilogue_constants(Assembler& as, const EpilogueForm& form, const EpilogueRegisters& regs);
// Fills the parameter registers that `regs` names (offsets from records made by make_offset_params).
void load_epilogue_params(Assembler& as, const EpilogueRegisters& regs);

// Offset sums that lie in the cells' registers become values, vector of channels by vector of channels, so that one load of scale
// and offset serves all rows; the temps take them in turn. The records' bias holds the offset of the product, -2^23 * scale
// (make_offset_params). Returns the form of what is left to do: that of a float sum.
EpilogueForm emit_offset_values(Assembler& as, const EpilogueForm& form, const EpilogueRegisters& regs,
                                std::span<const EpilogueCell> cells);
// Of records as fill_channel_params makes them.
void make_offset_params(std::span<ChannelParams> records);
void make_centred_params(std::span<ChannelParams> records);

void emit_epilogue(Assembler& as, const EpilogueForm& form, const EpilogueRegisters& regs,
                   std::span<const EpilogueCell> cells);

}  // namespace octet::kernels
