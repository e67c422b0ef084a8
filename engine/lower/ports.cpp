#include "engine/lower/ports.h"

#include <cstring>
#include <memory>

#include "engine/frame.h"

namespace octet {

using graph::Tensor;
using graph::Value;

Port Port::to_read(const Lowering& lowering, const Value* value) { return make(lowering, value, false); }
Port Port::to_write(const Lowering& lowering, const Value* value) { return make(lowering, value, true); }

Port Port::make(const Lowering& lowering, const Value* value, bool writes) {
  Port p;
  if (!value) return p;
  p.present_ = true;
  p.dtype_ = value->dtype();
  if (value->is_constant()) {
    p.constant_ = value->constant();
    return p;
  }
  p.slot_ = lowering.slot(value);
  if (p.slot_ >= 0) return p;
  p.shape_ = value->type().shape();
  p.bytes_ = static_cast<size_t>(element_count(p.shape_)) * size_of(p.dtype_);
  p.at_ = lowering.location(value);
  const Place& place = lowering.place(value);
  if (!place.image) return p;
  p.strided_ = true;
  const auto element = static_cast<int64_t>(size_of(p.dtype_));
  kernels::CopyProblem& c = p.copy_;
  c.element = element;
  c.n = p.shape_[0], c.c = p.shape_[1], c.h = p.shape_[2], c.w = p.shape_[3];
  const kernels::ImageLayout plain{element, element * c.w, element * c.w * c.h * c.c};
  c.from = writes ? plain : place.strides;
  c.to = writes ? place.strides : plain;
  c.from_channel = writes ? element * c.w * c.h : element;
  c.to_channel = writes ? element : element * c.w * c.h;
  return p;
}

Tensor Port::read(const RunContext& context) const {
  if (!present_) return {};
  if (constant_.defined()) return constant_;
  if (slot_ >= 0) return context.frame->slots[static_cast<size_t>(slot_)];
  std::byte* data = at_.in(context);
  if (!strided_) return {dtype_, shape_, std::shared_ptr<std::byte[]>(std::shared_ptr<void>(), data)};
  Tensor dense(dtype_, shape_);
  kernels::copy_reference(copy_, {data, nullptr, dense.mutable_as<std::byte>()});
  return dense;
}

void Port::write(const graph::Node& node, size_t output, Tensor tensor, const RunContext& context) const {
  if (slot_ >= 0) {
    context.frame->slots[static_cast<size_t>(slot_)] = std::move(tensor);
    return;
  }
  if (!tensor.is_tensor() || tensor.shape() != shape_ || tensor.dtype() != dtype_)
    throw Error(ErrorCode::unsupported, "node '" + node.name() + "' (" + std::string(node.op_name()) + "): output " +
                                            std::to_string(output) + " came out as " +
                                            std::string(to_string(tensor.dtype())) + to_string(tensor.shape()) +
                                            " where the plan has " + std::string(to_string(dtype_)) + to_string(shape_));
  std::byte* data = at_.in(context);
  if (strided_)
    kernels::copy_reference(copy_, {tensor.as<std::byte>(), nullptr, data});
  else if (data != tensor.as<std::byte>())
    std::memmove(data, tensor.as<std::byte>(), bytes_);
}

std::vector<Port> ports_to_read(const Lowering& lowering, const graph::Node& node) {
  std::vector<Port> ports;
  for (const Value* v : node.inputs()) ports.push_back(Port::to_read(lowering, v));
  return ports;
}

std::vector<Port> ports_to_write(const Lowering& lowering, const graph::Node& node) {
  std::vector<Port> ports;
  for (const Value* v : node.outputs()) ports.push_back(Port::to_write(lowering, v));
  return ports;
}

std::vector<Tensor> read_all(const std::vector<Port>& ports, const RunContext& context) {
  std::vector<Tensor> tensors;
  tensors.reserve(ports.size());
  for (const Port& p : ports) tensors.push_back(p.read(context));
  return tensors;
}

}  // namespace octet
