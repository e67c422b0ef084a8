#include "tools/zoo.h"

#include <gtest/gtest.h>

#include <map>

#include "graph/op_def.h"

namespace octet::zoo {
namespace {

using graph::Graph;
using graph::Value;

// Multiply-accumulates of one image, from the shapes alone.
double gmacs(const Graph& g) {
  double macs = 0;
  for (const auto& node : g.nodes()) {
    if (node->op().quant != graph::QuantRole::product) continue;
    const Shape w = node->input(1)->type().shape(), y = node->output()->type().shape();
    const auto depth = static_cast<double>(element_count(w) / w[0]);
    macs += depth * static_cast<double>(element_count(y));
  }
  return macs / 1e9;
}

double parameters(const Graph& g) {
  double n = 0;
  for (const auto& node : g.nodes())
    if (node->op().quant == graph::QuantRole::product)
      for (size_t i = 1; i < node->inputs().size(); ++i) n += static_cast<double>(node->input(i)->constant().size());
  return n;
}

// torchvision's numbers of parameters, without those of batch normalisation (two a channel), which became the biases of the
// convolutions (one a channel).
const std::map<std::string_view, double> kParameters{{"resnet18", 11689512 - 4800},
                                                     {"resnet50", 25557032 - 26560},
                                                     {"mobilenet_v2", 3504872 - 17056},
                                                     {"squeezenet1_1", 1235496},
                                                     {"vgg16", 138357544}};

class Zoo : public ::testing::TestWithParam<ZooEntry> {};

TEST_P(Zoo, has_the_interface_and_the_size_it_says) {
  const auto g = GetParam().build({});
  graph::verify(*g);
  ASSERT_EQ(g->inputs().size(), 1u);
  EXPECT_EQ(g->inputs()[0]->name(), "input");
  EXPECT_EQ(graph::to_string(g->inputs()[0]->type()), "float32[1,3,224,224]");
  EXPECT_EQ(g->output_names(), std::vector<std::string>{"output"});
  EXPECT_EQ(graph::to_string(g->outputs()[0]->type()), "float32[1,1000]");
  EXPECT_NEAR(gmacs(*g), GetParam().gmacs, 0.0006);
  EXPECT_EQ(parameters(*g), kParameters.at(GetParam().name));
}

INSTANTIATE_TEST_SUITE_P(All, Zoo, ::testing::ValuesIn(list().begin(), list().end()),
                         [](const auto& entry) { return std::string(entry.param.name); });

// FNV-1a over the weights, in order.
uint64_t hash_of_weights(const Graph& g) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const auto& node : g.nodes())
    for (const Value* v : node->inputs())
      for (size_t i = 0; v->is_constant() && i < v->constant().bytes(); ++i)
        hash = (hash ^ v->constant().as<uint8_t>()[i]) * 0x100000001b3u;
  return hash;
}

TEST(ZooWeights, are_the_same_on_every_machine) {
  EXPECT_EQ(hash_of_weights(*build("squeezenet1_1")), 12082344640065741542u);
  EXPECT_EQ(hash_of_weights(*build("mobilenet_v2")), 17882668747446657271u);
}

TEST(ZooWeights, depend_on_the_seed) {
  EXPECT_NE(hash_of_weights(*build("squeezenet1_1")), hash_of_weights(*build("squeezenet1_1", {.seed = 2})));
}

TEST(ZooBatch, may_be_symbolic_or_any_number) {
  EXPECT_EQ(graph::to_string(build("mobilenet_v2", {.batch = 0})->outputs()[0]->type()), "float32[batch,1000]");
  EXPECT_EQ(graph::to_string(build("resnet18", {.batch = 8})->outputs()[0]->type()), "float32[8,1000]");
}

TEST(ZooNames, an_unknown_one_lists_those_there_are) {
  try {
    build("alexnet");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_EQ(std::string(e.what()),
              "zoo:alexnet: no such network; expected one of resnet18, resnet50, mobilenet_v2, squeezenet1_1, vgg16");
  }
  EXPECT_THROW(build("resnet18", {.batch = -1}), Error);
}

}  // namespace
}  // namespace octet::zoo
