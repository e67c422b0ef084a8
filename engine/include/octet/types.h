// The vocabulary shared by every layer: element types, shapes, quantization parameters, views of memory, errors.
//
// A quantized tensor holds integers q that stand for real numbers r = (q - zero_point) * scale. Scale and zero point are
// per tensor (size 1) or per slice along `axis`. Inside octet activations are u8 per tensor and weights s8 per output
// channel.
//
// Shapes are row-major, outermost dimension first, in elements. A TensorView is dense and does not own its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octet {

enum class DType : uint8_t {
  undefined,
  f32,
  f64,
  f16,
  bf16,
  s8,
  u8,
  s16,
  u16,
  s32,
  u32,
  s64,
  u64,
  boolean,
  s4,
  u4,
  string,
  f8e4m3fn,
  f8e4m3fnuz,
  f8e5m2,
  f8e5m2fnuz,
  f8e8m0,
  f4e2m1,
  s2,
  u2,
};

// "float32", "uint8", ... as numpy and ONNX spell them.
constexpr std::string_view to_string(DType type) {
  constexpr std::string_view kNames[] = {"undefined",      "float32",    "float64",      "float16",        "bfloat16",
                                         "int8",           "uint8",      "int16",        "uint16",         "int32",
                                         "uint32",         "int64",      "uint64",       "bool",           "int4",
                                         "uint4",          "string",     "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
                                         "float8e5m2fnuz", "float8e8m0", "float4e2m1",   "int2",           "uint2"};
  return kNames[static_cast<size_t>(type)];
}

// Bytes of one element in memory; what is narrower than a byte is held one to a byte; 0 for undefined and string.
constexpr size_t size_of(DType type) {
  constexpr size_t kBytes[] = {0, 4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  return kBytes[static_cast<size_t>(type)];
}

// The floats that octet computes with; those of 8 bits and less are only converted.
constexpr bool is_float(DType type) {
  return type == DType::f32 || type == DType::f64 || type == DType::f16 || type == DType::bf16;
}

using Shape = std::vector<int64_t>;

// Number of elements; 1 for a scalar (empty shape).
inline int64_t element_count(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

// "[1,3,224,224]"
inline std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

struct QuantParams {
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
  int axis = -1;  // -1: per tensor, one scale and one zero point

  bool per_tensor() const { return axis < 0; }
  bool operator==(const QuantParams&) const = default;
};

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::undefined;
  Shape shape;

  size_t bytes() const { return static_cast<size_t>(element_count(shape)) * size_of(dtype); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// Who can mend it: `invalid_*` the caller, `unsupported` us in a later version, `io` the machine.
enum class ErrorCode { invalid_argument, invalid_model, unsupported, io };

constexpr std::string_view to_string(ErrorCode code) {
  constexpr std::string_view kNames[] = {"invalid argument", "invalid model", "unsupported", "input/output"};
  return kNames[static_cast<size_t>(code)];
}

// Everything a user can cause. The message is one line naming the file, the node, and what was expected.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace octet
