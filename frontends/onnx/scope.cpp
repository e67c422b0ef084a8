#include "frontends/onnx/scope.h"

#include <utility>

namespace octet::onnx {

namespace {

constexpr std::string_view kTraining = "is for training; octet runs inference";
constexpr std::string_view kStrings = "computes with strings; octet only passes them through";
constexpr std::string_view kCodec = "decodes images; octet takes them decoded";
constexpr std::string_view kMachineLearning = "is of classical machine learning; octet runs neural networks";

// Whole domains end in a dot.
constexpr std::pair<std::string_view, std::string_view> kOutOfScope[] = {
    {"ai.onnx.preview.training.", kTraining},
    {"ai.onnx.training.", kTraining},
    {"NegativeLogLikelihoodLoss", kTraining},
    {"SoftmaxCrossEntropyLoss", kTraining},
    {"ImageDecoder", kCodec},
    {"RegexFullMatch", kStrings},
    {"StringConcat", kStrings},
    {"StringNormalizer", kStrings},
    {"StringSplit", kStrings},
    {"ai.onnx.ml.", kMachineLearning},
};

}  // namespace

std::string_view out_of_scope(std::string_view op) {
  for (const auto& [name, why] : kOutOfScope)
    if (op == name || (name.ends_with('.') && op.starts_with(name))) return why;
  return {};
}

}  // namespace octet::onnx
