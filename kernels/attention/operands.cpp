#include "kernels/attention/operands.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace octet::kernels::attention {

namespace {

Output output_of(const AttentionProblem& problem) {
  if (problem.y_dtype == DType::u8) return Output::quantized;
  return problem.keeps_range ? Output::real_in_range : Output::real;
}

}  // namespace

Operands::Operands(const Isa& isa, const AttentionProblem& problem)
    : p_(problem),
      form_(make_form(isa, problem)),
      at_(make_workspace(form_, problem)),
      pack_keys_(form_.unpacked ? nullptr : pack_keys_code(isa, form_, problem.size)),
      pack_values_(form_.unpacked ? nullptr : pack_values_code(isa, form_)),
      output_(output_code(isa, form_, problem.value_size, output_of(problem))) {}

Unit Operands::unit(int64_t n) const noexcept {
  Unit u;
  u.head = n / blocks(), u.b = u.head / p_.heads, u.h = u.head % p_.heads;
  u.kv = u.h / (p_.heads / p_.kv_heads), u.packed = u.b * p_.kv_heads + u.kv;
  u.row = n % blocks() * form_.rows, u.rows = std::min<int64_t>(form_.rows, p_.queries - u.row);
  return u;
}

void Operands::pack_keys(const AttentionArgs& args, const uint8_t* k) const noexcept {
  int32_t rows[16];
  // Keys that there are not repeat the last one, so that no score is arbitrary.
  for (int64_t panel = 0; panel < form_.key_panels; ++panel) {
    const int64_t first = panel * form_.lanes;
    for (int i = 0; i < form_.lanes; ++i)
      rows[i] = static_cast<int32_t>(std::min<int64_t>(i, p_.keys - 1 - first) * p_.k.row);
    call(pack_keys_,
         PackKeysArgs{k + first * p_.k.row, args.workspace + at_.keys + panel * form_.key_panel_bytes(),
                      reinterpret_cast<int32_t*>(args.workspace + at_.key_starts) + first, rows, -args.q_zero_point});
  }
}

void Operands::pack_values(const AttentionArgs& args, const uint8_t* v, std::byte* packed) const noexcept {
  PackValuesArgs pack{};
  pack.panel_step = form_.value_panel_step();
  pack.zero_points = args.v_zero_point * 0x10001;
  pack.row = p_.v.row;
  if (form_.pipelined) return pack_value_chunks(args, pack, v, packed);
  pack.next = 4 * pack.row;
  pack.quad_step = form_.value_vectors_before(0, 1) * form_.vector_bytes;
  const int64_t quads_of_vector = form_.lanes / 4;
  for (int64_t first = 0; first < p_.keys; first += form_.lanes) {
    const int64_t before = form_.value_vectors_before(first % form_.chunk / form_.lanes, 0) * form_.vector_bytes;
    pack.v = v + first * p_.v.row;
    pack.packed = packed + first / form_.chunk * form_.value_chunk_step() + before;
    pack.quads = std::min<int64_t>(quads_of_vector, (p_.keys - first) / 4);
    if (pack.quads > 0) call(pack_values_, pack);
    if (pack.quads == quads_of_vector || (p_.keys - first) % 4 == 0) continue;
    PackValuesArgs last = pack;
    last.packed += pack.quads * pack.quad_step;
    last.v = copy_last_values(args, pack.v + 4 * pack.quads * pack.row, (p_.keys - first) % 4, 4, last.row);
    last.quads = 1;
    call(pack_values_, last);
  }
}

// In the order of pipeline.cpp: quad d of a chunk is keys d, 16 + d, 32 + d, 48 + d.
void Operands::pack_value_chunks(const AttentionArgs& args, PackValuesArgs pack, const uint8_t* v,
                                 std::byte* packed) const noexcept {
  const int64_t quads = form_.chunk / 4;
  pack.quad_step = form_.vector_bytes;
  pack.quads = quads;
  for (int64_t first = 0; first < p_.keys; first += form_.chunk) {
    const int64_t there = p_.keys - first;
    int64_t row = p_.v.row;
    pack.v = v + first * row;
    if (there < form_.chunk) pack.v = copy_last_values(args, pack.v, there, form_.chunk, row);
    pack.row = quads * row, pack.next = row;
    pack.packed = packed + first / form_.chunk * form_.value_chunk_step();
    call(pack_values_, pack);
  }
}

// `there` keys of as many as are packed at a time, and zeros for the missing ones, which meet probabilities of zero. `row`
// becomes that of the copy.
const uint8_t* Operands::copy_last_values(const AttentionArgs& args, const uint8_t* v, int64_t there, int64_t all,
                                          int64_t& row) const noexcept {
  auto* copy = reinterpret_cast<uint8_t*>(args.workspace + at_.last_values);
  const int64_t from = std::exchange(row, p_.value_size + 64);
  std::memset(copy, 0, static_cast<size_t>(all * row));
  for (int64_t i = 0; i < there; ++i) std::memcpy(copy + i * row, v + i * from, static_cast<size_t>(p_.value_size));
  return copy;
}

std::pair<const std::byte*, int64_t> Operands::queries(const AttentionArgs& args, int64_t b, int64_t h, int64_t first,
                                                       int64_t rows) const noexcept {
  const uint8_t* q = head_of(args.q, p_.q, b, h) + first * p_.q.row;
  if (form_.element == 1 && (!form_.tile || rows == form_.rows)) return {reinterpret_cast<const std::byte*>(q), p_.q.row};
  std::byte* copy = args.workspace + at_.queries;
  const int64_t row = form_.depth * form_.element + 64;
  for (int64_t i = 0; i < rows; ++i) {
    const uint8_t* from = q + i * p_.q.row;
    if (form_.element == 1) {
      std::memcpy(copy + i * row, from, static_cast<size_t>(p_.size));
    } else {
      auto* to = reinterpret_cast<int16_t*>(copy + i * row);
      for (int64_t d = 0; d < p_.size; ++d) to[d] = static_cast<int16_t>(from[d] - args.q_zero_point);
      for (int64_t d = p_.size; d < form_.depth; ++d) to[d] = 0;
    }
  }
  return {copy, row};
}

Operands::MaskRows Operands::mask_rows(const AttentionArgs& args, int64_t b, int64_t h, int64_t first, int64_t rows,
                                       int64_t room, bool fresh) const noexcept {
  const float* mask = args.mask + (p_.masked ? b % p_.mask_batches * p_.mask[0] + h * p_.mask[1] : 0);
  if (mask_in_place() && (rows == room || p_.mask[2] == 0)) return {mask + first * p_.mask[2], 4 * p_.mask[2]};
  auto* to = reinterpret_cast<float*>(args.workspace + at_.mask);
  const bool one = one_mask_row();
  if (one && !fresh) return {to, 0};
  for (int64_t i = 0; i < (one ? 1 : rows); ++i) {
    float* row = to + i * form_.keys;
    const float* from = mask + (first + i) * p_.mask[2];
    const int64_t sees = p_.causal ? std::clamp<int64_t>(first + i + p_.keys - p_.queries + 1, 0, p_.keys) : p_.keys;
    for (int64_t j = 0; j < sees; ++j) row[j] = p_.masked ? from[j * p_.mask[3]] : 0.0f;
    std::fill(row + sees, row + form_.keys, -INFINITY);
  }
  return {to, one ? 0 : form_.keys * 4};
}

void Operands::store(const AttentionArgs& args, int64_t b, int64_t h, int64_t first, int64_t rows) const noexcept {
  OutputArgs out{};
  out.sums = reinterpret_cast<const int32_t*>(args.workspace + at_.sums);
  out.o = reinterpret_cast<const int32_t*>(args.workspace + at_.outputs), out.o_row = form_.output_row();
  out.y = static_cast<std::byte*>(args.y) + b * p_.y.batch + h * p_.y.head + first * p_.y.row, out.y_row = p_.y.row;
  out.rows = rows;
  out.value = args.factors.value;
  out.offset = form_.unpacked ? -args.v_zero_point : form_.group == 4 ? 128 - args.v_zero_point : 0;
  out.low = static_cast<float>(0 - p_.y_zero_point), out.high = static_cast<float>(255 - p_.y_zero_point);
  out.zero_point = p_.y_zero_point;
  out.range = args.range;
  call(output_, out);
}

}  // namespace octet::kernels::attention
