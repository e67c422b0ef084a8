// Where: y = condition ? a : b, of elements of 4 bytes, which are moved as they are.
//
// A tensor walked as `rows` runs of `length` elements; strides in elements. Each operand may be broadcast along the run
// (inner 0) and over the rows (outer 0); y's runs are contiguous.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/isa.h"

namespace octet::kernels {

struct SelectProblem {
  int64_t rows = 1, length = 1;
  int64_t condition_outer = 0, a_outer = 0, b_outer = 0, y_outer = 0;
  int64_t condition_inner = 1, a_inner = 1, b_inner = 1;  // 0 or 1
};

struct SelectArgs {
  const uint8_t* condition = nullptr;  // 0: b
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;  // may be a or b where that is not broadcast
};

class Select {
 public:
  virtual ~Select() = default;
  virtual void run(const SelectArgs& args, int part, int parts) const noexcept = 0;
  virtual std::string name() const = 0;
};

std::unique_ptr<Select> make_select(const Isa& isa, const SelectProblem& problem);
void select_reference(const SelectProblem& problem, const SelectArgs& args);

}  // namespace octet::kernels
