// The pieces of generated code of integer_matmul.h. Each is called with a pointer to its argument struct. Operands become
// what attention's dot products read (attention/form.h, group 4 or 2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/isa.h"
#include "kernels/jit/cache.h"
#include "octet/types.h"

namespace octet::kernels::integer_matmul {

// Rows of a, one behind another. Bytes (group 4): flipped, zero beyond k, with the sum of each row. Words (group 2):
// flipped, less the zero point.
struct PackLeftArgs {
  const uint8_t* a;
  int64_t a_row;  // bytes, as is to_row
  std::byte* to;
  int64_t to_row;
  int64_t rows;
  int64_t vectors;      // that a row makes, less one for bytes
  const uint8_t* mask;  // bytes: of the last vector
  int32_t* sums;        // [rows], bytes
  uint32_t flip;        // a mask of four bytes, or of two words
  uint32_t zero_points;
};
std::shared_ptr<const Code> pack_left_code(const Isa& isa, int group);

// Columns of b: `panels` of lanes() columns, `quads` times four rows of each. sums[column] grow by what is packed (bytes).
struct PackRightArgs {
  const uint8_t* b;
  int64_t b_row;
  std::byte* to;
  int64_t panel_bytes;
  int64_t panels, quads;
  int32_t* sums;
  uint32_t flip;
  uint32_t zero_points;  // words
};
std::shared_ptr<const Code> pack_right_code(const Isa& isa, int group);

// (sums + column terms + row term) to the result. `whole` vectors, then a tail of as many as the code was made for.
struct StoreArgs {
  const int32_t* sums;
  int64_t sums_row;  // bytes
  std::byte* y;
  int64_t y_row;  // bytes
  int64_t rows, whole;
  const int32_t *column_terms, *row_terms;
  float scale, low, high;  // u8 and s8: bounds before the zero point
  int32_t zero_point;
};
std::shared_ptr<const Code> store_code(const Isa& isa, DType y, int64_t tail);

}  // namespace octet::kernels::integer_matmul
