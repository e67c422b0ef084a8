// Passes rewrite a graph in place. The list in pass.cpp is their order; it is the only place that names them all.
//
// The manager does the dull work for each: skips it when disabled by name, times it, verifies the graph after it, and hands
// the graph to `dump` when asked. A pass opens with the before → after it performs and says when it declines; a node it
// declines gets a sentence in `Node::why`.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

struct PassOptions {
  std::vector<std::string> disabled;  // names; an unknown one throws Error invalid_argument listing the known ones
  bool verify_each = true;
  std::function<void(std::string_view pass, const Graph&)> dump;  // after each pass that changed something
};

struct PassTiming {
  std::string_view name;
  double ms = 0;
  int changes = 0;
};

struct Pass {
  std::string_view name;
  int (*run)(Graph&);  // number of rewrites made
};

std::span<const Pass> all_passes();

// Brings an imported graph into the form that lowering takes: folded, canonicalised, quantized, fused.
std::vector<PassTiming> optimize(Graph& graph, const PassOptions& options = {});

// Marks image values channels-last where `wants_channels_last(node)` holds, and puts octet.Reorder at the borders. Apart
// from the list above: it runs last, and only for execution on kernels. Interface values stay plain. layout.cpp says who
// follows whom.
//
// Asked about: operators of LayoutRole::channels_last, and, beyond those, Slice, Split and Pad (may they run channels-last?)
// and the Transposes (0,3,1,2) and (0,2,3,1) (may their N, C, H, W side lie channels-last? Then they move no byte), and a
// QuantizeLinear of a plain image (may its output lie channels-last?). Other element-wise operators and Concat along the
// channels are not: they follow their operands.
void assign_layouts(Graph& graph, const std::function<bool(const Node&)>& wants_channels_last);

// Weights [outputs][channels][kernel...] that read a tensor whose channels may be permuted; output_order[i] is the output
// that will lie at place i, empty: in order.
struct ChannelUse {
  const Tensor* weights;
  std::span<const int64_t> output_order;
};
// order[i] is the channel to lie at place i; `within_panels`: a channel stays among the `columns` it was with.
using ChooseChannelOrder =
    std::function<std::vector<int64_t>(std::span<const ChannelUse> uses, int64_t channels, int columns, bool within_panels)>;

// Permutes the channels between quantized products as `choose` says, for kernels whose cost depends on which channels are
// neighbours and which outputs share a panel of `columns`. order_channels.cpp says which tensors have a free order. Results
// and interface stay as they are. Returns the number of products changed. Apart from the list above, as it depends on the
// machine.
int order_channels(Graph& graph, int columns, const ChooseChannelOrder& choose);

}  // namespace octet::graph
