// Convolution and matrix product: the engine's door to the product kernels.
//
// A product y[m][n] = epilogue(sum over k of x[m, k] * w[n, k]) where row m is an output pixel (or a matrix row) and k runs
// over kernel row, kernel column, channel. A GEMM is a 1x1 convolution over an image of one row and M columns. Weights are
// packed once per ISA, independent of image size (PackedWeights, shared by sessions and plans); a Conv binds them to one
// shape, one set of layouts and one epilogue when a plan is made, choosing blocking and kernels; run() executes part `part`
// of `parts`.
//
// The image x is read in place: its halo must be at least the padding (bottom and right: as far as the last kernel tap
// reaches), filled with the zero point (u8) or 0 (f32). Integer kernels may read up to kSlack bytes past any pixel run; such
// bytes meet zero weights. Groups: channels of group g are [g*ic/groups, (g+1)*ic/groups), likewise for outputs; ic and oc
// are totals. groups == ic (depthwise, any multiplier) takes the depthwise family.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/epilogue.h"
#include "kernels/isa.h"
#include "kernels/layout.h"
#include "kernels/prefetch.h"

namespace octet::kernels {

struct ConvShape {
  int64_t n = 1, ic = 1, ih = 1, iw = 1;
  int64_t oc = 1, oh = 1, ow = 1;
  int64_t kh = 1, kw = 1;
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0;
  int64_t groups = 1;
  bool operator==(const ConvShape&) const = default;
};

// Weights in the layout an ISA's kernels read, with everything that was proved or corrected at packing.
class PackedWeights;

// Products of up to four rows read every weight for little work: tiles would be nearly empty, vectors keep up with memory.
inline bool few_rows(const ConvShape& s) { return s.n * s.oh * s.ow <= 4; }

struct ConvWeights {
  // Dense [oc][ic/groups][kh][kw] (ONNX order). f32, or s8/u8 with zero points.
  const void* data = nullptr;
  DType dtype = DType::f32;              // f32, s8, u8
  std::span<const int32_t> zero_points;  // empty (all 0), size 1, or one an output channel
  std::span<const int32_t> bias;         // int32 bias, empty or size oc; integer weights only
  int32_t x_zero_point = 0;              // folded into the bias; ignored when x_zero_point_at_run
  bool x_zero_point_at_run = false;      // dynamic quantization: ConvArgs::x_zero_point
};

// Whether a table that makes other bytes of a product's 8 bits is best a stage of its epilogue (Epilogue::table). Beside tile
// products its shuffles cost little: efficientnet_b0's tile convolutions and their tables 463 us as steps of their own, 419
// joined; bert_base's first FFN products and GELU 3.48 ms and 3.29. Vector kernels have no ports to spare for them: depthwise
// 516 and 552, vpdpbusd 210 and 219.
bool joins_table(const Isa& isa, const PackedWeights& weights);

// Depends on oc, ic, kh, kw, groups, dilation of `shape`, and on the number of rows where they are few (few_rows); not else
// on image sizes.
std::shared_ptr<const PackedWeights> pack_weights(const Isa& isa, const ConvShape& shape, const ConvWeights& weights);
size_t packed_bytes(const PackedWeights& weights);
// One line for `octet inspect`: e.g. "bins: 2.71 uops a group, 23 % xor" or "panels of 16".
std::string describe(const PackedWeights& weights);

struct ConvArgs {
  const void* x = nullptr;  // u8 or f32
  void* y = nullptr;
  const void* residual = nullptr;  // u8 or f32, layout as given to make_conv
  void* workspace = nullptr;       // per thread, Conv::workspace_bytes(), 64-byte aligned
  float x_scale = 1.0f;            // dynamic quantization: multiplies every scale[n] (epilogue out f32, or u8 of values)
  int32_t x_zero_point = 0;        // dynamic quantization
  float* range = nullptr;          // Epilogue::keeps_range: {least, greatest} of this part, widened by its run; or null
};

class Conv {
 public:
  virtual ~Conv() = default;
  virtual void run(const ConvArgs& args, int part, int parts) const noexcept = 0;
  virtual size_t workspace_bytes() const { return 0; }
  virtual std::string name() const = 0;  // "conv u8s8 avx2 8x8 bins", for profile and inspect
  // The packed weights that a part reads, in order of use, whether others can be fetched into the second-level cache
  // meanwhile, and which by each part (prefetch.h).
  virtual std::vector<ByteRange> weight_ranges(int /*part*/, int /*parts*/) const { return {}; }
  virtual bool fetches() const { return false; }
  virtual void set_prefetch(std::span<const std::vector<ByteRange>> /*of_parts*/) {}
};

struct ConvProblem {
  ConvShape shape;
  ImageLayout x, y, residual;
  Epilogue epilogue;
  DType x_dtype = DType::u8;  // u8 or f32
};

// Null with a reason when the family cannot do it (then the operator's scalar form runs).
std::unique_ptr<Conv> make_conv(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights,
                                int threads, std::string* reason);

// The scalar specification, written from the formulas alone; works for every problem above. Not threaded.
void conv_reference(const ConvProblem& problem, const ConvWeights& weights, const ConvArgs& args);

}  // namespace octet::kernels
