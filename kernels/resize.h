// Resizing channels-last images along height and width, f32 or u8.
//
// Separable: each output row or column is a short list of taps, source index and weight. nearest has one tap of weight 1 and
// moves bytes. linear has one or two; columns are interpolated first, into float rows that neighbouring output rows share,
// then rows:
//
//   x row 3 ─┐  columns          ┌─ float row ─┐  rows
//   x row 4 ─┘  (fma over taps)  └─ float row ─┘  (fma over taps)  → y row 7, 8, 9, …
//
// Every sum is an FMA chain from +0 in the order of the taps; u8 stores the sum rounded half to even, saturated.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "kernels/layout.h"
#include "octet/types.h"

namespace octet::kernels {

struct ResizeTaps {
  int64_t index[2] = {0, 0};
  float weight[2] = {1, 0};
  int count = 1;
  bool operator==(const ResizeTaps&) const = default;
};

struct ResizeProblem {
  bool linear = false;
  DType dtype = DType::f32;  // f32 or u8; nearest: any type of `element` bytes
  int64_t element = 4;
  int64_t n = 1, c = 1;
  std::vector<ResizeTaps> rows, columns;  // one an output row or column
  // Axes that linear interpolation leaves alone: no sum is formed along them.
  bool keeps_rows = false, keeps_columns = false;
  ImageLayout x, y;
};

class Resize {
 public:
  virtual ~Resize() = default;
  // `workspace`: of this part, workspace_bytes().
  virtual void run(const void* x, void* y, void* workspace, int part, int parts) const noexcept = 0;
  virtual size_t workspace_bytes() const { return 0; }
  virtual std::string name() const = 0;
};
std::unique_ptr<Resize> make_resize(const Isa& isa, const ResizeProblem& problem);
void resize_reference(const ResizeProblem& problem, const void* x, void* y);

}  // namespace octet::kernels
