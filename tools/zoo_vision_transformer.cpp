// Vision transformers as torchvision has them: ViT-B/16 (Dosovitskiy et al. 2021) and Swin-T (Liu et al. 2021).
// Normalisation comes before attention and before the feed-forward part. Queries, keys and values are one product.

#include <cmath>

#include "tools/zoo_transformer.h"

namespace octet::zoo {

using graph::Tensor;
using graph::Value;

namespace {

// A branch adds to a sum that is normalised only at its next reader, so it starts damped.
constexpr float kBranchGain = 0.5f;
constexpr float kGeluGain = 1.4f;

// [batch, heads, tokens, d] each, keys not transposed yet, of x [batch, tokens, width].
struct Qkv {
  Value *q, *k, *v;
};
Qkv project(GraphBuilder& g, Value* x, int64_t heads, const std::string& name) {
  const int64_t tokens = tokens_of(x), width = width_of(x);
  Value* y = linear(g, x, 3 * width, name + ".qkv");
  y = g.reshape(y, {-1, tokens, 3, heads, width / heads}, name + ".qkv.reshape");
  y = g.transpose(y, {2, 0, 3, 1, 4}, name + ".qkv.transpose");
  const auto part = [&](int64_t i, const char* what) {
    return g.apply("Gather", {y, g.constant(Tensor::of<int64_t>(DType::s64, {}, {i}), name + what)}, name + what,
                   {{"axis", int64_t{0}}});
  };
  return {part(0, ".q"), part(1, ".k"), part(2, ".v")};
}

Value* feed_forward(GraphBuilder& g, Value* x, const std::string& name) {
  const int64_t width = width_of(x);
  Value* y = gelu(g, linear(g, x, 4 * width, name + ".0", kGeluGain), name + ".1");
  return linear(g, y, width, name + ".3", kBranchGain);
}

Value* softmax(GraphBuilder& g, Value* x, const std::string& name) {
  return g.apply("Softmax", {x}, name, {{"axis", int64_t{-1}}});
}

// --- ViT -----------------------------------------------------------------------------------------------------------------

Value* self_attention(GraphBuilder& g, Value* x, int64_t heads, const std::string& name) {
  const Qkv p = project(g, x, heads, name);
  const float scale = 1.0f / std::sqrt(static_cast<float>(width_of(x) / heads));
  Value* q = g.mul(p.q, g.scalar(scale, name + ".scale"), name + ".scaled");
  Value* scores = g.apply("MatMul", {q, g.transpose(p.k, {0, 1, 3, 2}, name + ".transposed")}, name + ".scores");
  Value* y = g.apply("MatMul", {softmax(g, scores, name + ".softmax"), p.v}, name + ".context");
  return linear(g, merge_heads(g, y, name), width_of(x), name + ".out_proj", kBranchGain);
}

// The class token once a sample: Expand to [batch, 1, width], the batch read from the image.
Value* class_token(GraphBuilder& g, Value* image, int64_t width) {
  Tensor token(DType::f32, {1, 1, width});
  for (int64_t i = 0; i < width; ++i) token.mutable_as<float>()[i] = g.normal();
  Value* shape = g.apply("Shape", {image}, "class_token.shape");
  Value* batch = g.apply("Gather", {shape, g.constant(Tensor::of_s64({0}), "class_token.first")}, "class_token.batch",
                         {{"axis", int64_t{0}}});
  Value* wanted = g.concat({batch, g.constant(Tensor::of_s64({1, width}), "class_token.rest")}, "class_token.dims", 0);
  return g.apply("Expand", {g.constant(std::move(token), "class_token"), wanted}, "class_token.expand");
}

// --- Swin ----------------------------------------------------------------------------------------------------------------
// Images are [batch, height, width, channels] here.

constexpr int64_t kWindow = 7, kWindowTokens = kWindow * kWindow;

Value* slice(GraphBuilder& g, Value* x, int64_t axis, int64_t start, int64_t end, int64_t step, const std::string& name) {
  const auto ints = [&](int64_t v, const char* what) { return g.constant(Tensor::of_s64({v}), name + what); };
  return g.apply("Slice", {x, ints(start, ".starts"), ints(end, ".ends"), ints(axis, ".axes"), ints(step, ".steps")}, name);
}

// Rows and columns moved by `shift` towards the origin (negative: away from it), those that fall out coming in on the other
// side.
Value* roll(GraphBuilder& g, Value* x, int64_t shift, const std::string& name) {
  for (const int64_t axis : {1, 2}) {
    const int64_t size = (*x->type().dims)[static_cast<size_t>(axis)].value;
    const int64_t at = shift > 0 ? shift : size + shift;
    const std::string here = name + ".axis" + std::to_string(axis);
    Value* tail = slice(g, x, axis, at, size, 1, here + ".tail");
    x = g.concat({tail, slice(g, x, axis, 0, at, 1, here + ".head")}, here, axis);
  }
  return x;
}

// What is added to the scores of shifted windows, [windows, 1, 49, 49]: -100 between pixels that were no neighbours before
// the roll.
Tensor shift_mask(int64_t size, int64_t shift) {
  const int64_t side = size / kWindow;
  Tensor mask(DType::f32, {side * side, 1, kWindowTokens, kWindowTokens});
  const auto band = [&](int64_t at) { return at < size - kWindow ? 0 : at < size - shift ? 1 : 2; };
  const auto region = [&](int64_t window, int64_t token) {
    return 3 * band(window / side * kWindow + token / kWindow) + band(window % side * kWindow + token % kWindow);
  };
  float* out = mask.mutable_as<float>();
  for (int64_t w = 0; w < side * side; ++w)
    for (int64_t i = 0; i < kWindowTokens; ++i)
      for (int64_t j = 0; j < kWindowTokens; ++j) *out++ = region(w, i) == region(w, j) ? 0.0f : -100.0f;
  return mask;
}

// The bias of each pair of pixels in a window by their distance, [1, heads, 49, 49], gathered from a table as trained.
Value* relative_bias(GraphBuilder& g, int64_t heads, const std::string& name) {
  Tensor index(DType::s64, {kWindowTokens * kWindowTokens});
  for (int64_t i = 0; i < kWindowTokens; ++i)
    for (int64_t j = 0; j < kWindowTokens; ++j)
      index.mutable_as<int64_t>()[i * kWindowTokens + j] =
          (i / kWindow - j / kWindow + kWindow - 1) * (2 * kWindow - 1) + i % kWindow - j % kWindow + kWindow - 1;
  Value* table = g.weights({(2 * kWindow - 1) * (2 * kWindow - 1), heads}, 0.1f, name + "_table");
  Value* y =
      g.apply("Gather", {table, g.constant(std::move(index), name + "_index")}, name + ".gather", {{"axis", int64_t{0}}});
  y = g.reshape(y, {kWindowTokens, kWindowTokens, heads}, name + ".reshape");
  y = g.transpose(y, {2, 0, 1}, name + ".transpose");
  return g.apply("Unsqueeze", {y, g.constant(Tensor::of_s64({0}), name + ".axes")}, name);
}

Value* window_attention(GraphBuilder& g, Value* x, int64_t heads, int64_t shift, const std::string& name) {
  const auto& dims = *x->type().dims;
  const int64_t size = dims[1].value, width = dims[3].value, side = size / kWindow;
  if (shift > 0) x = roll(g, x, shift, name + ".roll");
  Value* y = g.reshape(x, {-1, side, kWindow, side, kWindow, width}, name + ".windows.reshape");
  y = g.transpose(y, {0, 1, 3, 2, 4, 5}, name + ".windows.transpose");
  y = g.reshape(y, {-1, kWindowTokens, width}, name + ".windows");
  const Qkv p = project(g, y, heads, name);
  Value* q = g.mul(p.q, g.scalar(1.0f / std::sqrt(static_cast<float>(width / heads)), name + ".scale"), name + ".scaled");
  Value* scores = g.apply("MatMul", {q, g.transpose(p.k, {0, 1, 3, 2}, name + ".transposed")}, name + ".scores");
  scores = g.add(scores, relative_bias(g, heads, name + ".relative_position_bias"), name + ".biased");
  if (shift > 0) {
    scores = g.reshape(scores, {-1, side * side, heads, kWindowTokens, kWindowTokens}, name + ".by_window");
    scores = g.add(scores, g.constant(shift_mask(size, shift), name + ".mask"), name + ".masked");
    scores = g.reshape(scores, {-1, heads, kWindowTokens, kWindowTokens}, name + ".by_head");
  }
  y = g.apply("MatMul", {softmax(g, scores, name + ".softmax"), p.v}, name + ".context");
  y = linear(g, merge_heads(g, y, name), width, name + ".proj", kBranchGain);
  y = g.reshape(y, {-1, side, side, kWindow, kWindow, width}, name + ".image.reshape");
  y = g.transpose(y, {0, 1, 3, 2, 4, 5}, name + ".image.transpose");
  y = g.reshape(y, {-1, size, size, width}, name + ".image");
  return shift > 0 ? roll(g, y, -shift, name + ".roll_back") : y;
}

// Four neighbouring pixels become one of twice the width.
Value* merge_patches(GraphBuilder& g, Value* x, const std::string& name) {
  const int64_t size = (*x->type().dims)[1].value, width = width_of(x);
  std::vector<Value*> parts;
  for (const auto& [row, column] : {std::pair{0, 0}, {1, 0}, {0, 1}, {1, 1}}) {
    const std::string part = name + ".part" + std::to_string(row) + std::to_string(column);
    parts.push_back(slice(g, slice(g, x, 1, row, size, 2, part + ".rows"), 2, column, size, 2, part));
  }
  Value* y = layer_norm(g, g.concat(parts, name + ".concat", 3), name + ".norm", 1e-5f);
  return linear(g, y, 2 * width, name + ".reduction", 1.0f, false);
}

}  // namespace

std::unique_ptr<graph::Graph> vit_b16(const ZooOptions& options) {
  constexpr int64_t kWidth = 768, kPatches = 14 * 14;
  GraphBuilder g("vit_b16", options);
  Value* image = g.input(3, 224, 224);
  Value* x = g.conv(image, {.out = kWidth, .kernel = 16, .stride = 16}, "conv_proj", 1.0f);
  x = g.transpose(g.reshape(x, {0, kWidth, kPatches}, "reshape"), {0, 2, 1}, "permute");
  x = g.concat({class_token(g, image, kWidth), x}, "concat");
  Value* positions = g.weights({1, kPatches + 1, kWidth}, 0.5f * std::sqrt(static_cast<float>(kWidth * (kPatches + 1))),
                               "encoder.pos_embedding");
  x = g.add(x, positions, "encoder.add");
  for (int64_t i = 0; i < 12; ++i) {
    const std::string name = "encoder.layers.encoder_layer_" + std::to_string(i);
    x = g.add(self_attention(g, layer_norm(g, x, name + ".ln_1", 1e-6f), 12, name + ".self_attention"), x, name + ".add");
    x = g.add(x, feed_forward(g, layer_norm(g, x, name + ".ln_2", 1e-6f), name + ".mlp"), name + ".add_1");
  }
  x = layer_norm(g, x, "encoder.ln", 1e-6f);
  x = g.apply("Gather", {x, g.constant(Tensor::of<int64_t>(DType::s64, {}, {0}), "first")}, "class", {{"axis", int64_t{1}}});
  return g.finish(g.gemm(x, 1000, "heads.head"));
}

std::unique_ptr<graph::Graph> swin_t(const ZooOptions& options) {
  constexpr int64_t kDepths[] = {2, 2, 6, 2};
  GraphBuilder g("swin_t", options);
  Value* x = g.conv(g.input(3, 224, 224), {.out = 96, .kernel = 4, .stride = 4}, "features.0.0", 1.0f);
  x = layer_norm(g, g.transpose(x, {0, 2, 3, 1}, "features.0.1"), "features.0.2", 1e-5f);
  for (int stage = 0; stage < 4; ++stage) {
    const std::string features = "features." + std::to_string(2 * stage + 1) + ".";
    const int64_t heads = int64_t{3} << stage, size = (*x->type().dims)[1].value;
    for (int64_t i = 0; i < kDepths[stage]; ++i) {
      const std::string name = features + std::to_string(i);
      const int64_t shift = i % 2 == 1 && size > kWindow ? kWindow / 2 : 0;
      x = g.add(x, window_attention(g, layer_norm(g, x, name + ".norm1", 1e-5f), heads, shift, name + ".attn"),
                name + ".add");
      x = g.add(x, feed_forward(g, layer_norm(g, x, name + ".norm2", 1e-5f), name + ".mlp"), name + ".add_1");
    }
    if (stage < 3) x = merge_patches(g, x, "features." + std::to_string(2 * stage + 2));
  }
  x = g.transpose(layer_norm(g, x, "norm", 1e-5f), {0, 3, 1, 2}, "permute");
  return g.finish(g.gemm(g.flatten(g.global_average_pool(x, "avgpool"), "flatten"), 1000, "head"));
}

}  // namespace octet::zoo
