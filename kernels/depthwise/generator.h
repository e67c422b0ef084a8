// One depthwise kernel: a strip of `rows` output rows over the whole width, for a range of blocks of 16 or 64 channels.
//
// What is baked into the code is in Spec; pointers and counts travel in StripArgs. The blocks of weights: depthwise/pack.h.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/depthwise/pack.h"
#include "kernels/depthwise/schedule.h"
#include "kernels/isa.h"
#include "kernels/jit/assembler.h"
#include "kernels/jit/cache.h"
#include "kernels/jit/epilogue_emitter.h"

namespace octet::kernels::depthwise {

// Costs of a form on an ISA, for the planner.
Costs costs(const Isa& isa, Form form, bool wide);

struct Spec {
  IsaId isa = IsaId::reference;
  Form form = Form::int16;
  int rows = 1;             // of this strip
  int cols = 1;             // of a full block
  int tail_cols = 0;        // output width % cols
  int tail_channels = 0;    // channels % 16, or % 64 when wide
  bool spread = false;      // several output channels an input channel
  bool wide = false;        // blocks of 64 channels (pack.h)
  std::vector<int> planes;  // wide: of every tuple
  int copies = 1;           // wide: blocks of columns that a vector of the tail channels holds
  int copy_step = 0;        // columns from the last but one to the last such vector, at most cols * copies
  int64_t x_pixel = 0, x_row = 0, y_pixel = 0, y_row = 0, r_pixel = 0, r_row = 0;
  EpilogueForm epilogue;
};

struct StripArgs {
  const void* x = nullptr;  // window of the first output pixel, channel 0
  void* y = nullptr;        // first output pixel, channel 0
  const void* residual = nullptr;
  const void* weights = nullptr;          // of the first block
  const ChannelParams* params = nullptr;  // of the first block
  const EpilogueConstants* constants = nullptr;
  const int32_t* offsets = nullptr;  // looped plans: byte offset of every tap of every tuple
  const int32_t* offsets_end = nullptr;
  int64_t channel = 0;      // first
  int64_t blocks = 0;       // of 16 or 64 channels
  int64_t tail = 0;         // 1: then the tail_channels
  int64_t col_blocks = 0;   // of `cols` pixels
  int64_t copy_blocks = 0;  // of `cols` * `copies` pixels, the last one perhaps over pixels of the one before
};

std::unique_ptr<Assembler> generate_wide(const Isa& isa, const Spec& spec, const Plan& plan);

// Generated code, shared through the cache by all layers of the same spec.
class StripKernel {
 public:
  StripKernel() = default;
  StripKernel(const Spec& spec, const Plan& plan);
  void operator()(const StripArgs& args) const noexcept { entry_(&args); }

 private:
  std::shared_ptr<const Code> code_;
  void (*entry_)(const StripArgs*) = nullptr;
};

}  // namespace octet::kernels::depthwise
