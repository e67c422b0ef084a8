// Products of two 8-bit tensors without weights packed ahead: MatMulInteger, MatMulIntegerToFloat and QLinearMatMul where
// both operands come at run time, or where no pass could make an octet.Gemm of them.
#include <cstring>
#include <memory>
#include <optional>

#include "engine/lower/families.h"
#include "graph/ops/matmul.h"
#include "kernels/aligned_buffer.h"
#include "kernels/integer_matmul.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;

constexpr size_t kNone = SIZE_MAX;

// Which input of an operator holds what.
struct Form {
  std::string_view op;
  size_t a, a_zero, b, b_zero;
  size_t a_scale = kNone, b_scale = kNone, y_scale = kNone, y_zero = kNone, bias = kNone;
};
constexpr Form kForms[] = {{"MatMulInteger", 0, 2, 1, 3},
                           {"com.microsoft.MatMulIntegerToFloat", 0, 4, 1, 5, 2, 3, kNone, kNone, 6},
                           {"QLinearMatMul", 0, 2, 3, 5, 1, 4, 6, 7}};

const Form& form_of(const Node& node) {
  for (const Form& form : kForms)
    if (form.op == node.op_name()) return form;
  return kForms[0];
}

const Value* operand(const Node& node, size_t input) { return input == kNone ? nullptr : node.input(input); }

bool is_one(const Value* v) { return !v || (v->type().static_shape() && element_count(v->type().shape()) == 1); }

bool takes_integer_matmul(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  const Form& form = form_of(node);
  for (const Value* v : {operand(node, form.a), operand(node, form.b), static_cast<const Value*>(node.output())}) {
    if (!v->type().static_shape()) return no("its shape is not known");
    if (element_count(v->type().shape()) == 0) return no("the tensor is empty");
  }
  for (const size_t i : {form.a_zero, form.b_zero, form.y_zero})
    if (const Value* zero = operand(node, i); !is_one(zero) || (zero && size_of(zero->dtype()) != 1))
      return no("only one zero point a tensor, of 8 bits, has a kernel");
  for (const size_t i : {form.a_scale, form.b_scale, form.y_scale}) {
    if (!is_one(operand(node, i))) return no("only one scale a tensor has a kernel");
    if (operand(node, i) && operand(node, i)->dtype() != DType::f32) return no("only scales in float32 have a kernel");
  }
  if (operand(node, form.bias)) return no("a bias has no kernel");
  return true;
}

// A scalar that the step reads when it runs.
class Scalar {
 public:
  Scalar(const Lowering& lowering, const Value* v) : dtype_(v ? v->dtype() : DType::undefined) {
    if (v) at_ = lowering.location(v);
  }
  float real(const RunContext& context) const {
    return dtype_ == DType::undefined ? 1.0f : *reinterpret_cast<const float*>(at_.in(context));
  }
  int32_t integer(const RunContext& context) const {
    if (dtype_ == DType::undefined) return 0;
    const std::byte* at = at_.in(context);
    return dtype_ == DType::s8 ? int32_t{*reinterpret_cast<const int8_t*>(at)}
                               : int32_t{*reinterpret_cast<const uint8_t*>(at)};
  }

 private:
  DType dtype_;
  Location at_;
};

// A matrix; constants with the room behind them that kernels read.
class Matrices {
 public:
  Matrices(const Lowering& lowering, const Value* v) : at_(lowering.location(v)) {
    if (!v->is_constant()) return;
    const graph::Tensor& t = v->constant();
    copy_ = std::make_shared<kernels::AlignedBuffer>(t.bytes());
    std::memcpy(copy_->as<std::byte>(), t.as<std::byte>(), t.bytes());
    at_.constant = copy_->as<std::byte>();
  }
  const void* in(const RunContext& context) const { return at_.in(context); }

 private:
  Location at_;
  std::shared_ptr<kernels::AlignedBuffer> copy_;
};

void lower_integer_matmul(Lowering& lowering, const Node& node) {
  const Form& form = form_of(node);
  const Value *a = node.input(form.a), *b = node.input(form.b), *y = node.output();
  const auto in_image = [&](const Value* v) { return !v->is_constant() && lowering.place(v).image; };
  if (in_image(a) || in_image(b) || in_image(y)) return lower_eval(lowering, node);
  kernels::IntegerMatmulProblem p;
  p.a = a->dtype(), p.b = b->dtype(), p.y = y->dtype();
  graph::ops::for_each_matrix(a->type().shape(), b->type().shape(),
                              [&](int64_t a_at, int64_t b_at, int64_t, int64_t m, int64_t n, int64_t k) {
                                p.m = m, p.n = n, p.k = k;
                                p.batch.emplace_back(a_at, b_at);
                              });
  const std::shared_ptr<const kernels::IntegerMatmul> kernel = kernels::make_integer_matmul(lowering.isa(), p);
  lowering.need_workspace(kernel->workspace_bytes());
  const auto scalar = [&](size_t input) { return Scalar(lowering, operand(node, input)); };
  StepInfo& info =
      lowering.add_step(node, kernel->name(),
                        [kernel, left = Matrices(lowering, a), right = Matrices(lowering, b), to = lowering.location(y),
                         a_zero = scalar(form.a_zero), b_zero = scalar(form.b_zero), y_zero = scalar(form.y_zero),
                         a_scale = scalar(form.a_scale), b_scale = scalar(form.b_scale),
                         y_scale = scalar(form.y_scale)](const RunContext& context, int part, int parts) {
                          const float scale = (a_scale.real(context) * b_scale.real(context)) / y_scale.real(context);
                          kernel->run({left.in(context), right.in(context), to.in(context), context.workspace(part),
                                       a_zero.integer(context), b_zero.integer(context), y_zero.integer(context), scale},
                                      part, parts);
                        });
  info.gmac = static_cast<double>(p.batch.size()) * static_cast<double>(p.m * p.n) * static_cast<double>(p.k) / 1e9;
}

}  // namespace

std::span<const LowerDef> integer_matmul_lowerings() {
  static const LowerDef kDefs[] = {
      {"MatMulInteger", takes_integer_matmul, lower_integer_matmul},
      {"com.microsoft.MatMulIntegerToFloat", takes_integer_matmul, lower_integer_matmul},
      {"QLinearMatMul", takes_integer_matmul, lower_integer_matmul},
  };
  return kDefs;
}

}  // namespace octet
