// What both drivers do around the products: packing a head's keys and values, and finding rows of queries and masks.
#pragma once

#include <utility>

#include "kernels/attention/generators.h"
#include "kernels/partition.h"

namespace octet::kernels::attention {

template <class Args>
void call(const std::shared_ptr<const Code>& code, const Args& args) {
  code->entry<void (*)(const Args*)>()(&args);
}

inline const uint8_t* head_of(const void* base, const HeadLayout& layout, int64_t b, int64_t h) {
  return static_cast<const uint8_t*>(base) + b * layout.batch + h * layout.head;
}

// A block of query rows of one head, the n-th of all that threads share out.
struct Unit {
  int64_t head = 0, b = 0, h = 0;  // counted over all samples; sample and head in it
  int64_t kv = 0, packed = 0;      // its head of keys and values, in the sample and over all
  int64_t row = 0, rows = 0;       // the first one, and how many
};

// Arguments are those of a run with its parameters (with_parameters).
class Operands {
 public:
  Operands(const Isa& isa, const AttentionProblem& problem);

  const Form& form() const { return form_; }
  const Workspace& at() const { return at_; }
  int64_t units() const { return p_.batch * p_.heads * blocks(); }
  Unit unit(int64_t n) const noexcept;
  // attend(unit, whether its head is another than the one before) for the units of a part in order, behind pack(unit)
  // wherever keys and values become others.
  template <class Pack, class Attend>
  void walk(WorkRange mine, Pack pack, Attend attend) const noexcept {
    int64_t packed = -1, last = -1;
    for (int64_t n = mine.begin; n < mine.end; ++n) {
      const Unit u = unit(n);
      if (packed != u.packed) pack(u);
      attend(u, last != u.head);
      packed = u.packed;
      last = u.head;
    }
  }
  bool masked() const { return p_.masked || p_.causal; }

  void pack_keys(const AttentionArgs& args, const uint8_t* k) const noexcept;
  void pack_values(const AttentionArgs& args, const uint8_t* v, std::byte* packed) const noexcept;

  // Rows as the dot products read them, and the bytes between them: where they lie, unless they must be widened or a tile
  // would read beyond the last.
  std::pair<const std::byte*, int64_t> queries(const AttentionArgs& args, int64_t b, int64_t h, int64_t first,
                                               int64_t rows) const noexcept;

  struct MaskRows {
    const float* rows = nullptr;
    int64_t bytes = 0;  // between them
  };
  // Of `rows` queries; `room` >= rows of them may be read. `fresh`: the last call was for another head.
  MaskRows mask_rows(const AttentionArgs& args, int64_t b, int64_t h, int64_t first, int64_t rows, int64_t room,
                     bool fresh) const noexcept;

  void store(const AttentionArgs& args, int64_t b, int64_t h, int64_t first, int64_t rows) const noexcept;

 private:
  int64_t blocks() const { return (p_.queries + form_.rows - 1) / form_.rows; }
  bool mask_in_place() const { return p_.masked && !p_.causal && p_.mask[3] == 1 && p_.keys % form_.chunk == 0; }
  bool one_mask_row() const { return !p_.causal && p_.mask[2] == 0; }
  void pack_value_chunks(const AttentionArgs& args, PackValuesArgs pack, const uint8_t* v, std::byte* packed) const noexcept;
  const uint8_t* copy_last_values(const AttentionArgs& args, const uint8_t* v, int64_t there, int64_t all,
                                  int64_t& row) const noexcept;

  const AttentionProblem p_;
  const Form form_;
  const Workspace at_;
  const std::shared_ptr<const Code> pack_keys_, pack_values_, output_;
};

}  // namespace octet::kernels::attention
