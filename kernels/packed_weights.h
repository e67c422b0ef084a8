// What pack_weights returns: the facts about integer weights that every family needs, and one family's own payload.
//
// The product, depthwise and AMX families each pack in their own way and keep their result behind `payload`; make_conv hands a
// PackedWeights back to the family named by `kind`, which is the only one to look inside. Weights are immutable once packed and
// shared by sessions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/conv.h"
#include "kernels/isa.h"
#include "octet/types.h"

namespace octet::kernels {

enum class PackedKind : uint8_t { reference, product, depthwise, amx, weight_only };

// The parts of a shape that packing depends on.
struct PackedShape {
  int64_t oc = 1, ic = 1, kh = 1, kw = 1, groups = 1, dilation_h = 1, dilation_w = 1;
  bool operator==(const PackedShape&) const = default;
};
inline PackedShape packed_shape(const ConvShape& s) {
  return {s.oc, s.ic, s.kh, s.kw, s.groups, s.dilation_h, s.dilation_w};
}

// Integer weights, one entry an output channel. All sums are of w - zero_point.
//   bias    int32 bias - x_zero_point * column_sum, modulo 2^32 (x_zero_point_at_run: the int32 bias alone)
//   bound   no sum plus bias exceeds this magnitude, whatever the u8 activations and, if set at run, their zero point; at most
//           2^31, which is where int32 wraps
struct IntegerFacts {
  std::vector<int32_t> column_sum;
  std::vector<int32_t> bias;
  std::vector<int64_t> bound;
};
IntegerFacts integer_facts(const ConvShape& shape, const ConvWeights& weights);

class PackedWeights {
 public:
  IsaId isa = IsaId::reference;
  PackedKind kind = PackedKind::reference;
  PackedShape shape;
  DType dtype = DType::f32;  // f32, or s8 for integers of either sign
  bool x_zero_point_at_run = false;
  IntegerFacts facts;  // empty for f32
  size_t bytes = 0;    // memory of the packed form
  std::string description;
  std::shared_ptr<const void> payload;

  template <class T>
  const T& as() const {
    return *static_cast<const T*>(payload.get());
  }
};

// Fills everything but kind, bytes, description and payload.
PackedWeights start_packing(const Isa& isa, const ConvShape& shape, const ConvWeights& weights);

// The value of weight (n, c, y, x) less its zero point, in [-255, 255].
class IntegerWeightReader {
 public:
  IntegerWeightReader(const ConvShape& shape, const ConvWeights& weights)
      : bytes_(static_cast<const uint8_t*>(weights.data)),
        zero_points_(weights.zero_points),
        flip_(weights.dtype == DType::s8 ? 0x80 : 0),
        per_channel_(shape.ic / shape.groups * shape.kh * shape.kw) {}
  int32_t zero_point(int64_t n) const {
    return zero_points_.empty() ? 0 : zero_points_[zero_points_.size() == 1 ? 0 : static_cast<size_t>(n)];
  }
  // i runs over [ic/groups][kh][kw] of channel n.
  int32_t at(int64_t n, int64_t i) const {
    const uint8_t raw = bytes_[n * per_channel_ + i];
    return static_cast<int32_t>(static_cast<uint8_t>(raw ^ flip_)) - flip_ - zero_point(n);
  }
  int64_t per_channel() const { return per_channel_; }

 private:
  const uint8_t* bytes_;
  std::span<const int32_t> zero_points_;
  int32_t flip_;
  int64_t per_channel_;
};

}  // namespace octet::kernels
