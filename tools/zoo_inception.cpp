// GoogLeNet (Szegedy et al. 2015, with batch normalisation) and Inception v3 (Szegedy et al. 2016) as torchvision has them
// for inference: without the auxiliary classifiers. torchvision's GoogLeNet has 3x3 where the paper has 5x5.

#include "tools/zoo_builder.h"

namespace octet::zoo {

using graph::Value;

namespace {

Value* conv_relu(GraphBuilder& g, Value* x, const ConvSpec& spec, const std::string& name) {
  return g.relu(g.conv(x, spec, name + ".conv"), name + ".relu");
}

Value* head(GraphBuilder& g, Value* x) {
  return g.gemm(g.flatten(g.global_average_pool(x, "avgpool"), "flatten"), 1000, "fc");
}

constexpr PoolSpec kHalve{.kernel = 3, .stride = 2};
constexpr PoolSpec kSmooth{.kernel = 3, .stride = 1, .pad = 1};

// --- GoogLeNet -----------------------------------------------------------------------------------------------------------

struct Widths {
  int64_t one, reduce3, three, reduce5, five, pool;
};

Value* inception(GraphBuilder& g, Value* x, const Widths& w, const std::string& name) {
  Value* a = conv_relu(g, x, {.out = w.one}, name + ".branch1");
  Value* b = conv_relu(g, x, {.out = w.reduce3}, name + ".branch2.0");
  b = conv_relu(g, b, {.out = w.three, .kernel = 3, .pad = 1}, name + ".branch2.1");
  Value* c = conv_relu(g, x, {.out = w.reduce5}, name + ".branch3.0");
  c = conv_relu(g, c, {.out = w.five, .kernel = 3, .pad = 1}, name + ".branch3.1");
  Value* d = conv_relu(g, g.max_pool(x, {.kernel = 3, .stride = 1, .pad = 1, .ceil = true}, name + ".branch4.0"),
                       {.out = w.pool}, name + ".branch4.1");
  return g.concat({a, b, c, d}, name + ".concat");
}

// --- Inception v3: the blocks are named as in torchvision
// ------------------------------------------------------------------

ConvSpec row(int64_t out, int64_t width) { return {.out = out, .kernel = 1, .kernel_w = width, .pad_w = width / 2}; }
ConvSpec column(int64_t out, int64_t height) { return {.out = out, .kernel = height, .pad = height / 2, .kernel_w = 1}; }
ConvSpec square(int64_t out, int64_t size) { return {.out = out, .kernel = size, .pad = size / 2}; }

Value* inception_a(GraphBuilder& g, Value* x, int64_t pool, const std::string& name) {
  Value* a = conv_relu(g, x, {.out = 64}, name + ".branch1x1");
  Value* b = conv_relu(g, conv_relu(g, x, {.out = 48}, name + ".branch5x5_1"), square(64, 5), name + ".branch5x5_2");
  Value* c = conv_relu(g, x, {.out = 64}, name + ".branch3x3dbl_1");
  c = conv_relu(g, conv_relu(g, c, square(96, 3), name + ".branch3x3dbl_2"), square(96, 3), name + ".branch3x3dbl_3");
  Value* d = conv_relu(g, g.average_pool(x, kSmooth, name + ".avgpool"), {.out = pool}, name + ".branch_pool");
  return g.concat({a, b, c, d}, name + ".concat");
}

Value* inception_b(GraphBuilder& g, Value* x, const std::string& name) {
  Value* a = conv_relu(g, x, {.out = 384, .kernel = 3, .stride = 2}, name + ".branch3x3");
  Value* b = conv_relu(g, conv_relu(g, x, {.out = 64}, name + ".branch3x3dbl_1"), square(96, 3), name + ".branch3x3dbl_2");
  b = conv_relu(g, b, {.out = 96, .kernel = 3, .stride = 2}, name + ".branch3x3dbl_3");
  return g.concat({a, b, g.max_pool(x, kHalve, name + ".maxpool")}, name + ".concat");
}

Value* inception_c(GraphBuilder& g, Value* x, int64_t inner, const std::string& name) {
  Value* a = conv_relu(g, x, {.out = 192}, name + ".branch1x1");
  Value* b = conv_relu(g, conv_relu(g, x, {.out = inner}, name + ".branch7x7_1"), row(inner, 7), name + ".branch7x7_2");
  b = conv_relu(g, b, column(192, 7), name + ".branch7x7_3");
  Value* c =
      conv_relu(g, conv_relu(g, x, {.out = inner}, name + ".branch7x7dbl_1"), column(inner, 7), name + ".branch7x7dbl_2");
  c = conv_relu(g, conv_relu(g, c, row(inner, 7), name + ".branch7x7dbl_3"), column(inner, 7), name + ".branch7x7dbl_4");
  c = conv_relu(g, c, row(192, 7), name + ".branch7x7dbl_5");
  Value* d = conv_relu(g, g.average_pool(x, kSmooth, name + ".avgpool"), {.out = 192}, name + ".branch_pool");
  return g.concat({a, b, c, d}, name + ".concat");
}

Value* inception_d(GraphBuilder& g, Value* x, const std::string& name) {
  Value* a = conv_relu(g, x, {.out = 192}, name + ".branch3x3_1");
  a = conv_relu(g, a, {.out = 320, .kernel = 3, .stride = 2}, name + ".branch3x3_2");
  Value* b = conv_relu(g, conv_relu(g, x, {.out = 192}, name + ".branch7x7x3_1"), row(192, 7), name + ".branch7x7x3_2");
  b = conv_relu(g, b, column(192, 7), name + ".branch7x7x3_3");
  b = conv_relu(g, b, {.out = 192, .kernel = 3, .stride = 2}, name + ".branch7x7x3_4");
  return g.concat({a, b, g.max_pool(x, kHalve, name + ".maxpool")}, name + ".concat");
}

Value* inception_e(GraphBuilder& g, Value* x, const std::string& name) {
  const auto fork = [&](Value* v, const std::string& at) {
    Value* wide = conv_relu(g, v, row(384, 3), at + "a");
    return g.concat({wide, conv_relu(g, v, column(384, 3), at + "b")}, at + ".concat");
  };
  Value* a = conv_relu(g, x, {.out = 320}, name + ".branch1x1");
  Value* b = fork(conv_relu(g, x, {.out = 384}, name + ".branch3x3_1"), name + ".branch3x3_2");
  Value* c = conv_relu(g, conv_relu(g, x, {.out = 448}, name + ".branch3x3dbl_1"), square(384, 3), name + ".branch3x3dbl_2");
  c = fork(c, name + ".branch3x3dbl_3");
  Value* d = conv_relu(g, g.average_pool(x, kSmooth, name + ".avgpool"), {.out = 192}, name + ".branch_pool");
  return g.concat({a, b, c, d}, name + ".concat");
}

}  // namespace

std::unique_ptr<graph::Graph> googlenet(const ZooOptions& options) {
  GraphBuilder g("googlenet", options);
  const PoolSpec halve{.kernel = 3, .stride = 2, .ceil = true};
  Value* x = g.input(3, 224, 224);
  x = conv_relu(g, x, {.out = 64, .kernel = 7, .stride = 2, .pad = 3}, "conv1");
  x = g.max_pool(x, halve, "maxpool1");
  x = conv_relu(g, conv_relu(g, x, {.out = 64}, "conv2"), {.out = 192, .kernel = 3, .pad = 1}, "conv3");
  x = g.max_pool(x, halve, "maxpool2");
  x = inception(g, x, {64, 96, 128, 16, 32, 32}, "inception3a");
  x = inception(g, x, {128, 128, 192, 32, 96, 64}, "inception3b");
  x = g.max_pool(x, halve, "maxpool3");
  x = inception(g, x, {192, 96, 208, 16, 48, 64}, "inception4a");
  x = inception(g, x, {160, 112, 224, 24, 64, 64}, "inception4b");
  x = inception(g, x, {128, 128, 256, 24, 64, 64}, "inception4c");
  x = inception(g, x, {112, 144, 288, 32, 64, 64}, "inception4d");
  x = inception(g, x, {256, 160, 320, 32, 128, 128}, "inception4e");
  x = g.max_pool(x, {.kernel = 2, .stride = 2, .ceil = true}, "maxpool4");
  x = inception(g, x, {256, 160, 320, 32, 128, 128}, "inception5a");
  x = inception(g, x, {384, 192, 384, 48, 128, 128}, "inception5b");
  return g.finish(head(g, x));
}

std::unique_ptr<graph::Graph> inception_v3(const ZooOptions& options) {
  GraphBuilder g("inception_v3", options);
  Value* x = g.input(3, 299, 299);
  x = conv_relu(g, x, {.out = 32, .kernel = 3, .stride = 2}, "Conv2d_1a_3x3");
  x = conv_relu(g, conv_relu(g, x, {.out = 32, .kernel = 3}, "Conv2d_2a_3x3"), square(64, 3), "Conv2d_2b_3x3");
  x = g.max_pool(x, kHalve, "maxpool1");
  x = conv_relu(g, conv_relu(g, x, {.out = 80}, "Conv2d_3b_1x1"), {.out = 192, .kernel = 3}, "Conv2d_4a_3x3");
  x = g.max_pool(x, kHalve, "maxpool2");
  x = inception_a(g, x, 32, "Mixed_5b");
  x = inception_a(g, x, 64, "Mixed_5c");
  x = inception_a(g, x, 64, "Mixed_5d");
  x = inception_b(g, x, "Mixed_6a");
  x = inception_c(g, x, 128, "Mixed_6b");
  x = inception_c(g, x, 160, "Mixed_6c");
  x = inception_c(g, x, 160, "Mixed_6d");
  x = inception_c(g, x, 192, "Mixed_6e");
  x = inception_d(g, x, "Mixed_7a");
  x = inception_e(g, x, "Mixed_7b");
  x = inception_e(g, x, "Mixed_7c");
  return g.finish(head(g, x));
}

}  // namespace octet::zoo
