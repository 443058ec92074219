// Queries in pairs of BF16 values, as tiles and vdpbf16ps multiply them.
#pragma once
#include "attention/attention-piece.h"

namespace daysix::DAYSIX_ISA {

/// STRIP values of a vector of lanes, in pairs: an AMX tile.
constexpr int SQUARE = WIDTH * WIDTH;

/// Pairs of BF16 values, even and odd ones, which come widened.
inline Vec pairsOf(Vec even, Vec odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even.v), 16);
  return {_mm512_castsi512_ps(_mm512_mask_mov_epi16(low, 0xaaaaaaaa, _mm512_castps_si512(odd.v)))};
}

/// Rounds values that are a query's `first` and on, a line for each lane.
inline void roundQueries(float* squares, const LaneQueries::Part& part, int first, int lanes) {
  for (int from = 0, n; from < part.count; from += n) {
    const int at = first + from, inLine = at % STRIP;
    n = std::min(std::min(WIDTH, part.count - from), STRIP - inLine);
    float* square = squares + at / STRIP * SQUARE;
    for (int lane = 0; lane < lanes; lane++) {
      auto* line = reinterpret_cast<uint16_t*>(square + lane * WIDTH);
      storeBf16(line + inLine, load(part.values + lane * part.stride + from, n), n);
    }
  }
}

/// The lanes' queries in `depths` squares: a line for each pair of values, zeros behind the last.
inline void packQueryPairs(float* squares, int depths, const LaneQueries& queries) {
  std::memset(squares, 0, int64_t{depths} * SQUARE * sizeof(float));
  roundQueries(squares, queries.absorbed, 0, queries.lanes);
  roundQueries(squares, queries.rotated, queries.absorbed.count, queries.lanes);
  for (int depth = 0; depth < depths; depth++, squares += SQUARE) {
    Vec square[WIDTH];
    for (int i = 0; i < WIDTH; i++) square[i] = load(squares + i * WIDTH);
    transpose(square);
    for (int i = 0; i < WIDTH; i++) store(squares + i * WIDTH, square[i]);
  }
}

}  // namespace daysix::DAYSIX_ISA
