// The keys and values of a decoder, kept inside a session from run to run.
//
// An exported decoder takes what it has seen as inputs and gives it back longer by the new tokens:
//
//   past_key_values.0.key [batch, heads, P, d] ─┐
//                          new keys [.., T, d] ─┴─ Concat ─▶ attention, present.0.key [batch, heads, P + T, d]
//
// Handing outputs back as inputs copies the cache twice a token and makes a new plan for every length. A session that keeps
// the cache runs a plan for a capacity C >= P instead, in which the input is the whole buffer, and Concat a TensorScatter in
// place:
//
//   buffer   [ seen: P rows | free: C - P rows | new: T rows ]        attention_mask  1 … 1 0 … 0 1 … 1
//
// The plan writes the new rows behind the free ones, where the concatenation has them; the model's own mask keeps attention
// off the free rows, which hold zeros or what was forgotten. After the run the new rows move down to row P: T rows a token,
// not the cache. When P outgrows C, the rows move to the buffer of a larger plan. C depends on P alone (`cache_capacity`),
// and so do the bits. They may differ from those of the model run with the cache outside: sums over a row of scores have
// other lanes.
//
// Where the model quantizes its cache before it is joined (Q on the input, Concat of u8), the buffer holds the u8: the
// scales are the model's, and what has been quantized once is not quantized again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/frame.h"
#include "graph/ir.h"
#include "octet/octet.h"

namespace octet {

// The input that an output continues, by index, and their axis of tokens.
struct CachePair {
  size_t input = 0, output = 0, axis = 2;
};
// By the names exporters give: past_key_values.X and present.X (or present_key_values.X), with one open dimension after the
// batch.
std::vector<CachePair> find_caches(const std::vector<ValueInfo>& inputs, const std::vector<ValueInfo>& outputs);

// Rows of a buffer for `length` tokens seen: at least 64, then in steps of a quarter of the power of two.
int64_t cache_capacity(int64_t length);

// Makes the graph of a plan, its shapes fixed, keep its caches: see above. Throws Error unsupported naming an output that is
// not the concatenation of its input and something new.
void keep_caches(graph::Graph& graph);

// What a session knows of its cache.
class KeptCache {
 public:
  // Throws Error unsupported when the model lacks what it takes: caches, input_ids (or inputs_embeds), attention_mask.
  explicit KeptCache(const Model& model);

  int64_t length() const { return length_; }
  void set_length(int64_t length);  // not longer than it is
  bool is_past(size_t input) const;
  bool is_present(size_t output) const;

  // Shapes for a plan, those of caches and mask filled in, from the shapes given. Throws Error naming the input that does
  // not fit.
  std::vector<Shape> plan_shapes(std::vector<Shape> given) const;
  // The mask for the buffer: zeros for its free rows.
  bool is_mask(size_t input) const { return input == mask_; }
  graph::Tensor wide_mask(const graph::Tensor& mask) const;

  // The rows seen, from one frame's buffers to another's.
  void move(const Frame& from, const Frame& to) const;
  // The frame has run: its new rows are seen.
  void take_new(const Frame& frame);

 private:
  std::string file_;
  std::vector<ValueInfo> inputs_;
  std::vector<CachePair> pairs_;
  size_t tokens_ = 0, mask_ = 0;
  int64_t length_ = 0;
  int64_t batch_ = 0;  // of the rows seen
};

}  // namespace octet
