// Blocks of strips (host/strips.h), as a file has them or made of rows on the way.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "host/strips.h"
#include "simd/chain.h"

namespace daysix::DAYSIX_ISA {

/// Outputs of a strip, one in each lane of a vector of words.
constexpr int STRIP_LANES = CHAINS;
static_assert(STRIP_LANES == STRIP_ROWS);
/// Bytes of each row turned at once: a square of words.
constexpr int TURN_BYTES = STRIP_LANES * 4;

/// How far ahead of the multiply words of a strip are asked for.
constexpr int64_t STRIP_AHEAD_WORDS = 256;

/// Weight rows where they are. A short strip repeats its last row in place of missing rows.
struct StripRows {
  const uint8_t* first;
  int64_t rowBytes;
  int rows;

  const uint8_t* row(int i) const { return first + std::min(i, rows - 1) * rowBytes; }
};

#if defined(__AVX512F__)

/// out[word][row] = rows[row][word] ^ Flip, of TURN_BYTES. A quarter of a row goes where unpacking needs it while it is
/// loaded.
template <uint32_t Flip>
inline void turnSquare(uint32_t* out, const uint8_t* const (&rows)[STRIP_LANES]) {
  const auto put = [](uint32_t* words, __m512i v) {
    _mm512_store_si512(words, Flip ? _mm512_xor_si512(v, _mm512_set1_epi32(static_cast<int>(Flip))) : v);
  };
#pragma GCC unroll 4
  for (int quarter = 0; quarter < 4; quarter++) {
    __m512i v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const auto piece = [&](int row) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[row] + quarter * 16));
      };
      v[i] = _mm512_castsi128_si512(piece(i));
      v[i] = _mm512_inserti32x4(v[i], piece(4 + i), 1);
      v[i] = _mm512_inserti32x4(v[i], piece(8 + i), 2);
      v[i] = _mm512_inserti32x4(v[i], piece(12 + i), 3);
    }
    const __m512i low0 = _mm512_unpacklo_epi32(v[0], v[1]), low1 = _mm512_unpacklo_epi32(v[2], v[3]);
    const __m512i high0 = _mm512_unpackhi_epi32(v[0], v[1]), high1 = _mm512_unpackhi_epi32(v[2], v[3]);
    uint32_t* words = out + quarter * 4 * STRIP_LANES;
    put(words, _mm512_unpacklo_epi64(low0, low1));
    put(words + STRIP_LANES, _mm512_unpackhi_epi64(low0, low1));
    put(words + 2 * STRIP_LANES, _mm512_unpacklo_epi64(high0, high1));
    put(words + 3 * STRIP_LANES, _mm512_unpackhi_epi64(high0, high1));
  }
}

#elif defined(__AVX2__)

template <uint32_t Flip>
inline void turnSquare(uint32_t* out, const uint8_t* const (&rows)[STRIP_LANES]) {
  const auto put = [](__m256i* words, __m256i v) {
    _mm256_store_si256(words, Flip ? _mm256_xor_si256(v, _mm256_set1_epi32(static_cast<int>(Flip))) : v);
  };
  for (int quarter = 0; quarter < 4; quarter++) {
    for (int half = 0; half < 2; half++) {
      __m256i v[4];
      for (int i = 0; i < 4; i++) {
        const auto piece = [&](int row) {
          return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[8 * half + row] + quarter * 16));
        };
        v[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(piece(i)), piece(4 + i), 1);
      }
      const __m256i low0 = _mm256_unpacklo_epi32(v[0], v[1]), low1 = _mm256_unpacklo_epi32(v[2], v[3]);
      const __m256i high0 = _mm256_unpackhi_epi32(v[0], v[1]), high1 = _mm256_unpackhi_epi32(v[2], v[3]);
      auto* words = reinterpret_cast<__m256i*>(out + quarter * 4 * STRIP_LANES) + half;
      put(words, _mm256_unpacklo_epi64(low0, low1));
      put(words + 2, _mm256_unpackhi_epi64(low0, low1));
      put(words + 4, _mm256_unpacklo_epi64(high0, high1));
      put(words + 6, _mm256_unpackhi_epi64(high0, high1));
    }
  }
}

#else

template <uint32_t Flip>
inline void turnSquare(uint32_t* out, const uint8_t* const (&rows)[STRIP_LANES]) {
  for (int row = 0; row < STRIP_LANES; row++) {
    for (int word = 0; word < TURN_BYTES / 4; word++) {
      std::memcpy(out + word * STRIP_LANES + row, rows[row] + word * 4, sizeof *out);
      out[word * STRIP_LANES + row] ^= Flip;
    }
  }
}

#endif

/// Bytes from `from` on of a strip's rows, [words][16], with zeros behind a row's end up to whole squares, before Flip
/// inverts bits of each word. `out` is aligned to vectors. Asks for the strip behind on the way.
template <uint32_t Flip = 0>
inline void turnStrip(uint32_t* out, const StripRows& strip, int64_t from, int64_t bytes) {
  const uint8_t* rows[STRIP_LANES];
  for (int i = 0; i < STRIP_LANES; i++) rows[i] = strip.row(i) + from;
  for (; bytes >= TURN_BYTES; bytes -= TURN_BYTES) {
    turnSquare<Flip>(out, rows);
    for (const uint8_t*& row : rows) {
      // To the second cache: rows a power of two apart share few sets of the first.
      __builtin_prefetch(row + STRIP_LANES * strip.rowBytes, 0, 2);
      row += TURN_BYTES;
    }
    out += TURN_BYTES / 4 * STRIP_LANES;
  }
  if (bytes <= 0) return;
  uint8_t ends[STRIP_LANES][TURN_BYTES] = {};
  for (int i = 0; i < STRIP_LANES; i++) {
    std::memcpy(ends[i], rows[i], bytes);
    rows[i] = ends[i];
  }
  turnSquare<Flip>(out, rows);
}

}  // namespace daysix::DAYSIX_ISA
