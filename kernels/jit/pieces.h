// How a run of bytes whose length is known when code is made is covered by moves of 1, 2, 4, ... max_bytes bytes.
//
// Never a byte outside the run. A run longer than max_bytes ends in a move that overlaps the one before it, a shorter one in
// two overlapping moves, so the pieces suit anything computed afresh from the input (the overlap is computed twice, alike).
//
//   75 bytes, max 32:  |--------32--------|--------32--------|           7 bytes:  |---4---|
//                                     |--------32--------|                              |---4---|
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace octet::kernels {

struct Piece {
  int offset = 0;
  int bytes = 0;
  bool operator==(const Piece&) const = default;
};

// max_bytes is a power of two. When `bytes` is a multiple of 2^n, so is every piece of 2^n bytes or more in offset and size.
inline std::vector<Piece> cover(int bytes, int max_bytes) {
  std::vector<Piece> pieces;
  int at = 0;
  for (; bytes - at >= max_bytes; at += max_bytes) pieces.push_back({at, max_bytes});
  const int rest = bytes - at;
  if (rest == 0) return pieces;
  if (at > 0) {
    pieces.push_back({bytes - max_bytes, max_bytes});
    return pieces;
  }
  const int first = static_cast<int>(std::bit_floor(static_cast<unsigned>(rest)));
  pieces.push_back({0, first});
  if (rest > first) {
    const int last = static_cast<int>(std::bit_ceil(static_cast<unsigned>(rest - first)));
    pieces.push_back({rest - last, last});
  }
  return pieces;
}

}  // namespace octet::kernels
