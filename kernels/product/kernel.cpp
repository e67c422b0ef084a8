#include "kernels/product/kernel.h"

#include <cassert>
#include <cstddef>

#include "kernels/product/registers.h"

namespace octet::kernels {
namespace {

using namespace product_registers;

CodeKey key_of(const Isa& isa, const ProductKernelSpec& spec) {
  CodeKey key("product");
  key.add(isa.id).add(spec.kind).add(spec.vectors).add(spec.columns).add(spec.prefetch_lines).add(spec.streams);
  for (const RowBlock& row : spec.rows) key.add(row.a).add(row.y).add(row.residual);
  add_to_key(key, spec.epilogue);
  return key;
}

void emit_start(Assembler& as, const ProductKernelSpec& spec) {
  const auto arg = [&](size_t offset) { return as.at(kArgs, static_cast<int64_t>(offset)); };
  as.mov(kX, arg(offsetof(ProductArgs, a)));
  as.add(kX, as.at(kBlock, offsetof(RowBlock, a)));
  as.mov(kWeights, arg(offsetof(ProductArgs, b)));
  as.mov(kOffsets, arg(offsetof(ProductArgs, offsets)));
  as.mov(as.rax, arg(offsetof(ProductArgs, params)));
  as.mov(kRuns, arg(offsetof(ProductArgs, runs)));
  for (size_t row = 0; row < spec.rows.size(); ++row)
    for (int vector = 0; vector < spec.vectors; ++vector) {
      const int acc = static_cast<int>(row) * spec.vectors + vector;
      if (spec.kind == ProductKind::fma) {
        as.zero(acc);
        continue;
      }
      const int column = vector * as.lanes();
      const int record = column / 16 * static_cast<int>(sizeof(ChannelParams)) + column % 16 * 4;
      if (row == 0)
        as.vmovups(as.v(acc), as.at(as.rax, record));
      else
        as.vmovaps(as.v(acc), as.v(vector));
    }
}

void emit_finish(Assembler& as, const ProductKernelSpec& spec) {
  const auto arg = [&](size_t offset) { return as.at(kArgs, static_cast<int64_t>(offset)); };
  as.mov(as.rax, arg(offsetof(ProductArgs, y)));
  as.add(as.rax, as.at(kBlock, offsetof(RowBlock, y)));
  if (spec.epilogue.residual != ResidualKind::none) {
    as.mov(as.rcx, arg(offsetof(ProductArgs, residual)));
    as.add(as.rcx, as.at(kBlock, offsetof(RowBlock, residual)));
  }
  as.mov(as.rdx, arg(offsetof(ProductArgs, params)));
  as.mov(as.r11, arg(offsetof(ProductArgs, constants)));
  std::vector<EpilogueCell> cells;
  for (size_t row = 0; row < spec.rows.size(); ++row)
    for (int vector = 0; vector < spec.vectors; ++vector) {
      const int column = vector * as.lanes();
      cells.push_back({static_cast<int>(row) * spec.vectors + vector,
                       column,
                       std::clamp(spec.columns - column, 0, as.lanes()),
                       {as.rax, spec.rows[row].y},
                       {as.rcx, spec.rows[row].residual}});
    }
  EpilogueRegisters regs{as.rdx, as.r11, as.ebx, {}, 1};
  for (int i = static_cast<int>(spec.rows.size()) * spec.vectors; i < as.isa().vector_count; ++i) regs.temps.push_back(i);
  EpilogueForm form = spec.epilogue;
  if (form.offset_sum) form = emit_offset_values(as, form, regs, cells);
  emit_epilogue(as, form, regs, cells);
}

std::unique_ptr<Assembler> generate(const Isa& isa, const ProductKernelSpec& spec) {
  auto assembler = std::make_unique<Assembler>(isa);
  Assembler& as = *assembler;
  const Reg64 saved[] = {as.rbx, as.rbp, as.r12, as.r13, as.r14, as.r15};
  for (const Reg64& reg : saved) as.push(reg);
  as.mov(kBlock, as.at(kArgs, offsetof(ProductArgs, block)));
  Xbyak::Label next;
  as.L(next);
  emit_start(as, spec);
  if (spec.kind == ProductKind::bins)
    emit_bins(as, spec);
  else if (spec.kind == ProductKind::words)
    emit_words(as, spec);
  else
    emit_chain(as, spec);
  emit_finish(as, spec);
  as.add(kBlock, static_cast<uint32_t>(sizeof(RowBlock)));
  as.cmp(kBlock, as.at(kArgs, offsetof(ProductArgs, block_end)));
  as.jne(next, Xbyak::CodeGenerator::T_NEAR);
  as.vzeroupper();
  for (size_t i = std::size(saved); i-- > 0;) as.pop(saved[i]);
  as.ret();
  return assembler;
}

}  // namespace

std::shared_ptr<const Code> product_kernel(const Isa& isa, const ProductKernelSpec& spec) {
  assert(static_cast<int>(spec.rows.size()) <= max_block_rows(isa, spec.kind, spec.vectors) && !spec.rows.empty());
  return cached_code(key_of(isa, spec), [&] { return generate(isa, spec); });
}

}  // namespace octet::kernels
