#include "kernels/product/bins.h"

#include <emmintrin.h>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace octet::kernels {
namespace {

constexpr size_t kOpenBins = 96;
constexpr int kMaxMembers = 8;

// The int16 lanes of Columns columns, two a column.
template <int Columns>
struct Lanes {
  static constexpr int kRegs = Columns / 4;
  __m128i v[kRegs];
};

template <int Columns>
struct Group {
  Lanes<Columns> high, low;  // range of every lane in the mode chosen
  uint32_t index = 0;
  bool x = false;
};

struct Bin {
  int x = 0, d = 0;
  uint32_t members[kMaxMembers];  // X groups from the front, D groups from the back

  void put(uint32_t group, bool is_x) { members[is_x ? x++ : kMaxMembers - ++d] = group; }
};

// A bin that may still grow.
template <int Columns>
struct OpenBin {
  Lanes<Columns> room_high, room_low;  // what may still be added, downwards as a negative number
  uint32_t bin = 0;
  bool takes_x = false, takes_d = false;

  // Two registers at a time: most refusals show in the first.
  bool takes(const Group<Columns>& group) const {
    for (int r = 0; r < Columns / 4; r += 2) {
      const __m128i high = _mm_or_si128(_mm_cmpgt_epi16(group.high.v[r], room_high.v[r]),
                                        _mm_cmpgt_epi16(group.high.v[r + 1], room_high.v[r + 1]));
      const __m128i low = _mm_or_si128(_mm_cmplt_epi16(group.low.v[r], room_low.v[r]),
                                       _mm_cmplt_epi16(group.low.v[r + 1], room_low.v[r + 1]));
      if (_mm_movemask_epi8(_mm_or_si128(high, low)) != 0) return false;
    }
    return group.x ? takes_x : takes_d;
  }

  void start(uint32_t index) {
    for (int r = 0; r < Columns / 4; ++r) {
      room_high.v[r] = _mm_set1_epi16(INT16_MAX);
      room_low.v[r] = _mm_set1_epi16(INT16_MIN);
    }
    bin = index;
  }

  void put(const Group<Columns>& group) {
    for (int r = 0; r < Columns / 4; ++r) {
      room_high.v[r] = _mm_sub_epi16(room_high.v[r], group.high.v[r]);
      room_low.v[r] = _mm_sub_epi16(room_low.v[r], group.low.v[r]);
    }
  }
};

bool type_exists(int x, int d, int max_groups) {
  if (x + d > max_groups) return false;
  for (const BinType& type : kBinTypes)
    if (type.x == x && type.d == d) return true;
  return false;
}

struct TypeTable {
  bool x_fits[4][9] = {}, d_fits[4][9] = {};
  explicit TypeTable(int max_groups) {
    for (int x = 0; x < 4; ++x)
      for (int d = 0; d < 9; ++d) {
        x_fits[x][d] = type_exists(x + 1, d, max_groups);
        d_fits[x][d] = type_exists(x, d + 1, max_groups);
      }
  }
};

// Sums of the positive and of the negative weights of a pair, a lane.
template <int Columns>
void pair_sums(const int8_t* weights, Lanes<Columns>& positive, Lanes<Columns>& negative) {
  const __m128i zero = _mm_setzero_si128(), ones = _mm_set1_epi16(1);
  for (int r = 0; r < Columns / 4; ++r) {
    const __m128i w = _mm_loadu_si128(reinterpret_cast<const __m128i*>(weights + 16 * r));
    const __m128i a = _mm_srai_epi16(_mm_unpacklo_epi8(w, w), 8), b = _mm_srai_epi16(_mm_unpackhi_epi8(w, w), 8);
    const auto sums = [&](__m128i p, __m128i q) {
      return _mm_packs_epi32(_mm_madd_epi16(p, ones), _mm_madd_epi16(q, ones));
    };
    positive.v[r] = sums(_mm_max_epi16(a, zero), _mm_max_epi16(b, zero));
    negative.v[r] = sums(_mm_min_epi16(a, zero), _mm_min_epi16(b, zero));
  }
}

int largest(__m128i v) {
  v = _mm_max_epi16(v, _mm_srli_si128(v, 8));
  v = _mm_max_epi16(v, _mm_srli_si128(v, 4));
  v = _mm_max_epi16(v, _mm_srli_si128(v, 2));
  return static_cast<int16_t>(_mm_extract_epi16(v, 0));
}

// Chooses the mode, fills the range, returns the largest lane's magnitude (0: all weights are zero).
template <int Columns>
int measure_group(const int8_t* weights, Group<Columns>& group) {
  constexpr int kRegs = Columns / 4;
  Lanes<Columns> positive, negative;
  pair_sums<Columns>(weights, positive, negative);
  __m128i either = _mm_setzero_si128();
  for (int r = 0; r < kRegs; ++r)
    either = _mm_max_epi16(either, _mm_max_epi16(positive.v[r], _mm_sub_epi16(_mm_setzero_si128(), negative.v[r])));
  constexpr int kDirectLimit = 128;  // 255 * 128 = 32640
  const int worst = largest(either);
  if (worst == 0) return 0;
  group.x = worst > kDirectLimit;
  if (!group.x) {
    const __m128i factor = _mm_set1_epi16(255);
    for (int r = 0; r < kRegs; ++r) {
      group.high.v[r] = _mm_mullo_epi16(positive.v[r], factor);
      group.low.v[r] = _mm_mullo_epi16(negative.v[r], factor);
    }
    return 255 * worst;
  }
  __m128i most = _mm_setzero_si128();
  for (int r = 0; r < kRegs; ++r) {
    const __m128i magnitude = _mm_sub_epi16(positive.v[r], negative.v[r]);
    group.high.v[r] = _mm_mullo_epi16(magnitude, _mm_set1_epi16(127));
    group.low.v[r] = _mm_mullo_epi16(magnitude, _mm_set1_epi16(-128));
    most = _mm_max_epi16(most, magnitude);
  }
  return 128 * largest(most);
}

// First fit over the bins opened last; the next to be forgotten is taken in turn, which is the oldest as long as none is
// full.
template <int Columns>
std::vector<Bin> fill_bins(const std::vector<Group<Columns>>& groups, const std::vector<uint32_t>& order,
                           const TypeTable& table) {
  std::vector<Bin> bins;
  bins.reserve(order.size());
  OpenBin<Columns> open[kOpenBins];
  size_t open_count = 0, oldest = 0;
  for (uint32_t g : order) {
    const Group<Columns>& group = groups[g];
    size_t i = 0;
    while (i < open_count && !open[i].takes(group)) ++i;
    if (i == open_count) {
      if (open_count == kOpenBins) {
        i = oldest;
        oldest = (oldest + 1) % kOpenBins;
      } else {
        ++open_count;
      }
      open[i].start(static_cast<uint32_t>(bins.size()));
      bins.emplace_back();
    }
    open[i].put(group);
    Bin& bin = bins[open[i].bin];
    bin.put(group.index, group.x);
    open[i].takes_x = table.x_fits[bin.x][bin.d];
    open[i].takes_d = table.d_fits[bin.x][bin.d];
  }
  return bins;
}

// A type that few bins have costs more in jumps than it saves: its bins give one group away, where the panel has both types
// that are left.
void split_rare_types(std::vector<Bin>& bins, int rare) {
  int count[4][9] = {};
  for (const Bin& bin : bins) ++count[bin.x][bin.d];
  std::vector<BinType> types(kBinTypes.begin(), kBinTypes.end());
  std::stable_sort(types.begin(), types.end(), [](const BinType& a, const BinType& b) { return a.x + a.d > b.x + b.d; });
  for (const BinType& type : types) {
    if (type.x + type.d < 2 || count[type.x][type.d] == 0 || count[type.x][type.d] > rare) continue;
    const bool gives_d = type.d > 0;
    const BinType rest = gives_d ? BinType{type.x, type.d - 1} : BinType{type.x - 1, 0},
                  one = gives_d ? BinType{0, 1} : BinType{1, 0};
    if (count[rest.x][rest.d] == 0 || count[one.x][one.d] == 0) continue;
    const size_t before = bins.size();
    for (size_t i = 0; i < before; ++i) {
      if (bins[i].x != type.x || bins[i].d != type.d) continue;
      Bin given{};
      given.put(gives_d ? bins[i].members[kMaxMembers - bins[i].d--] : bins[i].members[--bins[i].x], !gives_d);
      bins.push_back(given);
    }
    count[rest.x][rest.d] += count[type.x][type.d];
    count[one.x][one.d] += count[type.x][type.d];
    count[type.x][type.d] = 0;
  }
}

// What the X groups of a panel owe to its columns: 128 * sum of w + sum of |w| over negative w.
template <int Columns>
class XBias {
 public:
  // |w|, then c.
  void write_group(const int8_t* w, int8_t* magnitude, int8_t* flip) {
    const __m128i zero = _mm_setzero_si128(), ones = _mm_set1_epi16(1);
    for (int r = 0; r < Columns / 4; ++r) {
      const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w) + r), sign = _mm_cmpgt_epi8(zero, v);
      const __m128i absolute = _mm_sub_epi8(_mm_xor_si128(v, sign), sign);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(magnitude) + r, absolute);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(flip) + r, _mm_xor_si128(sign, _mm_set1_epi8(INT8_MIN)));
      const __m128i negative = _mm_and_si128(absolute, sign);
      const __m128i pairs[2] = {_mm_madd_epi16(_mm_unpacklo_epi8(v, sign), ones),
                                _mm_madd_epi16(_mm_unpackhi_epi8(v, sign), ones)};
      const __m128i owed[2] = {_mm_madd_epi16(_mm_unpacklo_epi8(negative, zero), ones),
                               _mm_madd_epi16(_mm_unpackhi_epi8(negative, zero), ones)};
      for (int half = 0; half < 2; ++half)
        sum_[2 * r + half] = _mm_add_epi32(sum_[2 * r + half], _mm_add_epi32(_mm_slli_epi32(pairs[half], 7), owed[half]));
    }
  }

  std::vector<int32_t> columns() const {
    std::array<int32_t, 2 * Columns> pairs;
    std::memcpy(pairs.data(), sum_, sizeof pairs);
    std::vector<int32_t> bias(Columns);
    for (size_t n = 0; n < Columns; ++n)
      bias[n] = static_cast<int32_t>(static_cast<uint32_t>(pairs[2 * n]) + static_cast<uint32_t>(pairs[2 * n + 1]));
    return bias;
  }

 private:
  __m128i sum_[Columns / 2] = {};  // int32, two a column
};

template <int Columns>
BinnedPanel bin_panel_of(const int8_t* weights, size_t group_count) {
  constexpr size_t kVector = 4 * Columns;
  static const TypeTable table(Columns == 8 ? kMaxGroupsYmm : kMaxGroupsZmm);
  std::vector<Group<Columns>> groups(group_count);
  constexpr int kBuckets = 129;  // magnitude / 256, up to 128
  std::array<uint32_t, kBuckets + 1> start{};
  std::vector<uint8_t> bucket(group_count);
  for (size_t g = 0; g < group_count; ++g) {
    groups[g].index = static_cast<uint32_t>(g);
    const int need = measure_group<Columns>(weights + g * kVector, groups[g]);
    bucket[g] = static_cast<uint8_t>(need == 0 ? 255 : kBuckets - 1 - need / 256);
    if (need != 0) ++start[static_cast<size_t>(bucket[g]) + 1];
  }
  for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
  std::vector<uint32_t> order(start.back());
  for (size_t g = 0; g < group_count; ++g)
    if (bucket[g] != 255) order[start[bucket[g]]++] = static_cast<uint32_t>(g);

  std::vector<Bin> bins = fill_bins<Columns>(groups, order, table);
  split_rare_types(bins, Columns == 8 ? 4 : 2);

  BinnedPanel panel;
  XBias<Columns> bias;
  panel.order.reserve(order.size());
  std::array<std::vector<uint32_t>, kBinTypeCount> by_type;
  size_t type_of[4][9] = {};
  for (size_t t = 0; t < kBinTypeCount; ++t) type_of[kBinTypes[t].x][kBinTypes[t].d] = t;
  for (size_t i = 0; i < bins.size(); ++i) {
    by_type[type_of[bins[i].x][bins[i].d]].push_back(static_cast<uint32_t>(i));
    panel.x_groups += static_cast<size_t>(bins[i].x);
  }
  panel.b.resize((order.size() + panel.x_groups) * kVector);
  int8_t* to = panel.b.data();
  for (size_t t = 0; t < kBinTypeCount; ++t) {
    if (!by_type[t].empty()) panel.runs.push_back({static_cast<uint32_t>(t), static_cast<int32_t>(by_type[t].size())});
    for (uint32_t i : by_type[t]) {
      const Bin& bin = bins[i];
      for (int m = 0; m < bin.x; ++m, to += 2 * kVector) {
        panel.order.push_back(bin.members[m]);
        bias.write_group(weights + bin.members[m] * kVector, to, to + kVector);
      }
      for (int m = 0; m < bin.d; ++m, to += kVector) {
        const uint32_t member = bin.members[kMaxMembers - 1 - m];
        panel.order.push_back(member);
        std::memcpy(to, weights + member * kVector, kVector);
      }
    }
  }
  panel.bias = bias.columns();
  return panel;
}

}  // namespace

BinnedPanel bin_panel(const int8_t* weights, size_t groups, int columns) {
  assert(columns == 8 || columns == 16);
  return columns == 8 ? bin_panel_of<8>(weights, groups) : bin_panel_of<16>(weights, groups);
}

}  // namespace octet::kernels
