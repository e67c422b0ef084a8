// The executor: one arena, one thread team, the steps of a plan in order with a barrier after each.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "engine/fp_state.h"
#include "engine/frame.h"
#include "engine/kept_cache.h"
#include "engine/model.h"
#include "engine/model_impl.h"
#include "engine/thread_pool.h"
#include "kernels/amx/tile_config.h"
#include "octet/octet.h"

namespace octet {
namespace {

std::string shape_text(const ValueInfo& info) {
  std::string text = "[";
  for (size_t i = 0; i < info.shape.size(); ++i) {
    const std::string open = info.symbols[i].empty() ? "?" : info.symbols[i];
    text += (i ? "," : "") + (info.shape[i] >= 0 ? std::to_string(info.shape[i]) : open);
  }
  return text + "]";
}

bool fits(const ValueInfo& info, const Shape& shape) {
  if (info.shape.size() != shape.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < 0 || (info.shape[i] >= 0 && info.shape[i] != shape[i])) return false;
  return true;
}

}  // namespace

struct Session::Impl {
  Impl(const Model& model_in, const SessionOptions& options)
      : model(model_in), threads(options.threads > 0 ? options.threads : default_threads()) {
    if (model.isa() == "reference") threads = 1;
    pool = std::make_unique<ThreadPool>(threads);
    team = std::make_unique<Team>(*pool, options.profile);
    const auto& inputs = model.impl().graph().inputs();
    if (options.keep_cache) cache.emplace(model);
    shapes.resize(inputs.size());
    given.resize(inputs.size(), false);
    for (size_t i = 0; i < shapes.size(); ++i) {
      known.push_back(!inputs[i]->type().is_tensor() || inputs[i]->type().static_shape());
      if (inputs[i]->type().static_shape()) shapes[i] = inputs[i]->type().shape();
      if (cache && cache->is_past(i)) given[i] = known.back() = true;
    }
  }

  size_t input_index(std::string_view name) const {
    const auto& inputs = model.inputs();
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].name == name) return i;
    std::string all;
    for (const ValueInfo& v : inputs) all += (all.empty() ? "'" : ", '") + v.name + "'";
    throw Error(ErrorCode::invalid_argument, "input '" + std::string(name) + "' does not exist; the model has " + all);
  }

  size_t output_index(std::string_view name) const {
    const auto& outputs = model.outputs();
    std::string all;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].name == name) return i;
      all += (all.empty() ? "'" : ", '") + outputs[i].name + "'";
    }
    throw Error(ErrorCode::invalid_argument, "output '" + std::string(name) + "' does not exist; the model has " + all);
  }

  // Takes the plan for the shapes; keeps the inputs' contents where the memory moves.
  void adopt(const std::vector<Shape>& wanted) {
    if (frame && wanted == plan_shapes) return;
    auto next = std::make_unique<Frame>(model.impl().plan(wanted, threads, cache.has_value()), *team);
    if (frame && cache) cache->move(*frame, *next);
    if (frame && !cache)
      for (size_t i = 0; i < given.size(); ++i)
        if (given[i] && plan_shapes[i] == wanted[i]) next->set_input(i, input_value(i));
    frame = std::move(next);
    plan_shapes = wanted;
  }

  graph::Tensor input_value(size_t i) const {
    const Binding& b = frame->plan->inputs[i];
    if (b.slot >= 0) return frame->slots[static_cast<size_t>(b.slot)];
    return {b.dtype, b.shape, std::shared_ptr<std::byte[]>(std::shared_ptr<void>(), b.location.in(frame->context))};
  }

  void prepare() {
    for (size_t i = 0; i < shapes.size(); ++i)
      if (!known[i] && !given[i]) {
        const ValueInfo& v = model.inputs()[i];
        throw Error(ErrorCode::invalid_argument, "input '" + v.name + "' (" + std::string(to_string(v.dtype)) +
                                                     shape_text(v) + ") was not set, and its shape is open");
      }
    adopt(cache ? cache->plan_shapes(shapes) : shapes);
    for (const auto& [i, value] : pending) frame->set_input(i, cache && cache->is_mask(i) ? cache->wide_mask(value) : value);
    if (!cache) pending.clear();
  }

  void run() {
    for (size_t i = 0; i < given.size(); ++i)
      if (!given[i]) {
        const ValueInfo& v = model.inputs()[i];
        throw Error(ErrorCode::invalid_argument,
                    "input '" + v.name + "' (" + std::string(to_string(v.dtype)) + shape_text(v) + ") was not set");
      }
    prepare();
    const bool uses_tiles = model.impl().isa().dot == kernels::DotKind::tile;
    team->begin();
    const std::function<void(int)> task = [&](int thread) {
      const FpState fp_state;
      frame->run(thread);
      if (uses_tiles) kernels::release_tiles();
    };
    pool->run(task);
    ran = true;
    team->rethrow();
    if (cache) cache->take_new(*frame);
  }

  // `value` for input i, of the right type and shape: into the plan in use, or, where its shape is another, aside until the
  // run: the shapes of other inputs may have to follow. A kept cache decides its capacity then, too.
  void set(size_t i, const graph::Tensor& value) {
    if (cache && cache->is_past(i))
      throw Error(ErrorCode::invalid_argument,
                  "input '" + model.inputs()[i].name + "': the session keeps the cache; see set_cache_length");
    shapes[i] = value.is_tensor() ? value.shape() : Shape{};
    given[i] = true;
    if (cache || !frame || shapes != plan_shapes || !pending.empty()) {
      pending[i] = owned(value);
      return;
    }
    const bool in_slot = frame->plan->inputs[i].slot >= 0;
    frame->set_input(i, in_slot ? owned(value) : value);
  }

  Model model;
  int threads;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Team> team;
  std::vector<Shape> shapes;
  std::vector<bool> given, known;
  std::unique_ptr<Frame> frame;
  std::vector<Shape> plan_shapes;
  bool ran = false;
  std::map<size_t, graph::Tensor> pending;
  std::optional<KeptCache> cache;
};

Session::Session(const Model& model, const SessionOptions& options) : impl_(std::make_unique<Impl>(model, options)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

void Session::set_input(std::string_view name, const TensorView& value) {
  Impl& s = *impl_;
  const size_t i = s.input_index(name);
  const ValueInfo& info = s.model.inputs()[i];
  if (value.dtype != info.dtype || (!fits(info, value.shape) && !info.shape.empty()) ||
      (info.shape.empty() && s.known[i] && !value.shape.empty() && element_count(value.shape) != 1))
    throw Error(ErrorCode::invalid_argument, "input '" + info.name + "': got " + std::string(to_string(value.dtype)) +
                                                 to_string(value.shape) + ", expected " +
                                                 std::string(to_string(info.dtype)) + shape_text(info));
  if (!s.model.impl().graph().inputs()[i]->type().is_tensor() || size_of(info.dtype) == 0)
    throw Error(ErrorCode::unsupported, "input '" + info.name + "' is no tensor of numbers; a TensorView cannot hold it");
  s.set(i, graph::Tensor(value.dtype, value.shape,
                         std::shared_ptr<std::byte[]>(std::shared_ptr<void>(), static_cast<std::byte*>(value.data))));
}

void Session::prepare() { impl_->prepare(); }
void Session::run() { impl_->run(); }

TensorView Session::output(size_t index) const {
  const Impl& s = *impl_;
  if (!s.frame || index >= s.frame->plan->outputs.size())
    throw Error(ErrorCode::invalid_argument, "output " + std::to_string(index) + " does not exist, or nothing has run yet");
  const Binding& b = s.frame->plan->outputs[index];
  if (s.cache && s.cache->is_present(index))
    throw Error(ErrorCode::unsupported, "output '" + b.name + "' stays in the session, which keeps the cache");
  if (b.slot < 0) return {b.location.in(s.frame->context), b.dtype, b.shape};
  const graph::Tensor& value = s.frame->slots[static_cast<size_t>(b.slot)];
  if (!value.defined())
    throw Error(ErrorCode::invalid_argument,
                "output '" + b.name + "' has a shape known only at run time, and nothing has run yet");
  if (!value.is_tensor() || size_of(value.dtype()) == 0)
    throw Error(ErrorCode::unsupported, "output '" + b.name + "' is a " + std::string(to_string(value.kind())) + " of " +
                                            std::string(to_string(value.dtype())) +
                                            "; a TensorView holds tensors of numbers");
  return value.view();
}

TensorView Session::output(std::string_view name) const { return output(impl_->output_index(name)); }

TensorView Session::input(std::string_view name) {
  const size_t i = impl_->input_index(name);
  if (impl_->cache)
    throw Error(ErrorCode::unsupported,
                "input '" + std::string(name) +
                    "' has no memory to fill in place in a session that keeps a cache; expected set_input");
  impl_->prepare();
  if (impl_->frame->plan->inputs[i].slot >= 0)
    throw Error(ErrorCode::unsupported,
                "input '" + std::string(name) + "' is no tensor of numbers; it has no memory to fill in place");
  impl_->given[i] = true;
  return impl_->input_value(i).view();
}

int64_t Session::cache_length() const { return impl_->cache ? impl_->cache->length() : 0; }

void Session::set_cache_length(int64_t length) {
  if (!impl_->cache)
    throw Error(ErrorCode::invalid_argument, "the session keeps no cache; expected SessionOptions::keep_cache");
  impl_->cache->set_length(length);
}

int Session::threads() const { return impl_->threads; }
size_t Session::arena_bytes() const { return impl_->frame ? impl_->frame->bytes() : 0; }

std::vector<StepInfo> Session::steps() const { return impl_->frame ? impl_->frame->steps() : std::vector<StepInfo>{}; }

struct SessionValues {
  static auto& impl(const Session& session) { return *session.impl_; }
};

void set_input_value(Session& session, size_t index, const graph::Tensor& value) {
  auto& s = SessionValues::impl(session);
  const graph::Type& type = s.model.impl().graph().inputs().at(index)->type();
  const ValueInfo& info = s.model.inputs()[index];
  if (type.is_tensor() && size_of(info.dtype) > 0) return session.set_input(info.name, value.view());
  const bool holds = type.kind == graph::ValueKind::optional || type.kind == graph::ValueKind::optional_sequence;
  if (!holds && value.kind() != type.kind)
    throw Error(ErrorCode::invalid_argument, "input '" + info.name + "' is given a " + std::string(to_string(value.kind())) +
                                                 "; expected " + to_string(type));
  s.set(index, value);
}

graph::Tensor output_value(const Session& session, size_t index) {
  const auto& s = SessionValues::impl(session);
  if (!s.frame || !s.ran) throw Error(ErrorCode::invalid_argument, "nothing has run yet");
  return s.frame->output(index);
}

}  // namespace octet
