// Exact u8 x s8 sums from vpmaddubsw, by a proof made when weights are packed.
//
// vpmaddubsw multiplies u8 by s8 and adds neighbouring products into int16, saturating. Saturation cannot happen where the
// weights rule it out, so every k-group (4 k of a panel's columns; two int16 lanes a column) is used in one of two modes:
//
//   D  direct   u8 = a,    s8 = w       a lane lies in [255 * sum of negative w, 255 * sum of positive w]
//   X  xor      u8 = |w|,  s8 = a ^ c   c = w >= 0 ? 0x80 : 0x7f, that is a - 128 or 127 - a; a lane lies in
//                                       [-128 * S, 127 * S] with S = |w0| + |w1| <= 256: always inside int16
//               sum w*a = sum |w|*(a^c) + 128 * sum w + sum of |w| over negative w: a constant a column, added to its bias
//
// A *bin* is a set of groups whose lane ranges add up to an int16, in any order and mixture of modes: their products are
// added with vpaddw, then one vpmaddwd by ones and one vpaddd carry them to int32. Operations are 2 a group, 1 more an X
// group, 2 a bin (the first group of a bin needs no vpaddw), so few and deep bins are fast. Packing is first-fit-decreasing:
// groups in order of their largest lane, each into the first open bin that keeps every lane in range.
//
//   panel = bins sorted by type (x, d) = (X groups, D groups in it); memory: per bin  |w| c |w| c … w w …
//
// The idea and its measurements: shared/prototypes/exact/FINDINGS.md, section 1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace octet::kernels {

struct BinType {
  int x, d;
};
// In the order in which a panel runs them. The generator emits one loop a type.
inline constexpr std::array<BinType, 17> kBinTypes = {{{0, 8},
                                                       {0, 7},
                                                       {0, 6},
                                                       {0, 5},
                                                       {0, 4},
                                                       {0, 3},
                                                       {0, 2},
                                                       {0, 1},
                                                       {1, 4},
                                                       {1, 3},
                                                       {1, 2},
                                                       {1, 1},
                                                       {1, 0},
                                                       {2, 2},
                                                       {2, 1},
                                                       {2, 0},
                                                       {3, 0}}};
inline constexpr size_t kBinTypeCount = kBinTypes.size();
// 16-register ISAs keep at most 5 weight vectors in registers.
inline constexpr int kMaxGroupsYmm = 5, kMaxGroupsZmm = 8;

// `count` bins of type kBinTypes[type], one after the other. A panel's runs name only the types it has; the kernel jumps
// from the loop of one type to that of the next.
struct BinRun {
  uint32_t type;
  int32_t count;
};
inline constexpr BinRun kEndOfRuns = {kBinTypeCount, 0};

struct BinnedPanel {
  std::vector<uint32_t> order;  // group indices in order of use
  std::vector<BinRun> runs;     // without kEndOfRuns
  std::vector<int8_t> b;        // vectors in order of use
  std::vector<int32_t> bias;    // a column: what X mode owes
  size_t x_groups = 0;
};

// `weights` holds `groups` times [columns][4] s8, columns = 8 or 16; groups of zeros only are left out.
BinnedPanel bin_panel(const int8_t* weights, size_t groups, int columns);

}  // namespace octet::kernels
