#include "tools/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "tools/files.h"

namespace octet::tools {
namespace {

constexpr std::pair<std::string_view, DType> kTypes[] = {
    {"<f4", DType::f32}, {"<f8", DType::f64}, {"<f2", DType::f16}, {"|i1", DType::s8},
    {"|u1", DType::u8},  {"<i2", DType::s16}, {"<u2", DType::u16}, {"<i4", DType::s32},
    {"<u4", DType::u32}, {"<i8", DType::s64}, {"<u8", DType::u64}, {"|b1", DType::boolean},
};
constexpr std::string_view kMagic{"\x93NUMPY", 6};

[[noreturn]] void fail(const std::string& path, const std::string& message) {
  throw Error(ErrorCode::invalid_argument, path + ": not a usable .npy file: " + message);
}

// The text after `'key':` in the header's Python dictionary.
std::string_view field(std::string_view header, std::string_view key, const std::string& path) {
  const std::string quoted = "'" + std::string(key) + "'";
  const size_t at = header.find(quoted);
  if (at == std::string_view::npos) fail(path, "its header has no " + quoted);
  size_t begin = header.find(':', at + quoted.size());
  if (begin == std::string_view::npos) fail(path, "its header has no value for " + quoted);
  begin = header.find_first_not_of(" ", begin + 1);
  if (begin == std::string_view::npos) fail(path, "its header has no value for " + quoted);
  return header.substr(begin);
}

Shape parse_shape(std::string_view text, const std::string& path) {
  const size_t close = text.find(')');
  if (text.empty() || text[0] != '(' || close == std::string_view::npos) fail(path, "its shape is no tuple");
  Shape shape;
  const char* p = text.data() + 1;
  const char* end = text.data() + close;
  while (p < end) {
    if (*p == ' ' || *p == ',') {
      ++p;
      continue;
    }
    int64_t d = 0;
    const auto [next, error] = std::from_chars(p, end, d);
    if (error != std::errc() || d < 0) fail(path, "its shape holds something other than sizes");
    shape.push_back(d);
    p = next;
  }
  return shape;
}

}  // namespace

graph::Tensor parse_npy(std::string_view bytes, const std::string& path) {
  if (bytes.size() < 10 || bytes.substr(0, 6) != kMagic) fail(path, "it does not begin with the mark of the format");
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(bytes[i])); };
  const size_t major = byte(6);
  if (major < 1 || major > 3) fail(path, "format version " + std::to_string(major) + ", expected 1 to 3");
  const size_t prefix = major == 1 ? 10 : 12;
  if (bytes.size() < prefix) fail(path, "it ends within its header");
  size_t length = byte(8) | byte(9) << 8;
  if (major > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (bytes.size() - prefix < length) fail(path, "it ends within its header");
  const std::string_view header = bytes.substr(prefix, length);

  const std::string_view descr = field(header, "descr", path);
  DType dtype = DType::undefined;
  for (const auto& [text, type] : kTypes)
    if (descr.substr(0, 5) == "'" + std::string(text) + "'") dtype = type;
  if (dtype == DType::undefined)
    fail(path, "its element type is " + std::string(descr.substr(0, descr.find(','))) + ", expected a little-endian number");
  if (field(header, "fortran_order", path).substr(0, 5) != "False") fail(path, "it is in Fortran order, expected C order");
  const Shape shape = parse_shape(field(header, "shape", path), path);

  const size_t data = bytes.size() - prefix - length;
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  size_t wanted = empty ? 0 : size_of(dtype);
  for (const int64_t d : shape) {
    if (d != 0 && wanted > data / static_cast<size_t>(d))
      fail(path, "its shape " + to_string(shape) + " needs more than the " + std::to_string(data) + " bytes that follow");
    wanted *= static_cast<size_t>(d);
  }
  if (wanted != data)
    fail(path, "its shape " + to_string(shape) + " needs " + std::to_string(wanted) + " bytes, but " + std::to_string(data) +
                   " follow");
  graph::Tensor tensor(dtype, shape);
  if (data) std::memcpy(tensor.mutable_as<char>(), bytes.data() + prefix + length, data);
  return tensor;
}

graph::Tensor read_npy(const std::string& path) { return parse_npy(read_file(path), path); }

void write_npy(const std::string& path, const TensorView& value) {
  if (value.dtype == DType::bf16) {
    graph::Tensor wide(DType::f32, value.shape);
    for (int64_t i = 0; i < wide.size(); ++i)
      wide.mutable_as<float>()[i] = graph::bfloat16_to_float(value.as<const uint16_t>()[i]);
    return write_npy(path, wide.view());
  }
  std::string_view descr;
  for (const auto& [text, type] : kTypes)
    if (type == value.dtype) descr = text;
  if (descr.empty())
    throw Error(ErrorCode::unsupported,
                path + ": a .npy file cannot hold elements of type " + std::string(to_string(value.dtype)));
  std::string header = "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (";
  for (const int64_t d : value.shape) header += std::to_string(d) + ",";
  header += "), }";
  header.append(63 - (kMagic.size() + 4 + header.size()) % 64, ' ');  // data on a multiple of 64 bytes, as numpy writes it
  header += '\n';
  std::string bytes(kMagic);
  bytes += {'\x01', '\x00', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  bytes += header;
  bytes.append(value.as<const char>(), value.bytes());
  write_file(path, bytes);
}

}  // namespace octet::tools
