// When things happen in an AMX block: a software pipeline over slots of one tile product (16 cycles) each.
//
// Tiles reach the vector units through memory, and a tile store directly behind the product it stores waits for it; a
// product waits for its loads. So a slot prepares the product of the slot after it, and the stores and the epilogue of a
// block lie between the products of the blocks after it:
//
//      block b       last slot     store tile 0 of block b itself, then start tile 0 of block b+1
//      block b+1     slot 0..t-2   store tile 1.. of block b, then start it anew
//                    slot t-1..    epilogue units of block b (a unit: up to 64 outputs, one pass of the packs)
//      few slots     the units of block b go on in slots 0..t-2 of block b+2, while tiles of block b+1 are stored to the
//                    other of two buffers
//
// What hides behind what, measured one kind of instruction at a time: beside tile instructions (loads, too) and for 190 cycles
// behind the last of them, multiplications, maxima and conversions of floats on zmm go one a cycle instead of two, additions,
// integer operations and shuffles as ever; a tile store takes 16 cycles of the shuffles' port. So epilogues round by adding
// where they can, and where a slot has several units, the tile store lies in their middle: a product and a store that touch lose
// more than two apart (64 to 256 channels at 56x56 with a residual rounded twice: 229 us before both, 145 after). Such a unit of
// 64 outputs had 28 operations for the one port, of 49, while its sums were converted (24 without), and took 33 cycles from the
// first level, 38 in the network.
//
// After the last block the remaining stages run without products. The schedule is a pure function of two counts.
#pragma once

#include <vector>

namespace octet::kernels::amx {

struct Schedule {
  struct Unit {
    int slot = 0;   // of the block that is running
    int stage = 1;  // how many blocks ago the unit's own block ran: 1 or 2
    bool operator==(const Unit&) const = default;
  };
  int slots = 1;        // products of a block
  int setup_stage = 1;  // stage and slot in which the epilogue of a block is set up, before its first unit
  int setup_slot = 0;
  std::vector<Unit> units;  // in order
  bool two_buffers = false;
  int last_stage = 1;
};

// `tiles` of a block (1..4), `k_steps` products each, `units` epilogue units. `accumulators`: as many as tiles, or fewer
// that the tiles take by turns (one k step); tiles are stored the sooner then, before slot accumulators-1 of the next block.
Schedule make_schedule(int tiles, int accumulators, int k_steps, int units);

}  // namespace octet::kernels::amx
