// Exact products of INT8 values: sums of four neighbouring products, added to 32-bit sums. One factor comes offset by 128,
// as vpdpbusd takes it; sums that begin with −128 times the sum of the other factor's values end without the offset.
#pragma once
#include <cstdint>
#include <cstring>

#include "host/strips.h"
#include "simd/chain.h"

namespace daysix::DAYSIX_ISA {

inline int32_t wordAt(const int8_t* values) {
  int32_t word;
  std::memcpy(&word, values, sizeof word);
  return word;
}

#if defined(__AVX512VNNI__)

constexpr int DOT_LANES = 16;
struct DotSums {
  __m512i v;
};
/// Four offset codes in each lane.
struct OffsetCodes {
  __m512i v;
};

/// The same four values in each lane.
struct FourValues {
  __m512i v;
};

inline DotSums splatSums(int32_t x) { return {_mm512_set1_epi32(x)}; }
DAYSIX_INLINE FourValues splatFour(const int8_t* values) { return {_mm512_set1_epi32(wordAt(values))}; }
inline OffsetCodes loadOffsetCodes(const uint32_t* words) { return {_mm512_load_si512(words)}; }
/// The codes of each lane's eight INT4 ones with even and with odd numbers.
using UnsignedCodes = OffsetCodes;
inline void loadNibbles(UnsignedCodes& even, UnsignedCodes& odd, const uint32_t* words) {
  const __m512i codes = _mm512_load_si512(words), low = _mm512_set1_epi8(15);
  even.v = _mm512_and_si512(codes, low);
  odd.v = _mm512_and_si512(_mm512_srli_epi16(codes, 4), low);
}
/// sums + codes · values, of the four in each lane. Written out, for compilers copy the sums of the intrinsic.
DAYSIX_INLINE DotSums addDots(DotSums sums, OffsetCodes codes, FourValues values) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums.v) : "v"(codes.v), "v"(values.v));
  return sums;
}
/// The same with four values in memory.
DAYSIX_INLINE DotSums addDotsOf(DotSums sums, UnsignedCodes codes, const int8_t* values) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sums.v) : "v"(codes.v), "m"(*reinterpret_cast<const int8_t(*)[4]>(values)));
  return sums;
}
/// Where sums with a block of values begin: offset codes are taken as they are.
inline int32_t firstSum(const int8_t* values) {
  static_assert(SCALE_BLOCK == 2 * sizeof(__m512i));
  const __m512i ones = _mm512_set1_epi8(1);
  const __m512i half = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, _mm512_loadu_si512(values));
  const __m512i sums = _mm512_dpbusd_epi32(half, ones, _mm512_loadu_si512(values + sizeof(__m512i)));
  return -CODE_OFFSET * _mm512_reduce_add_epi32(sums);
}
inline Chains toChains(const DotSums* sums) { return {_mm512_cvtepi32_ps(sums[0].v)}; }

#elif defined(__AVX2__)

constexpr int DOT_LANES = 8;
struct DotSums {
  __m256i v;
};
/// Codes without their offset, and their magnitudes.
struct OffsetCodes {
  __m256i codes, magnitudes;
};

struct FourValues {
  __m256i v;
};

inline DotSums splatSums(int32_t x) { return {_mm256_set1_epi32(x)}; }
DAYSIX_INLINE FourValues splatFour(const int8_t* values) { return {_mm256_set1_epi32(wordAt(values))}; }
inline OffsetCodes loadOffsetCodes(const uint32_t* words) {
  const __m256i offset = _mm256_set1_epi8(static_cast<char>(CODE_OFFSET));
  const __m256i codes = _mm256_xor_si256(_mm256_load_si256(reinterpret_cast<const __m256i*>(words)), offset);
  return {codes, _mm256_abs_epi8(codes)};
}
struct UnsignedCodes {
  __m256i v;
};
inline void loadNibbles(UnsignedCodes& even, UnsignedCodes& odd, const uint32_t* words) {
  const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(words)), low = _mm256_set1_epi8(15);
  even.v = _mm256_and_si256(codes, low);
  odd.v = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low);
}
DAYSIX_INLINE DotSums addDots(DotSums sums, UnsignedCodes w, FourValues values) {
  const __m256i pairs = _mm256_maddubs_epi16(w.v, values.v);
  return {_mm256_add_epi32(sums.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
}
/// Magnitudes times values with the codes' signs: two such products fit 16 bits, as values lie within ±127.
DAYSIX_INLINE DotSums addDots(DotSums sums, OffsetCodes w, FourValues values) {
  const __m256i pairs = _mm256_maddubs_epi16(w.magnitudes, _mm256_sign_epi8(values.v, w.codes));
  return {_mm256_add_epi32(sums.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
}
inline int32_t firstSum(const int8_t*) { return 0; }
inline Chains toChains(const DotSums* sums) {
  return {_mm256_cvtepi32_ps(sums[0].v), _mm256_cvtepi32_ps(sums[1].v)};
}

#else

constexpr int DOT_LANES = 16;
struct DotSums {
  int32_t v[DOT_LANES];
};
struct OffsetCodes {
  uint8_t v[DOT_LANES][4];
};

struct FourValues {
  int8_t v[4];
};

inline FourValues splatFour(const int8_t* values) { return {values[0], values[1], values[2], values[3]}; }
inline DotSums splatSums(int32_t x) {
  DotSums sums;
  for (int32_t& sum : sums.v) sum = x;
  return sums;
}
inline OffsetCodes loadOffsetCodes(const uint32_t* words) {
  OffsetCodes codes;
  std::memcpy(&codes, words, sizeof codes);
  return codes;
}
using UnsignedCodes = OffsetCodes;
inline void loadNibbles(UnsignedCodes& even, UnsignedCodes& odd, const uint32_t* words) {
  const OffsetCodes codes = loadOffsetCodes(words);
  for (int lane = 0; lane < DOT_LANES; lane++) {
    for (int i = 0; i < 4; i++) even.v[lane][i] = codes.v[lane][i] & 15, odd.v[lane][i] = codes.v[lane][i] >> 4;
  }
}
inline DotSums addDots(DotSums sums, const OffsetCodes& codes, FourValues values) {
  for (int lane = 0; lane < DOT_LANES; lane++) {
    for (int i = 0; i < 4; i++) sums.v[lane] += codes.v[lane][i] * values.v[i];
  }
  return sums;
}
inline int32_t firstSum(const int8_t* values) {
  int32_t sum = 0;
  for (int i = 0; i < SCALE_BLOCK; i++) sum += values[i];
  return -CODE_OFFSET * sum;
}
inline Chains toChains(const DotSums* sums) {
  return chains([&](int lane) { return static_cast<float>(sums[0].v[lane]); });
}

#endif

#if !defined(__AVX512VNNI__)
/// The same with four values in memory.
DAYSIX_INLINE DotSums addDotsOf(const DotSums& sums, const UnsignedCodes& codes, const int8_t* values) {
  return addDots(sums, codes, splatFour(values));
}
#endif

}  // namespace daysix::DAYSIX_ISA
