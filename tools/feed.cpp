#include "tools/feed.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "engine/model.h"
#include "graph/narrow.h"

namespace octet::tools {
namespace {

struct SplitMix64 {  // Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014)
  uint64_t state;
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
};

float normal(SplitMix64& random) {
  int64_t sum = 0;
  for (int i = 0; i < 3; ++i) {
    const uint64_t bits = random.next();
    for (int k = 0; k < 4; ++k) sum += static_cast<int64_t>(bits >> (16 * k) & 0xffff);
  }
  return static_cast<float>(static_cast<double>(sum - 6 * 65535) / 65536.0);
}

std::string shape_text(const ValueInfo& info) {
  std::string text;
  for (size_t i = 0; i < info.shape.size(); ++i) {
    const std::string open = info.symbols[i].empty() ? "?" : info.symbols[i];
    text += (i ? "," : "") + (info.shape[i] >= 0 ? std::to_string(info.shape[i]) : open);
  }
  return "[" + text + "]";
}

Shape without_ones(const Shape& shape) {
  Shape kept;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(kept), [](int64_t d) { return d != 1; });
  return kept;
}

bool is_integer(DType dtype) { return !is_float(dtype) && dtype != DType::string && dtype != DType::undefined; }

bool is_mask(const ValueInfo& input) {
  return is_integer(input.dtype) && input.dtype != DType::s8 && input.dtype != DType::u8 &&
         input.name.find("mask") != std::string::npos;
}

// Rows of the smallest table that is gathered from by `value`; 0 for none.
int64_t table_of(const graph::Value* value) {
  constexpr std::string_view kKeepsNumbers[] = {"Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"};
  int64_t rows = 0;
  const auto take = [&](int64_t more) { rows = rows == 0 ? more : more == 0 ? rows : std::min(rows, more); };
  for (const graph::Use& use : value->uses()) {
    const graph::Node& node = *use.node;
    if (node.op_name() == "Gather" && use.index == 1 && node.input(0)->type().static_shape() &&
        node.input(0)->type().rank() > 0) {
      const Shape table = node.input(0)->type().shape();
      const int64_t axis = node.attr("axis", int64_t{0});
      take(table[static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(table.size()) : axis)]);
    } else if (use.index == 0 &&
               std::find(std::begin(kKeepsNumbers), std::end(kKeepsNumbers), node.op_name()) != std::end(kKeepsNumbers)) {
      take(table_of(node.output()));
    }
  }
  return rows;
}

std::vector<int64_t> tables_of(const Model& model) {
  std::vector<int64_t> tables;
  for (const graph::Value* input : optimized_graph(model).inputs())
    tables.push_back(is_integer(input->dtype()) ? table_of(input) : 0);
  return tables;
}

}  // namespace

ShapeOverrides parse_shapes(const std::vector<std::string>& texts) {
  ShapeOverrides overrides;
  for (const std::string& text : texts) {
    const auto fail = [&] {
      throw Error(ErrorCode::invalid_argument, "--shape " + text + ": expected NAME=1x3x224x224 with sizes from 1");
    };
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) fail();
    Shape shape;
    const char* p = text.data() + equals + 1;
    const char* end = text.data() + text.size();
    while (true) {
      int64_t d = 0;
      const auto [next, error] = std::from_chars(p, end, d);
      if (error != std::errc() || d < 1 || d > (int64_t{1} << 32)) fail();
      shape.push_back(d);
      if (next == end) break;
      if (*next != 'x' && *next != ',') fail();
      p = next + 1;
    }
    overrides[text.substr(0, equals)] = shape;
  }
  return overrides;
}

bool batchable(const std::vector<ValueInfo>& inputs) {
  return !inputs.empty() && !inputs[0].shape.empty() && inputs[0].shape[0] < 0;
}

int64_t fixed_batch(const std::vector<ValueInfo>& inputs) {
  return inputs.empty() || inputs[0].shape.empty() || inputs[0].shape[0] < 0 ? 1 : inputs[0].shape[0];
}

int64_t choose_batch(const std::vector<ValueInfo>& inputs, int64_t wanted, const std::string& model) {
  if (batchable(inputs)) return wanted > 0 ? wanted : 1;
  const int64_t fixed = fixed_batch(inputs);
  if (wanted > 0 && wanted != fixed)
    throw Error(ErrorCode::invalid_argument, model + ": --batch " + std::to_string(wanted) + " is not possible: input '" +
                                                 (inputs.empty() ? std::string() : inputs[0].name) + "' has batch " +
                                                 std::to_string(fixed));
  return fixed;
}

bool is_past(const ValueInfo& input) { return input.name.starts_with("past_key_values."); }

Shape decoder_shape(const ValueInfo& input, int64_t batch, int64_t tokens, int64_t past) {
  Shape shape = input.shape;
  const int64_t open = is_past(input) ? past : input.name == "attention_mask" ? past + tokens : tokens;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < 0) shape[i] = i == 0 ? batch : open;
  return shape;
}

namespace {

bool is_open_decoder(const std::vector<ValueInfo>& inputs) {
  return std::any_of(inputs.begin(), inputs.end(), [](const ValueInfo& i) {
    return is_past(i) && std::find(i.shape.begin(), i.shape.end(), -1) != i.shape.end();
  });
}

// Whether the open dimension `i` of the input stands for the batch, whose symbol is given ("" where it has none).
bool stands_for_batch(const ValueInfo& input, size_t i, const std::string& symbol) {
  return symbol.empty() ? i == 0 && input.symbols[i].empty() : input.symbols[i] == symbol;
}

std::string batch_symbol(const std::vector<ValueInfo>& inputs) { return batchable(inputs) ? inputs[0].symbols[0] : ""; }

}  // namespace

bool sizes_known(const std::vector<ValueInfo>& inputs, const ShapeOverrides& overrides) {
  const std::string symbol = batch_symbol(inputs);
  return is_open_decoder(inputs) || std::all_of(inputs.begin(), inputs.end(), [&](const ValueInfo& input) {
           bool known = true;
           for (size_t i = 0; i < input.shape.size(); ++i)
             known = known && (input.shape[i] >= 0 || stands_for_batch(input, i, symbol));
           return known || overrides.contains(input.name);
         });
}

std::vector<Shape> resolve_shapes(const std::vector<ValueInfo>& inputs, int64_t batch, const ShapeOverrides& overrides,
                                  const std::string& model) {
  std::vector<Shape> shapes;
  const std::string symbol = batch_symbol(inputs);
  constexpr int64_t kNewTokens = 1, kPastTokens = 128;
  const bool decoder = is_open_decoder(inputs);
  for (const ValueInfo& input : inputs) {
    Shape shape = input.shape;
    if (const auto chosen = overrides.find(input.name); chosen != overrides.end()) {
      shape = chosen->second;
    } else if (decoder) {
      shape = decoder_shape(input, batch, kNewTokens, kPastTokens);
    } else {
      for (size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] >= 0) continue;
        if (!stands_for_batch(input, i, symbol))
          throw Error(ErrorCode::invalid_argument, model + ": input '" + input.name + "' has the open shape " +
                                                       shape_text(input) + "; expected a size for it: --shape " +
                                                       input.name + "=...");
        shape[i] = batch;
      }
    }
    shapes.push_back(std::move(shape));
  }
  for (const auto& [name, shape] : overrides)
    if (std::none_of(inputs.begin(), inputs.end(), [&, n = name](const ValueInfo& i) { return i.name == n; }))
      throw Error(ErrorCode::invalid_argument,
                  model + ": --shape names the input '" + name + "', which the model does not have");
  return shapes;
}

std::vector<graph::Tensor> synthetic_inputs(const std::vector<ValueInfo>& inputs, const std::vector<Shape>& shapes,
                                            uint64_t seed, const std::vector<int64_t>& tables) {
  std::vector<graph::Tensor> tensors;
  for (size_t i = 0; i < inputs.size(); ++i) {
    SplitMix64 random{seed * 1000003 + i};
    const int64_t table = i < tables.size() ? tables[i] : 0;
    graph::Tensor t(inputs[i].dtype, shapes[i]);
    const int64_t n = t.size();
    switch (t.dtype()) {
      case DType::f32:
        for (int64_t k = 0; k < n; ++k) t.mutable_as<float>()[k] = normal(random);
        break;
      case DType::f64:
        for (int64_t k = 0; k < n; ++k) t.mutable_as<double>()[k] = normal(random);
        break;
      case DType::f16:
        for (int64_t k = 0; k < n; ++k) t.mutable_as<uint16_t>()[k] = graph::float_to_half(normal(random));
        break;
      case DType::bf16:
        for (int64_t k = 0; k < n; ++k) t.mutable_as<uint16_t>()[k] = graph::float_to_bfloat16(normal(random));
        break;
      case DType::s8:
      case DType::u8:
        for (int64_t k = 0; k < n; ++k) t.mutable_as<uint8_t>()[k] = static_cast<uint8_t>(random.next() >> 32);
        break;
      case DType::undefined:
      case DType::string:
        throw Error(ErrorCode::unsupported, "input '" + inputs[i].name + "' is of type " +
                                                std::string(to_string(t.dtype())) + ", for which no synthetic values exist");
      default:
        for (int64_t k = 0; k < n; ++k) {
          const uint64_t bits = random.next();
          const uint64_t value = table > 0            ? (bits >> 32) % static_cast<uint64_t>(table)
                                 : is_mask(inputs[i]) ? 1
                                                      : bits >> 63;
          std::memcpy(t.mutable_as<uint8_t>() + static_cast<size_t>(k) * size_of(t.dtype()), &value,
                      size_of(t.dtype()));  // little-endian
        }
    }
    tensors.push_back(std::move(t));
  }
  return tensors;
}

std::vector<graph::Tensor> synthetic_inputs(const Model& model, const std::vector<Shape>& shapes, uint64_t seed) {
  return synthetic_inputs(model.inputs(), shapes, seed, tables_of(model));
}

std::string describe_synthetic(const Model& model) {
  const std::vector<int64_t> tables = tables_of(model);
  std::string text;
  bool normal = false;
  for (size_t i = 0; i < tables.size(); ++i) {
    const ValueInfo& input = model.inputs()[i];
    normal = normal || is_float(input.dtype);
    if (tables[i] > 0)
      text += ", '" + input.name + "' below " + std::to_string(tables[i]);
    else if (is_mask(input))
      text += ", '" + input.name + "' all ones";
    else if (is_integer(input.dtype))
      text += ", '" + input.name + (input.dtype == DType::s8 || input.dtype == DType::u8 ? "' any byte" : "' 0 or 1");
  }
  if (normal) text = ", normal numbers" + text;
  return text.empty() ? text : text.substr(2);
}

std::vector<graph::Tensor> stack(const std::vector<ValueInfo>& inputs, const std::vector<Sample>& samples, int64_t batch,
                                 const std::string& where) {
  std::vector<graph::Tensor> stacked;
  for (const NamedTensor& part : samples.at(0))
    if (!part.name.empty() &&
        std::none_of(inputs.begin(), inputs.end(), [&](const ValueInfo& i) { return i.name == part.name; }))
      throw Error(ErrorCode::invalid_argument,
                  where + ": it has data for an input '" + part.name + "', which the model does not have");
  for (const ValueInfo& input : inputs) {
    const auto find = [&](const Sample& sample) -> const graph::Tensor& {
      for (const NamedTensor& part : sample)
        if (part.name == input.name || (part.name.empty() && inputs.size() == 1)) return part.tensor;
      throw Error(ErrorCode::invalid_argument, where + ": it has no data for the model's input '" + input.name + "'");
    };
    const graph::Tensor& first = find(samples[0]);
    // Same axes apart from the batch, or the same apart from axes of size 1.
    Shape wanted(input.shape.empty() ? input.shape.begin() : input.shape.begin() + 1, input.shape.end());
    for (size_t i = 0; i < wanted.size(); ++i)
      if (wanted[i] < 0 && i < first.shape().size()) wanted[i] = first.shape()[i];
    const bool to_half = input.dtype == DType::f16 && first.dtype() == DType::f32;
    if ((first.dtype() != input.dtype && !to_half) || without_ones(wanted) != without_ones(first.shape()))
      throw Error(ErrorCode::invalid_argument, where + ": a sample is " + std::string(to_string(first.dtype())) +
                                                   to_string(first.shape()) + ", expected one of input '" + input.name +
                                                   "' (" + std::string(to_string(input.dtype)) + shape_text(input) + ")");
    wanted.insert(wanted.begin(), batch);
    graph::Tensor whole(input.dtype, input.shape.empty() ? Shape{} : wanted);
    for (size_t b = 0; b < static_cast<size_t>(batch); ++b) {
      const graph::Tensor& one = find(samples[std::min(b, samples.size() - 1)]);
      if (one.shape() != first.shape())
        throw Error(ErrorCode::invalid_argument,
                    where + ": samples of different shapes, " + to_string(first.shape()) + " and " + to_string(one.shape()));
      const auto n = static_cast<size_t>(one.size());
      if (to_half)
        for (size_t k = 0; k < n; ++k) whole.mutable_as<uint16_t>()[b * n + k] = graph::float_to_half(one.as<float>()[k]);
      else
        std::memcpy(whole.mutable_as<char>() + b * one.bytes(), one.as<char>(), one.bytes());
    }
    stacked.push_back(std::move(whole));
  }
  return stacked;
}

void set_inputs(Session& session, const std::vector<ValueInfo>& inputs, const std::vector<graph::Tensor>& values) {
  for (size_t i = 0; i < inputs.size(); ++i) session.set_input(inputs[i].name, values[i].view());
}

std::vector<float> to_floats(const TensorView& view) {
  const auto n = static_cast<size_t>(element_count(view.shape));
  if (view.dtype == DType::f32) return {view.as<const float>(), view.as<const float>() + n};
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) switch (view.dtype) {
      case DType::f64: values[i] = static_cast<float>(view.as<const double>()[i]); break;
      case DType::f16: values[i] = graph::half_to_float(view.as<const uint16_t>()[i]); break;
      case DType::bf16: values[i] = graph::bfloat16_to_float(view.as<const uint16_t>()[i]); break;
      case DType::s8:
      case DType::s4:
      case DType::s2: values[i] = view.as<const int8_t>()[i]; break;
      case DType::u8:
      case DType::u4:
      case DType::u2:
      case DType::boolean: values[i] = view.as<const uint8_t>()[i]; break;
      case DType::s16: values[i] = view.as<const int16_t>()[i]; break;
      case DType::u16: values[i] = view.as<const uint16_t>()[i]; break;
      case DType::s32: values[i] = static_cast<float>(view.as<const int32_t>()[i]); break;
      case DType::u32: values[i] = static_cast<float>(view.as<const uint32_t>()[i]); break;
      case DType::s64: values[i] = static_cast<float>(view.as<const int64_t>()[i]); break;
      case DType::u64: values[i] = static_cast<float>(view.as<const uint64_t>()[i]); break;
      case DType::f8e4m3fn:
      case DType::f8e4m3fnuz:
      case DType::f8e5m2:
      case DType::f8e5m2fnuz:
      case DType::f8e8m0:
      case DType::f4e2m1: values[i] = graph::narrow_to_float(view.dtype, view.as<const uint8_t>()[i]); break;
      default:
        throw Error(ErrorCode::unsupported,
                    "an output of type " + std::string(to_string(view.dtype)) + " cannot be compared");
    }
  return values;
}

}  // namespace octet::tools
