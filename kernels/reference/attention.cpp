#include "kernels/attention.h"

#include <algorithm>
#include <vector>

#include "kernels/reference/reference.h"

namespace octet::kernels {
namespace {

const uint8_t* row_of(const void* base, const HeadLayout& layout, int64_t b, int64_t h, int64_t row) {
  return static_cast<const uint8_t*>(base) + b * layout.batch + h * layout.head + row * layout.row;
}

// One query on f32. The mask holds zeros where there is none.
void attend_float(const AttentionProblem& p, const AttentionArgs& args, int64_t b, int64_t h, int64_t i,
                  const std::vector<float>& mask) {
  const auto row = [&](const void* base, const HeadLayout& layout, int64_t head, int64_t at) {
    return reinterpret_cast<const float*>(row_of(base, layout, b, head, at));
  };
  const int64_t group = h / (p.heads / p.kv_heads);
  const float* q = row(args.q, p.q, h, i);
  std::vector<float> x;
  for (int64_t j = 0; j < p.keys; ++j) {
    const float* k = row(args.k, p.k, group, j);
    float sum = 0;
    for (int64_t d = 0; d < p.size; ++d) sum = std::fma(q[d], k[d], sum);
    x.push_back(p.masked || p.causal ? sum * p.factors.score + mask[static_cast<size_t>(j)] : sum * p.factors.score);
  }
  numerics::attention_softmax(x.data(), p.keys);
  auto* y = reinterpret_cast<float*>(static_cast<std::byte*>(args.y) + b * p.y.batch + h * p.y.head + i * p.y.row);
  std::fill_n(y, p.value_size, 0.0f);
  for (int64_t j = 0; j < p.keys; ++j)
    for (int64_t d = 0; d < p.value_size; ++d)
      y[d] = std::fma(x[static_cast<size_t>(j)], row(args.v, p.v, group, j)[d], y[d]);
}

}  // namespace

void attention_reference(const AttentionProblem& p, const AttentionArgs& given) {
  const AttentionArgs args = with_parameters(given, p);
  std::vector<int32_t> scores(static_cast<size_t>(p.keys));
  std::vector<uint8_t> weights(scores.size());
  std::vector<float> mask(scores.size());
  for (int64_t b = 0; b < p.batch; ++b)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t i = 0; i < p.queries; ++i) {
        const int64_t group = h / (p.heads / p.kv_heads);
        for (int64_t j = 0; j < p.keys; ++j) {
          float& own = mask[static_cast<size_t>(j)];
          own = p.masked ? args.mask[b % p.mask_batches * p.mask[0] + h * p.mask[1] + i * p.mask[2] + j * p.mask[3]] : 0.0f;
          if (p.causal && j > i + p.keys - p.queries) own = -INFINITY;
        }
        if (p.dtype == DType::f32) {
          attend_float(p, args, b, h, i, mask);
          continue;
        }
        const uint8_t* q = row_of(args.q, p.q, b, h, i);
        for (int64_t j = 0; j < p.keys; ++j) {
          const uint8_t* k = row_of(args.k, p.k, b, group, j);
          int32_t sum = 0;
          for (int64_t d = 0; d < p.size; ++d) sum += (q[d] - args.q_zero_point) * (k[d] - 128);
          scores[static_cast<size_t>(j)] = sum;
        }
        const bool plain = !p.masked && !p.causal;
        const int32_t total = numerics::attention_probabilities(scores.data(), plain ? nullptr : mask.data(), p.keys,
                                                                args.factors, weights.data());
        const float factor = numerics::attention_output_factor(args.factors, total);
        std::byte* y = static_cast<std::byte*>(args.y) + b * p.y.batch + h * p.y.head + i * p.y.row;
        for (int64_t d = 0; d < p.value_size; ++d) {
          int32_t sum = 0;
          for (int64_t j = 0; j < p.keys; ++j)
            sum += weights[static_cast<size_t>(j)] * (row_of(args.v, p.v, b, group, j)[d] - args.v_zero_point);
          const float real = static_cast<float>(sum) * factor;
          if (p.keeps_range) {
            args.range[0] = running_min(real, args.range[0]);
            args.range[1] = running_max(real, args.range[1]);
          }
          if (p.y_dtype == DType::f32)
            reinterpret_cast<float*>(y)[d] = real;
          else
            reinterpret_cast<uint8_t*>(y)[d] = static_cast<uint8_t>(numerics::quantize_scaled(real, p.y_zero_point, 0, 255));
        }
      }
}

}  // namespace octet::kernels
