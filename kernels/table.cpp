// y[i] = table[x[i]] for bytes.
//
// With VBMI the table is four zmm: vpermi2b looks up the low seven bits in two of them, bit 7 blends.
//   Registers: z0..z3 data, z4..z7 results, z8..z11 the table, k1 tail, k2 bit 7.
//
// Otherwise sixteen 16-byte rows T[j], looked up by vpshufb (index byte with bit 7 set: 0) and XORed. For an index i < 128
// the rows are D[0] = T[0], D[j] = T[j] ^ T[j-1] and row j is asked for i - 16 j with signed saturation: negative, so 0,
// until j reaches i / 16, and the XOR of D[0..i/16] is T[i/16]. Rows 8..15 serve i ^ 128 in the same way; i >= 128 is
// negative for the first chain and i < 128 for the second. 16 vpshufb + 14 vpsubsb + 16 vpxor + 1 for a vector.
//   Registers: v0..v3 index, v4..v7 result, v8 row, v9 scratch, v10 sixteens, v11 128s. Rows are broadcast from memory.
//
//   for each row:  for 4 vectors, for 1 vector, bytes one at a time (with VBMI: masked)
//   rdi args, rsi x, r8 y, r9 length, rax i, rcx count, rdx rows in memory, r10 r11 scratch
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernels/epilogue.h"
#include "kernels/jit/run_loop.h"
#include "kernels/reference/reference.h"

namespace octet::kernels {
namespace {

struct TableData {
  std::array<uint8_t, 256> table;
  std::array<uint8_t, 256> rows;  // XOR-differenced
};

TableData table_data(const std::array<uint8_t, 256>& table) {
  TableData data{table, table};
  for (size_t j = 1; j < 16; ++j) {
    if (j == 8) continue;
    for (size_t i = 0; i < 16; ++i) data.rows[16 * j + i] = table[16 * j + i] ^ table[16 * (j - 1) + i];
  }
  return data;
}

const Xbyak::Reg64& kData = run::kB;  // TableData travels as stream b, with stride 0
constexpr size_t kRowsOffset = offsetof(TableData, rows);

class TableGenerator {
 public:
  TableGenerator(VectorEmitter& emitter, bool vbmi) : e(emitter), vbmi_(vbmi) {}

  void generate() {
    const auto field = [&](size_t at) { return e.ptr[run::kArgs + at]; };
    if (vbmi_) {
      e.mov(kData, field(offsetof(RunArgs, b)));
      for (int i = 0; i < 4; ++i) e.load(e.v(8 + i), kData + disp(64 * i));
    } else {
      e.vmovups(e.v(kSixteens), e.constant_bits(0x10101010u));
      e.vmovups(e.v(kTop), e.constant_bits(0x80808080u));
    }
    emit_rows(e, [&] { row(); });
    emit_return(e);
  }

 private:
  static constexpr int kRow = 8, kTemp = 9, kSixteens = 10, kTop = 11;

  void row() {
    Xbyak::Label wide, narrow, tail, byte_loop, done;
    const int bytes = e.vector_bytes();
    e.xor_(run::kIndex.cvt32(), run::kIndex.cvt32());
    const auto loop = [&](Xbyak::Label& begin, Xbyak::Label& end, int vectors) {
      e.L(begin);
      e.lea(run::kScratch0, e.ptr[run::kIndex + disp(vectors * bytes)]);
      e.cmp(run::kScratch0, run::kLength);
      e.jg(end);
      for (int k = 0; k < vectors; ++k) e.load(e.v(k), at(run::kA, k));
      look_up(vectors);
      for (int k = 0; k < vectors; ++k) e.store(at(run::kY, k), e.v(4 + k));
      e.add(run::kIndex, imm(vectors * bytes));
      e.jmp(begin);
    };
    loop(wide, narrow, 4);
    loop(narrow, tail, 1);
    e.L(tail);
    if (vbmi_) {
      e.mov(run::kCount, run::kLength);
      e.sub(run::kCount, run::kIndex);
      e.jz(done);
      e.mov(run::kScratch0, ~uint64_t{0});
      e.bzhi(run::kScratch0, run::kScratch0, run::kCount);
      e.kmovq(e.k1, run::kScratch0);
      e.vmovdqu8(e.v(0) | e.k1 | e.T_z, e.ptr[at(run::kA, 0)]);
      look_up(1);
      e.vmovdqu8(e.ptr[at(run::kY, 0)] | e.k1, e.v(4));
    } else {
      e.L(byte_loop);
      e.cmp(run::kIndex, run::kLength);
      e.jge(done);
      e.movzx(run::kScratch0.cvt32(), e.byte[run::kA + run::kIndex]);
      e.movzx(run::kScratch0.cvt32(), e.byte[kData + run::kScratch0]);
      e.mov(e.byte[run::kY + run::kIndex], run::kScratch0.cvt8());
      e.inc(run::kIndex);
      e.jmp(byte_loop);
    }
    e.L(done);
  }

  Xbyak::RegExp at(const Xbyak::Reg64& base, int k) const { return base + run::kIndex + disp(k * e.vector_bytes()); }

  // v0.. to v4..
  void look_up(int vectors) {
    if (vbmi_)
      look_up_vbmi(vectors);
    else
      look_up_shuffles(vectors);
  }

  void look_up_vbmi(int vectors) {
    for (int k = 0; k < vectors; ++k) {
      const auto index = e.v(k), result = e.v(4 + k), high = e.v(12 + k);
      e.vmovaps(result, index);
      e.vmovaps(high, index);
      e.vpmovb2m(e.k2, index);
      e.vpermi2b(result, e.v(8), e.v(9));
      e.vpermi2b(high, e.v(10), e.v(11));
      e.vpblendmb(result | e.k2, result, high);
    }
  }

  void look_up_shuffles(int vectors) {
    const auto row = e.v(kRow), temp = e.v(kTemp);
    for (int j = 0; j < 16; ++j) {
      if (e.zmm())
        e.vbroadcasti32x4(e.wide(kRow), e.ptr[kData + kRowsOffset + disp(16 * j)]);
      else
        e.vbroadcasti128(e.y(kRow), e.ptr[kData + kRowsOffset + disp(16 * j)]);
      for (int k = 0; k < vectors; ++k) {
        const auto index = e.v(k), result = e.v(4 + k);
        if (j == 8) {
          e.load(index, at(run::kA, k));
          e.bit_xor(index, index, e.v(kTop));
        } else if (j > 0) {
          e.vpsubsb(index, index, e.v(kSixteens));
        }
        if (j == 0) {
          e.vpshufb(result, row, index);
        } else {
          e.vpshufb(temp, row, index);
          e.bit_xor(result, result, temp);
        }
      }
    }
  }

  VectorEmitter& e;
  bool vbmi_;
};

class Table final : public Kernel {
 public:
  Table(const Isa& isa, bool vbmi, const TableProblem& problem, const RunShape& shape)
      : name_(std::string(vbmi ? "table vbmi " : "table ") + std::string(isa.name)),
        data_(table_data(problem.table)),
        shape_(collapse(shape)),
        code_(vector_code(isa, CodeKey("table").add(vbmi), [&](VectorEmitter& e) { TableGenerator(e, vbmi).generate(); })) {}

  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const RunRange range = split_runs(shape_.rows, shape_.length, part, parts);
    if (range.empty()) return;
    const KernelArgs mine = shape_.at(args, range);
    RunArgs call{};
    call.a = mine.a;
    call.b = &data_;
    call.y = mine.y;
    call.rows = range.rows.size();
    call.length = range.columns.size();
    call.a_stride = shape_.a_stride;
    call.y_stride = shape_.y_stride;
    code_->entry<void (*)(RunArgs*)>()(&call);
  }
  std::string name() const override { return name_; }

 private:
  std::string name_;
  TableData data_;
  RunShape shape_;
  std::shared_ptr<const Code> code_;
};

}  // namespace

KernelPtr make_table(const Isa& isa, const TableProblem& problem) {
  RunShape shape;
  shape.rows = problem.rows;
  shape.length = problem.length;
  shape.a_bytes = shape.y_bytes = 1;
  shape.a_stride = problem.x_outer;
  shape.y_stride = problem.y_outer;
  if (isa.id == IsaId::reference)
    return std::make_unique<ReferenceRuns<TableProblem>>("table reference", problem, shape, table_reference);
  return std::make_unique<Table>(isa, has_table_stage(isa), problem, shape);
}

}  // namespace octet::kernels
