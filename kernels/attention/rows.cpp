#include "kernels/attention/rows.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "kernels/attention/operands.h"
#include "kernels/jit/vector_emitter.h"

namespace octet::kernels::attention {
namespace {

using Xbyak::Xmm;

constexpr int64_t kAhead = 64;  // keys that are fetched before their use

int words(const VectorEmitter& e) { return e.vector_bytes() / 2; }

// Four keys at a time, each a vector of partial sums; vectors of four keys become one of all.
//
//   rsi k  rdx offsets  rcx q  r8 blocks left  r9 scores  rax a key
//   v0..v3 four keys each | v4..v7 keys | v8, v9 words of a key | v10 start | v11..v14 q, where it fits
class RowScoreEmitter {
 public:
  RowScoreEmitter(VectorEmitter& emitter, const Form& form)
      : e(emitter), groups_(form.lanes / 4), pieces_(static_cast<int>(form.depth) / words(emitter)) {}

  void run() {
    const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
    e.mov(e.rsi, field(offsetof(RowScoreArgs, k)));
    e.mov(e.rdx, field(offsetof(RowScoreArgs, offsets)));
    e.mov(e.rcx, field(offsetof(RowScoreArgs, q)));
    e.mov(e.r8, field(offsetof(RowScoreArgs, blocks)));
    e.mov(e.r9, field(offsetof(RowScoreArgs, scores)));
    e.vpbroadcastd(e.v(kStart), e.ptr[e.rdi + offsetof(RowScoreArgs, start)]);
    for (int i = 0; holds_q() && i < pieces_; ++i) e.vmovups(e.v(kQ + i), q(i));
    Xbyak::Label next;
    e.align(32);
    e.L(next);
    for (int group = 0; group < groups_; ++group) {
      for (int i = 0; i < 4; ++i) key(kKeys + i, 4 * group + i);
      add_lanes(kKeys, kKeys + 1, false);
      add_lanes(kKeys + 2, kKeys + 3, false);
      add_lanes(kKeys, kKeys + 2, true);
      e.vmovaps(e.v(group), e.v(kKeys));
    }
    if (e.zmm()) {
      add_quarters(0, 1, 0x44, 0xee);
      add_quarters(2, 3, 0x44, 0xee);
      add_quarters(0, 2, 0x88, 0xdd);
    } else {
      e.vperm2i128(e.wide(kScratch), e.wide(0), e.wide(1), 0x20);
      e.vperm2i128(e.wide(0), e.wide(0), e.wide(1), 0x31);
      e.vpaddd(e.v(0), e.v(0), e.v(kScratch));
    }
    e.vpaddd(e.v(0), e.v(0), e.v(kStart));
    e.store(e.r9, e.v(0));
    e.add(e.rdx, imm(4 * e.isa().lanes()));
    e.add(e.r9, imm(e.vector_bytes()));
    e.dec(e.r8);
    e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
    e.vzeroupper();
    e.ret();
  }

 private:
  static constexpr int kKeys = 4, kScratch = 8, kStart = 10, kQ = 11, kMostHeld = 4;

  bool holds_q() const { return pieces_ <= kMostHeld; }
  Xbyak::Address q(int piece) const { return e.ptr[e.rcx + disp(piece * e.vector_bytes())]; }

  void key(int sum, int place) {
    e.movsxd(e.rax, e.dword[e.rdx + disp(4 * (place + kAhead))]);
    for (int at = 0; at < pieces_ * words(e); at += 64) e.prefetcht0(e.ptr[e.rsi + e.rax + disp(at)]);
    e.movsxd(e.rax, e.dword[e.rdx + disp(4 * place)]);
    for (int i = 0; i < pieces_; ++i) {
      const Xmm w = i == 0 ? e.v(sum) : e.v(kScratch + i % 2);
      e.vpmovzxbw(w, e.ptr[e.rsi + e.rax + disp(i * words(e))]);
      if (holds_q())
        e.vpmaddwd(w, w, e.v(kQ + i));
      else
        e.vpmaddwd(w, w, q(i));
      if (i > 0) e.vpaddd(e.v(sum), e.v(sum), w);
    }
  }

  // a = within 128 bits, the sums of neighbours' halves: dwords [a0 + a2, b0 + b2, a1 + a3, b1 + b3], or whole quads.
  void add_lanes(int a, int b, bool quads) {
    const Xmm t = e.v(kScratch);
    if (quads) {
      e.vpunpcklqdq(t, e.v(a), e.v(b));
      e.vpunpckhqdq(e.v(a), e.v(a), e.v(b));
    } else {
      e.vpunpckldq(t, e.v(a), e.v(b));
      e.vpunpckhdq(e.v(a), e.v(a), e.v(b));
    }
    e.vpaddd(e.v(a), e.v(a), t);
  }

  void add_quarters(int a, int b, uint8_t first, uint8_t second) {
    e.vshufi32x4(e.wide(kScratch), e.wide(a), e.wide(b), first);
    e.vshufi32x4(e.wide(a), e.wide(a), e.wide(b), second);
    e.vpaddd(e.v(a), e.v(a), e.v(kScratch));
  }

  VectorEmitter& e;
  const int groups_, pieces_;
};

// Words of two keys interleaved within 128 bits, so that the vectors of a pair hold dwords of quarters in turn.
//
//   rsi v  rdx offsets  rcx p  r8 pairs left  r9 o  rax r10 two keys
//   v0..v7 sums [vector of words][low, high] | v8, v9 words of the keys | v10 their probabilities
class RowOutputEmitter {
 public:
  RowOutputEmitter(VectorEmitter& emitter, int64_t columns)
      : e(emitter), pieces_(static_cast<int>(columns) / words(emitter)) {}

  void run() {
    const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
    e.mov(e.rsi, field(offsetof(RowOutputArgs, v)));
    e.mov(e.rdx, field(offsetof(RowOutputArgs, offsets)));
    e.mov(e.rcx, field(offsetof(RowOutputArgs, p)));
    e.mov(e.r8, field(offsetof(RowOutputArgs, pairs)));
    e.mov(e.r9, field(offsetof(RowOutputArgs, o)));
    for (int i = 0; i < 2 * pieces_; ++i) e.zero(i);
    Xbyak::Label next;
    e.align(32);
    e.L(next);
    for (int i = 0; i < 2; ++i) {
      e.movsxd(e.rax, e.dword[e.rdx + disp(4 * (kAhead + i))]);
      for (int at = 0; at < pieces_ * words(e); at += 64) e.prefetcht0(e.ptr[e.rsi + e.rax + disp(at)]);
    }
    e.movsxd(e.rax, e.dword[e.rdx]);
    e.movsxd(e.r10, e.dword[e.rdx + 4]);
    e.vpbroadcastd(e.v(kP), e.ptr[e.rcx]);
    for (int i = 0; i < pieces_; ++i) pair(i);
    e.add(e.rdx, 8);
    e.add(e.rcx, 4);
    e.dec(e.r8);
    e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
    for (int i = 0; i < pieces_; ++i) store(i);
    e.vzeroupper();
    e.ret();
  }

 private:
  static constexpr int kFirst = 8, kSecond = 9, kP = 10, kScratch = 11;

  void pair(int piece) {
    const Xmm a = e.v(kFirst), b = e.v(kSecond), low = e.v(kScratch);
    e.vpmovzxbw(a, e.ptr[e.rsi + e.rax + disp(piece * words(e))]);
    e.vpmovzxbw(b, e.ptr[e.rsi + e.r10 + disp(piece * words(e))]);
    e.vpunpcklwd(low, a, b);
    e.vpunpckhwd(a, a, b);
    e.vpmaddwd(low, low, e.v(kP));
    e.vpmaddwd(a, a, e.v(kP));
    e.vpaddd(e.v(2 * piece), e.v(2 * piece), low);
    e.vpaddd(e.v(2 * piece + 1), e.v(2 * piece + 1), a);
  }

  void store(int piece) {
    for (int quarter = 0; quarter < e.vector_bytes() / 16; ++quarter)
      for (int half = 0; half < 2; ++half) {
        const Xbyak::Address to = e.ptr[e.r9 + disp(4 * (piece * words(e) + 8 * quarter + 4 * half))];
        if (e.zmm())
          e.vextracti32x4(to, Xbyak::Zmm(2 * piece + half), static_cast<uint8_t>(quarter));
        else
          e.vextracti128(to, Xbyak::Ymm(2 * piece + half), static_cast<uint8_t>(quarter));
      }
  }

  VectorEmitter& e;
  const int pieces_;
};

}  // namespace

std::shared_ptr<const Code> row_scores_code(const Isa& isa, const Form& form) {
  return vector_code(isa, CodeKey("attention row scores").add(form.depth),
                     [&](VectorEmitter& e) { RowScoreEmitter(e, form).run(); });
}

std::shared_ptr<const Code> row_outputs_code(const Isa& isa, int64_t columns) {
  return vector_code(isa, CodeKey("attention row outputs").add(columns),
                     [&](VectorEmitter& e) { RowOutputEmitter(e, columns).run(); });
}

Rows::Rows(const Isa& isa, const Form& form, const AttentionProblem& problem)
    : form_(form), scores_(row_scores_code(isa, form)) {
  const int64_t columns = form.value_panels * form.lanes;
  if (columns >= kRowOutputs) outputs_[0] = row_outputs_code(isa, kRowOutputs);
  if (columns % kRowOutputs > 0) outputs_[1] = row_outputs_code(isa, columns % kRowOutputs);
  const auto offset = [&](int64_t key, int64_t row) { return static_cast<int32_t>(std::min(key, problem.keys - 1) * row); };
  for (int64_t key = 0; key < form.keys + kAhead; ++key) key_offsets_.push_back(offset(key, problem.k.row));
  value_offsets_.resize(static_cast<size_t>(form.keys + kAhead), offset(form.keys, problem.v.row));
  for (int64_t key = 0; key < form.keys; ++key) {
    const int64_t in_chunk = key % form.chunk, vector = in_chunk / form.lanes, quad = in_chunk % form.lanes / 4;
    const int64_t place = key - in_chunk + 4 * (quad * form.chunk_vectors + vector) + key % 4;
    value_offsets_[static_cast<size_t>(place)] = offset(key, problem.v.row);
  }
}

void Rows::scores(const int16_t* q, const uint8_t* k, int64_t chunks, int32_t* to) const noexcept {
  const int32_t sum = std::accumulate(q, q + form_.depth, int32_t{0});
  call(scores_, RowScoreArgs{k, key_offsets_.data(), q, chunks * form_.chunk_vectors, to, -128 * sum});
}

void Rows::outputs(const int16_t* p, const uint8_t* v, int64_t chunks, int32_t* o) const noexcept {
  const int64_t columns = form_.value_panels * form_.lanes;
  for (int64_t at = 0; at < columns; at += kRowOutputs)
    call(outputs_[columns - at >= kRowOutputs ? 0 : 1],
         RowOutputArgs{v + at, value_offsets_.data(), p, chunks * form_.chunk / 2, o + at});
}

}  // namespace octet::kernels::attention
