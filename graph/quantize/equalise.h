// Channels of one activation that differ in size, brought closer together before all of them share one scale.
//
// A u8 tensor has one step, set by its largest channel. Where one channel in a thousand reaches 28 and the others 1.7, as
// behind the LayerNormalizations of a BERT, four of the eight bits are lost on all others. Since a product is linear, a
// factor per channel can be moved from its activations into its weights; factors are powers of two, so that no bit of the
// float network changes:
//
//   x ─┬─ MatMul(W)        x ─┬─ Mul(1 / s) ─ MatMul(s · W)           s: one number a channel, a row of W
//      └─ others              └─ others
//
// A normalisation that only such products read takes 1 / s into its scale and bias, and the Mul is free.
//
// s is 1 for most channels, and for those beyond a limit t what lowers them to about t. The lower t, the finer the step of x
// but the coarser those of W, whose columns have one scale each over all channels. Both errors are known in advance, as
// variances of a rounding error (step^2 / 12), and t is where their sum at the product's output is least:
//
//   E(s) = (span(x / s) / 255)^2 / 12 · sum_c s_c^2 |W_c|^2  +  sum_n (max_c s_c |W_cn| / 127)^2 / 12 · sum_c E[x_c^2] /
//   s_c^2
//
// What gains less than 3 dB (half a bit) that way stays as it is: the Mul has its price.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

// Of a tensor [..., channels], over everything added. Finite numbers.
struct ChannelStatistics {
  std::vector<float> min, max;  // 0 included, which every grid holds
  std::vector<double> sum_of_squares;
  int64_t rows = 0;

  void add(const float* x, int64_t count, int64_t channels);  // `count` rows
};
using ChannelStatisticsMap = std::map<std::string, ChannelStatistics>;  // by value name

// The activations of matrix products by constant weights in a graph that prepare_for_quantization left, in its order: names
// of float values whose last axis is the products' K.
std::vector<std::string> values_to_equalise(const Graph& graph);

// Factors s of a value of these statistics that is multiplied by `weights`, [channels][n] row by row; empty when
// they are not worth it.
std::vector<float> equalising_factors(const ChannelStatistics& x, const std::vector<float>& weights);

// In place; returns how many values were equalised. Throws Error invalid_argument when the statistics of one are missing.
int equalise_channels(Graph& graph, const ChannelStatisticsMap& statistics);

}  // namespace octet::graph
