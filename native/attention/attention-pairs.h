// Queries in pairs of BF16 values, as tiles and vdpbf16ps multiply them.
#pragma once
#include "attention/attention-piece.h"

namespace daysix::DAYSIX_ISA {

/// STRIP values of a vector of lanes, in pairs: an AMX tile.
constexpr int SQUARE = WIDTH * WIDTH;

/// How far ahead of a lane's value its later ones are asked for: lanes lie too far apart for a processor to see the order.
constexpr int QUERIES_AHEAD = 4 * WIDTH;

/// Rounds values that are a query's `first` and on, of lanes [lane, lane + lanes), a line for each.
inline void roundQueries(float* squares, const LaneQueries::Part& part, int first, int lane, int lanes) {
  for (int from = 0, n; from < part.count; from += n) {
    const int at = first + from, inLine = at % STRIP;
    n = std::min(std::min(WIDTH, part.count - from), STRIP - inLine);
    float* square = squares + at / STRIP * SQUARE;
    for (int i = 0; i < lanes; i++) {
      auto* line = reinterpret_cast<uint16_t*>(square + i * WIDTH);
      const float* values = part.values + (lane + i) * part.stride + from;
      __builtin_prefetch(values + QUERIES_AHEAD);
      storeBf16(line + inLine, load(values, n), n);
    }
  }
}

/// Each lane vector's queries in `depths` squares: a line for each pair of values, zeros behind the last.
inline void packQueryPairs(float* squares, int depths, const LaneQueries& queries) {
  std::memset(squares, 0, int64_t{depths} * wholeVectors(queries.lanes) * WIDTH * sizeof(float));
  for (int lane = 0; lane < queries.lanes; lane += WIDTH) {
    const int lanes = std::min(WIDTH, queries.lanes - lane);
    roundQueries(squares, queries.absorbed, 0, lane, lanes);
    roundQueries(squares, queries.rotated, queries.absorbed.count, lane, lanes);
    for (int depth = 0; depth < depths; depth++, squares += SQUARE) transposeSquare(squares, WIDTH, squares, WIDTH);
  }
}

#if defined(__AVX512F__)

/// A line of an entry's values, or n of them with zeros behind.
DAYSIX_INLINE __m512i loadLine(const uint8_t* values, int n) {
  return _mm512_maskz_loadu_epi16(0xffffffff >> (STRIP - n), values);
}

DAYSIX_INLINE __m512i finiteOrZero(__m512i values) {
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  return _mm512_maskz_mov_epi16(_mm512_cmpneq_epi16_mask(_mm512_and_si512(values, exponent), exponent), values);
}

struct ColumnsInOrder {
  Vec first, last;
};

/// Unpacking two tokens' values leaves each quarter's first columns in one vector, `low`, and its last in the other.
DAYSIX_INLINE ColumnsInOrder inColumnOrder(__m512 low, __m512 high) {
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i last = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  return {{_mm512_permutex2var_ps(low, first, high)}, {_mm512_permutex2var_ps(low, last, high)}};
}

#endif

/// Rounds 16 probabilities to BF16; all of a lane's come to lie where the first half of its scores did.
inline void storeBf16Probabilities(float* scores, int token, Vec probabilities) {
  storeBf16(reinterpret_cast<uint16_t*>(scores) + token, probabilities);
}

}  // namespace daysix::DAYSIX_ISA
