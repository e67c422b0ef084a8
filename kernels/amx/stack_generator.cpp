// Stacks of one output row: element j is, kernel row by kernel row, `piece` bytes from x + j * piece.
//
//      zmm0 = row 0 | row 1, zmm1 = row 2 | row 3, …     `group` elements' bytes of each, at most 32
//      element i of the group: vpermb picks its pieces from zmm0, then from each next register into the pieces' own bytes
//
//   rdi args, r8 x, r9 distance of rows, rdx to, ecx groups left, rax a row
//   zmm0..5 rows, zmm16..23 order of each element, zmm30 and 31 elements; k1 and k2 the bytes of a group in the lower and
//   the upper half, k3..k7 the pieces of zmm1..5
//
// The last group is moved back so that it ends with the row's last element; only bytes that belong to a piece are read.
#include <algorithm>
#include <array>
#include <cassert>

#include "kernels/amx/gather.h"
#include "kernels/jit/vector_emitter.h"

namespace octet::kernels::amx {
namespace {

struct Group {
  int elements, piece, rows, element_bytes;
  int64_t whole;  // groups of a row
  int64_t rest;   // elements after them

  int registers() const { return (rows + 1) / 2; }
  int bytes() const { return elements * piece; }
};

class StackGenerator {
 public:
  StackGenerator(VectorEmitter& emitter, const Group& group) : e(emitter), g(group) {}

  void generate() {
    Xbyak::Label loop, orders;
    e.mov(e.r8, e.ptr[e.rdi + offsetof(StackArgs, x)]);
    e.mov(e.r9, e.ptr[e.rdi + offsetof(StackArgs, x_row)]);
    e.mov(e.rdx, e.ptr[e.rdi + offsetof(StackArgs, to)]);
    set_mask(1, bits(g.bytes()));
    set_mask(2, bits(g.bytes()) << 32);
    for (int r = 1; r < g.registers(); ++r) {
      const int first = 2 * r * g.piece, end = std::min(2 * r + 2, g.rows) * g.piece;
      set_mask(2 + r, bits(end) & ~bits(first));
    }
    e.lea(e.rax, e.ptr[e.rip + orders]);
    for (int i = 0; i < g.elements; ++i) e.vmovups(e.v(16 + i), e.ptr[e.rax + disp(64 * i)]);
    e.mov(e.ecx, static_cast<uint32_t>(g.whole));
    e.L(loop);
    one_group();
    e.add(e.r8, imm(g.bytes()));
    e.add(e.rdx, imm(g.elements * g.element_bytes));
    e.dec(e.ecx);
    e.jnz(loop);
    if (g.rest > 0) {
      const int back = g.elements - static_cast<int>(g.rest);
      e.sub(e.r8, imm(back * g.piece));
      e.sub(e.rdx, imm(back * g.element_bytes));
      one_group();
    }
    e.vzeroupper();
    e.ret();
    e.align(64);
    e.L(orders);
    for (int i = 0; i < g.elements; ++i)
      for (int byte = 0; byte < 64; ++byte) {
        const int row = byte / g.piece;
        e.db(row < g.rows ? static_cast<uint8_t>(row % 2 * 32 + i * g.piece + byte % g.piece) : uint8_t{0});
      }
  }

 private:
  static uint64_t bits(int n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; }

  void set_mask(int k, uint64_t mask) {
    e.mov(e.rax, mask);
    e.kmovq(Xbyak::Opmask(k), e.rax);
  }

  void one_group() {
    e.mov(e.rax, e.r8);
    for (int row = 0; row < g.rows; ++row) {
      const int r = row / 2;
      if (row % 2 == 0)
        e.vmovdqu8(e.y(r) | e.k1 | e.T_z, e.ptr[e.rax]);
      else
        e.vmovdqu8(e.v(r) | e.k2, e.ptr[e.rax - 32]);
      if (row + 1 < g.rows) e.add(e.rax, e.r9);
    }
    for (int i = 0; i < g.elements; ++i) {
      const auto element = e.v(30 + i % 2);
      e.vpermb(element, e.v(16 + i), e.v(0));
      for (int r = 1; r < g.registers(); ++r) e.vpermb(element | Xbyak::Opmask(2 + r), e.v(16 + i), e.v(r));
      e.vmovups(e.ptr[e.rdx + disp(i * g.element_bytes)], element);
    }
  }

  VectorEmitter& e;
  const Group g;
};

}  // namespace

std::shared_ptr<const Code> stack_kernel(const Isa& isa, const Stacks& stacks, int64_t kernel_rows) {
  assert(stacks.piece <= 8 && kernel_rows <= 12 && stacks.element <= 64);
  Group g{};
  g.piece = static_cast<int>(stacks.piece);
  g.rows = static_cast<int>(kernel_rows);
  g.element_bytes = static_cast<int>(stacks.element);
  g.elements = static_cast<int>(std::min<int64_t>({8, 32 / stacks.piece, stacks.elements}));
  g.whole = stacks.elements / g.elements;
  g.rest = stacks.elements % g.elements;
  CodeKey key("amx stacks");
  key.add(g.piece).add(g.rows).add(g.element_bytes).add(g.elements).add(g.whole).add(g.rest);
  return vector_code(isa, key, [&](VectorEmitter& e) { StackGenerator(e, g).generate(); });
}

}  // namespace octet::kernels::amx
