// Tensors of files: raw, typed and external data of every element type.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "onnx_file.h"

namespace octet::test {
namespace {

namespace fs = std::filesystem;
using graph::Tensor;

class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() / ("octet_tensor_" + std::to_string(::getpid()) + "_" +
                                           ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }
  void write(const std::string& name, const std::string& bytes) const {
    fs::create_directories(fs::path(*this / name).parent_path());
    std::ofstream(*this / name, std::ios::binary) << bytes;
  }

 private:
  fs::path path_;
};

Tensor read(const Message& m) {
  const Folder folder;
  folder.write("t.pb", m.bytes);
  return onnx::import_tensor(folder / "t.pb");
}

TEST(TensorFile, raw_and_typed_data_agree) {
  EXPECT_EQ(read(float_tensor("t", {2}, {1.5f, -2})).to_f32(), (std::vector<float>{1.5f, -2}));
  EXPECT_EQ(read(tensor_header("t", kFloat, {2}).real(4, 1.5f).real(4, -2)).to_f32(), (std::vector<float>{1.5f, -2}));
  EXPECT_EQ(read(tensor_header("t", kFloat, {2}).text(4, raw<float>({1.5f, -2}))).to_f32(), (std::vector<float>{1.5f, -2}));
  EXPECT_EQ(read(tensor_header("t", kInt8, {2}).number(5, -3).number(5, 127)).to_s64(), (std::vector<int64_t>{-3, 127}));
  EXPECT_EQ(read(tensor_header("t", kInt64, {1}).number(7, -9)).to_s64(), std::vector<int64_t>{-9});
  EXPECT_EQ(read(tensor_header("t", kFloat16, {1}).number(5, 0x3c00)).to_f32(), std::vector<float>{1});
  EXPECT_EQ(read(tensor_header("t", 12, {1}).number(11, 4000000000)).to_s64(), std::vector<int64_t>{4000000000});
  EXPECT_EQ(read(tensor_header("t", kString, {2}).text(6, "a").text(6, "bc")).strings(),
            (std::vector<std::string>{"a", "bc"}));
}

TEST(TensorFile, booleans_are_zero_or_one) {
  EXPECT_EQ(read(tensor_header("t", kBool, {3}).text(9, std::string("\x00\x02\x01", 3))).to_s64(),
            (std::vector<int64_t>{0, 1, 1}));
  EXPECT_EQ(read(tensor_header("t", kBool, {1}).number(5, 7)).to_s64(), std::vector<int64_t>{1});
}

TEST(TensorFile, four_bit_integers_lie_two_to_a_byte_low_half_first) {
  EXPECT_EQ(read(tensor_header("t", kInt4, {3}).text(9, std::string("\x8f\x07", 2))).to_s64(),
            (std::vector<int64_t>{-1, -8, 7}));
  EXPECT_EQ(read(tensor_header("t", kInt4, {3}).number(5, 0x8f).number(5, 7)).to_s64(), (std::vector<int64_t>{-1, -8, 7}));
}

TEST(TensorFile, scalars_and_empty_tensors) {
  EXPECT_EQ(read(float_tensor("t", {}, {3})).shape(), Shape{});
  EXPECT_EQ(read(tensor_header("t", kFloat, {0, 4})).size(), 0);
}

TEST(TensorFile, what_is_written_is_read) {
  const Folder folder;
  for (const Tensor& t :
       {Tensor::of<float>(DType::f32, {2, 2}, {1, 2, 3, 4}), Tensor::of<uint8_t>(DType::s4, {3}, {255, 248, 7}),
        Tensor::of<uint16_t>(DType::bf16, {1}, {0x3f80}), Tensor(Shape{1}, {std::string("text")})}) {
    onnx::export_tensor(t, "t", folder / "t.pb");
    const Tensor back = onnx::import_tensor(folder / "t.pb");
    EXPECT_EQ(back.dtype(), t.dtype());
    EXPECT_EQ(back.shape(), t.shape());
    if (t.dtype() == DType::string)
      EXPECT_EQ(back.strings(), t.strings());
    else
      EXPECT_EQ(std::memcmp(back.as<char>(), t.as<char>(), t.bytes()), 0);
  }
}

TEST(TensorFile, no_tensor) {
  EXPECT_THROW(read(Message()), Error);
  EXPECT_THROW(onnx::import_tensor("/nonexistent.pb"), Error);
}

Message external(const std::string& location, const std::string& offset, const std::string& length) {
  const auto entry = [](const std::string& k, const std::string& v) { return Message().text(1, k).text(2, v); };
  Message m = tensor_header("w", kFloat, {2}).number(14, 1).message(13, entry("location", location));
  if (!offset.empty()) m.message(13, entry("offset", offset));
  if (!length.empty()) m.message(13, entry("length", length));
  return m;
}

std::string external_model(const Message& tensor) {
  ModelParts parts;
  parts.nodes = {node("Add", {"x", "w"}, {"y"})};
  parts.inputs = {value("x", kFloat, {"2"})};
  parts.outputs = {value("y", kFloat, {"2"})};
  parts.initializers = {tensor};
  return model_file(parts);
}

TEST(ExternalData, is_read_at_its_offset) {
  const Folder folder;
  folder.write("sub/w.bin", raw<float>({0, 5, 6, 7}));
  const auto g = import_file(external_model(external("sub/w.bin", "4", "8")), folder.path());
  EXPECT_EQ(g->find_value("w")->constant().to_f32(), (std::vector<float>{5, 6}));
  folder.write("m.onnx", external_model(external("./sub/w.bin", "8", "")));
  EXPECT_EQ(onnx::import_model(folder / "m.onnx")->find_value("w")->constant().to_f32(), (std::vector<float>{6, 7}));
}

TEST(ExternalData, stays_inside_the_folder_and_inside_the_file) {
  const Folder folder;
  folder.write("model/w.bin", raw<float>({1, 2}));
  folder.write("secret.bin", raw<float>({1, 2}));
  fs::create_symlink("../secret.bin", folder / "model/link.bin");
  fs::create_symlink("w.bin", folder / "model/good.bin");
  fs::create_symlink("..", folder / "model/up");
  const std::string root = folder / "model";
  const auto error = [&](const Message& m) { return error_of(external_model(m), root); };
  EXPECT_EQ(error(external("good.bin", "", "")), "no error");
  const std::string prefix = "invalid model: test.onnx: initializer 'w': external data ";
  EXPECT_EQ(error(external("../secret.bin", "", "")),
            prefix + "'../secret.bin': leaves the model's folder; expected no '..'");
  EXPECT_EQ(error(external(folder / "secret.bin", "", "")),
            prefix + "'" + (folder / "secret.bin") + "': expected a path relative to the model's folder");
  EXPECT_EQ(error(external("link.bin", "", "")),
            prefix + "'link.bin': a symbolic link leaves the model's folder; expected a file inside it");
  EXPECT_EQ(error(external("up/secret.bin", "", "")),
            prefix + "'up/secret.bin': a symbolic link leaves the model's folder; expected a file inside it");
  EXPECT_EQ(error(external("", "", "")), prefix + "'': expected a path relative to the model's folder");
  EXPECT_EQ(error(external("w.bin", "4", "")), prefix + "'w.bin': expected 8 bytes at offset 4, but the file has 8 bytes");
  EXPECT_EQ(error(external("w.bin", "18446744073709551615", "")),
            prefix + "'w.bin': expected 8 bytes at offset 18446744073709551615, but the file has 8 bytes");
  EXPECT_EQ(error(external("w.bin", "-1", "")), prefix + "has offset '-1', expected a number of bytes");
  EXPECT_EQ(error(external("w.bin", "", "4")), prefix + "has length 4, expected 8 for float32[2]");
  EXPECT_EQ(
      error(external("none.bin", "", "")),
      "input/output: test.onnx: initializer 'w': external data 'none.bin': cannot be resolved: No such file or directory");
  EXPECT_EQ(error(external(".", "", "")).substr(0, 12), "input/output");
  EXPECT_EQ(error_of(external_model(external("w.bin", "", ""))),
            "invalid model: test.onnx: initializer 'w': keeps its data in an external file, but the model did not come from "
            "a folder");
}

TEST(ExternalData, a_huge_tensor_of_a_small_file_is_refused_before_it_is_allocated) {
  const Folder folder;
  folder.write("w.bin", "1234");
  Message m = tensor_header("w", kFloat, {int64_t{1} << 45}).number(14, 1);
  m.message(13, Message().text(1, "location").text(2, "w.bin"));
  EXPECT_NE(error_of(external_model(m), folder.path()).find("but the file has 4 bytes"), std::string::npos);
}

}  // namespace
}  // namespace octet::test
