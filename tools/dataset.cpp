#include "tools/dataset.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/files.h"
#include "tools/metrics.h"
#include "tools/npy.h"

namespace octet::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

[[noreturn]] void fail(const std::string& file, const std::string& message) {
  throw Error(ErrorCode::invalid_argument, file + ": " + message);
}

// Reads typed members of one JSON object and remembers which keys are known, so that a misspelt one is an error.
class Reader {
 public:
  Reader(const Json& json, std::string file, std::string where)
      : json_(json), file_(std::move(file)), where_(std::move(where)) {
    if (!json.is_object()) fail(file_, where_ + "expected a JSON object");
  }

  const Json* find(const std::string& key) {
    known_.push_back(key);
    const auto at = json_.find(key);
    return at == json_.end() ? nullptr : &*at;
  }
  template <class T>
  T get(const std::string& key, T fallback, const char* expected) {
    const Json* value = find(key);
    if (!value) return fallback;
    try {
      return value->get<T>();
    } catch (const Json::exception&) {
      fail(file_, where_ + "'" + key + "': expected " + expected + ", got " + value->dump().substr(0, 60));
    }
  }
  std::string one_of(const std::string& key, const std::vector<std::string>& choices) {
    const std::string value = get<std::string>(key, choices[0], "a text");
    if (std::find(choices.begin(), choices.end(), value) == choices.end())
      fail(file_, where_ + "'" + key + "' is '" + value + "', expected " + choices[0] + " or " + choices[1]);
    return value;
  }
  void finish() const {
    for (const auto& [key, value] : json_.items())
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) fail(file_, where_ + "unknown key '" + key + "'");
  }

 private:
  const Json& json_;
  std::string file_, where_;
  std::vector<std::string> known_;
};

std::vector<float> channel_values(Reader& reader, const std::string& key, float fallback, const std::string& file) {
  const auto values = reader.get<std::vector<float>>(key, {fallback}, "a list of numbers");
  if (values.size() != 1 && values.size() != 3)
    fail(file, "preprocess: '" + key + "' has " + std::to_string(values.size()) + " entries, expected 1 or 3");
  return values;
}

Preprocess parse_preprocess(const Json& json, const std::string& file) {
  Reader reader(json, file, "preprocess: ");
  Preprocess p;
  p.resize_short = reader.get<int>("resize_short", 0, "a number of pixels");
  p.crop = reader.get<int>("crop", 0, "a number of pixels");
  p.order = reader.one_of("order", {"RGB", "BGR"});
  p.divide = reader.get<float>("divide", 1, "a number");
  p.mean = channel_values(reader, "mean", 0, file);
  p.std = channel_values(reader, "std", 1, file);
  p.layout = reader.one_of("layout", {"NCHW", "NHWC"});
  if (p.divide == 0 || std::find(p.std.begin(), p.std.end(), 0.0f) != p.std.end())
    fail(file, "preprocess: 'divide' and 'std' must not be 0");
  if (p.resize_short < 0 || p.crop < 0) fail(file, "preprocess: 'resize_short' and 'crop' must not be negative");
  reader.finish();
  return p;
}

graph::Tensor read_samples(const std::string& path) {
  graph::Tensor array = read_npy(path);
  if (array.shape().empty()) fail(path, "a single number, expected an array whose first axis counts samples");
  return array;
}

SampleList parse_arrays(const Json& json, const std::string& file, const fs::path& folder) {
  SampleList list;
  if (json.is_string()) {
    list.arrays.push_back({"", read_samples((folder / json.get<std::string>()).string())});
  } else if (json.is_object() && !json.empty()) {
    for (const auto& [name, value] : json.items()) {
      if (!value.is_string()) fail(file, "inputs: '" + name + "': expected the name of a .npy file");
      list.arrays.push_back({name, read_samples((folder / value.get<std::string>()).string())});
    }
  } else {
    fail(file, "'inputs' and 'calibration': expected the name of a .npy file or an object of them");
  }
  list.size = static_cast<size_t>(list.arrays[0].tensor.shape()[0]);
  for (const NamedTensor& a : list.arrays)
    if (static_cast<size_t>(a.tensor.shape()[0]) != list.size)
      fail(file, "input '" + a.name + "' has " + std::to_string(a.tensor.shape()[0]) + " samples, the first one has " +
                     std::to_string(list.size));
  return list;
}

SampleList list_folder(const fs::path& folder) {
  SampleList list;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_regular_file()) list.images.push_back(entry.path().string());
  if (error) throw Error(ErrorCode::io, folder.string() + ": cannot be listed: " + error.message());
  std::sort(list.images.begin(), list.images.end());
  list.size = list.images.size();
  return list;
}

struct CsvRow {
  std::string file;
  float label;
};

std::vector<CsvRow> read_csv(const std::string& path) {
  const std::string text = read_file(path);
  std::vector<CsvRow> rows;
  size_t line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    if (line_number == 1) {
      if (line != "file,label") fail(path, "its first line is '" + line.substr(0, 40) + "', expected 'file,label'");
      continue;
    }
    const size_t comma = line.rfind(',');
    const char* number = comma == std::string::npos ? "" : line.c_str() + comma + 1;
    char* stop = nullptr;
    const float label = std::strtof(number, &stop);
    if (stop == number || *stop)
      fail(path, "line " + std::to_string(line_number) + ": expected file,label with a numeric label");
    rows.push_back({line.substr(0, comma), label});
  }
  return rows;
}

// `lengths` names an array of the samples, [samples, longest], in which no sample begins with 0.
void check_lengths(const SampleList& list, const std::string& lengths, const std::string& file) {
  const auto found =
      std::find_if(list.arrays.begin(), list.arrays.end(), [&](const NamedTensor& a) { return a.name == lengths; });
  if (found == list.arrays.end()) fail(file, "'lengths' is '" + lengths + "', expected the name of one of the inputs");
  const Shape& shape = found->tensor.shape();
  if (shape.size() != 2) fail(file, "'lengths': '" + lengths + "' is " + to_string(shape) + ", expected [samples, longest]");
  for (int64_t i = 0; i < shape[0]; ++i)
    if (shape[1] == 0 || found->tensor.at_f64(i * shape[1]) == 0)
      fail(file,
           "'lengths': sample " + std::to_string(i) + " of '" + lengths + "' does not begin with a one: it has no length");
}

}  // namespace

graph::Tensor slice(const graph::Tensor& array, size_t i) {
  const Shape shape(array.shape().begin() + 1, array.shape().end());
  graph::Tensor one(array.dtype(), shape);
  std::memcpy(one.mutable_as<char>(), array.as<char>() + i * one.bytes(), one.bytes());
  return one;
}

Dataset Dataset::load(const std::string& path) {
  Json json;
  try {
    json = Json::parse(read_file(path));
  } catch (const Json::exception& e) {
    fail(path, "not JSON: " + std::string(e.what()));
  }
  const fs::path folder = fs::path(path).parent_path();
  Reader reader(json, path, "");
  Dataset d;
  d.file_ = path;
  d.name_ = reader.get<std::string>("name", fs::path(path).stem().string(), "a text");
  reader.get<std::string>("task", "", "a text");
  d.metric_ = reader.get<std::string>("metric", "", "the name of a metric");
  check_metric(d.metric_, path);
  d.peak_ = reader.get<double>("peak", 1, "a number");
  d.pairs_ = reader.get<bool>("pairs", false, "true or false");
  d.lengths_ = reader.get<std::string>("lengths", "", "the name of an input");
  d.channels_last_ = reader.one_of("input_layout", {"NHWC", "NCHW"}) == "NHWC";
  if (const Json* steps = reader.find("preprocess")) d.preprocess_ = parse_preprocess(*steps, path);

  const Json* inputs = reader.find("inputs");
  const std::string images = reader.get<std::string>("images", "", "the name of a folder");
  if ((inputs != nullptr) == !images.empty()) fail(path, "expected one of 'inputs' and 'images'");
  const std::string labels = reader.get<std::string>("labels", "", "the name of a .npy or .csv file");
  if (labels.empty()) fail(path, "expected 'labels'");
  const bool csv = fs::path(labels).extension() == ".csv";
  if (inputs) d.samples_ = parse_arrays(*inputs, path, folder);
  if (csv) {
    const auto rows = read_csv((folder / labels).string());
    std::vector<float> values;
    for (const CsvRow& row : rows) {
      values.push_back(row.label);
      if (!inputs) d.samples_.images.push_back((folder / images / row.file).string());
    }
    if (!inputs) d.samples_.size = rows.size();
    d.labels_ = graph::Tensor::of(DType::f32, {static_cast<int64_t>(rows.size())}, values);
  } else {
    if (!inputs) d.samples_ = list_folder(folder / images);
    d.labels_ = read_samples((folder / labels).string());
  }
  if (static_cast<size_t>(d.labels_.shape()[0]) * d.samples_a_label() != d.samples_.size)
    fail(path, std::to_string(d.labels_.shape()[0]) + " labels for " + std::to_string(d.samples_.size) + " samples" +
                   (d.pairs_ ? ", expected one a pair" : ""));
  if (d.samples_.size == 0) fail(path, "it has no samples");
  for (const std::string& image : d.samples_.images)
    if (!fs::exists(image)) fail(path, "'labels' names " + image + ", which does not exist");

  if (const Json* calibration = reader.find("calibration")) {
    if (inputs)
      d.calibration_ = parse_arrays(*calibration, path, folder);
    else
      d.calibration_ = list_folder(folder / reader.get<std::string>("calibration", "", "the name of a folder"));
    if (d.calibration_->size == 0) fail(path, "'calibration' has no samples");
  }
  if (!inputs && !d.preprocess_) d.preprocess_ = Preprocess{};
  if (!d.lengths_.empty())
    for (const SampleList* list : {&d.samples_, d.calibration_ ? &*d.calibration_ : &d.samples_})
      check_lengths(*list, d.lengths_, path);
  reader.finish();
  return d;
}

std::string Dataset::hold_out_calibration() {
  if (calibration_) return "calibrated on the " + std::to_string(calibration_->size) + " calibration samples of " + name_;
  if (samples_.size < 2 * samples_a_label()) fail(file_, "one sample cannot both calibrate and be evaluated");
  held_out_ = std::max<size_t>(1, samples_.size / samples_a_label() / 10) * samples_a_label();
  return "calibrated on the first " + std::to_string(held_out_) + " samples of " + name_ + ", evaluated on the others";
}

std::vector<Sample> Dataset::read(const SampleList& list, size_t first, size_t count) const {
  std::vector<Sample> samples;
  for (size_t i = first; i < std::min(list.size, first + count); ++i) samples.push_back(read(list, i));
  if (!lengths_.empty()) cut_to_lengths(samples);
  return samples;
}

void Dataset::cut_to_lengths(std::vector<Sample>& samples) const {
  int64_t longest = 0;
  Shape shape;
  for (const Sample& sample : samples)
    for (const NamedTensor& part : sample) {
      if (part.name != lengths_) continue;
      shape = part.tensor.shape();
      int64_t length = 0;
      while (length < shape[0] && part.tensor.at_f64(length) != 0) ++length;
      longest = std::max(longest, length);
    }
  for (Sample& sample : samples)
    for (NamedTensor& part : sample) {
      if (part.tensor.shape() != shape) continue;
      graph::Tensor cut(part.tensor.dtype(), {longest});
      std::memcpy(cut.mutable_as<char>(), part.tensor.as<char>(), cut.bytes());
      part.tensor = std::move(cut);
    }
}

Sample Dataset::read(const SampleList& list, size_t i) const {
  if (!list.images.empty()) {
    try {
      return {{"", preprocess(decode_image(list.images[i]), *preprocess_)}};
    } catch (const Error& e) {
      const std::string message = e.what();
      throw Error(e.code(), message.rfind(list.images[i], 0) == 0 ? message : list.images[i] + ": " + message);
    }
  }
  Sample sample;
  for (const NamedTensor& array : list.arrays) {
    graph::Tensor one = slice(array.tensor, i);
    if (preprocess_) {
      const Shape& s = one.shape();
      if (s.size() != 3 || one.dtype() != DType::u8)
        fail(file_, "'preprocess' wants images of type uint8 and rank 3, a sample is " +
                        std::string(to_string(one.dtype())) + to_string(s));
      const int h = static_cast<int>(s[channels_last_ ? 0 : 1]), w = static_cast<int>(s[channels_last_ ? 1 : 2]);
      const int channels = static_cast<int>(s[channels_last_ ? 2 : 0]);
      for (const auto* values : {&preprocess_->mean, &preprocess_->std})
        if (values->size() != 1 && static_cast<int>(values->size()) != channels)
          fail(file_, "preprocess: 'mean' and 'std' need 1 or " + std::to_string(channels) +
                          " entries for a sample of shape " + to_string(s));
      Image image{h, w, channels, std::vector<uint8_t>(static_cast<size_t>(one.size()))};
      const uint8_t* in = one.as<uint8_t>();
      for (int y = 0; y < h; ++y)
        for (int x = 0; x < w; ++x)
          for (int c = 0; c < channels; ++c)
            image.pixels[static_cast<size_t>((y * w + x) * channels + c)] =
                channels_last_ ? in[(y * w + x) * channels + c] : in[(c * h + y) * w + x];
      one = preprocess(image, *preprocess_);
    }
    sample.push_back({array.name, std::move(one)});
  }
  return sample;
}

}  // namespace octet::tools
