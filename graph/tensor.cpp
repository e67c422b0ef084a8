#include "graph/tensor.h"

#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <new>

#include "graph/narrow.h"

namespace octet::graph {

std::shared_ptr<std::byte[]> allocate_bytes(size_t bytes) {
  constexpr std::align_val_t kAlign{64};
  const size_t size = bytes < 64 ? 64 : bytes;
  auto* data = static_cast<std::byte*>(::operator new[](size, kAlign));
  std::memset(data, 0, size);
  return {data, [](std::byte* p) { ::operator delete[](p, kAlign); }};
}

Tensor::Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)) { data_ = allocate_bytes(bytes()); }

Tensor::Tensor(DType dtype, Shape shape, std::shared_ptr<std::byte[]> data)
    : dtype_(dtype), shape_(std::move(shape)), data_(std::move(data)) {}

Tensor::Tensor(Shape shape, std::vector<std::string> strings)
    : dtype_(DType::string),
      shape_(std::move(shape)),
      strings_(std::make_shared<const std::vector<std::string>>(std::move(strings))) {}

std::string_view to_string(ValueKind kind) {
  constexpr std::string_view kNames[] = {"tensor", "sequence", "optional", "optional sequence"};
  return kNames[static_cast<size_t>(kind)];
}

Tensor Tensor::sequence(DType element, std::vector<Tensor> elements) {
  Tensor t;
  t.kind_ = ValueKind::sequence;
  t.dtype_ = element;
  t.shape_ = {static_cast<int64_t>(elements.size())};
  t.elements_ = std::make_shared<const std::vector<Tensor>>(std::move(elements));
  return t;
}

Tensor Tensor::optional(DType element, Tensor content) {
  Tensor t;
  t.kind_ = ValueKind::optional;
  t.dtype_ = content.defined() ? content.dtype() : element;
  std::vector<Tensor> held;
  if (content.defined()) held.push_back(std::move(content));
  t.elements_ = std::make_shared<const std::vector<Tensor>>(std::move(held));
  return t;
}

Tensor Tensor::scalar(float value) { return of<float>(DType::f32, {}, {value}); }

Tensor Tensor::of_s64(const std::vector<int64_t>& values) {
  return of<int64_t>(DType::s64, {static_cast<int64_t>(values.size())}, values);
}

Tensor Tensor::reshaped(Shape shape) const {
  assert(element_count(shape) == size());
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::at(int64_t index) const {
  if (!is_tensor()) return elements()[static_cast<size_t>(index)];
  Tensor t = *this;
  t.shape_.erase(t.shape_.begin());
  const int64_t count = element_count(t.shape_);
  if (dtype_ == DType::string) {
    const auto first = strings().begin() + index * count;
    return Tensor(t.shape_, std::vector<std::string>(first, first + count));
  }
  t.data_ = {data_, data_.get() + static_cast<size_t>(index * count) * size_of(dtype_)};
  return t;
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31u;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float value = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    const float scaled = std::ldexp(std::bit_cast<float>(magnitude), 24);
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float bfloat16_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

double Tensor::at_f64(int64_t index) const {
  const auto i = static_cast<size_t>(index);
  switch (dtype_) {
    case DType::f32: return static_cast<double>(as<float>()[i]);
    case DType::f64: return as<double>()[i];
    case DType::f16: return static_cast<double>(half_to_float(as<uint16_t>()[i]));
    case DType::bf16: return static_cast<double>(bfloat16_to_float(as<uint16_t>()[i]));
    case DType::u64: return static_cast<double>(as<uint64_t>()[i]);
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0:
    case DType::f4e2m1: return static_cast<double>(narrow_to_float(dtype_, as<uint8_t>()[i]));
    default: return static_cast<double>(at_s64(index));
  }
}

int64_t Tensor::at_s64(int64_t index) const {
  const auto i = static_cast<size_t>(index);
  switch (dtype_) {
    case DType::s8:
    case DType::s4:
    case DType::s2: return as<int8_t>()[i];
    case DType::u8:
    case DType::u4:
    case DType::u2:
    case DType::boolean: return as<uint8_t>()[i];
    case DType::s16: return as<int16_t>()[i];
    case DType::u16: return as<uint16_t>()[i];
    case DType::s32: return as<int32_t>()[i];
    case DType::u32: return as<uint32_t>()[i];
    case DType::s64: return as<int64_t>()[i];
    case DType::u64: return static_cast<int64_t>(as<uint64_t>()[i]);
    case DType::f32:
    case DType::f64:
    case DType::f16:
    case DType::bf16:
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0:
    case DType::f4e2m1: return static_cast<int64_t>(at_f64(index));
    default: return 0;
  }
}

std::vector<int64_t> Tensor::to_s64() const {
  std::vector<int64_t> out(static_cast<size_t>(size()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = at_s64(static_cast<int64_t>(i));
  return out;
}

std::vector<float> Tensor::to_f32() const {
  std::vector<float> out(static_cast<size_t>(size()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(at_f64(static_cast<int64_t>(i)));
  return out;
}

}  // namespace octet::graph
