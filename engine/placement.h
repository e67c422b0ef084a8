// Where every value of a plan lies: storage groups, halos, slices.
//
// Values that can share memory form a group: a reshape and its input, an in-place operator and the operand it overwrites,
// the inputs of a concatenation along channels and its output, an image and the parts it is split into along channels. A
// group of images lies channels-last with one pixel pitch (the sum of channels) and one halo (the largest any consumer asks
// for), so a slice is the same image at a channel offset:
//
//      concat group, one pixel:   [ a: c=64 | b: c=64 ]      a.offset = 0, b.offset = 64 bytes, both with pixel = 128
//
// Groups are what the memory planner places. All of this is decided before a kernel is made, from the graph alone.
#pragma once

#include <unordered_map>
#include <vector>

#include "engine/memory_planner.h"
#include "graph/ir.h"
#include "kernels/isa.h"
#include "kernels/layout.h"

namespace octet {

struct Halo {
  int top = 0, left = 0, bottom = 0, right = 0;
  bool empty() const { return top == 0 && left == 0 && bottom == 0 && right == 0; }
  void grow(const Halo& other);
  bool operator==(const Halo&) const = default;
};

struct Place {
  int group = -1;
  size_t offset = 0;             // arena bytes of the first element (channel 0 of pixel (0,0)); set by place_values
  bool image = false;            // channels-last; otherwise dense row-major
  kernels::ImageLayout strides;  // images only
  Halo halo;                     // images only: of the group
  int64_t channel_offset = 0;    // in elements, inside the group's pixel
};

struct Placement {
  std::unordered_map<const graph::Value*, Place> places;
  size_t arena_bytes = 0;
  const Place& at(const graph::Value* value) const { return places.at(value); }
  // Whether `part` is the channels of `whole` from `channel` on, in the same memory: nothing needs to be moved.
  bool is_slice(const graph::Value* part, const graph::Value* whole, int64_t channel) const {
    const auto p = places.find(part), w = places.find(whole);
    return p != places.end() && w != places.end() && p->second.image && p->second.group == w->second.group &&
           p->second.channel_offset == w->second.channel_offset + channel;
  }
};

// `isa`: the reference ISA takes no kernels, so nothing is an image and nothing is in place.
Placement place_values(const graph::Graph& graph, const kernels::Isa& isa);

}  // namespace octet
