#include "tools/npy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "tools/files.h"

namespace octet::tools {
namespace {

using graph::Tensor;

// A version 1.0 file with this header dictionary and this data.
std::string npy(const std::string& header, const std::string& data) {
  const std::string padded = header + "\n";
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(padded.size() & 255);
  bytes += static_cast<char>(padded.size() >> 8);
  return bytes + padded + data;
}

std::string message_of(const std::string& bytes) {
  try {
    parse_npy(bytes, "x.npy");
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Npy, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  for (const DType type : {DType::f32, DType::f64, DType::f16, DType::s8, DType::u8, DType::s16, DType::u16, DType::s32,
                           DType::u32, DType::s64, DType::u64, DType::boolean}) {
    for (const Shape& shape : {Shape{}, Shape{5}, Shape{2, 0, 3}, Shape{2, 3, 1, 7}}) {
      Tensor t(type, shape);
      for (size_t i = 0; i < t.bytes(); ++i)
        t.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(type == DType::boolean ? i % 2 : i * 37);
      const std::string path = folder.path() + "/t.npy";
      write_npy(path, t.view());
      const Tensor back = read_npy(path);
      EXPECT_EQ(back.dtype(), type);
      EXPECT_EQ(back.shape(), shape) << to_string(type);
      ASSERT_EQ(back.bytes(), t.bytes());
      EXPECT_EQ(std::memcmp(back.as<char>(), t.as<char>(), t.bytes()), 0) << to_string(type);
      EXPECT_EQ((read_file(path).size() - t.bytes()) % 64, 0u) << "numpy aligns the data";
    }
  }
}

TEST(Npy, Bfloat16IsWrittenAsFloat32) {
  const TemporaryFolder folder;
  const Tensor t = Tensor::of<uint16_t>(DType::bf16, {2}, {0x3f80, 0xc000});  // 1, -2
  write_npy(folder.path() + "/t.npy", t.view());
  const Tensor back = read_npy(folder.path() + "/t.npy");
  ASSERT_EQ(back.dtype(), DType::f32);
  EXPECT_EQ(back.as<float>()[0], 1.0f);
  EXPECT_EQ(back.as<float>()[1], -2.0f);
}

TEST(Npy, ReadsWhatNumpyWrites) {
  const Tensor t = parse_npy(
      npy("{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }", std::string("\x01\x00\xff\xff\x00\x01", 6)), "x");
  EXPECT_EQ(t.to_s64(), (std::vector<int64_t>{1, -1, 256}));
  const Tensor scalar = parse_npy(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (), }", "\x07"), "x");
  EXPECT_EQ(scalar.shape(), Shape{});
  EXPECT_EQ(scalar.at_s64(0), 7);
}

TEST(Npy, MalformedFilesAreRefusedWithTheReason) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  const std::string data(8, '\0');
  EXPECT_EQ(message_of(npy(good, data)), "no error");
  EXPECT_NE(message_of("").find("x.npy: not a usable .npy file"), std::string::npos);
  EXPECT_NE(message_of("PK\x03\x04 some archive of arrays").find("mark of the format"), std::string::npos);
  EXPECT_NE(message_of(npy(good, data).substr(0, 30)).find("ends within its header"), std::string::npos);
  EXPECT_NE(message_of(npy(good, data.substr(1))).find("needs"), std::string::npos);
  EXPECT_NE(message_of(npy(good, data + "x")).find("needs 8 bytes, but 9 follow"), std::string::npos);
  EXPECT_NE(message_of(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", data)).find("little-endian"),
            std::string::npos);
  EXPECT_NE(message_of(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", data)).find("Fortran"),
            std::string::npos);
  EXPECT_NE(message_of(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", data)).find("sizes"),
            std::string::npos);
  EXPECT_NE(message_of(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, ", data)).find("tuple"),
            std::string::npos);
  EXPECT_NE(message_of(npy("{'fortran_order': False, 'shape': (2,), }", data)).find("'descr'"), std::string::npos);
  EXPECT_NE(message_of(npy("{'descr'", data)).find("'descr'"), std::string::npos);
}

TEST(Npy, AGiganticShapeAllocatesNothing) {
  const std::string huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4611686018427387904), }";
  EXPECT_NE(message_of(npy(huge, "1234")).find("needs more than the 4 bytes"), std::string::npos);
}

TEST(Files, AnUnwritablePlaceIsNamed) {
  const TemporaryFolder folder;
  try {
    write_file(folder.path() + "/none/such.json", "x");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io);
    EXPECT_NE(std::string(e.what()).find("/none/such.json: cannot be written: No such file or directory"), std::string::npos)
        << e.what();
  }
  EXPECT_THROW(check_writable(folder.path()), Error);
  write_file(folder.path() + "/fine", "x");
  EXPECT_EQ(read_file(folder.path() + "/fine"), "x");
  size_t left = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++left;
  EXPECT_EQ(left, 1u) << "nothing is left beside the file";
}

}  // namespace
}  // namespace octet::tools
