#include "engine/lower/bind.h"

#include "graph/ir.h"

namespace octet {

Walk walk(const Lowering& lowering, const std::vector<const graph::Value*>& values) {
  Walk w;
  const Shape shape = values[0]->type().shape();
  bool image = false;
  for (const auto* v : values) image = image || (!v->is_constant() && lowering.place(v).image);
  if (!image) {
    w.length = element_count(shape);
    w.operands.assign(values.size(), {{0}, 0});
    return w;
  }
  const int64_t n = shape[0], c = shape[1], h = shape[2], width = shape[3];
  bool dense_pixels = true, dense_rows = true, dense_images = true;
  for (const auto* v : values) {
    const kernels::ImageLayout& s = lowering.place(v).strides;
    dense_pixels = dense_pixels && s.pixel == c * static_cast<int64_t>(size_of(v->dtype()));
    dense_rows = dense_rows && s.row == width * s.pixel;
    dense_images = dense_images && s.image == h * s.row;
  }
  for (const auto* v : values) {
    const kernels::ImageLayout& s = lowering.place(v).strides;
    const auto element = static_cast<int64_t>(size_of(v->dtype()));
    Walk::Operand o;
    if (dense_pixels && dense_rows && (dense_images || n == 1)) {
      w.rows = 1, w.length = n * h * width * c;
      o.starts = {0};
    } else if (dense_pixels && dense_rows) {
      w.rows = n, w.length = h * width * c;
      o.starts = {0}, o.row = s.image / element;
    } else if (dense_pixels) {
      w.rows = h, w.length = width * c, o.row = s.row / element;
      for (int64_t i = 0; i < n; ++i) o.starts.push_back(i * s.image);
    } else if (dense_rows) {
      w.rows = h * width, w.length = c, o.row = s.pixel / element;
      for (int64_t i = 0; i < n; ++i) o.starts.push_back(i * s.image);
    } else {
      w.rows = width, w.length = c, o.row = s.pixel / element;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t y = 0; y < h; ++y) o.starts.push_back(i * s.image + y * s.row);
    }
    w.operands.push_back(std::move(o));
  }
  return w;
}

Walk walk_samples(const Lowering& lowering, const std::vector<const graph::Value*>& images) {
  Walk w;
  const Shape shape = images[0]->type().shape();
  bool dense_rows = true;
  for (const auto* v : images) {
    const kernels::ImageLayout& s = lowering.place(v).strides;
    dense_rows = dense_rows && s.row == shape[3] * s.pixel;
  }
  const int64_t blocks_a_sample = dense_rows ? 1 : shape[2];
  w.rows = dense_rows ? shape[2] * shape[3] : shape[3];
  w.length = shape[1];
  for (const auto* v : images) {
    const kernels::ImageLayout& s = lowering.place(v).strides;
    Walk::Operand o;
    o.row = s.pixel / static_cast<int64_t>(size_of(v->dtype()));
    for (int64_t n = 0; n < shape[0]; ++n)
      for (int64_t y = 0; y < blocks_a_sample; ++y) o.starts.push_back(n * s.image + y * s.row);
    w.operands.push_back(std::move(o));
  }
  return w;
}

BroadcastWalk broadcast_walk(const Shape& shape, const std::vector<const graph::Value*>& values) {
  struct Axis {
    int64_t size;
    std::vector<int64_t> steps;  // of each value, in elements
  };
  std::vector<Axis> axes;
  std::vector<int64_t> below(values.size());  // elements of each value behind the axis before
  for (size_t v = 0; v < values.size(); ++v) below[v] = element_count(values[v]->type().shape());
  for (size_t i = 0; i < shape.size(); ++i) {
    Axis axis{shape[i], std::vector<int64_t>(values.size(), 0)};
    bool continues = !axes.empty();
    for (size_t v = 0; v < values.size(); ++v) {
      const Shape own = values[v]->type().shape();
      const size_t lead = shape.size() - own.size();
      const int64_t size = i < lead ? 1 : own[i - lead];
      below[v] /= size;
      if (size != 1) axis.steps[v] = below[v];
      continues = continues && axes.back().steps[v] == axis.size * axis.steps[v];
    }
    if (shape[i] == 1) continue;
    if (continues) {
      axis.size *= axes.back().size;
      axes.back() = std::move(axis);
    } else {
      axes.push_back(std::move(axis));
    }
  }
  const auto take = [&] {
    Axis last = axes.empty() ? Axis{1, std::vector<int64_t>(values.size(), 0)} : std::move(axes.back());
    if (!axes.empty()) axes.pop_back();
    return last;
  };
  const Axis run = take(), rows = take();
  BroadcastWalk b;
  b.walk.length = run.size;
  b.walk.rows = rows.size;
  b.inner = run.steps;
  for (size_t v = 0; v < values.size(); ++v) {
    std::vector<int64_t> starts{0};
    for (const Axis& axis : axes) {
      std::vector<int64_t> finer;
      for (const int64_t start : starts)
        for (int64_t i = 0; i < axis.size; ++i)
          finer.push_back(start + i * axis.steps[v] * static_cast<int64_t>(size_of(values[v]->dtype())));
      starts = std::move(finer);
    }
    b.walk.operands.push_back({std::move(starts), rows.steps[v]});
  }
  return b;
}

StepInfo& add_walk_step(Lowering& lowering, const graph::Node& node, std::shared_ptr<const kernels::Kernel> kernel,
                        const Walk& walk, const std::vector<const graph::Value*>& values, const Location* broadcast_b) {
  struct Bound {
    Location at;
    std::vector<int64_t> starts;
  };
  std::vector<Bound> bound;
  for (size_t i = 0; i < values.size(); ++i) bound.push_back({lowering.location(values[i]), walk.operands[i].starts});
  const std::string name = kernel->name();
  const bool apart = broadcast_b != nullptr;
  const Location b = apart ? *broadcast_b : Location{};
  return lowering.add_step(
      node, name,
      [kernel = std::move(kernel), bound = std::move(bound), apart, b](const RunContext& context, int part, int parts) {
        for (size_t i = 0; i < bound[0].starts.size(); ++i) {
          const auto at = [&](size_t operand) { return bound[operand].at.in(context) + bound[operand].starts[i]; };
          kernels::KernelArgs args;
          args.y = at(0);
          args.a = at(1);
          args.b = apart ? b.in(context) : bound.size() > 2 ? at(2) : nullptr;
          kernel->run(args, part, parts);
        }
      });
}

}  // namespace octet
