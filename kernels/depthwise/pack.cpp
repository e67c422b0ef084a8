#include "kernels/depthwise/pack.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "kernels/depthwise.h"
#include "kernels/depthwise/generator.h"
#include "kernels/packed_weights.h"

namespace octet::kernels {
namespace depthwise {
namespace {

struct Range {
  int32_t low = 0, high = 0;
  bool within(int32_t lowest, int32_t highest) const { return low >= lowest && high <= highest; }
};

Range range_of(const IntegerWeightReader& reader, int64_t channels) {
  Range range;
  for (int64_t n = 0; n < channels; ++n)
    for (int64_t p = 0; p < reader.per_channel(); ++p) {
      range.low = std::min(range.low, reader.at(n, p));
      range.high = std::max(range.high, reader.at(n, p));
    }
  return range;
}

int32_t first_plane(int32_t w) { return std::clamp(w, -128, 127); }

std::vector<int> count_planes(const Plan& plan, const IntegerWeightReader& reader, int64_t channels) {
  std::vector<int> planes;
  for (const Tuple& tuple : plan.tuples) {
    bool beyond = false;
    for (int position : tuple)
      for (int64_t n = 0; n < channels && position != kHole; ++n)
        beyond |= reader.at(n, position) != first_plane(reader.at(n, position));
    planes.push_back(beyond ? 2 : 1);
  }
  return planes;
}

// Form, layout and plan.
void choose(Packed& packed, const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  const Window window{static_cast<int>(shape.kh),         static_cast<int>(shape.kw),
                      static_cast<int>(shape.stride_h),   static_cast<int>(shape.stride_w),
                      static_cast<int>(shape.dilation_h), static_cast<int>(shape.dilation_w)};
  const auto plan = [&](Form form, bool wide) { return make_plan(window, taps(form), costs(isa, form, wide)); };
  if (weights.dtype != DType::f32) {
    const IntegerWeightReader reader(shape, weights);
    const Range range = range_of(reader, shape.oc);
    const bool dot = isa.dot == DotKind::vpdpbusd || isa.dot == DotKind::tile;
    if (dot && isa.zmm() && packed.multiplier == 1 && range.within(2 * -128, 2 * 127)) {
      packed.plan = plan(Form::int8, true);
      packed.form = Form::int8;
      packed.wide = !packed.plan.looped;
      if (packed.wide) {
        packed.planes = count_planes(packed.plan, reader, shape.oc);
        return;
      }
    }
    packed.form = dot && range.within(-128, 127) ? Form::int8 : Form::int16;
  }
  packed.plan = plan(packed.form, false);
}

template <class T, class V>
void put(std::byte* at, V value) {
  const auto narrow = static_cast<T>(value);
  assert(narrow == value);
  std::memcpy(at, &narrow, sizeof narrow);
}

void put_header(std::byte* header, const Isa& isa, Form form, int64_t n, int64_t multiplier) {
  const int group = form == Form::f32 ? isa.lanes() : kBlockChannels;  // output channels of one load
  for (int i = 0; i < kBlockChannels; ++i) {
    const int64_t first = (n + i / group * group) / multiplier;
    const int64_t from = (n + i) / multiplier - first;
    if (form == Form::f32)
      put<int32_t>(header + 4 * i, from);
    else
      put<uint8_t>(header + i, from);
    put<int32_t>(header + kHeaderOffset + 4 * (i / group), first);
  }
}

// Every place of a wide tuple, in the order of memory.
void put_wide(Packed& packed, const IntegerWeightReader& reader, int64_t channels) {
  for (int64_t base = 0; base < channels; base += kWideBlockChannels) {
    std::byte* at = packed.data.as<std::byte>() + base / kWideBlockChannels * packed.block_bytes();
    const int period = wide_period(channels - base);
    for (size_t t = 0; t < packed.planes.size(); ++t)
      for (int plane = 0; plane < packed.planes[t]; ++plane)
        for (int q = 0; q < 4; ++q)
          for (int i = 0; i < 16; ++i, at += 4) {
            const int64_t n = base + interleaved_channel(q, i) % period;
            for (size_t tap = 0; tap < kMaxTaps && n < channels; ++tap) {
              const int position = packed.plan.tuples[t][tap];
              if (position == kHole) continue;
              const int32_t w = reader.at(n, position);
              put<int8_t>(at + tap, plane == 0 ? first_plane(w) : w - first_plane(w));
            }
          }
  }
}

Packed pack(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  Packed packed;
  packed.multiplier = shape.oc / shape.ic;
  choose(packed, isa, shape, weights);
  const int64_t blocks = (shape.oc + packed.block_channels() - 1) / packed.block_channels();
  packed.data = AlignedBuffer(static_cast<size_t>(blocks * packed.block_bytes()));
  const bool is_float = packed.form == Form::f32;
  const IntegerWeightReader reader(shape, weights);
  if (packed.wide) {
    put_wide(packed, reader, shape.oc);
    return packed;
  }
  for (int64_t n = 0; n < shape.oc; ++n) {
    std::byte* at = packed.data.as<std::byte>() + n / kBlockChannels * packed.block_bytes();
    if (packed.multiplier > 1) {
      if (n % kBlockChannels == 0) put_header(at, isa, packed.form, n, packed.multiplier);
      at += kHeaderBytes;
    }
    at += 4 * (n % kBlockChannels);
    for (const Tuple& tuple : packed.plan.tuples) {
      for (int i = 0; i < taps(packed.form); ++i) {
        const int position = tuple[static_cast<size_t>(i)];
        if (position == kHole) continue;
        if (is_float)
          std::memcpy(at, static_cast<const float*>(weights.data) + n * shape.kh * shape.kw + position, 4);
        else if (packed.form == Form::int16)
          put<int16_t>(at + 2 * i, reader.at(n, position));
        else
          put<int8_t>(at + i, reader.at(n, position));
      }
      at += kTupleBytes;
    }
  }
  return packed;
}

std::string describe(const Packed& packed) {
  constexpr const char* kForms[] = {"f32", "int16 pairs", "int8 quads"};
  const Plan& plan = packed.plan;
  const bool two_planes = std::find(packed.planes.begin(), packed.planes.end(), 2) != packed.planes.end();
  return std::string(kForms[static_cast<size_t>(packed.form)]) + (packed.wide ? " of 64 channels" : "") +
         (two_planes ? " in two planes, " : ", ") + std::to_string(plan.tuples.size()) + " tuples, " +
         (plan.looped ? "looped, " : "") + std::to_string(plan.rows) + "x" + std::to_string(plan.cols) + " pixels";
}

}  // namespace
}  // namespace depthwise

std::shared_ptr<const PackedWeights> pack_depthwise(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  assert(shape.groups == shape.ic && shape.oc % shape.ic == 0 && isa.dot != DotKind::none);
  auto payload = std::make_shared<const depthwise::Packed>(depthwise::pack(isa, shape, weights));
  PackedWeights packed = start_packing(isa, shape, weights);
  packed.kind = PackedKind::depthwise;
  packed.bytes = payload->data.bytes();
  packed.description = depthwise::describe(*payload);
  packed.payload = std::move(payload);
  return std::make_shared<const PackedWeights>(std::move(packed));
}

}  // namespace octet::kernels
