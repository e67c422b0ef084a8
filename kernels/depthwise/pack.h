// What the depthwise family keeps behind PackedWeights::payload: the plan, and the weights as blocks of 16 channels.
//
//   for every 16 output channels one block, the next one right behind it:
//     [header: 128 bytes, only when one input channel has several output channels]
//     [tuple 0: 64 bytes] [tuple 1] ...
//
// A tuple holds, channel by channel, its weights in one 32-bit lane: a float, two int16, or four int8; holes and channels
// past the last are zero.
//
// Wide weights (bytes, 64-byte vectors, one output channel an input channel) have blocks of 64 channels and tuples of four
// vectors in the interleaved order of kernels/jit/epilogue_emitter.h. The last block repeats itself with a period of 16 or
// 32 channels when it has no more, so that one vector may hold the same channels of four or two output columns.
//
// The header holds the shuffle that spreads input channels over the 16 outputs (16 bytes, or 16
// dwords for float) and at kHeaderOffset two int32: the first input channel read for lane 0 and, float only, for the second
// vector.
#pragma once

#include <cstdint>

#include "kernels/aligned_buffer.h"
#include "kernels/depthwise/schedule.h"

namespace octet::kernels::depthwise {

inline constexpr int kBlockChannels = 16, kWideBlockChannels = 64;
inline constexpr int kTupleBytes = 64;  // of 16 channels
inline constexpr int kHeaderBytes = 128;
inline constexpr int kHeaderOffset = 64;

// How a lane is multiplied.
enum class Form : uint8_t { f32, int16, int8 };
constexpr int taps(Form form) { return form == Form::f32 ? 1 : form == Form::int16 ? 2 : 4; }

// After how many channels a wide block of `channels` repeats itself.
constexpr int wide_period(int64_t channels) { return channels <= 16 ? 16 : channels <= 32 ? 32 : 64; }

struct Packed {
  Form form = Form::f32;
  bool wide = false;
  Plan plan;
  int64_t multiplier = 1;  // output channels an input channel
  AlignedBuffer data;

  int block_channels() const { return wide ? kWideBlockChannels : kBlockChannels; }
  int tuple_bytes() const { return block_channels() / kBlockChannels * kTupleBytes; }
  int block_bytes() const {
    return (multiplier > 1 ? kHeaderBytes : 0) + static_cast<int>(plan.tuples.size()) * tuple_bytes();
  }
};

}  // namespace octet::kernels::depthwise
