// Scores and outputs of one query row from keys and values as they lie: packing them, which many rows share, would take
// several times as long as the row itself. A decoder's token is such a row, and its cache what would be packed.
//
//   scores    a[j] = sum over d of (q - zq) * k[j]  - 128 * sum of (q - zq)      a key a sum over its lanes, then transposed
//   outputs   o    = sum over j of p[j] * v[j]                                    two keys interleaved for each vpmaddwd
//
// Bytes are widened to words as they are read, so that every ISA is exact. What stands where there is no key repeats the
// last one, and meets a probability of 0. A cache comes from memory, so keys are fetched 64 ahead: twelve layers of 12 heads
// and 900 keys of 64, 16.6 MB, take 1.2 ms (14 GB/s), 1.7 without, 3 to 4 where they are packed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/attention/form.h"
#include "kernels/jit/cache.h"

namespace octet::kernels::attention {

struct RowScoreArgs {
  const uint8_t* k;
  const int32_t* offsets;  // bytes to each key
  const int16_t* q;        // [depth], less its zero point
  int64_t blocks;          // of lanes() keys
  int32_t* scores;
  int32_t start;
};
std::shared_ptr<const Code> row_scores_code(const Isa& isa, const Form& form);

struct RowOutputArgs {
  const uint8_t* v;
  const int32_t* offsets;  // bytes to each key, in the order of p
  const int16_t* p;
  int64_t pairs;  // of keys
  int32_t* o;     // written
};
// `columns`: at most kRowOutputs, in whole pairs of vectors.
inline constexpr int64_t kRowOutputs = 64;
std::shared_ptr<const Code> row_outputs_code(const Isa& isa, int64_t columns);

class Rows {
 public:
  // form.unpacked
  Rows(const Isa& isa, const Form& form, const AttentionProblem& problem);

  // Of the first `chunks` of keys.
  void scores(const int16_t* q, const uint8_t* k, int64_t chunks, int32_t* to) const noexcept;
  void outputs(const int16_t* p, const uint8_t* v, int64_t chunks, int32_t* o) const noexcept;

 private:
  const Form form_;
  std::vector<int32_t> key_offsets_, value_offsets_;
  std::shared_ptr<const Code> scores_, outputs_[2];  // of kRowOutputs columns, of the last ones
};

}  // namespace octet::kernels::attention
