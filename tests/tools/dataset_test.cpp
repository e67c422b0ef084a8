#include "tools/dataset.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "engine/model.h"
#include "tools/feed.h"
#include "tools/files.h"
#include "tools/npy.h"
#include "tools/zoo.h"

namespace octet::tools {
namespace {

using graph::Tensor;

class DatasetTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path() + "/" + name; }
  void array(const std::string& name, const Tensor& t) const { write_npy(path(name), t.view()); }
  Dataset load(const std::string& json) const {
    write_file(path("d.json"), json);
    return Dataset::load(path("d.json"));
  }
  std::string refusal(const std::string& json) const {
    try {
      load(json);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }
  // `count` images of 2 x 2 RGB: pixel values 0, 1, 2, ... in NHWC order, 12 an image.
  Tensor images(int64_t count) const {
    Tensor t(DType::u8, {count, 2, 2, 3});
    for (int64_t i = 0; i < t.size(); ++i) t.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(i);
    return t;
  }
  Tensor labels(int64_t count) const {
    Tensor t(DType::s64, {count});
    for (int64_t i = 0; i < count; ++i) t.mutable_as<int64_t>()[i] = 100 + i;
    return t;
  }

  TemporaryFolder folder_;
};

TEST_F(DatasetTest, PreprocessStepsComeInTheirOrder) {
  array("x.npy", images(2));
  array("y.npy", labels(2));
  // BGR first: mean[0] and std[0] belong to blue. Divide before mean before std.
  const Dataset d = load(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "top1", "input_layout": "NHWC",
    "preprocess": {"order": "BGR", "divide": 2, "mean": [1, 2, 3], "std": [1, 2, 4], "layout": "NCHW"}})");
  const Sample sample = d.sample(1);
  ASSERT_EQ(sample.size(), 1u);
  const Tensor& t = sample[0].tensor;
  ASSERT_EQ(t.dtype(), DType::f32);
  ASSERT_EQ(t.shape(), (Shape{3, 2, 2}));
  for (int c = 0; c < 3; ++c)
    for (int p = 0; p < 4; ++p) {
      const float pixel = static_cast<float>(12 + 3 * p + (2 - c));
      const float mean = static_cast<float>(1 + c), std = static_cast<float>(1 << c);
      EXPECT_EQ(t.as<float>()[4 * c + p], (pixel / 2 - mean) / std) << "channel " << c << " pixel " << p;
    }
}

TEST_F(DatasetTest, LayoutsGoInAndOutAsNamed) {
  array("y.npy", labels(1));
  array("nhwc.npy", images(1));
  Tensor planes(DType::u8, {1, 3, 2, 2});
  for (int c = 0; c < 3; ++c)
    for (int p = 0; p < 4; ++p) planes.mutable_as<uint8_t>()[4 * c + p] = static_cast<uint8_t>(3 * p + c);
  array("nchw.npy", planes);
  for (const std::string out : {"NCHW", "NHWC"}) {
    const auto values = [&](const std::string& in) {
      const std::string file = in == "NHWC" ? "nhwc" : "nchw";
      return load(R"({"inputs": ")" + file + R"(.npy", "labels": "y.npy", "metric": "top1", "input_layout": ")" + in +
                  R"(", "preprocess": {"layout": ")" + out + R"("}})")
          .sample(0)[0]
          .tensor;
    };
    const Tensor a = values("NHWC"), b = values("NCHW");
    EXPECT_EQ(a.shape(), out == "NCHW" ? (Shape{3, 2, 2}) : (Shape{2, 2, 3}));
    EXPECT_EQ(a.to_f32(), b.to_f32());
    EXPECT_EQ(a.as<float>()[1], out == "NCHW" ? 3.0f : 1.0f);
  }
}

TEST_F(DatasetTest, WithoutPreprocessArraysAreGivenAsTheyAre) {
  Tensor x(DType::s8, {3, 2});
  for (int i = 0; i < 6; ++i) x.mutable_as<int8_t>()[i] = static_cast<int8_t>(i - 3);
  array("x.npy", x);
  array("y.npy", labels(3));
  const Dataset d = load(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "top1"})");
  EXPECT_EQ(d.size(), 3u);
  const Sample sample = d.sample(2);
  EXPECT_EQ(sample[0].tensor.dtype(), DType::s8);
  EXPECT_EQ(sample[0].tensor.to_s64(), (std::vector<int64_t>{1, 2}));
}

TEST_F(DatasetTest, CalibrationIsThePartNamedOrElseTheFirstTenth) {
  array("x.npy", images(20));
  array("y.npy", labels(20));
  array("c.npy", images(3));
  Dataset named = load(R"({"inputs": "x.npy", "labels": "y.npy", "calibration": "c.npy", "metric": "top1"})");
  named.hold_out_calibration();
  EXPECT_EQ(named.size(), 20u);
  EXPECT_EQ(named.calibration_size(), 3u);

  Dataset split = load(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "top1"})");
  EXPECT_EQ(split.size(), 20u) << "nothing is held out before somebody calibrates";
  split.hold_out_calibration();
  EXPECT_EQ(split.calibration_size(), 2u);
  ASSERT_EQ(split.size(), 18u);
  EXPECT_EQ(split.labels().at_s64(static_cast<int64_t>(split.label_index(0))), 102);
  EXPECT_EQ(split.sample(0)[0].tensor.at_s64(0), 24);
  EXPECT_EQ(split.calibration_sample(1)[0].tensor.at_s64(0), 12);
}

TEST_F(DatasetTest, ImagesAndACsvOfLabels) {
  std::filesystem::create_directories(path("img"));
  // Two pixels: red, then (1, 2, 3).
  write_file(path("img/b.ppm"), std::string("P6 2 1 255\n\xff\x00\x00\x01\x02\x03", 17));
  write_file(path("img/a.ppm"), std::string("P6 2 1 255\n\x00\x00\x00\x00\x00\x00", 17));
  write_file(path("labels.csv"), "file,label\nb.ppm,7\na.ppm,9\r\n");
  const Dataset d = load(R"({"images": "img", "labels": "labels.csv", "metric": "top1", "preprocess": {"order": "RGB"}})");
  ASSERT_EQ(d.size(), 2u);
  EXPECT_EQ(d.labels().at_f64(0), 7);
  EXPECT_EQ(d.labels().at_f64(1), 9);
  EXPECT_EQ(d.sample(0)[0].tensor.to_f32(), (std::vector<float>{255, 1, 0, 2, 0, 3}));
}

TEST_F(DatasetTest, SentencesAreCutToTheirLengthsAndTwoShareALabel) {
  array("ids.npy", Tensor::of<int64_t>(DType::s64, {4, 3}, {11, 0, 0, 21, 22, 0, 31, 0, 0, 41, 42, 43}));
  array("mask.npy", Tensor::of<int64_t>(DType::s64, {4, 3}, {1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1}));
  array("y.npy", labels(2));
  const Dataset d = load(R"({"inputs": {"ids": "ids.npy", "mask": "mask.npy"}, "labels": "y.npy", "metric": "spearman",
                             "pairs": true, "lengths": "mask"})");
  EXPECT_EQ(d.size(), 4u);
  EXPECT_EQ(d.label_index(0), 0u);
  EXPECT_EQ(d.label_index(1), 0u);
  EXPECT_EQ(d.label_index(3), 1u);
  EXPECT_EQ(d.sample(0)[0].tensor.to_s64(), (std::vector<int64_t>{11}));
  EXPECT_EQ(d.sample(3)[0].tensor.to_s64(), (std::vector<int64_t>{41, 42, 43}));
  const std::vector<Sample> batch = d.samples(0, 3);
  ASSERT_EQ(batch.size(), 3u);
  EXPECT_EQ(batch[0][0].tensor.to_s64(), (std::vector<int64_t>{11, 0})) << "as long as the longest of the batch";
  EXPECT_EQ(batch[1][1].tensor.to_s64(), (std::vector<int64_t>{1, 1}));

  const std::string start = R"({"inputs": {"ids": "ids.npy", "mask": "mask.npy"}, "metric": "spearman", "labels": )";
  EXPECT_NE(refusal(start + R"("y.npy"})").find("2 labels for 4 samples"), std::string::npos);
  EXPECT_NE(refusal(start + R"("ids.npy", "pairs": true})").find("expected one a pair"), std::string::npos);
  EXPECT_NE(refusal(start + R"("ids.npy", "lengths": "x"})").find("'lengths' is 'x'"), std::string::npos);
  array("mask.npy", Tensor::of<int64_t>(DType::s64, {4, 3}, {1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1}));
  EXPECT_NE(refusal(start + R"("ids.npy", "lengths": "mask"})").find("sample 1"), std::string::npos);
}

TEST_F(DatasetTest, MistakesAreNamed) {
  array("x.npy", images(2));
  array("y.npy", labels(3));
  EXPECT_NE(refusal("{").find("d.json: not JSON"), std::string::npos);
  EXPECT_NE(refusal(R"([1])").find("JSON object"), std::string::npos);
  EXPECT_NE(refusal(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "top1"})").find("3 labels for 2 samples"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "best"})").find("'metric' is 'best'"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "map"})").find("map"), std::string::npos);
  EXPECT_NE(refusal(R"({"labels": "y.npy", "metric": "top1"})").find("'inputs' and 'images'"), std::string::npos);
  EXPECT_NE(refusal(R"({"inputs": "none.npy", "labels": "y.npy", "metric": "top1"})").find("none.npy: cannot be read"),
            std::string::npos);
  EXPECT_NE(
      refusal(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "top1", "preprocess": {"crop": "big"}})").find("'crop'"),
      std::string::npos);
  EXPECT_NE(refusal(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "top1", "preprocess": {"std": [0]}})")
                .find("must not be 0"),
            std::string::npos);
  array("y.npy", labels(2));
  EXPECT_EQ(refusal(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "top1"})"), "no error");
  EXPECT_NE(refusal(R"({"inputs": "x.npy", "labels": "y.npy", "metric": "top1", "lables": 1})").find("unknown key 'lables'"),
            std::string::npos);
}

TEST(Image, ShortSideResizeKeepsTheRatioAndFlatColours) {
  Image image{6, 4, 1, std::vector<uint8_t>(24, 77)};
  const Image out = resize_short(image, 2);
  EXPECT_EQ(out.height, 3);
  EXPECT_EQ(out.width, 2);
  for (const uint8_t p : out.pixels) EXPECT_EQ(p, 77);
}

TEST(Image, HalvingIsTheTriangleFilter) {
  // Scale 2: weights of an inner output are 1/8 3/8 3/8 1/8; at the border the outer 1/8 is missing and the rest sums to 1.
  const Image row{1, 6, 1, {0, 0, 80, 160, 240, 240}};
  Image tall{6, 1, 1, row.pixels};
  const auto halved = [](const std::vector<uint8_t>& p) {
    std::vector<int> out;
    for (const uint8_t v : p) out.push_back(v);
    return out;
  };
  // A square of 6 x 6 that varies along x only.
  Image image{6, 6, 1, {}};
  for (int y = 0; y < 6; ++y) image.pixels.insert(image.pixels.end(), row.pixels.begin(), row.pixels.end());
  const Image out = resize_short(image, 3);
  ASSERT_EQ(out.width, 3);
  const std::vector<int> first_row = halved({out.pixels.begin(), out.pixels.begin() + 3});
  // (3*0 + 3*0 + 80) / 7 = 11.43; (0 + 3*80 + 3*160 + 240) / 8 = 120; (160 + 3*240 + 3*240) / 7 = 228.57
  EXPECT_EQ(first_row, (std::vector<int>{11, 120, 229}));
}

TEST(Image, CropTakesTheCentre) {
  Image image{3, 4, 1, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
  EXPECT_EQ(center_crop(image, 2).pixels, (std::vector<uint8_t>{1, 2, 5, 6}));
  EXPECT_THROW(center_crop(image, 4), Error);
}

TEST(Feed, SamplesAreStackedToTheBatchAndCheckedAgainstTheModel) {
  const std::vector<ValueInfo> inputs = {{"x", DType::f32, {-1, 3}, {"N", ""}}};
  const auto sample = [](std::vector<float> v) {
    return Sample{{"", Tensor::of(DType::f32, {static_cast<int64_t>(v.size())}, v)}};
  };
  const auto stacked = stack(inputs, {sample({1, 2, 3}), sample({4, 5, 6})}, 3, "d");
  ASSERT_EQ(stacked.size(), 1u);
  EXPECT_EQ(stacked[0].shape(), (Shape{3, 3}));
  EXPECT_EQ(stacked[0].to_f32(), (std::vector<float>{1, 2, 3, 4, 5, 6, 4, 5, 6}));
  EXPECT_THROW(stack(inputs, {sample({1, 2})}, 1, "d"), Error);
  EXPECT_THROW(stack({{"x", DType::u8, {-1, 3}, {"N", ""}}}, {sample({1, 2, 3})}, 1, "d"), Error);
  EXPECT_THROW(stack(inputs, {Sample{{"z", Tensor::of<float>(DType::f32, {3}, {1, 2, 3})}}}, 1, "d"), Error);
}

TEST(Feed, OpenDimensionsAreResolvedOrAskedFor) {
  const std::vector<ValueInfo> inputs = {{"x", DType::f32, {-1, 3, -1}, {"N", "", "T"}},
                                         {"s", DType::f32, {2, -1}, {"", "N"}}};
  EXPECT_TRUE(batchable(inputs));
  const auto shapes = resolve_shapes(inputs, 4, parse_shapes({"x=4x3x9"}), "m");
  EXPECT_EQ(shapes, (std::vector<Shape>{{4, 3, 9}, {2, 4}}));
  try {
    resolve_shapes(inputs, 4, {}, "m.onnx");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("m.onnx: input 'x' has the open shape [N,3,T]"), std::string::npos) << e.what();
  }
  EXPECT_THROW(resolve_shapes(inputs, 1, parse_shapes({"y=1", "x=1,3,1"}), "m"), Error);
  for (const char* bad : {"x", "=1", "x=", "x=1x", "x=0", "x=1y2", "x=-1"}) EXPECT_THROW(parse_shapes({bad}), Error) << bad;
}

TEST(Feed, SyntheticInputsAreSeededAndNormal) {
  const std::vector<ValueInfo> inputs = {{"x", DType::f32, {1, 10000}, {"", ""}}};
  const auto a = synthetic_inputs(inputs, {{1, 10000}}, 5)[0].to_f32();
  EXPECT_EQ(a, synthetic_inputs(inputs, {{1, 10000}}, 5)[0].to_f32());
  EXPECT_NE(a, synthetic_inputs(inputs, {{1, 10000}}, 6)[0].to_f32());
  double mean = 0, square = 0;
  for (const float v : a) mean += v / 1e4, square += v * v / 1e4;
  EXPECT_NEAR(mean, 0, 0.05);
  EXPECT_NEAR(std::sqrt(square), 1, 0.05);
}

TEST(Feed, TokensAreBelowTheSizeOfTheirTableAndMasksAreOnes) {
  const Model model = model_from_graph(zoo::build("electra_small", {.batch = 0, .sequence = 8}));
  EXPECT_EQ(describe_synthetic(model), "'input_ids' below 30522, 'attention_mask' all ones, 'token_type_ids' below 2");
  const auto inputs = synthetic_inputs(model, {{3, 8}, {3, 8}, {3, 8}}, 1);
  int64_t largest = 0;
  for (const int64_t id : inputs[0].to_s64()) {
    EXPECT_GE(id, 0);
    EXPECT_LT(id, 30522);
    largest = std::max(largest, id);
  }
  EXPECT_GT(largest, 10000) << "the whole table is used";
  for (const int64_t m : inputs[1].to_s64()) EXPECT_EQ(m, 1);
  for (const int64_t t : inputs[2].to_s64()) EXPECT_TRUE(t == 0 || t == 1);
}

}  // namespace
}  // namespace octet::tools
