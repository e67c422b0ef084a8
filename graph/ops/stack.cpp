#include "graph/ops/stack.h"

#include <algorithm>
#include <cstring>

#include "graph/ops/helpers.h"

namespace octet::graph::ops {

void Stack::add(const EvalContext& ctx, const Tensor& t) {
  if (!t.is_tensor())
    ctx.fail(ErrorCode::invalid_model, "a scan output is a " + std::string(to_string(t.kind())) + "; expected a tensor");
  if (count_ == 0) {
    dtype_ = t.dtype();
    shape_ = t.shape();
  } else if (t.dtype() != dtype_ || t.shape() != shape_) {
    ctx.fail(ErrorCode::invalid_model, "a scan output is " + octet::to_string(t.shape()) + " in iteration " +
                                           std::to_string(count_) + " and was " + octet::to_string(shape_) +
                                           "; expected one shape");
  }
  ++count_;
  if (dtype_ == DType::string)
    strings_.insert(strings_.end(), t.strings().begin(), t.strings().end());
  else
    bytes_.insert(bytes_.end(), t.as<std::byte>(), t.as<std::byte>() + t.bytes());
}

Tensor Stack::take(const Type& like, size_t axis, bool reverse) const {
  Shape inner = shape_;
  DType dtype = dtype_;
  if (count_ == 0) {
    dtype = like.dtype;
    for (size_t i = 0; like.ranked() && i < like.dims->size(); ++i)
      if (i != axis) inner.push_back(std::max<int64_t>((*like.dims)[i].value, 0));
  }
  axis = std::min(axis, inner.size());
  Shape shape = inner;
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), count_);
  const int64_t outer = product(inner, 0, axis), run = product(inner, axis, inner.size());
  const auto each = [&](auto move) {
    for (int64_t i = 0; i < count_; ++i)
      for (int64_t o = 0; o < outer; ++o) move((i * outer + o) * run, (o * count_ + (reverse ? count_ - 1 - i : i)) * run);
  };
  if (dtype == DType::string) {
    std::vector<std::string> sorted(strings_.size());
    each([&](int64_t from, int64_t to) { std::copy_n(strings_.begin() + from, run, sorted.begin() + to); });
    return Tensor(shape, std::move(sorted));
  }
  Tensor t(dtype, shape);
  const auto element = static_cast<int64_t>(size_of(dtype));
  each([&](int64_t from, int64_t to) {
    std::memcpy(t.mutable_as<std::byte>() + to * element, bytes_.data() + from * element,
                static_cast<size_t>(run * element));
  });
  return t;
}

}  // namespace octet::graph::ops
