// Float model in, quantized model out: calibration over a feed, then graph/quantize.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "graph/ir.h"
#include "tools/dataset.h"
#include "tools/feed.h"
#include "tools/model_source.h"

namespace octet::tools {

enum class Dialect : uint8_t { qdq, qlinear, dynamic };
// Throws Error naming the option --dialect.
Dialect parse_dialect(const std::string& name);

struct QuantizeRequest {
  bool portable = false;  // Q/DQ as ONNX Runtime's quantizer writes them; else none inside what octet fuses
  Dialect dialect = Dialect::qdq;
  bool signed_activations = false;  // int8, of QDQ and QLinear
  bool equalise = true;             // dynamic: channels of the inputs of matrix products (graph/quantize/equalise.h)
  int weight_bits = 0;              // 4 or 8: weights only, in blocks of `block`; the rest stays float
  int64_t block = 32;
  bool cache = false;       // of a decoder, in 8 bits; not with Dialect::dynamic
  Dataset* data = nullptr;  // null: synthetic inputs
  ShapeOverrides shapes;
  std::string isa;
  int threads = 0;
};

struct Quantized {
  std::unique_ptr<graph::Graph> graph;
  std::string note;  // "calibrated on the 500 calibration samples of cifar10-4500"
};

Quantized quantize_model(const ModelSource& source, const QuantizeRequest& request,
                         const std::function<void(const std::string&)>& progress);

}  // namespace octet::tools
