#include <cstring>
#include <memory>

#include "engine/lower/lower.h"
#include "graph/eval.h"
#include "kernels/ops.h"

namespace octet {
namespace {

using graph::Tensor;
using graph::Value;

// Copies between a value's place and a dense plain buffer.
struct Exchange {
  Location at;
  bool strided = false;
  kernels::CopyProblem copy;
  DType dtype;
  Shape shape;
  size_t bytes = 0;
  Tensor constant;  // defined for constants
  bool present = false;
};

Exchange exchange(const Lowering& lowering, const Value* value, bool writes) {
  Exchange e;
  if (!value) return e;
  e.present = true;
  e.dtype = value->dtype();
  e.shape = value->type().shape();
  if (value->is_constant()) {
    e.constant = value->constant();
    return e;
  }
  e.bytes = static_cast<size_t>(element_count(e.shape)) * size_of(e.dtype);
  e.at = lowering.location(value);
  const Place& place = lowering.place(value);
  if (!place.image) return e;
  e.strided = true;
  const auto element = static_cast<int64_t>(size_of(e.dtype));
  e.copy.element = element;
  e.copy.n = e.shape[0], e.copy.c = e.shape[1], e.copy.h = e.shape[2], e.copy.w = e.shape[3];
  const kernels::ImageLayout plain{element, element * e.copy.w, element * e.copy.w * e.copy.h * e.copy.c};
  e.copy.from = writes ? plain : place.strides;
  e.copy.to = writes ? place.strides : plain;
  e.copy.from_channel = writes ? element * e.copy.w * e.copy.h : element;
  e.copy.to_channel = writes ? element : element * e.copy.w * e.copy.h;
  return e;
}

Tensor read(const Exchange& e, const RunContext& context) {
  if (!e.present) return {};
  if (e.constant.defined()) return e.constant;
  std::byte* data = e.at.in(context);
  if (!e.strided) return {e.dtype, e.shape, std::shared_ptr<std::byte[]>(data, [](std::byte*) {})};
  Tensor dense(e.dtype, e.shape);
  kernels::copy_reference(e.copy, {data, nullptr, dense.mutable_as<std::byte>()});
  return dense;
}

void write(const Exchange& e, const Tensor& tensor, const RunContext& context) {
  std::byte* data = e.at.in(context);
  if (e.strided)
    kernels::copy_reference(e.copy, {tensor.as<std::byte>(), nullptr, data});
  else
    std::memcpy(data, tensor.as<std::byte>(), e.bytes);
}

}  // namespace

void lower_eval(Lowering& lowering, const graph::Node& node) {
  std::vector<Exchange> inputs, outputs;
  for (const Value* v : node.inputs()) inputs.push_back(exchange(lowering, v, false));
  for (const Value* v : node.outputs()) outputs.push_back(exchange(lowering, v, true));
  lowering.add_step(node, "eval", [&node, inputs, outputs](const RunContext& context, int part, int) {
    if (part != 0) return;
    std::vector<Tensor> in;
    for (const Exchange& e : inputs) in.push_back(read(e, context));
    const std::vector<Tensor> out = graph::evaluate(node, in);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (out[i].shape() != outputs[i].shape || out[i].dtype() != outputs[i].dtype)
        throw Error(ErrorCode::unsupported, "node '" + node.name() + "' (" + std::string(node.op_name()) + "): output " +
                                                std::to_string(i) + " came out as " + std::string(to_string(out[i].dtype())) +
                                                to_string(out[i].shape()) + " where the plan has " +
                                                std::string(to_string(outputs[i].dtype)) + to_string(outputs[i].shape));
      write(outputs[i], out[i], context);
    }
  });
}

}  // namespace octet
