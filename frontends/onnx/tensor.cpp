#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>

#include "frontends/onnx/draft.h"
#include "frontends/onnx/files.h"
#include "frontends/onnx/onnx.h"
#include "frontends/onnx/proto.h"

namespace octet::onnx {

using graph::Tensor;

namespace {

// TensorProto.DataType, the narrow types of later ONNX included.
constexpr std::array<std::pair<int, DType>, 24> kDataTypes{
    {{1, DType::f32},     {2, DType::u8},        {3, DType::s8},          {4, DType::u16},     {5, DType::s16},
     {6, DType::s32},     {7, DType::s64},       {8, DType::string},      {9, DType::boolean}, {10, DType::f16},
     {11, DType::f64},    {12, DType::u32},      {13, DType::u64},        {16, DType::bf16},   {21, DType::u4},
     {22, DType::s4},     {17, DType::f8e4m3fn}, {18, DType::f8e4m3fnuz}, {19, DType::f8e5m2}, {20, DType::f8e5m2fnuz},
     {23, DType::f4e2m1}, {24, DType::f8e8m0},   {25, DType::u2},         {26, DType::s2}}};

[[noreturn]] void fail(ErrorCode code, const Origin& origin, const std::string& message) {
  throw Error(code, origin.file + ": " + origin.what + ": " + message);
}

// Bits of an element in a file; those of 4 and 2 bits are packed into bytes, the first in the low bits.
unsigned stored_bits(DType dtype) {
  switch (dtype) {
    case DType::s4:
    case DType::u4:
    case DType::f4e2m1: return 4;
    case DType::s2:
    case DType::u2: return 2;
    default: return static_cast<unsigned>(8 * size_of(dtype));
  }
}
bool is_packed(DType dtype) { return stored_bits(dtype) == 4 || stored_bits(dtype) == 2; }

uint64_t stored_bytes(DType dtype, uint64_t count) { return (count * stored_bits(dtype) + 7) / 8; }

struct Extent {
  Shape shape;
  uint64_t count = 1;
};

Extent checked_extent(const pb::TensorProto& proto, const Origin& origin) {
  constexpr uint64_t kMaxCount = uint64_t{1} << 48;
  Extent extent;
  bool empty = false;
  for (int64_t d : proto.dims()) {
    if (d < 0) fail(ErrorCode::invalid_model, origin, "dimension " + std::to_string(d) + " is negative");
    empty = empty || d == 0;
    extent.shape.push_back(d);
  }
  if (extent.shape.size() > 64)
    fail(ErrorCode::invalid_model, origin,
         "has " + std::to_string(extent.shape.size()) + " dimensions, expected at most 64");
  if (empty) {
    extent.count = 0;
    return extent;
  }
  for (int64_t d : extent.shape) {
    if (static_cast<uint64_t>(d) > kMaxCount / extent.count)
      fail(ErrorCode::invalid_model, origin, "shape " + to_string(extent.shape) + " overflows");
    extent.count *= static_cast<uint64_t>(d);
  }
  return extent;
}

// Two's complement where the type has a sign, to one element a byte.
void unpack(Tensor& tensor, const uint8_t* packed, uint64_t count) {
  const unsigned bits = stored_bits(tensor.dtype()), each = 8 / bits, range = 1u << bits;
  const bool with_sign = tensor.dtype() == DType::s4 || tensor.dtype() == DType::s2;
  auto* out = tensor.mutable_as<uint8_t>();
  for (uint64_t i = 0; i < count; ++i) {
    const unsigned code = (packed[i / each] >> (i % each * bits)) & (range - 1);
    out[i] = static_cast<uint8_t>(with_sign && code >= range / 2 ? code - range : code);
  }
}

void normalise_booleans(Tensor& tensor) {
  if (tensor.dtype() != DType::boolean) return;
  auto* values = tensor.mutable_as<uint8_t>();
  for (int64_t i = 0; i < tensor.size(); ++i) values[i] = values[i] != 0 ? 1 : 0;
}

Tensor from_raw(const std::string& raw, DType dtype, const Extent& extent, const Origin& origin) {
  const uint64_t expected = stored_bytes(dtype, extent.count);
  if (raw.size() != expected)
    fail(ErrorCode::invalid_model, origin,
         "raw data has " + std::to_string(raw.size()) + " bytes, expected " + std::to_string(expected) + " for " +
             std::string(to_string(dtype)) + to_string(extent.shape));
  Tensor tensor(dtype, extent.shape);
  if (is_packed(dtype))
    unpack(tensor, reinterpret_cast<const uint8_t*>(raw.data()), extent.count);
  else if (!raw.empty())
    std::memcpy(tensor.mutable_as<char>(), raw.data(), raw.size());
  normalise_booleans(tensor);
  return tensor;
}

std::optional<uint64_t> parse_number(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

Tensor from_external(const pb::TensorProto& proto, DType dtype, const Extent& extent, const Origin& origin) {
  if (origin.folder.empty())
    fail(ErrorCode::invalid_model, origin, "keeps its data in an external file, but the model did not come from a folder");
  ExternalSlice slice;
  slice.length = stored_bytes(dtype, extent.count);
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") {
      slice.location = entry.value();
    } else if (entry.key() == "offset" || entry.key() == "length") {
      const std::optional<uint64_t> value = parse_number(entry.value());
      if (!value)
        fail(ErrorCode::invalid_model, origin,
             "external data has " + entry.key() + " '" + printable(entry.value()) + "', expected a number of bytes");
      if (entry.key() == "offset") slice.offset = *value;
      if (entry.key() == "length" && *value != slice.length)
        fail(ErrorCode::invalid_model, origin,
             "external data has length " + entry.value() + ", expected " + std::to_string(slice.length) + " for " +
                 std::string(to_string(dtype)) + to_string(extent.shape));
    }
  }
  const ExternalFile file(origin.folder, slice, origin.file, origin.what);
  if (is_packed(dtype)) {
    std::vector<std::byte> packed(slice.length);
    file.read(packed);
    Tensor tensor(dtype, extent.shape);
    unpack(tensor, reinterpret_cast<const uint8_t*>(packed.data()), extent.count);
    return tensor;
  }
  Tensor tensor(dtype, extent.shape);
  file.read({tensor.mutable_as<std::byte>(), slice.length});
  normalise_booleans(tensor);
  return tensor;
}

void expect_count(int have, uint64_t expected, const char* field, DType dtype, const Extent& extent, const Origin& origin) {
  if (static_cast<uint64_t>(have) != expected)
    fail(ErrorCode::invalid_model, origin,
         std::string(field) + " has " + std::to_string(have) + " elements, expected " + std::to_string(expected) + " for " +
             std::string(to_string(dtype)) + to_string(extent.shape));
}

template <class To, class Field>
Tensor copy_field(const Field& field, const char* name, DType dtype, const Extent& extent, const Origin& origin) {
  expect_count(field.size(), extent.count, name, dtype, extent, origin);
  Tensor tensor(dtype, extent.shape);
  To* out = tensor.mutable_as<To>();
  for (int i = 0; i < field.size(); ++i) {
    const auto value = field.Get(i);
    if constexpr (std::is_integral_v<To> && sizeof(To) < sizeof(value))
      if (value < static_cast<decltype(value)>(std::numeric_limits<To>::min()) ||
          value > static_cast<decltype(value)>(std::numeric_limits<To>::max()))
        fail(ErrorCode::invalid_model, origin,
             std::string(name) + " holds " + std::to_string(value) + ", which is no " + std::string(to_string(dtype)));
    out[i] = static_cast<To>(value);
  }
  return tensor;
}

Tensor from_typed(const pb::TensorProto& proto, DType dtype, const Extent& extent, const Origin& origin) {
  const auto ints = [&]<class To>(To) { return copy_field<To>(proto.int32_data(), "int32_data", dtype, extent, origin); };
  switch (dtype) {
    case DType::f32: return copy_field<float>(proto.float_data(), "float_data", dtype, extent, origin);
    case DType::f64: return copy_field<double>(proto.double_data(), "double_data", dtype, extent, origin);
    case DType::s64: return copy_field<int64_t>(proto.int64_data(), "int64_data", dtype, extent, origin);
    case DType::u64: return copy_field<uint64_t>(proto.uint64_data(), "uint64_data", dtype, extent, origin);
    case DType::u32: return copy_field<uint32_t>(proto.uint64_data(), "uint64_data", dtype, extent, origin);
    case DType::s32: return ints(int32_t{});
    case DType::s16: return ints(int16_t{});
    case DType::s8: return ints(int8_t{});
    case DType::u8: return ints(uint8_t{});
    case DType::u16:
    case DType::f16:
    case DType::bf16: return ints(uint16_t{});
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0: return ints(uint8_t{});
    case DType::boolean: {
      Tensor tensor = ints(uint8_t{});
      normalise_booleans(tensor);
      return tensor;
    }
    case DType::s4:
    case DType::u4:
    case DType::s2:
    case DType::u2:
    case DType::f4e2m1: {
      expect_count(proto.int32_data_size(), stored_bytes(dtype, extent.count), "int32_data", dtype, extent, origin);
      std::string packed;
      for (int32_t byte : proto.int32_data()) packed.push_back(static_cast<char>(byte));
      return from_raw(packed, dtype, extent, origin);
    }
    case DType::string: {
      expect_count(proto.string_data_size(), extent.count, "string_data", dtype, extent, origin);
      return Tensor(extent.shape, {proto.string_data().begin(), proto.string_data().end()});
    }
    case DType::undefined: break;
  }
  fail(ErrorCode::unsupported, origin, "has no element type");
}

}  // namespace

DType dtype_of(int data_type) {
  for (const auto& [number, dtype] : kDataTypes)
    if (number == data_type) return dtype;
  return DType::undefined;
}

int data_type_of(DType dtype) {
  for (const auto& [number, known] : kDataTypes)
    if (known == dtype) return number;
  return 0;
}

Tensor tensor_of(const pb::TensorProto& proto, const Origin& origin) {
  const DType dtype = dtype_of(proto.data_type());
  if (dtype == DType::undefined)
    fail(proto.data_type() <= 0 ? ErrorCode::invalid_model : ErrorCode::unsupported, origin,
         "element type " + std::to_string(proto.data_type()) + " is not supported; expected a real number, bool or string");
  if (proto.has_segment()) fail(ErrorCode::unsupported, origin, "is stored in segments, which is not supported");
  const Extent extent = checked_extent(proto, origin);
  const bool external = proto.data_location() == pb::TensorProto::EXTERNAL;
  if (dtype == DType::string && (external || proto.has_raw_data()))
    fail(ErrorCode::invalid_model, origin, "holds strings, which cannot be raw or external data");
  if (external) return from_external(proto, dtype, extent, origin);
  if (proto.has_raw_data()) return from_raw(proto.raw_data(), dtype, extent, origin);
  return from_typed(proto, dtype, extent, origin);
}

void describe_tensor(const Tensor& tensor, const std::string& name, pb::TensorProto& proto) {
  for (int64_t d : tensor.shape()) proto.add_dims(d);
  proto.set_data_type(data_type_of(tensor.dtype()));
  if (!name.empty()) proto.set_name(name);
}

std::string raw_data(const Tensor& tensor) {
  const auto count = static_cast<size_t>(tensor.size());
  if (!is_packed(tensor.dtype())) return std::string(tensor.as<char>(), tensor.bytes());
  const unsigned bits = stored_bits(tensor.dtype()), each = 8 / bits, mask = (1u << bits) - 1;
  std::string packed(stored_bytes(tensor.dtype(), count), '\0');
  const auto* values = tensor.as<uint8_t>();
  for (size_t i = 0; i < count; ++i)
    packed[i / each] = static_cast<char>(packed[i / each] | static_cast<char>((values[i] & mask) << (i % each * bits)));
  return packed;
}

void tensor_to_proto(const Tensor& tensor, const std::string& name, pb::TensorProto& proto) {
  describe_tensor(tensor, name, proto);
  if (tensor.dtype() == DType::string)
    for (const std::string& text : tensor.strings()) proto.add_string_data(text);
  else
    proto.set_raw_data(raw_data(tensor));
}

Tensor import_tensor(const std::string& path) {
  const std::string bytes = read_file(path, std::numeric_limits<int32_t>::max());
  pb::TensorProto proto;
  if (bytes.empty() || !proto.ParseFromString(bytes)) throw Error(ErrorCode::invalid_model, path + ": is not a TensorProto");
  return tensor_of(proto, {path, {}, "tensor '" + printable(proto.name()) + "'"});
}

void export_tensor(const Tensor& tensor, const std::string& name, const std::string& path) {
  pb::TensorProto proto;
  tensor_to_proto(tensor, name, proto);
  std::string bytes;
  if (!proto.SerializeToString(&bytes))
    throw Error(ErrorCode::unsupported, path + ": tensor does not fit into protobuf's 2 GB");
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace octet::onnx
