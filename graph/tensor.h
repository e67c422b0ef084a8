// A value in the open: element type, shape, and dense row-major bytes, shared and never changed once built.
//
// What flows along an edge is a tensor, a sequence of tensors, or an optional that holds one of these or nothing. All three
// are a `Tensor` here, told apart by `kind()`, so that everything that hands values on (evaluation, plans, loops) is written
// once; only operators that say so (OpDef::any_kind) are ever given one that is no tensor.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octet/types.h"

namespace octet::graph {

enum class ValueKind : uint8_t { tensor, sequence, optional, optional_sequence };
std::string_view to_string(ValueKind kind);

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape);  // zero-filled; 64-byte aligned
  Tensor(DType dtype, Shape shape, std::shared_ptr<std::byte[]> data);
  // Strings only; `data` is then empty.
  explicit Tensor(Shape shape, std::vector<std::string> strings);

  template <class T>
  static Tensor of(DType dtype, Shape shape, const std::vector<T>& values);
  static Tensor scalar(float value);
  static Tensor of_s64(const std::vector<int64_t>& values);  // rank 1
  // Shape [number of elements]; `element` is the elements' type (undefined: none said).
  static Tensor sequence(DType element, std::vector<Tensor> elements);
  // Holds `content` (a tensor or a sequence), or nothing where that is undefined; then `element` says of what type.
  static Tensor optional(DType element, Tensor content);

  // An optional is of kind `optional` whatever it holds.
  ValueKind kind() const { return kind_; }
  bool is_tensor() const { return kind_ == ValueKind::tensor; }
  const std::vector<Tensor>& elements() const { return *elements_; }  // of a sequence; what an optional holds (none or one)

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t size() const { return element_count(shape_); }
  size_t bytes() const { return is_tensor() ? static_cast<size_t>(size()) * size_of(dtype_) : 0; }
  bool defined() const { return dtype_ != DType::undefined || !is_tensor(); }

  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_.get());
  }
  // Only while building: a tensor that others may already share must not be written.
  template <class T>
  T* mutable_as() {
    return reinterpret_cast<T*>(data_.get());
  }
  const std::vector<std::string>& strings() const { return *strings_; }
  TensorView view() const { return {data_.get(), dtype_, shape_}; }
  Tensor reshaped(Shape shape) const;
  Tensor at(int64_t index) const;  // x[index] along the first axis, sharing memory; of a sequence: the element

  // Elements as double or int64, whatever the type (float16 and bfloat16 included).
  double at_f64(int64_t index) const;
  int64_t at_s64(int64_t index) const;
  std::vector<int64_t> to_s64() const;
  std::vector<float> to_f32() const;

 private:
  DType dtype_ = DType::undefined;
  Shape shape_;
  std::shared_ptr<std::byte[]> data_;
  std::shared_ptr<const std::vector<std::string>> strings_;
  std::shared_ptr<const std::vector<Tensor>> elements_;
  ValueKind kind_ = ValueKind::tensor;
};

// Aligned, zero-filled storage for `bytes` (at least 64).
std::shared_ptr<std::byte[]> allocate_bytes(size_t bytes);

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);  // round to nearest even
float bfloat16_to_float(uint16_t bits);
uint16_t float_to_bfloat16(float value);  // round to nearest even

template <class T>
Tensor Tensor::of(DType dtype, Shape shape, const std::vector<T>& values) {
  Tensor t(dtype, std::move(shape));
  T* out = t.mutable_as<T>();
  for (size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  return t;
}

}  // namespace octet::graph
