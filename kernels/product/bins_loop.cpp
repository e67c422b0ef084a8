// The sum of a panel of bins (bins.h); one vector of columns.
//
//   ymm, 8 rows: acc 0-7 | t 8 | a 9 | ones 10 | weights 11-15        zmm, 16 rows: acc 0-15 | t 16 | a 17 | ones 18 | weights 19-31
//
//   with prefetch_lines: r14 what to fetch, a few lines a bin
//
//   for run (type, count):  jump to the loop of the type (x, d), through a table behind the code
//     for bin in count:         weights of the bin to registers: |w|, w, then c as far as there is room
//       for row:  t = maddubs(|w|, a ^ c) or maddubs(a, w) of the first group;  t += the same of the others (vpaddw)
//                 acc[row] += maddwd(t, ones)
#include <cassert>
#include <cstddef>

#include "kernels/product/kernel.h"
#include "kernels/product/registers.h"

namespace octet::kernels {
namespace {

using namespace product_registers;
using Xbyak::Label;

class BinLoop {
 public:
  BinLoop(Assembler& as, const ProductKernelSpec& spec)
      : as_(as),
        spec_(spec),
        t_(static_cast<int>(max_block_rows(as.isa(), spec.kind, 1))),
        a_(t_ + 1),
        ones_(t_ + 2),
        first_weight_(t_ + 3),
        max_groups_(as.isa().zmm() ? kMaxGroupsZmm : kMaxGroupsYmm) {}

  void emit() {
    as_.broadcast_constant(ones_, 0x00010001, as_.eax);
    const auto prefetch = static_cast<int64_t>(offsetof(ProductArgs, prefetch));
    assert(spec_.prefetch_lines == 0 || bins_can_prefetch(as_.isa()));
    if (spec_.prefetch_lines > 0) as_.mov(kBinPrefetch, as_.at(kArgs, prefetch));
    Label loop[kBinTypeCount], table, end;
    emit_jump(table);
    for (size_t type = 0; type < kBinTypeCount; ++type) {
      const BinType bin = kBinTypes[type];
      if (bin.x + bin.d > max_groups_) continue;
      as_.align(16);
      as_.L(loop[type]);
      emit_bin(bin);
      as_.dec(kLeft.cvt32());
      as_.jnz(loop[type], Xbyak::CodeGenerator::T_NEAR);
      emit_jump(table);
    }
    as_.align(8);
    as_.L(table);
    for (size_t type = 0; type < kBinTypeCount; ++type)
      as_.putL(kBinTypes[type].x + kBinTypes[type].d > max_groups_ ? end : loop[type]);
    as_.putL(end);  // kEndOfRuns
    as_.L(end);
    if (spec_.prefetch_lines > 0) as_.mov(as_.at(kArgs, prefetch), kBinPrefetch);
  }

 private:
  // The vectors of a bin in memory: |w| c of each X group, then w of each D group.
  static int magnitude(int group) { return 2 * group; }
  static int flip(int group) { return 2 * group + 1; }

  void emit_jump(const Label& table) {
    as_.mov(as_.rcx, table);
    as_.mov(as_.eax, as_.at(kRuns, offsetof(BinRun, type)));
    as_.mov(kLeft.cvt32(), as_.at(kRuns, offsetof(BinRun, count)));
    as_.add(kRuns, static_cast<uint32_t>(sizeof(BinRun)));
    as_.jmp(as_.ptr[as_.rcx + as_.rax * 8]);
  }

  void emit_bin(const BinType& bin) {
    const int groups = bin.x + bin.d, vectors = 2 * bin.x + bin.d, bytes = as_.vector_bytes();
    std::vector<int> in_register(static_cast<size_t>(vectors), -1);
    int next = first_weight_;
    const auto load = [&](int vector) {
      if (next == as_.isa().vector_count) return false;
      in_register[static_cast<size_t>(vector)] = next;
      as_.vmovups(as_.v(next++), as_.at(kWeights, vector * bytes));
      return true;
    };
    bool fits = true;
    for (int g = 0; g < bin.x; ++g) fits = load(magnitude(g)) && fits;
    for (int g = 0; g < bin.d; ++g) fits = load(2 * bin.x + g) && fits;
    assert(fits);
    for (int g = 0; g < bin.x; ++g) load(flip(g));
    for (int g = 0; g < groups; ++g) as_.movsxd(kOffset[g], as_.dword[kOffsets + static_cast<size_t>(4 * g)]);

    for (size_t row = 0; row < spec_.rows.size(); ++row) {
      for (size_t line = row; line < static_cast<size_t>(spec_.prefetch_lines); line += spec_.rows.size())
        as_.prefetcht1(as_.at(kBinPrefetch, 64 * static_cast<int64_t>(line)));
      for (int g = 0; g < groups; ++g) {
        const Xbyak::Xmm a = as_.v(a_), product = as_.v(g == 0 ? t_ : a_);
        as_.vpbroadcastd(a, as_.at(kX, kOffset[g], spec_.rows[row].a));
        if (g < bin.x) {
          const int c = in_register[static_cast<size_t>(flip(g))];
          if (c >= 0)
            as_.exclusive_or(product, a, as_.v(c));
          else
            as_.exclusive_or(product, a, as_.at(kWeights, flip(g) * bytes));
          as_.vpmaddubsw(product, as_.v(in_register[static_cast<size_t>(magnitude(g))]), product);
        } else {
          as_.vpmaddubsw(product, a, as_.v(in_register[static_cast<size_t>(bin.x + g)]));
        }
        if (g > 0) as_.vpaddw(as_.v(t_), as_.v(t_), product);
      }
      as_.vpmaddwd(as_.v(t_), as_.v(t_), as_.v(ones_));
      as_.vpaddd(as_.v(static_cast<int>(row)), as_.v(static_cast<int>(row)), as_.v(t_));
    }
    as_.add(kWeights, static_cast<uint32_t>(vectors * bytes));
    as_.add(kOffsets, static_cast<uint32_t>(4 * groups));
    if (spec_.prefetch_lines > 0) as_.add(kBinPrefetch, static_cast<uint32_t>(64 * spec_.prefetch_lines));
  }

  Assembler& as_;
  const ProductKernelSpec& spec_;
  int t_, a_, ones_, first_weight_, max_groups_;
};

}  // namespace

bool bins_can_prefetch(const Isa& isa) { return !isa.zmm(); }

void emit_bins(Assembler& as, const ProductKernelSpec& spec) { BinLoop(as, spec).emit(); }

}  // namespace octet::kernels
