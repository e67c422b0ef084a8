// The pieces of generated code that attention.cpp strings together. Each is called with a pointer to its argument struct.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/attention/form.h"
#include "kernels/jit/cache.h"

namespace octet::kernels::attention {

// One panel of K: lanes() keys from the rows at `rows` (byte offsets from `k`, one a lane).
struct PackKeysArgs {
  const uint8_t* k;
  std::byte* panel;
  int32_t* starts;      // u8 x s8: -zq * (sum of the key), where each score starts; pipelined: kSumCentre more
  const int32_t* rows;  // [lanes]
  int32_t minus_zq;
};
std::shared_ptr<const Code> pack_keys_code(const Isa& isa, const Form& form, int64_t size);

// Quads of keys of V, all columns.
struct PackValuesArgs {
  const uint8_t* v;
  int64_t row, next;  // bytes between the keys of a quad, and from a quad to the next
  std::byte* packed;
  int64_t quad_step, panel_step;  // bytes in `packed`
  int64_t quads;
  int32_t zero_points;  // s16: the zero point twice
};
std::shared_ptr<const Code> pack_values_code(const Isa& isa, const Form& form);

// c[row][column] = start[column] + sum over k of a[row][k] * b[column][k], `panels` panels of columns.
struct DotArgs {
  const std::byte* a;
  int64_t a_row;
  const std::byte* b;
  int64_t panel_bytes;
  int64_t steps;  // vectors of a panel that count
  int32_t* c;
  int64_t c_row;
  const int32_t* start;  // null: 0
  int64_t panels;
};
std::shared_ptr<const Code> dot_code(const Isa& isa, const Form& form, int rows, bool starts);
// The same on tiles, 16 rows, for scores (steps as in the form) and for outputs (panels as in the form).
std::shared_ptr<const Code> tile_scores_code(const Isa& isa, const Form& form);
std::shared_ptr<const Code> tile_outputs_code(const Isa& isa, const Form& form);

// Scores to probabilities and their sums, row by row. Scores of a masked form become floats on the way.
struct ProbabilityArgs {
  int32_t* scores;
  int64_t score_row;
  std::byte* p;
  int64_t p_row;
  const float* mask;
  int64_t mask_row;     // bytes
  int64_t chunk_bytes;  // of scores in whole chunks
  const int32_t*
      limit;  // not masked, keys that do not fill the last chunk: INT32_MAX where there is a key, else INT32_MIN; or null
  const int32_t* keep;  // the same with -1 and 0
  int32_t* sums;
  int64_t rows;
  float score, exponent;
};
std::shared_ptr<const Code> probability_code(const Isa& isa, const Form& form, bool masked);

// f32: scores to probabilities in place, row by row.
struct FloatProbabilityArgs {
  float* scores;
  int64_t row;  // bytes
  const float* mask;
  int64_t mask_row;    // bytes
  int64_t row_bytes;   // of whole chunks of 16
  const float* limit;  // not masked: [16], inf where the last chunk has a key, else -inf
  int64_t rows;
  float scale;
};
std::shared_ptr<const Code> float_probability_code(const Isa& isa, bool masked);

struct OutputArgs {
  const int32_t* sums;  // of probabilities
  const int32_t* o;
  int64_t o_row;
  std::byte* y;
  int64_t y_row;
  int64_t rows;
  float value;
  int32_t offset;  // times the sum of probabilities, added: -zv, or 128 - zv where v was packed without 128
  float low, high;
  int32_t zero_point;
  float* range;  // widened, where it is kept
};
enum class Output : uint8_t { real, real_in_range, quantized };
std::shared_ptr<const Code> output_code(const Isa& isa, const Form& form, int64_t value_size, Output output);

// Probabilities and outputs of one block of 16 rows, and scores and shifts of the next one; see pipeline.cpp.
struct PipelineArgs {
  int64_t chunks;
  float score, exponent;
  std::byte*
      lanes;  // 2 KiB: maxima of the next block, which hold -inf (INT32_MIN) before the first call, and sums of this one
  // this block
  const std::byte* scores;  // [chunk][16][64] int32, or float when masked
  std::byte* p;             // [chunk][16][64]
  const std::byte* v;
  const float* shifts;
  const uint8_t* keep;  // limited: 64 bytes, 255 where the last chunk of p has a key
  int32_t* sums;        // [16]
  int32_t* o;
  int64_t o_row;
  // the next block
  const uint8_t* q;
  int64_t q_row;
  const std::byte* k;
  const int32_t* starts;
  std::byte* next_scores;
  const float* mask;
  int64_t mask_row;      // bytes
  const int32_t* limit;  // limited: [64], INT32_MAX where the last chunk has a key, else INT32_MIN
  float* next_shifts;    // [16]
};
struct PipelineKind {
  bool masked = false;
  bool saturates = false;
  bool limited = false;              // not masked: the last chunk is not full (PipelineArgs::limit, keep)
  bool current = true, next = true;  // whether there is such a block
};
std::shared_ptr<const Code> pipeline_code(const Isa& isa, const Form& form, const PipelineKind& kind);

}  // namespace octet::kernels::attention
