#include "octet/octet_c.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "frontends/onnx/onnx.h"
#include "octet/octet.h"
#include "tests/engine/small_decoder.h"

namespace {

const std::string kDigits = std::string(OCTET_SOURCE_DIR) + "/tools/digits/digits.onnx";

class OctetC : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(octet_model_load(kDigits.c_str(), nullptr, &model_), OCTET_OK) << octet_last_error();
    ASSERT_EQ(octet_session_create(model_, 1, &session_), OCTET_OK) << octet_last_error();
    ASSERT_EQ(octet_model_input(model_, 0, &x_), OCTET_OK);
    ASSERT_EQ(octet_model_output(model_, 0, &y_), OCTET_OK);
    for (size_t i = 0; i < x_.rank; ++i) shape_.push_back(x_.shape[i] < 0 ? 1 : x_.shape[i]);
    for (int64_t i = 0; i < octet::element_count(shape_); ++i) data_.push_back(static_cast<float>(i % 17) / 16);
    in_ = {data_.data(), OCTET_FLOAT32, shape_.size(), shape_.data()};
  }
  void TearDown() override {
    octet_session_free(session_);
    octet_model_free(model_);
  }

  octet_model* model_ = nullptr;
  octet_session* session_ = nullptr;
  octet_value_info x_{}, y_{};
  std::vector<int64_t> shape_;
  std::vector<float> data_;
  octet_tensor in_{};
};

TEST_F(OctetC, GivesWhatCppGives) {
  ASSERT_EQ(octet_set_input(session_, x_.name, &in_), OCTET_OK) << octet_last_error();
  ASSERT_EQ(octet_run(session_), OCTET_OK) << octet_last_error();
  octet_tensor out{};
  ASSERT_EQ(octet_get_output(session_, y_.name, &out), OCTET_OK) << octet_last_error();

  const octet::Model model = octet::Model::load(kDigits);
  octet::Session session(model, {.threads = 1});
  session.set_input(x_.name, {data_.data(), octet::DType::f32, shape_});
  session.run();
  const octet::TensorView want = session.output(0);
  ASSERT_EQ(octet::Shape(out.shape, out.shape + out.rank), want.shape);
  EXPECT_EQ(out.dtype, OCTET_FLOAT32);
  for (int64_t i = 0; i < octet::element_count(want.shape); ++i)
    EXPECT_EQ(static_cast<const float*>(out.data)[i], want.as<const float>()[i]);
}

TEST_F(OctetC, ModelsDescribeThemselves) {
  EXPECT_EQ(octet_model_input_count(model_), 1u);
  EXPECT_EQ(octet_model_output_count(model_), 1u);
  EXPECT_EQ(x_.dtype, OCTET_FLOAT32);
  EXPECT_EQ(x_.rank, 4u);
  EXPECT_GT(std::string(octet_model_isa(model_)).size(), 0u);
  EXPECT_EQ(std::string(octet_version()), std::string(octet::version()));
  octet_value_info info{};
  EXPECT_EQ(octet_model_input(model_, 1, &info), OCTET_INVALID_ARGUMENT);
  EXPECT_NE(std::string(octet_last_error()).find("input 1"), std::string::npos);
}

TEST_F(OctetC, MistakesAreStatusesWithMessages) {
  octet_model* none = nullptr;
  EXPECT_NE(octet_model_load("/no/such/file.onnx", nullptr, &none), OCTET_OK);
  EXPECT_NE(std::string(octet_last_error()).find("/no/such/file.onnx"), std::string::npos);
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(octet_model_load(kDigits.c_str(), "mmx", &none), OCTET_INVALID_ARGUMENT);
  EXPECT_NE(std::string(octet_last_error()).find("mmx"), std::string::npos);
  EXPECT_EQ(octet_model_load(nullptr, nullptr, &none), OCTET_INVALID_ARGUMENT);
  octet_session* no_session = nullptr;
  EXPECT_EQ(octet_session_create(model_, -1, &no_session), OCTET_INVALID_ARGUMENT);
  EXPECT_EQ(octet_set_input(session_, "nobody", &in_), OCTET_INVALID_ARGUMENT);
  EXPECT_EQ(octet_set_input(session_, x_.name, nullptr), OCTET_INVALID_ARGUMENT);
  octet_tensor wrong = in_;
  wrong.dtype = OCTET_UINT8;
  EXPECT_EQ(octet_set_input(session_, x_.name, &wrong), OCTET_INVALID_ARGUMENT);
  EXPECT_EQ(octet_run(session_), OCTET_INVALID_ARGUMENT) << "no input was set";
  octet_tensor out{};
  EXPECT_EQ(octet_get_output(session_, y_.name, &out), OCTET_INVALID_ARGUMENT) << "nothing has run";
  octet_model_free(nullptr);
  octet_session_free(nullptr);
}

TEST_F(OctetC, MessagesBelongToTheirThread) {
  octet_model* none = nullptr;
  EXPECT_NE(octet_model_load("/mine.onnx", nullptr, &none), OCTET_OK);
  std::thread([] {
    EXPECT_STREQ(octet_last_error(), "");
    octet_model* other = nullptr;
    EXPECT_NE(octet_model_load("/yours.onnx", nullptr, &other), OCTET_OK);
  }).join();
  EXPECT_NE(std::string(octet_last_error()).find("/mine.onnx"), std::string::npos);
}

TEST_F(OctetC, ASessionKeepsItsModelAlive) {
  octet_model_free(model_);
  model_ = nullptr;
  std::vector<float> zeros(data_.size());
  octet_tensor in = in_;
  in.data = zeros.data();
  EXPECT_EQ(octet_set_input(session_, "image", &in), OCTET_OK) << octet_last_error();
  EXPECT_EQ(octet_run(session_), OCTET_OK) << octet_last_error();
}

// A decoder of a model of its own, three tokens and then one, against the same tokens at once.
class DecoderInC : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = ::testing::TempDir() + "octet_c_decoder.onnx";
    octet::onnx::export_model(*octet::test::small_decoder(), path);
    ASSERT_EQ(octet_model_load(path.c_str(), nullptr, &model_), OCTET_OK) << octet_last_error();
    const octet_session_options options{1, 0, 1};
    ASSERT_EQ(octet_session_create_with(model_, &options, &session_), OCTET_OK) << octet_last_error();
  }
  void TearDown() override {
    octet_session_free(session_);
    octet_model_free(model_);
  }

  int64_t length() const {
    int64_t n = -1;
    EXPECT_EQ(octet_cache_length(session_, &n), OCTET_OK) << octet_last_error();
    return n;
  }
  std::vector<float> logits_after(std::vector<int64_t> tokens) {
    const int64_t shape[] = {1, static_cast<int64_t>(tokens.size())}, mask_shape[] = {1, length() + shape[1]};
    std::vector<int64_t> ones(static_cast<size_t>(mask_shape[1]), 1);
    const octet_tensor ids{tokens.data(), OCTET_INT64, 2, shape}, mask{ones.data(), OCTET_INT64, 2, mask_shape};
    EXPECT_EQ(octet_set_input(session_, "input_ids", &ids), OCTET_OK) << octet_last_error();
    EXPECT_EQ(octet_set_input(session_, "attention_mask", &mask), OCTET_OK) << octet_last_error();
    EXPECT_EQ(octet_run(session_), OCTET_OK) << octet_last_error();
    octet_tensor y{};
    EXPECT_EQ(octet_get_output(session_, "logits", &y), OCTET_OK) << octet_last_error();
    const auto* data = static_cast<const float*>(y.data);
    return {data, data + octet::element_count(octet::Shape(y.shape, y.shape + y.rank))};
  }

  octet_model* model_ = nullptr;
  octet_session* session_ = nullptr;
};

TEST_F(DecoderInC, TheCacheStaysInTheSession) {
  EXPECT_EQ(length(), 0);
  logits_after({3, 1, 4});
  EXPECT_EQ(length(), 3);
  const std::vector<float> next = logits_after({1});
  EXPECT_EQ(length(), 4);

  ASSERT_EQ(octet_set_cache_length(session_, 3), OCTET_OK) << octet_last_error();
  EXPECT_EQ(logits_after({1}), next) << "the last token again";
  EXPECT_NE(logits_after({1}), next) << "a token more";
  EXPECT_EQ(octet_set_cache_length(session_, 9), OCTET_INVALID_ARGUMENT) << "there are five";
}

TEST_F(OctetC, ASessionWithoutACacheSaysSo) {
  int64_t n = -1;
  EXPECT_EQ(octet_cache_length(session_, &n), OCTET_OK);
  EXPECT_EQ(n, 0);
  EXPECT_EQ(octet_set_cache_length(session_, 0), OCTET_INVALID_ARGUMENT);
  const octet_session_options keeping{1, 0, 1};
  octet_session* none = nullptr;
  EXPECT_EQ(octet_session_create_with(model_, &keeping, &none), OCTET_UNSUPPORTED) << "it is no decoder";
  EXPECT_EQ(none, nullptr);
}

}  // namespace
