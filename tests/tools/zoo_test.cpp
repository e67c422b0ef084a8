#include "tools/zoo.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "engine/model.h"
#include "graph/op_def.h"
#include "tools/feed.h"

namespace octet::zoo {
namespace {

using graph::Graph;
using graph::Value;

// Multiply-accumulates of one sample, from the shapes alone.
double gmacs(const Graph& g) {
  double macs = 0;
  for (const auto& node : g.nodes()) {
    const bool transposed = node->op_name() == "ConvTranspose";
    if (node->op().quant != graph::QuantRole::product && !transposed) continue;
    const Shape x = node->input(0)->type().shape(), w = node->input(1)->type().shape();
    const double outputs = static_cast<double>(element_count(node->output()->type().shape()));
    if (node->op_name() == "MatMul")
      macs += outputs * static_cast<double>(x.back());
    else if (node->op_name() == "Gemm")
      macs += outputs * static_cast<double>(x[1]);
    else
      macs += static_cast<double>(element_count(w) / w[0]) * (transposed ? static_cast<double>(element_count(x)) : outputs);
  }
  return macs / 1e9;
}

// Weights and what is learned beside them: floats of rank 1 or more that are no statistics, masks or frequencies.
double parameters(const Graph& g) {
  std::set<const Value*> seen;
  for (const auto& node : g.nodes())
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      const Value* v = node->input(i);
      const bool statistics = node->op_name() == "BatchNormalization" && i > 2;
      const bool learned = v && v->is_constant() && v->dtype() == DType::f32 && !v->constant().shape().empty();
      if (learned && !statistics && !v->name().ends_with("inv_freq") && !v->name().ends_with("attn.mask")) seen.insert(v);
    }
  double n = 0;
  for (const Value* v : seen) n += static_cast<double>(v->constant().size());
  return n;
}

// The published numbers of parameters: torchvision's, and those of the Hugging Face models. A second number is subtracted:
// batch normalisation has two a channel, of which the bias of the convolution (one a channel) is left.
const std::map<std::string_view, double> kParameters{{"resnet18", 11689512 - 4800},
                                                     {"resnet50", 25557032 - 26560},
                                                     {"mobilenet_v2", 3504872 - 17056},
                                                     {"squeezenet1_1", 1235496},
                                                     {"vgg16", 138357544},
                                                     {"alexnet", 61100840},
                                                     {"mobilenet_v3_large", 5483032 - 12200},
                                                     {"efficientnet_b0", 5288548 - 21008},
                                                     {"shufflenet_v2_x1_0", 2278604 - 8090},
                                                     {"densenet121", 7978856 - 7488},
                                                     {"googlenet", 6624904 - 7280},
                                                     {"inception_v3", 23834568 - 17216},
                                                     {"resnext101_32x8d", 88791336 - 101440},
                                                     {"unet", 7763041 - 2944},
                                                     {"bert_base", 109482240},
                                                     {"bert_large", 335141888},
                                                     {"distilbert", 66362880},
                                                     {"minilm_l6", 22713216},
                                                     {"roberta_base", 124645632},
                                                     {"albert_base", 11683584},
                                                     {"electra_small", 13483008},
                                                     {"vit_b16", 86567656},
                                                     {"swin_t", 28288354},
                                                     {"gpt2", 124439808},
                                                     {"t5_small", 35330816},
                                                     {"llama_small", 54927872}};

std::string interface(const Graph& g) {
  std::string text;
  for (const Value* v : g.inputs()) text += (text.empty() ? "" : ", ") + v->name() + " " + graph::to_string(v->type());
  text += " ->";
  for (size_t i = 0; i < g.outputs().size(); ++i)
    text += " " + g.output_names()[i] + " " + graph::to_string(g.outputs()[i]->type());
  return text;
}

const std::map<std::string_view, std::string> kInterfaces{
    {"inception_v3", "input float32[1,3,299,299] -> output float32[1,1000]"},
    {"unet", "input float32[1,3,256,256] -> output float32[1,1,256,256]"}};

class Zoo : public ::testing::TestWithParam<ZooEntry> {};

TEST_P(Zoo, has_the_interface_and_the_size_it_says) {
  const ZooEntry& entry = GetParam();
  const auto g = build(std::string(entry.name));
  graph::verify(*g);
  EXPECT_NEAR(gmacs(*g), entry.gmacs, 0.0006);
  EXPECT_EQ(parameters(*g), kParameters.at(entry.name));
  if (entry.sequence > 0) return;
  const auto found = kInterfaces.find(entry.name);
  EXPECT_EQ(interface(*g),
            found == kInterfaces.end() ? "input float32[1,3,224,224] -> output float32[1,1000]" : found->second);
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

TEST(ZooTokens, their_number_is_an_option) {
  EXPECT_EQ(interface(*build("minilm_l6", {.batch = 0, .sequence = 32})),
            "input_ids int64[batch,32], attention_mask int64[batch,32], token_type_ids int64[batch,32] -> last_hidden_state "
            "float32[batch,32,384] pooler_output float32[batch,384]");
  EXPECT_EQ(interface(*build("electra_small", {.sequence = 512})),
            "input_ids int64[1,512], attention_mask int64[1,512], token_type_ids int64[1,512] -> last_hidden_state "
            "float32[1,512,256]");
}

TEST(ZooTokens, a_decoder_gives_its_cache_back_with_the_new_tokens_behind) {
  const auto g = build("llama_small", {.sequence = 3, .past = 7});
  const std::string text = interface(*g);
  EXPECT_NE(text.find("attention_mask int64[1,10], position_ids int64[1,3], past_key_values.0.key float32[1,2,7,64]"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("logits float32[1,3,32000] present.0.key float32[1,2,10,64]"), std::string::npos) << text;
}

TEST(ZooTokens, a_decoder_may_leave_them_open) {
  for (const char* name : {"gpt2", "llama_small"}) {
    const auto g = build(name, {.open_tokens = true});
    const std::string text = interface(*g);
    EXPECT_EQ(
        text.find("input_ids int64[1,sequence], attention_mask int64[1,total_sequence], position_ids int64[1,sequence], "
                  "past_key_values.0.key float32[1,"),
        0u)
        << text;
    EXPECT_NE(text.find(",past_sequence,64]"), std::string::npos) << text;
  }
}

// An open decoder means the same as one for fixed numbers of tokens.
TEST(ZooTokens, an_open_decoder_gives_the_bits_of_a_fixed_one) {
  const Model fixed = model_from_graph(build("llama_small", {.sequence = 2, .past = 3})),
              open = model_from_graph(build("llama_small", {.open_tokens = true}));
  std::vector<Shape> shapes;
  for (const ValueInfo& input : fixed.inputs()) shapes.push_back(input.shape);
  const std::vector<graph::Tensor> inputs = tools::synthetic_inputs(fixed, shapes, 1);
  std::vector<std::vector<float>> logits;
  for (const Model* model : {&fixed, &open}) {
    Session session(*model, {.threads = 1});
    tools::set_inputs(session, model->inputs(), inputs);
    session.run();
    logits.push_back(tools::to_floats(session.output("logits")));
  }
  EXPECT_EQ(logits[0], logits[1]);
}

std::string message(const std::string& name, const ZooOptions& options) {
  try {
    build(name, options);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    return e.what();
  }
  return "";
}

TEST(ZooTokens, are_refused_where_there_are_none_or_too_many) {
  EXPECT_EQ(message("resnet18", {.sequence = 8}),
            "zoo:resnet18: a sequence length was asked for, but it takes images of a fixed size");
  EXPECT_EQ(message("bert_base", {.past = 8}),
            "zoo:bert_base: a number of past tokens was asked for, but it keeps no cache");
  EXPECT_EQ(message("bert_base", {.open_tokens = true}),
            "zoo:bert_base: an open number of past tokens was asked for, but it keeps no cache");
  EXPECT_EQ(message("gpt2", {.sequence = 1, .open_tokens = true}),
            "zoo:gpt2: both open numbers of tokens and numbers of tokens were asked for; expected one of them");
  EXPECT_EQ(message("bert_base", {.sequence = 513}), "zoo:bert_base: 513 tokens were asked for; expected at most 512");
  EXPECT_EQ(message("gpt2", {.sequence = 1, .past = 1024}), "zoo:gpt2: 1025 tokens were asked for; expected at most 1024");
}

TEST(ZooNames, an_unknown_one_lists_those_there_are) {
  const std::string text = message("alexnot", {});
  EXPECT_EQ(text.substr(0, 68), "zoo:alexnot: no such network; expected one of resnet18, resnet50, mo");
  for (const ZooEntry& entry : list()) EXPECT_NE(text.find(entry.name), std::string::npos) << entry.name;
  EXPECT_THROW(build("resnet18", {.batch = -1}), Error);
}

}  // namespace
}  // namespace octet::zoo
