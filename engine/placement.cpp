#include "engine/placement.h"

#include <algorithm>
#include <cassert>

#include "engine/lower/bounded.h"
#include "engine/lower/lower.h"
#include "engine/regions.h"
#include "graph/op_def.h"

namespace octet {

using graph::Graph;
using graph::Layout;
using graph::Node;
using graph::Value;

void Halo::grow(const Halo& other) {
  top = std::max(top, other.top);
  left = std::max(left, other.left);
  bottom = std::max(bottom, other.bottom);
  right = std::max(right, other.right);
}

namespace {

struct Member {
  const Value* value;
  int64_t channel;
};

struct Group {
  std::vector<Member> members;
  bool image = false;
  int64_t channels = 0;  // images: of one pixel
  Halo halo;
  bool fixed = false;  // graph inputs: may not become a slice or be overwritten
};

class Placer {
 public:
  Placer(const Graph& graph, const kernels::Isa& isa) : graph_(graph), kernels_(isa.id != kernels::IsaId::reference) {
    int index = 0;
    for (const auto& node : graph.nodes()) order_[node.get()] = index++;
    end_ = index;
  }

  Placement run() {
    demand_halos();
    for (Value* input : graph_.inputs())
      if (is_static(input)) groups_[static_cast<size_t>(new_group(input))].fixed = true;
    for (const auto& node : graph_.nodes()) {
      place_outputs(*node);
      if (kernels_ && node->op_name() == "Concat") gather_concat(*node);
    }
    return lay_out();
  }

 private:
  void demand_halos() {
    for (const auto& node : graph_.nodes()) {
      if (!kernels_) break;
      const LowerDef* def = find_lowering(*node);
      const Value* x = node->input(0);
      if (def && def->halo && x && x->layout == Layout::channels_last) demands_[x].grow(def->halo(*node));
    }
  }

  int new_group(const Value* value) {
    Group g;
    g.image = value->layout == Layout::channels_last;
    g.channels = g.image ? value->type().shape()[1] : 0;
    g.halo = demand(value);
    g.members.push_back({value, 0});
    groups_.push_back(std::move(g));
    const int id = static_cast<int>(groups_.size()) - 1;
    group_of_[value] = id;
    return id;
  }

  Halo demand(const Value* value) const {
    const auto it = demands_.find(value);
    return it == demands_.end() ? Halo{} : it->second;
  }

  int done_at(const Node& node) const {
    const Node* quantize = kernels_ ? foreseen_quantization(graph_, node) : nullptr;
    return order_.at(quantize ? quantize : &node);
  }

  int last_use(const Value* value) const {
    int last = -1;
    for (const graph::Use& use : value->uses()) last = std::max(last, done_at(*use.node));
    return graph_.is_output(value) ? end_ : last;
  }

  // The parts of an image split along its channels lie where the image lies.
  bool place_slices(const Node& node) {
    const Value* in = node.input(0);
    const auto it = node.op_name() == "Split" ? group_of_.find(in) : group_of_.end();
    if (it == group_of_.end() || in->layout != Layout::channels_last || node.attr("axis", int64_t{0}) != 1) return false;
    const int id = it->second;
    Group& g = groups_[static_cast<size_t>(id)];
    int64_t channel =
        std::find_if(g.members.begin(), g.members.end(), [&](const Member& m) { return m.value == in; })->channel;
    for (const Value* out : node.outputs()) {
      g.members.push_back({out, channel});
      g.halo.grow(demand(out));
      group_of_[out] = id;
      channel += out->type().shape()[1];
    }
    return true;
  }

  void place_outputs(const Node& node) {
    if (kernels_ && place_slices(node)) return;
    for (size_t i = 0; i < node.outputs().size(); ++i) {
      const Value* out = node.output(i);
      if (!is_static(out)) continue;
      const int shared = kernels_ && i == 0 ? shared_group(node) : -1;
      if (shared < 0) {
        new_group(out);
        continue;
      }
      Group& g = groups_[static_cast<size_t>(shared)];
      g.members.push_back({out, 0});
      g.halo.grow(demand(out));
      group_of_[out] = shared;
    }
  }

  // The group whose memory the node's first output takes over: a view of its input, or an operand it may overwrite.
  int shared_group(const Node& node) {
    const Value* out = node.output();
    if (is_view(node)) {
      const Value* in = node.input(0);
      const auto it = group_of_.find(in);
      if (it == group_of_.end()) return -1;
      const Group& g = groups_[static_cast<size_t>(it->second)];
      if (!g.image && in->layout == Layout::plain && out->layout == Layout::plain) return it->second;
      return -1;
    }
    if (!is_static(node)) return -1;
    const LowerDef* def = find_lowering(node);
    if (!def || !def->in_place) return -1;
    for (const int i : def->in_place(node)) {
      const Value* in = node.input(static_cast<size_t>(i));
      const auto it = in ? group_of_.find(in) : group_of_.end();
      if (it == group_of_.end()) continue;
      const Group& g = groups_[static_cast<size_t>(it->second)];
      const bool kept = node.attr("in_place", int64_t{0}) != 0;  // a cache that the session keeps (kept_cache.h)
      if ((g.fixed && !kept) || in->layout != out->layout || size_of(in->dtype()) != size_of(out->dtype()) ||
          in->type().shape() != out->type().shape())
        continue;
      const bool dies_here = std::all_of(g.members.begin(), g.members.end(), [&](const Member& m) {
        return m.channel == 0 && last_use(m.value) <= order_.at(&node) && m.value->layout == in->layout &&
               m.value->type().shape() == in->type().shape();
      });
      const auto uses_here =
          std::count_if(in->uses().begin(), in->uses().end(), [&](const graph::Use& u) { return u.node == &node; });
      if (dies_here && uses_here == 1 && (!g.image || g.channels == in->type().shape()[1])) return it->second;
    }
    return -1;
  }

  // Whether the inputs from `first` on, `count` of them, are all there is of their group, in order.
  bool fills_group(const Node& node, size_t first, size_t& count) const {
    const auto it = group_of_.find(node.input(first));
    if (it == group_of_.end()) return false;
    const Group& g = groups_[static_cast<size_t>(it->second)];
    if (!g.image || g.fixed) return false;
    int64_t channel = 0;
    for (count = 0; first + count < node.inputs().size() && channel < g.channels; ++count) {
      const Value* in = node.input(first + count);
      const auto at = std::find_if(g.members.begin(), g.members.end(), [&](const Member& m) { return m.value == in; });
      if (at == g.members.end() || at->channel != channel || in->layout != Layout::channels_last) return false;
      channel += in->type().shape()[1];
    }
    return channel == g.channels;
  }

  // Makes the inputs of a channel concatenation slices of its output's group: runs of inputs that make up a group of theirs,
  // one value or the slices of a concatenation before (DenseNet reads the same features again with one more).
  void gather_concat(const Node& node) {
    const Value* out = node.output();
    if (out->layout != Layout::channels_last || node.attr("axis", int64_t{0}) != 1) return;
    const int target = group_of_.at(out);
    int64_t channel = 0;
    for (size_t i = 0, count = 0; i < node.inputs().size(); i += count) {
      const bool whole = fills_group(node, i, count);
      if (!whole) count = 1;
      const int from = whole ? group_of_.at(node.input(i)) : -1;
      if (whole && from != target) {
        Group& g = groups_[static_cast<size_t>(from)];
        Group& t = groups_[static_cast<size_t>(target)];
        for (const Member& m : g.members) {
          t.members.push_back({m.value, m.channel + channel});
          group_of_[m.value] = target;
        }
        t.halo.grow(g.halo);
        g.members.clear();
      }
      for (size_t k = 0; k < count; ++k) channel += node.input(i + k)->type().shape()[1];
    }
  }

  Placement lay_out() {
    Placement placement;
    std::vector<BufferRequest> requests;
    std::vector<int> live;
    std::vector<size_t> base(groups_.size(), 0);
    for (size_t id = 0; id < groups_.size(); ++id) {
      Group& g = groups_[id];
      if (g.members.empty()) continue;
      BufferRequest request{0, end_, 0};
      for (const Member& m : g.members) {
        const Node* producer = m.value->producer();
        request.first = std::min(request.first, producer ? order_.at(producer) : 0);
        request.last = std::max(request.last, producer ? last_use(m.value) : end_);
        if (producer) request.last = std::max(request.last, order_.at(producer));
        Place place;
        place.group = static_cast<int>(id);
        place.image = g.image;
        const Shape shape = m.value->type().shape();
        const auto element = static_cast<int64_t>(size_of(m.value->dtype()));
        size_t bytes = static_cast<size_t>(element_count(shape) * element);
        if (g.image) {
          place.halo = g.halo;
          place.strides.pixel = g.channels * element;
          place.strides.row = (shape[3] + g.halo.left + g.halo.right) * place.strides.pixel;
          place.strides.image = (shape[2] + g.halo.top + g.halo.bottom) * place.strides.row;
          place.channel_offset = m.channel;
          place.offset =
              static_cast<size_t>(g.halo.top * place.strides.row + g.halo.left * place.strides.pixel + m.channel * element);
          bytes = static_cast<size_t>(shape[0] * place.strides.image);
        }
        request.bytes = std::max(request.bytes, bytes + 2 * static_cast<size_t>(kernels::kSlack));
        placement.places[m.value] = place;
      }
      requests.push_back(request);
      live.push_back(static_cast<int>(id));
    }
    const MemoryPlan plan = plan_memory(requests);
    for (size_t i = 0; i < live.size(); ++i) base[static_cast<size_t>(live[i])] = plan.offsets[i];
    for (auto& [value, place] : placement.places)
      place.offset += base[static_cast<size_t>(place.group)] + static_cast<size_t>(kernels::kSlack);
    placement.arena_bytes = plan.total;
    return placement;
  }

  const Graph& graph_;
  const bool kernels_;
  int end_ = 0;
  std::unordered_map<const Node*, int> order_;
  std::unordered_map<const Value*, Halo> demands_;
  std::unordered_map<const Value*, int> group_of_;
  std::vector<Group> groups_;
};

}  // namespace

Placement place_values(const Graph& graph, const kernels::Isa& isa) { return Placer(graph, isa).run(); }

}  // namespace octet
