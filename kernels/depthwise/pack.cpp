#include "kernels/depthwise/pack.h"

#include <cassert>
#include <cstring>

#include "kernels/depthwise.h"
#include "kernels/depthwise/generator.h"
#include "kernels/packed_weights.h"

namespace octet::kernels {
namespace depthwise {
namespace {

bool fits_s8(const IntegerWeightReader& reader, const ConvShape& shape) {
  for (int64_t n = 0; n < shape.oc; ++n)
    for (int64_t p = 0; p < reader.per_channel(); ++p)
      if (const int32_t w = reader.at(n, p); w < -128 || w > 127) return false;
  return true;
}

Form choose_form(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  if (weights.dtype == DType::f32) return Form::f32;
  const bool dot = isa.dot == DotKind::vpdpbusd || isa.dot == DotKind::tile;
  return dot && fits_s8(IntegerWeightReader(shape, weights), shape) ? Form::int8 : Form::int16;
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
    for (const Tuple& tuple : packed.plan.tuples)
      for (int q = 0; q < 4; ++q)
        for (int i = 0; i < 16; ++i, at += 4) {
          const int64_t n = base + interleaved_channel(q, i) % period;
          if (n >= channels) continue;
          for (int tap = 0; tap < kMaxTaps; ++tap)
            if (const int position = tuple[static_cast<size_t>(tap)]; position != kHole)
              put<int8_t>(at + tap, reader.at(n, position));
        }
  }
}

Packed pack(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  Packed packed;
  packed.multiplier = shape.oc / shape.ic;
  packed.form = choose_form(isa, shape, weights);
  const Window window{static_cast<int>(shape.kh),         static_cast<int>(shape.kw),
                      static_cast<int>(shape.stride_h),   static_cast<int>(shape.stride_w),
                      static_cast<int>(shape.dilation_h), static_cast<int>(shape.dilation_w)};
  packed.wide = packed.form == Form::int8 && isa.zmm() && packed.multiplier == 1;
  packed.plan = make_plan(window, taps(packed.form), costs(isa, packed.form, packed.wide));
  if (packed.wide && packed.plan.looped) {
    packed.wide = false;
    packed.plan = make_plan(window, taps(packed.form), costs(isa, packed.form, false));
  }

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
  return std::string(kForms[static_cast<size_t>(packed.form)]) + (packed.wide ? " of 64 channels, " : ", ") +
         std::to_string(plan.tuples.size()) + " tuples, " + (plan.looped ? "looped, " : "") + std::to_string(plan.rows) +
         "x" + std::to_string(plan.cols) + " pixels";
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
