// Register use: cells are worked on in place; temps[0..] hold residuals, masks, the pack order and extracted quarters.
//
//   for four cells:  sum -> float value (scale, residual, bias, activation), stage by stage
//     u8:  v -> int32, packssdw x2, + zero point, packuswb, clamp, table, permute; then quarter q of the register is cell q
//     f32, s32:  stored as they are
#include "kernels/jit/epilogue_emitter.h"

#include <algorithm>
#include <cstddef>
#include <map>

#include "kernels/jit/range_emitter.h"

namespace octet::kernels {
namespace {

using Xbyak::Address;
using Xbyak::Xmm;
using Xbyak::Ymm;
using Xbyak::Zmm;

class Emitter {
 public:
  Emitter(Assembler& as, const EpilogueForm& form, const EpilogueRegisters& regs) : as_(as), form_(form), regs_(regs) {
    assert(regs.temps.size() >= 2);
    const std::vector<size_t> constants = cell_constants(form, !regs.residual.empty());
    for (size_t i = 0; i < std::min(constants.size(), regs.spare.size()); ++i) held_[constants[i]] = regs.spare[i];
  }

  void emit(std::span<const EpilogueCell> cells) {
    std::vector<EpilogueCell> used;
    for (const EpilogueCell& cell : cells)
      if (cell.valid > 0 || form_.interleaved) used.push_back(cell);
    for (size_t i = 0; i < used.size(); i += 4) {
      const std::span<const EpilogueCell> four(used.data() + i, std::min<size_t>(4, used.size() - i));
      to_value(four);
      if (form_.keeps_range) keep_range(four);
      if (regs_.with_values) regs_.with_values(four);
      if (form_.of_values) divide(four);
      if (form_.out == DType::u8)
        store_bytes(four);
      else
        for (const EpilogueCell& cell : four) store_words(cell);
    }
  }

 private:
  Xmm v(int i) const { return as_.v(i); }
  // A constant in its register where it has one, else in memory.
  struct Constant {
    Address memory;
    Xmm holder;
    bool held;
    operator const Xbyak::Operand&() const { return held ? static_cast<const Xbyak::Operand&>(holder) : memory; }
  };
  Constant held_constant(size_t offset) const {
    const auto found = held_.find(offset);
    return {constant(offset), found == held_.end() ? v(0) : v(found->second), found != held_.end()};
  }
  Address constant(size_t offset) const { return as_.at(regs_.constants, static_cast<int64_t>(offset)); }
  Address param(size_t field, int column) const {
    const size_t record = static_cast<size_t>(column / 16) * sizeof(ChannelParams);
    return as_.at(regs_.params, static_cast<int64_t>(record + field + static_cast<size_t>(column % 16) * 4));
  }
  Address at(const RowAddress& row, int64_t bytes) const {
    const int64_t displacement = row.displacement + bytes;
    assert(displacement == static_cast<int32_t>(displacement));
    return as_.at(row.base, displacement);
  }
  int temp(size_t i) const { return regs_.temps[i % regs_.temps.size()]; }

  // temps[i] = float(r - zero_point) * residual_scale of cell i; stage by stage, as everything here, so that neighbouring
  // instructions do not wait for each other: the scheduler holds fewer instructions than two units have.
  void load_u8_residuals(std::span<const EpilogueCell> cells) {
    const auto each = [&](auto stage) {
      for (size_t i = 0; i < cells.size(); ++i) stage(v(temp(i)), cells[i]);
    };
    each([&](const Xmm& t, const EpilogueCell& c) { as_.vpmovzxbd(t, at(c.residual, c.column)); });
    if (form_.residual_zero_point)
      each([&](const Xmm& t, const EpilogueCell&) {
        as_.vpsubd(t, t, held_constant(offsetof(EpilogueConstants, residual_zero_point)));
      });
    each([&](const Xmm& t, const EpilogueCell&) { as_.vcvtdq2ps(t, t); });
    each([&](const Xmm& t, const EpilogueCell&) {
      as_.vmulps(t, t, held_constant(offsetof(EpilogueConstants, residual_scale)));
    });
  }

  bool residuals_are_wide() const {
    if (regs_.residual.empty() || form_.out != DType::u8) return false;
    return form_.residual == ResidualKind::u8_once || form_.residual == ResidualKind::u8_twice;
  }

  // The same by shuffles; bytes in temps[4..].
  void load_wide_residuals(std::span<const EpilogueCell> cells) {
    assert(regs_.temps.size() >= 8);
    const auto each = [&](auto stage) {
      for (size_t i = 0; i < cells.size(); ++i) stage(Zmm(temp(i)), i);
    };
    const auto bytes = [&](size_t i) { return Zmm(temp(4 + i)); };
    each([&](const Zmm&, size_t i) { as_.vbroadcasti32x4(bytes(i), at(cells[i].residual, cells[i].column)); });
    each([&](const Zmm& r, size_t) { as_.vmovaps(r, Zmm(regs_.residual[1])); });
    each([&](const Zmm& r, size_t i) {
      as_.vpshufb(r | Xbyak::Opmask(regs_.residual_opmask), bytes(i), Zmm(regs_.residual[0]));
    });
    if (form_.residual_zero_point) {
      each([&](const Zmm& r, size_t) { as_.vsubps(r, r, held_constant(offsetof(EpilogueConstants, offset_residual))); });
      each([&](const Zmm& r, size_t) { as_.vmulps(r, r, Zmm(regs_.residual[2])); });
    } else {
      each([&](const Zmm& r, size_t) {
        as_.vfmadd213ps(r, Zmm(regs_.residual[2]), held_constant(offsetof(EpilogueConstants, minus_offset_times_scale)));
      });
    }
  }

  void add_bias(const EpilogueCell& c) {
    if (!form_.bias) return;
    Xmm holder;
    const Address memory = param(offsetof(ChannelParams, bias), c.column);
    as_.vaddps(v(c.reg), v(c.reg), operand(regs_.biases, c.column, memory, holder));
  }

  // The parameter's register where it has one, else its place in memory.
  const Xbyak::Operand& operand(const std::vector<int>& registers, int column, const Xbyak::Operand& memory,
                                Xmm& holder) const {
    if (registers.empty()) return memory;
    holder = v(registers[static_cast<size_t>(column / 16)]);
    return holder;
  }

  // reg = the biased sum, as float where values are wanted.
  void load_sum(const EpilogueCell& c) {
    const Xmm r = v(c.reg);
    const bool converts = !form_.float_sum && !form_.offset_sum && !form_.centred_sum && form_.out != DType::s32;
    if (form_.centred_sum && !form_.add_int_bias) {
      const Constant minus_centre = held_constant(offsetof(EpilogueConstants, minus_round_offset));
      if (c.sum && minus_centre.held) {
        as_.vaddps(r, minus_centre.holder, at(*c.sum, 0));
      } else {
        if (c.sum) as_.vmovups(r, at(*c.sum, 0));
        as_.vaddps(r, r, minus_centre);
      }
      return;
    }
    if (form_.add_int_bias) {
      const Address memory = param(offsetof(ChannelParams, int_bias), c.column);
      if (c.sum && !regs_.int_biases.empty()) {
        as_.vpaddd(r, v(regs_.int_biases[static_cast<size_t>(c.column / 16)]), at(*c.sum, 0));
      } else {
        Xmm holder;
        if (c.sum) as_.vmovups(r, at(*c.sum, 0));
        as_.vpaddd(r, r, operand(regs_.int_biases, c.column, memory, holder));
      }
    } else if (c.sum && converts) {
      as_.vcvtdq2ps(r, at(*c.sum, 0));
      return;
    } else if (c.sum) {
      as_.vmovups(r, at(*c.sum, 0));
    }
    if (form_.centred_sum) as_.vsubps(r, r, held_constant(offsetof(EpilogueConstants, round_offset)));
    if (converts) as_.vcvtdq2ps(r, r);
  }

  void to_value(std::span<const EpilogueCell> cells) {
    for (const EpilogueCell& c : cells) load_sum(c);
    if (form_.out == DType::s32) return;
    if (form_.offset_sum) {
      for (const EpilogueCell& c : cells) {
        const auto record = static_cast<size_t>(c.column / 16);
        as_.vfmadd213ps(v(c.reg), v(regs_.scales[record]), v(regs_.offsets[record]));
      }
      return;
    }

    // As many cells at a time as there are registers for their residuals.
    const bool wide = residuals_are_wide();
    const size_t step =
        wide || form_.residual == ResidualKind::none ? cells.size() : std::min(cells.size(), regs_.temps.size());
    for (size_t i = 0; i < cells.size(); i += step) scale_and_add(cells.subspan(i, std::min(step, cells.size() - i)), wide);
    activate(cells);
  }

  // Sum * scale, bias and residual; what residual does to them says epilogue.h.
  void scale_and_add(std::span<const EpilogueCell> cells, bool wide) {
    const auto each = [&](auto stage) {
      for (size_t i = 0; i < cells.size(); ++i) stage(v(cells[i].reg), i);
    };
    const auto scaled = [&](const EpilogueCell& c, auto emit) {
      Xmm holder;
      const Address memory = param(offsetof(ChannelParams, scale), c.column);
      emit(operand(regs_.scales, c.column, memory, holder));
    };
    const bool u8_residual = form_.residual == ResidualKind::u8_once || form_.residual == ResidualKind::u8_twice;
    if (wide)
      load_wide_residuals(cells);
    else if (u8_residual)
      load_u8_residuals(cells);
    const bool once = form_.out == DType::u8 && form_.residual == ResidualKind::u8_once;
    each([&](const Xmm& r, size_t i) {
      if (once)
        scaled(cells[i],
               [&](const Xbyak::Operand& scale) { as_.vfmadd132ps(r, v(temp(i)), scale); });  // r * scale + residual
      else if (!form_.float_sum)
        scaled(cells[i], [&](const Xbyak::Operand& scale) { as_.vmulps(r, r, scale); });
    });
    for (const EpilogueCell& c : cells) add_bias(c);
    if (once || form_.residual == ResidualKind::none) return;
    if (form_.residual == ResidualKind::f32) {
      each([&](const Xmm& r, size_t i) { as_.vaddps(r, r, at(cells[i].residual, 4 * cells[i].column)); });
    } else if (form_.residual == ResidualKind::u8_twice) {
      each([&](const Xmm& r, size_t) { as_.vmaxps(r, r, held_constant(offsetof(EpilogueConstants, mid_low))); });
      each([&](const Xmm& r, size_t) { as_.vminps(r, r, held_constant(offsetof(EpilogueConstants, mid_high))); });
      each([&](const Xmm& r, size_t) { as_.vaddps(r, r, held_constant(offsetof(EpilogueConstants, round_offset))); });
      each([&](const Xmm& r, size_t) { as_.vsubps(r, r, held_constant(offsetof(EpilogueConstants, round_offset))); });
      each([&](const Xmm& r, size_t i) {
        as_.vfmadd132ps(r, v(temp(i)), held_constant(offsetof(EpilogueConstants, mid_scale)));
      });
    } else {
      each([&](const Xmm& r, size_t i) { as_.vaddps(r, r, v(temp(i))); });
    }
  }

  void activate(std::span<const EpilogueCell> cells) {
    if (form_.act == ActKind::clamp) {
      // The bound is the first source: the second is what a NaN on either side gives.
      const Xmm lo = v(temp(0)), hi = v(temp(1));
      as_.vmovups(lo, constant(offsetof(EpilogueConstants, act_lo)));
      as_.vmovups(hi, constant(offsetof(EpilogueConstants, act_hi)));
      for (const EpilogueCell& c : cells) {
        as_.vmaxps(v(c.reg), lo, v(c.reg));
        as_.vminps(v(c.reg), hi, v(c.reg));
      }
    } else if (form_.act == ActKind::leaky_relu) {
      constexpr uint8_t kLessThan = 1;
      for (const EpilogueCell& c : cells) {
        const Xmm r = v(c.reg);
        const Address zero = constant(offsetof(EpilogueConstants, zero)),
                      alpha = constant(offsetof(EpilogueConstants, alpha));
        if (as_.isa().zmm()) {
          as_.vcmpps(Xbyak::Opmask(regs_.opmask), r, zero, kLessThan);
          as_.vmulps(r | Xbyak::Opmask(regs_.opmask), r, alpha);
        } else {
          as_.vcmpps(v(temp(0)), r, zero, kLessThan);
          as_.vmulps(v(temp(1)), r, alpha);
          as_.vblendvps(r, r, v(temp(1)), v(temp(0)));
        }
      }
    }
  }

  // Lanes of interleaved cells that hold no channel have parameters of 0, so that their value is within every range.
  void keep_range(std::span<const EpilogueCell> cells) {
    std::vector<EpilogueCell> all(cells.begin(), cells.end());
    for (EpilogueCell& c : all) c.valid = form_.interleaved ? as_.lanes() : c.valid;
    emit_range(as_, {regs_.constants, {temp(0), temp(1)}, regs_.least, regs_.most, form_.range_of_most}, all);
  }

  // v / y_scale, correctly rounded (quantize.cpp).
  void divide(std::span<const EpilogueCell> cells) {
    for (size_t first = 0; first < cells.size(); first += regs_.temps.size()) {
      const auto some = cells.subspan(first, std::min(regs_.temps.size(), cells.size() - first));
      const auto each = [&](auto stage) {
        for (size_t i = 0; i < some.size(); ++i) stage(v(some[i].reg), v(temp(i)));
      };
      const Constant reciprocal = held_constant(offsetof(EpilogueConstants, y_reciprocal));
      each([&](const Xmm& r, const Xmm& q) { as_.vmulps(q, r, reciprocal); });
      each([&](const Xmm& r, const Xmm& q) { as_.vfnmadd231ps(r, q, held_constant(offsetof(EpilogueConstants, y_scale))); });
      each([&](const Xmm& r, const Xmm& q) { as_.vfmadd132ps(r, q, reciprocal); });
    }
  }

  void store_bytes(std::span<const EpilogueCell> cells) {
    for (const EpilogueCell& c : cells) {
      const Xmm r = v(c.reg);
      if (form_.clamp_first) {
        as_.vmaxps(r, r, held_constant(offsetof(EpilogueConstants, low)));
        as_.vminps(r, r, held_constant(offsetof(EpilogueConstants, high)));
      }
      as_.vcvtps2dq(r, r);
    }
    const size_t last = cells.size() - 1;
    const auto reg = [&](size_t q) { return v(cells[std::min(q, last)].reg); };
    const Xmm packed = reg(0), upper = last >= 2 ? reg(2) : reg(0);
    as_.vpackssdw(packed, packed, reg(1));
    if (last >= 2) as_.vpackssdw(upper, upper, reg(3));
    if (form_.zero_point) {
      as_.vpaddsw(packed, packed, held_constant(offsetof(EpilogueConstants, zero_point)));
      if (last >= 2) as_.vpaddsw(upper, upper, held_constant(offsetof(EpilogueConstants, zero_point)));
    }
    as_.vpackuswb(packed, packed, upper);
    if (form_.adds_lo) as_.vpaddusb(packed, packed, held_constant(offsetof(EpilogueConstants, lo)));
    if (form_.lo && !form_.clamp_first) as_.vpmaxub(packed, packed, held_constant(offsetof(EpilogueConstants, lo)));
    if (form_.hi && !form_.clamp_first) as_.vpminub(packed, packed, held_constant(offsetof(EpilogueConstants, hi)));
    if (form_.table) look_up(Zmm(packed.getIdx()));
    if (!form_.interleaved) {
      if (regs_.pack_order < 0) as_.vmovups(v(temp(0)), constant(offsetof(EpilogueConstants, pack_order)));
      as_.permute_dwords(packed, v(regs_.pack_order < 0 ? temp(0) : regs_.pack_order), packed);
    }
    if (as_.isa().zmm())
      store_quarters_zmm(cells);
    else
      store_quarters_ymm(cells);
  }

  // Half of the table by the low seven bits, the other half, and bit 7 decides.
  void look_up(const Zmm& packed) {
    const auto quarter = [&](int64_t q) {
      return constant(offsetof(EpilogueConstants, table) + static_cast<size_t>(64 * q));
    };
    const Xbyak::Opmask upper(regs_.opmask);
    const Zmm low(temp(0)), part(temp(1));
    as_.vpmovb2m(upper, packed);
    as_.vmovdqa64(low, packed);
    as_.vmovups(part, quarter(0));
    as_.vpermi2b(low, part, quarter(1));
    as_.vmovups(part, quarter(2));
    as_.vpermi2b(packed, part, quarter(3));
    as_.vpblendmb(packed | upper, low, packed);
  }

  // Whether cell q + 1 continues cell q in memory.
  static bool touch(std::span<const EpilogueCell> cells, size_t q, int lanes) {
    if (q + 1 >= cells.size()) return false;
    const EpilogueCell &a = cells[q], &b = cells[q + 1];
    return a.valid == lanes && b.valid == lanes && follows(a.y, a.column, b.y, b.column, lanes);
  }
  static bool follows(const RowAddress& a, int a_column, const RowAddress& b, int b_column, int lanes) {
    return a.base == b.base && a.displacement + a_column + lanes == b.displacement + b_column;
  }

  void store_quarters_ymm(std::span<const EpilogueCell> cells) {
    const Ymm packed(cells[0].reg);
    for (size_t half = 0; half < 2 && 2 * half < cells.size(); ++half) {
      const size_t q = 2 * half;
      Xmm source(packed.getIdx());
      if (touch(cells, q, 8)) {
        if (half == 0)
          as_.vmovdqu(at(cells[q].y, cells[q].column), source);
        else
          as_.vextracti128(at(cells[q].y, cells[q].column), packed, 1);
        continue;
      }
      if (half == 1) {
        source = Xmm(temp(1));
        as_.vextracti128(source, packed, 1);
      }
      store_eight(cells[q], source, 0);
      if (q + 1 < cells.size()) store_eight(cells[q + 1], source, 8);
    }
  }

  // Up to 8 bytes from byte `first` of an xmm register.
  void store_eight(const EpilogueCell& c, const Xmm& source, int first) {
    int done = 0;
    if (c.valid >= 8) {
      if (first == 0)
        as_.vmovq(at(c.y, c.column), source);
      else
        as_.vmovhps(at(c.y, c.column), source);
      done = 8;
    }
    for (int size : {4, 2, 1}) {
      if (c.valid - done < size) continue;
      const Address to = at(c.y, c.column + done);
      const uint8_t index = static_cast<uint8_t>((first + done) / size);
      if (size == 4) as_.vpextrd(to, source, index);
      if (size == 2) as_.vpextrw(to, source, index);
      if (size == 1) as_.vpextrb(to, source, index);
      done += size;
    }
  }

  void store_quarters_zmm(std::span<const EpilogueCell> cells) {
    const Zmm packed(cells[0].reg);
    for (size_t q = 0; q < cells.size();) {
      const EpilogueCell& c = cells[q];
      if (c.valid == 0) {
        ++q;
        continue;
      }
      const bool pair = q % 2 == 0 && touch(cells, q, 16);
      if (q == 0 && pair && touch(cells, 1, 16) && touch(cells, 2, 16)) {
        as_.vmovdqu32(at(c.y, c.column), packed);
        return;
      }
      if (pair) {
        if (q == 0)
          as_.vmovdqu32(at(c.y, c.column), Ymm(packed.getIdx()));
        else
          as_.vextracti64x4(at(c.y, c.column), packed, 1);
        q += 2;
        continue;
      }
      Xmm source(packed.getIdx());
      if (c.valid == 16) {
        if (q == 0)
          as_.vmovdqu32(at(c.y, c.column), source);
        else
          as_.vextracti32x4(at(c.y, c.column), packed, static_cast<uint8_t>(q));
      } else {
        if (q > 0) {
          source = Xmm(temp(1));
          as_.vextracti32x4(source, packed, static_cast<uint8_t>(q));
        }
        store_partial(c, source);
      }
      ++q;
    }
  }

  // A masked store holds up later loads of the bytes it leaves alone, and they are the next pixel's residual.
  void store_partial(const EpilogueCell& c, const Xmm& source) {
    const Address to = at(c.y, c.column);
    if (c.valid == 8)
      as_.vmovq(to, source);
    else if (c.valid == 4)
      as_.vmovd(to, source);
    else
      as_.vmovdqu8(to | tail_mask(c.valid), source);
  }

  Xbyak::Opmask tail_mask(int valid) {
    if (regs_.tail_opmask >= 0) return Xbyak::Opmask(regs_.tail_opmask);
    const Xbyak::Opmask k(regs_.opmask);
    as_.mov(regs_.scratch, (1u << valid) - 1);
    as_.kmovw(k, regs_.scratch);
    return k;
  }

  void store_words(const EpilogueCell& c) {
    const Xmm r = v(c.reg);
    if (c.valid == as_.lanes()) {
      as_.vmovups(at(c.y, 4 * c.column), r);
      return;
    }
    if (as_.isa().zmm()) {
      as_.vmovups(at(c.y, 4 * c.column) | tail_mask(c.valid), r);
      return;
    }
    Xmm source(c.reg);
    int done = 0;
    if (c.valid >= 4) {
      as_.vmovups(at(c.y, 4 * c.column), source);
      as_.vextractf128(source, Ymm(c.reg), 1);
      done = 4;
    }
    const int rest = c.valid - done;
    if (rest >= 2) as_.vmovlps(at(c.y, 4 * (c.column + done)), source);
    if (rest % 2 != 0) as_.vextractps(at(c.y, 4 * (c.column + done + rest - 1)), source, static_cast<uint8_t>(rest - 1));
  }

  Assembler& as_;
  const EpilogueForm& form_;
  const EpilogueRegisters& regs_;
  std::map<size_t, int> held_;  // registers by offset
};

}  // namespace

void emit_epilogue(Assembler& as, const EpilogueForm& form, const EpilogueRegisters& regs,
                   std::span<const EpilogueCell> cells) {
  Emitter(as, form, regs).emit(cells);
}

}  // namespace octet::kernels
