#include "kernels/product/channel_order.h"

#include <emmintrin.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <numeric>

namespace octet::kernels {
namespace {

// Where many weights read a channel, all partners cost much the same, and trying them takes long.
constexpr size_t kCandidates = 16, kCandidatesOfMany = 8, kMany = 2048, kPairCandidates = 64;
constexpr size_t kLanes = 16;

// Positive and negative parts of the weights of each channel, by column of a panel, then by place: a panel at a tap of a
// use.
class Parts {
 public:
  Parts(std::span<const ChannelUse> uses, int64_t channels, int columns) : columns_(static_cast<size_t>(columns)) {
    for (const ChannelUse& use : uses) places_ += static_cast<size_t>(use.taps * ((use.outputs + columns - 1) / columns));
    places_ = (places_ + kLanes - 1) / kLanes * kLanes;
    const size_t bytes = static_cast<size_t>(channels) * columns_ * places_;
    positive_.resize(bytes);
    negative_.resize(bytes);
    size_t first = 0;
    for (const ChannelUse& use : uses) {
      for (int64_t channel = 0; channel < channels; channel += kChannelsAtOnce)
        split(use, channels, channel, std::min(channels, channel + kChannelsAtOnce), first);
      first += static_cast<size_t>(use.taps * ((use.outputs + columns - 1) / columns));
    }
  }

  size_t places() const { return places_; }
  size_t bytes() const { return columns_ * places_; }  // weights of a channel

  // The larger of the sums of either sign over the columns of each place.
  void add(int64_t a, int64_t b, uint8_t* worst) const {
    const size_t from_a = static_cast<size_t>(a) * columns_ * places_, from_b = static_cast<size_t>(b) * columns_ * places_;
    for (size_t place = 0; place < places_; place += kLanes) {
      __m128i most = _mm_setzero_si128();
      for (size_t column = 0; column < columns_; ++column) {
        const size_t ia = from_a + column * places_ + place, ib = from_b + column * places_ + place;
        most = _mm_max_epu8(most, _mm_adds_epu8(load(&positive_[ia]), load(&positive_[ib])));
        most = _mm_max_epu8(most, _mm_adds_epu8(load(&negative_[ia]), load(&negative_[ib])));
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(worst + place), most);
    }
  }

  static __m128i load(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

 private:
  static constexpr int64_t kChannelsAtOnce = 16;  // so that reads are lines and writes stay in the cache

  void split(const ChannelUse& use, int64_t channels, int64_t begin, int64_t end, size_t first) {
    const size_t taps = static_cast<size_t>(use.taps);
    for (size_t i = 0; i < static_cast<size_t>(use.outputs); ++i) {
      const int64_t output = use.output_order.empty() ? static_cast<int64_t>(i) : use.output_order[i];
      const int8_t* w = use.weights + (output * channels + begin) * use.taps;
      size_t at = (static_cast<size_t>(begin) * columns_ + i % columns_) * places_ + first + i / columns_ * taps;
      for (int64_t c = begin; c < end; ++c, at += columns_ * places_)
        for (size_t tap = 0; tap < taps; ++tap, ++w) {
          positive_[at + tap] = static_cast<uint8_t>(std::max<int>(*w, 0));
          negative_[at + tap] = static_cast<uint8_t>(std::max<int>(-*w, 0));
        }
    }
  }

  size_t columns_, places_ = 0;
  std::vector<uint8_t> positive_, negative_;
};

// A sum of up to 128 takes its share of a bin; a larger one a third operation a row and half a bin.
__m128i cost(__m128i worst) {
  constexpr uint8_t kDirectLimit = 128, kFlipped = 192;
  const __m128i direct =
      _mm_cmpeq_epi8(_mm_subs_epu8(worst, _mm_set1_epi8(static_cast<char>(kDirectLimit))), _mm_setzero_si128());
  const __m128i by_place =
      _mm_or_si128(_mm_and_si128(direct, worst), _mm_andnot_si128(direct, _mm_set1_epi8(static_cast<char>(kFlipped))));
  return _mm_sad_epu8(by_place, _mm_setzero_si128());
}

int64_t cost_of(const uint8_t* a, const uint8_t* b, size_t places) {
  __m128i sum = _mm_setzero_si128();
  for (size_t i = 0; i < places; i += kLanes)
    sum = _mm_add_epi64(sum, cost(_mm_max_epu8(Parts::load(a + i), Parts::load(b + i))));
  return _mm_cvtsi128_si64(sum) + _mm_cvtsi128_si64(_mm_srli_si128(sum, 8));
}

// Takes the first of `left` and the one of the next `candidates` that costs least with it: its index.
template <class Cost>
size_t best_partner(size_t left, size_t candidates, Cost cost_with) {
  size_t best = 1;
  int64_t least = INT64_MAX;
  for (size_t i = 1; i < std::min(left, candidates + 1); ++i)
    if (const int64_t c = cost_with(i); c < least) {
      least = c;
      best = i;
    }
  return best;
}

void order_block(const Parts& parts, std::vector<int64_t> left, std::vector<int64_t>& order) {
  struct Pair {
    int64_t a, b;
    std::vector<uint8_t> worst;
  };
  const size_t places = parts.places();
  std::vector<Pair> pairs;
  std::vector<uint8_t> trial(places);
  while (!left.empty()) {
    const size_t at = best_partner(left.size(), parts.bytes() > kMany ? kCandidatesOfMany : kCandidates, [&](size_t i) {
      parts.add(left[0], left[i], trial.data());
      return cost_of(trial.data(), trial.data(), places);
    });
    pairs.push_back({left[0], left[at], std::vector<uint8_t>(places)});
    Pair& pair = pairs.back();
    parts.add(pair.a, pair.b, pair.worst.data());
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(at));
    left.erase(left.begin());
  }
  while (!pairs.empty()) {
    const size_t at = best_partner(pairs.size(), kPairCandidates,
                                   [&](size_t i) { return cost_of(pairs[0].worst.data(), pairs[i].worst.data(), places); });
    for (const Pair* pair : {&pairs[0], &pairs[at]}) order.insert(order.end(), {pair->a, pair->b});
    pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(at));
    pairs.erase(pairs.begin());
  }
}

}  // namespace

int ordered_columns(const Isa& isa) { return isa.dot == DotKind::maddubs ? isa.lanes() : 0; }

std::vector<int64_t> order_channels(std::span<const ChannelUse> uses, int64_t channels, int columns, bool within_panels) {
  assert(columns % 4 == 0);
  std::vector<int64_t> all(static_cast<size_t>(channels));
  std::iota(all.begin(), all.end(), int64_t{0});
  if (channels % 4 != 0) return all;
  const Parts parts(uses, channels, columns);
  std::vector<int64_t> order;
  const int64_t block = within_panels ? columns : channels;
  for (int64_t first = 0; first < channels; first += block)
    order_block(parts, {all.begin() + first, all.begin() + std::min(first + block, channels)}, order);
  return order;
}

}  // namespace octet::kernels
