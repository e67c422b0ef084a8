// LSTM, GRU and RNN onto the product kernels: x * W for the whole sequence as one product of all threads, then the
// recurrence, step by step, with h * R through the same kernels and the gates through the element-wise ones. The two
// directions of a layer are two threads' work; a step is too short to be shared (a barrier takes as long as the step of a
// small layer).
//
//   xw[steps*batch, gates*hidden] = x * W' + Wb            all threads
//   for each step:  v = h * R' + Rb  (+ xw of the step)    one thread a direction
//                   gates, cell, h                          row by row of the batch
//
// Operation for operation this is the scalar form (graph/ops/recurrent.cpp). Declined: lengths given for the sequences,
// weights that are not constant, activations without a kernel.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "engine/lower/families.h"
#include "graph/ops/recurrent.h"
#include "kernels/conv.h"
#include "kernels/ops.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;
using graph::ops::RecurrentActivation;
using kernels::BinaryKind;
using kernels::UnaryKind;

enum Input : size_t { kX, kW, kR, kB, kLengths, kH, kC, kP };

std::shared_ptr<const kernels::Kernel> unary(const Lowering& lowering, UnaryKind kind, int64_t count, float alpha = 0,
                                             float beta = 0) {
  return kernels::make_unary(lowering.isa(), {kind, count, alpha, beta});
}

// {kind, has a kernel}
std::pair<UnaryKind, bool> kernel_of(const std::string& activation) {
  constexpr std::pair<std::string_view, UnaryKind> kKinds[] = {{"Sigmoid", UnaryKind::sigmoid},
                                                               {"Tanh", UnaryKind::tanh},
                                                               {"Relu", UnaryKind::relu},
                                                               {"LeakyRelu", UnaryKind::leaky_relu},
                                                               {"HardSigmoid", UnaryKind::hard_sigmoid}};
  for (const auto& [name, kind] : kKinds)
    if (name == activation) return {kind, true};
  return {UnaryKind::relu, false};
}

bool takes_recurrent(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  for (const Value* v : node.inputs())
    if (v && (!v->type().static_shape() || (v != node.input(kLengths) && v->dtype() != DType::f32)))
      return no("only float32 of known shape has a kernel");
  if (!node.output()->type().static_shape() || element_count(node.output()->type().shape()) == 0)
    return no("its shape is not known, or empty");
  if (node.input(kLengths)) return no("sequences of their own lengths have no kernel");
  for (const size_t i : {static_cast<size_t>(kW), static_cast<size_t>(kR), static_cast<size_t>(kB), static_cast<size_t>(kP)})
    if (node.input(i) && !node.input(i)->is_constant()) return no("the weights are not constant");
  for (const RecurrentActivation& a : graph::ops::recurrent_activations(node))
    if (!kernel_of(a.kind).second) return no("activation without a kernel");
  return true;
}

struct Sizes {
  int64_t steps = 0, batch = 0, inputs = 0, hidden = 0, directions = 1, gates = 1;
  bool batch_first = false;
  int64_t rows() const { return gates * hidden; }
  // Rows of x, of y and of the states, in units of their last dimension.
  int64_t x_row(int64_t t, int64_t n) const { return batch_first ? n * steps + t : t * batch + n; }
  int64_t y_row(int64_t t, int64_t d, int64_t n) const {
    return batch_first ? (n * steps + t) * directions + d : (t * directions + d) * batch + n;
  }
  int64_t state_row(int64_t d, int64_t n) const { return batch_first ? n * directions + d : d * batch + n; }
};

Sizes sizes_of(const Node& node) {
  const Shape x = node.input(kX)->type().shape(), w = node.input(kW)->type().shape(), r = node.input(kR)->type().shape();
  const bool batch_first = node.attr("layout", int64_t{0}) != 0;
  return {x[batch_first ? 1 : 0], x[batch_first ? 0 : 1], x[2], r[2], w[0], w[1] / r[2], batch_first};
}

// A product of `m` rows with rows [first, first + n) of `weights`, which is dense [.., k].
struct Product {
  std::shared_ptr<const kernels::Conv> conv;
};

Product make_product(Lowering& lowering, const graph::Tensor& weights, int64_t first, int64_t n, int64_t k, int64_t m,
                     int64_t x_pitch, int64_t y_pitch, int64_t residual_pitch, std::vector<float> bias) {
  kernels::ConvProblem p;
  p.shape.ic = k, p.shape.oc = n, p.shape.iw = p.shape.ow = m;
  p.x_dtype = DType::f32;
  const auto layout = [&](int64_t pitch) { return kernels::ImageLayout{pitch * 4, pitch * m * 4, pitch * m * 4}; };
  p.x = layout(x_pitch), p.y = layout(y_pitch);
  p.epilogue.out = DType::f32;
  p.epilogue.bias = std::move(bias);
  if (residual_pitch > 0) {
    p.epilogue.residual = kernels::ResidualKind::f32;
    p.residual = layout(residual_pitch);
  }
  kernels::ConvWeights w;
  w.data = weights.as<float>() + first * k;
  w.dtype = DType::f32;
  const std::string key = std::string(lowering.isa().name) + " recurrent " +
                          std::to_string(reinterpret_cast<uintptr_t>(w.data)) + " " + std::to_string(n) + "x" +
                          std::to_string(k);
  const auto packed =
      lowering.weights().get(key, {weights}, [&] { return kernels::pack_weights(lowering.isa(), p.shape, w); });
  std::string reason;
  Product product{kernels::make_conv(lowering.isa(), p, packed, lowering.threads(), &reason)};
  if (product.conv) lowering.need_workspace(product.conv->workspace_bytes());
  return product;
}

// The element-wise part of a step, over one row of `hidden` elements.
struct RowKernels {
  using Kernel = std::shared_ptr<const kernels::Kernel>;
  Kernel clip, add, sub, mul, f, g, h;

  static void binary(const Kernel& k, const float* a, const float* b, float* y) { k->run({a, b, y}, 0, 1); }
  static void unary(const Kernel& k, float* x) { k->run({x, nullptr, x}, 0, 1); }
  void activate(const Kernel& k, float* x) const {
    if (clip) unary(clip, x);
    unary(k, x);
  }
};

RowKernels row_kernels(const Lowering& lowering, const Node& node, const Sizes& s, int64_t direction) {
  const auto binary = [&](BinaryKind kind) {
    kernels::BinaryProblem p;
    p.kind = kind, p.length = s.hidden;
    return RowKernels::Kernel(kernels::make_binary(lowering.isa(), p));
  };
  RowKernels k;
  if (const float clip = node.attr("clip", 0.0f); clip > 0) k.clip = unary(lowering, UnaryKind::clip, s.hidden, -clip, clip);
  k.add = binary(BinaryKind::add), k.sub = binary(BinaryKind::sub), k.mul = binary(BinaryKind::mul);
  const auto activations = graph::ops::recurrent_activations(node);
  const size_t each = activations.size() / static_cast<size_t>(s.directions);
  std::array<RowKernels::Kernel*, 3> slots{&k.f, &k.g, &k.h};
  for (size_t i = 0; i < each; ++i) {
    const RecurrentActivation& a = activations[static_cast<size_t>(direction) * each + i];
    *slots[i] = unary(lowering, kernel_of(a.kind).first, s.hidden, a.alpha, a.beta);
  }
  return k;
}

// One direction of a layer: its kernels, and where its numbers lie in the scratch area (in floats).
struct Direction {
  Sizes s;
  int64_t index = 0;
  bool reverse = false, before_reset = false, input_forget = false;
  Product step, candidate;  // h * R of all gates; a GRU's candidate apart
  RowKernels row;
  std::vector<float> ones;
  const float* peephole = nullptr;  // [i, o, f], each `hidden`
  int64_t xw = 0, v = 0, h = 0, c = 0, temp = 0, more = 0;

  void lstm_row(float* v_row, float* h_row, float* c_row, float* t) const {
    const int64_t H = s.hidden;
    float *in = v_row, *out = v_row + H, *forget = v_row + 2 * H, *candidate_row = v_row + 3 * H;
    const auto look = [&](int64_t which, float* gate) {
      RowKernels::binary(row.mul, peephole + which * H, c_row, t);
      RowKernels::binary(row.add, gate, t, gate);
    };
    if (peephole) look(0, in), look(2, forget);
    row.activate(row.f, in);
    if (input_forget)
      RowKernels::binary(row.sub, ones.data(), in, forget);
    else
      row.activate(row.f, forget);
    row.activate(row.g, candidate_row);
    RowKernels::binary(row.mul, forget, c_row, c_row);
    RowKernels::binary(row.mul, in, candidate_row, t);
    RowKernels::binary(row.add, c_row, t, c_row);
    if (peephole) look(1, out);
    row.activate(row.f, out);
    std::copy_n(c_row, H, t);
    RowKernels::unary(row.h, t);
    RowKernels::binary(row.mul, out, t, h_row);
  }

  void run(const RunContext& context, float* scratch, int part, float* y) const {
    const int64_t H = s.hidden, B = s.batch, rows = s.rows();
    float *vs = scratch + v, *hs = scratch + h, *cs = scratch + c, *t = scratch + temp, *extra = scratch + more;
    kernels::ConvArgs args;
    args.workspace = context.workspace(part);
    for (int64_t i = 0; i < s.steps; ++i) {
      const int64_t time = reverse ? s.steps - 1 - i : i;
      const float* xw_step = scratch + xw + s.x_row(time, 0) * rows;
      const int64_t pitch = s.batch_first ? s.steps * rows : rows;
      args.x = hs, args.y = vs, args.residual = xw_step;
      step.conv->run(args, 0, 1);
      if (s.gates == 3) {
        for (int64_t n = 0; n < B; ++n) {
          float *z = vs + n * 2 * H, *r = z + H;
          row.activate(row.f, z);
          row.activate(row.f, r);
          if (!before_reset) RowKernels::binary(row.mul, r, hs + n * H, r);
          if (!before_reset) std::copy_n(r, H, extra + n * H);
        }
        // v of the candidate, in `t`.
        args.x = before_reset ? hs : extra, args.y = t;
        args.residual = before_reset ? nullptr : xw_step + 2 * H;
        candidate.conv->run(args, 0, 1);
        for (int64_t n = 0; n < B; ++n) {
          float *z = vs + n * 2 * H, *r = z + H, *cand = t + n * H, *state = hs + n * H;
          if (before_reset) {
            RowKernels::binary(row.mul, r, cand, cand);
            RowKernels::binary(row.add, cand, xw_step + n * pitch + 2 * H, cand);
          }
          row.activate(row.g, cand);
          RowKernels::binary(row.sub, ones.data(), z, r);
          RowKernels::binary(row.mul, r, cand, cand);
          RowKernels::binary(row.mul, z, state, state);
          RowKernels::binary(row.add, cand, state, state);
        }
      } else {
        for (int64_t n = 0; n < B; ++n) {
          float* v_row = vs + n * rows;
          if (s.gates == 4) {
            lstm_row(v_row, hs + n * H, cs + n * H, t);
          } else {
            row.activate(row.f, v_row);
            std::copy_n(v_row, H, hs + n * H);
          }
        }
      }
      for (int64_t n = 0; n < B; ++n) std::copy_n(hs + n * H, H, y + s.y_row(time, index, n) * H);
    }
  }
};

std::vector<float> part_of(const Value* b, int64_t from, int64_t count) {
  if (!b) return {};
  const float* data = b->constant().as<float>() + from;
  return {data, data + count};
}

void lower_recurrent(Lowering& lowering, const Node& node) {
  const Sizes s = sizes_of(node);
  const int64_t H = s.hidden, B = s.batch, rows = s.rows(), lines = s.steps * B;
  const bool gru = s.gates == 3;
  const std::string direction = node.attr("direction", "forward");
  auto directions = std::make_shared<std::vector<Direction>>();
  auto inputs = std::make_shared<std::vector<Product>>();
  int64_t floats = 0;
  const auto take = [&](int64_t count) {
    const int64_t at = floats;
    floats += (count + 31) / 16 * 16;  // room behind, since kernels read whole vectors
    return at;
  };
  for (int64_t d = 0; d < s.directions; ++d) {
    const graph::Tensor &w = node.input(kW)->constant(), &r = node.input(kR)->constant();
    Direction dir;
    dir.s = s, dir.index = d;
    dir.reverse = direction == "reverse" || d == 1;
    dir.before_reset = node.attr("linear_before_reset", int64_t{0}) != 0;
    dir.input_forget = node.attr("input_forget", int64_t{0}) != 0;
    inputs->push_back(make_product(lowering, w, d * rows, rows, s.inputs, lines, s.inputs, rows, 0,
                                   part_of(node.input(kB), d * 2 * rows, rows)));
    const int64_t together = gru ? 2 * H : rows, pitch = s.batch_first ? s.steps * rows : rows;
    const int64_t bias = d * 2 * rows + rows;
    dir.step =
        make_product(lowering, r, d * rows, together, H, B, H, together, pitch, part_of(node.input(kB), bias, together));
    if (gru)
      dir.candidate = make_product(lowering, r, d * rows + 2 * H, H, H, B, H, H, dir.before_reset ? 0 : pitch,
                                   part_of(node.input(kB), bias + 2 * H, H));
    if (!inputs->back().conv || !dir.step.conv || (gru && !dir.candidate.conv)) return lower_eval(lowering, node);
    dir.row = row_kernels(lowering, node, s, d);
    dir.ones.assign(static_cast<size_t>(H), 1.0f);
    if (node.input(kP)) dir.peephole = node.input(kP)->constant().as<float>() + d * 3 * H;
    dir.xw = take(lines * rows), dir.v = take(B * rows), dir.h = take(B * H), dir.c = take(B * H), dir.temp = take(B * H),
    dir.more = take(B * H);
    directions->push_back(std::move(dir));
  }
  const Location scratch = lowering.scratch(static_cast<size_t>(floats) * 4), x = lowering.location(node.input(kX));
  const auto at = [](const Location& l, const RunContext& context) { return reinterpret_cast<float*>(l.in(context)); };

  StepInfo& product = lowering.add_step(node, inputs->front().conv->name() + " of the whole sequence",
                                        [=](const RunContext& context, int part, int parts) {
                                          for (size_t d = 0; d < inputs->size(); ++d) {
                                            kernels::ConvArgs args;
                                            args.x = x.in(context);
                                            args.y = at(scratch, context) + (*directions)[d].xw;
                                            args.workspace = context.workspace(part);
                                            (*inputs)[d].conv->run(args, part, parts);
                                          }
                                        });
  product.gmac = static_cast<double>(s.directions * lines * rows * s.inputs) / 1e9;

  struct State {
    bool given = false;
    Location from;
  };
  const auto state = [&](size_t i) { return node.input(i) ? State{true, lowering.location(node.input(i))} : State{}; };
  const bool lstm = s.gates == 4;
  const State h0 = state(kH), c0 = lstm ? state(kC) : State{};
  std::vector<Location> outs;
  for (const Value* v : node.outputs()) outs.push_back(lowering.location(v));
  StepInfo& recurrence = lowering.add_step(
      node, directions->front().step.conv->name() + " a step", [=](const RunContext& context, int part, int parts) {
        for (const Direction& d : *directions) {
          if (d.index % parts != part) continue;
          float* base = at(scratch, context);
          const auto load = [&](const State& from, float* to) {
            for (int64_t n = 0; n < B; ++n) {
              if (from.given)
                std::copy_n(at(from.from, context) + s.state_row(d.index, n) * H, H, to + n * H);
              else
                std::fill_n(to + n * H, H, 0.0f);
            }
          };
          load(h0, base + d.h);
          load(c0, base + d.c);
          d.run(context, base, part, at(outs[0], context));
          for (size_t i = 1; i < outs.size(); ++i)
            for (int64_t n = 0; n < B; ++n)
              std::copy_n(base + (i == 1 ? d.h : d.c) + n * H, H, at(outs[i], context) + s.state_row(d.index, n) * H);
        }
      });
  recurrence.gmac = static_cast<double>(s.directions * lines * rows * H) / 1e9;
}

}  // namespace

std::span<const LowerDef> recurrent_lowerings() {
  static const LowerDef kDefs[] = {
      {"LSTM", takes_recurrent, lower_recurrent},
      {"GRU", takes_recurrent, lower_recurrent},
      {"RNN", takes_recurrent, lower_recurrent},
  };
  return kDefs;
}

}  // namespace octet
