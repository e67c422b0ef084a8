// What the generators of one attention agree on: pure decisions from the ISA and the sizes.
//
//            dot operands             keys of a chunk          rows of a block
//   tile     u8 x s8, 4 of k a lane   64 = 4 vectors           16
//   VNNI     u8 x s8, 4 of k a lane   4 vectors                12 (zmm), 6 (ymm)
//   others   s16 x s16, 2 of k a lane 2 vectors                12 (zmm), 6 (ymm)
//   unpacked s16 x s16, 2 of k a lane 2 vectors                1, of keys and values as they lie (rows.h)
//   f32      f32, 1 of k a lane       16 = the virtual lanes   12 (zmm), 6 (ymm)
//
// Packed operands, L lanes of 32 bits a vector, g elements a lane:
//   K  [keys / L][depth / g][L][g]           depth: size, zeros up to a whole g (tile: 64)
//   V  [value_size / L][keys / g][L][g]      the keys of a chunk in the order in which narrowing P leaves them; pipelined:
//                                            [keys / 64][value_size / 16][16][16][4], in the order of pipeline.cpp
//   P  [rows][keys]                          narrowed with vpackssdw and vpackuswb, which work within 128 bits: quad l of
//   vector q
//                                            of a chunk (4 keys) comes to stand at l * vectors + q
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"

namespace octet::kernels::attention {

struct Form {
  bool tile = false;
  bool pipelined = false;  // pipeline.cpp rather than stage by stage
  bool unpacked = false;   // few queries: keys and values are read as they lie
  int lanes = 0, vector_bytes = 0;
  int group = 4;          // elements of a dot a lane
  int element = 1;        // bytes of a packed element
  int chunk_vectors = 4;  // vectors of scores that make one vector of P
  int rows = 6;
  int64_t chunk = 0;  // keys
  int64_t depth = 0;  // of a score's sum, padded
  int64_t steps = 0;  // depth / group: vectors of a K panel
  int64_t keys = 0;   // padded to whole chunks
  int64_t key_panels = 0, value_panels = 0;

  int64_t key_panel_bytes() const { return steps * vector_bytes; }
  int64_t value_panel_bytes() const { return keys / group * vector_bytes; }
  int64_t value_bytes() const { return value_panels * value_panel_bytes(); }
  // Between panels of a chunk of keys, and between chunks.
  int64_t value_panel_step() const { return pipelined ? chunk / group * vector_bytes : value_panel_bytes(); }
  int64_t value_chunk_step() const { return chunk / group * vector_bytes * (pipelined ? value_panels : 1); }
  // Bytes between rows, a cache line more than they hold so that rows do not fall on one another in the cache.
  int64_t score_row() const { return keys * 4 + 64; }
  int64_t probability_row() const { return keys * element + 64; }
  int64_t output_row() const { return value_panels * vector_bytes; }
  // Of the quad of keys 4 * (vector * lanes / 4 + quad) in a chunk: vectors of V before it.
  int64_t value_vectors_before(int64_t vector, int64_t quad) const { return (quad * chunk_vectors + vector) * (4 / group); }
};

Form make_form(const Isa& isa, const AttentionProblem& problem);

// Bytes from the workspace's beginning. Pipelined: two blocks of scores, and the values of two heads.
struct Workspace {
  size_t keys = 0, key_starts = 0, values = 0, queries = 0, scores = 0, probabilities = 0, outputs = 0, mask = 0, sums = 0,
         last_values = 0, lanes = 0, shifts = 0, bytes = 0;
};
Workspace make_workspace(const Form& form, const AttentionProblem& problem);

}  // namespace octet::kernels::attention
