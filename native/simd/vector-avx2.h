// Vectors in a pair of AVX2's registers.
#pragma once
#include "simd/eight-lanes.h"

namespace daysix::DAYSIX_ISA {

/// Vectors that the registers hold.
constexpr int REGISTERS = 8;
struct Vec {
  __m256 low, high;
};

/// Of eight.
inline __m256i firstLanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m128i loadSixteenBytes(const void* x) { return _mm_loadu_si128(static_cast<const __m128i*>(x)); }
/// A vector's worth of a shorter run of codes, zeros behind it.
template <typename T>
struct ShortRun {
  T codes[WIDTH] = {};
  ShortRun(const T* x, int n) { std::memcpy(codes, x, n * sizeof(T)); }
};
template <typename T>
inline void storeRun(T* out, const T (&codes)[WIDTH], int n) { std::memcpy(out, codes, n * sizeof(T)); }

inline Vec splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Vec load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
inline Vec load(const float* x, int n) {
  if (n <= 8) return {_mm256_maskload_ps(x, firstLanes(n)), _mm256_setzero_ps()};
  return {_mm256_loadu_ps(x), _mm256_maskload_ps(x + 8, firstLanes(n - 8))};
}
inline void store(float* out, Vec a) {
  _mm256_storeu_ps(out, a.low);
  _mm256_storeu_ps(out + 8, a.high);
}
/// Past the caches, to lines that `out` is aligned to. Atomic changes order it with other threads, as a fork ends with.
inline void stream(float* out, Vec a) {
  _mm256_stream_ps(out, a.low);
  _mm256_stream_ps(out + 8, a.high);
}
inline void store(float* out, Vec a, int n) {
  _mm256_maskstore_ps(out, firstLanes(n), a.low);
  if (n > 8) _mm256_maskstore_ps(out + 8, firstLanes(n - 8), a.high);
}

inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline Vec abs(Vec a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
/// a · b + c, rounded once.
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
/// 2^n of whole n from -127 on, whose lowest bits `bits` holds; zero for -127.
inline Vec powerOfTwo(Vec bits) {
  const auto power = [](__m256 half) {
    const __m256i exponent = _mm256_add_epi32(_mm256_castps_si256(half), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  };
  return {power(bits.low), power(bits.high)};
}

inline __m256 eightFromBf16(__m128i codes) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16));
}
inline Vec loadBf16(const uint16_t* x) {
  return {eightFromBf16(loadSixteenBytes(x)), eightFromBf16(loadSixteenBytes(x + 8))};
}
inline Vec loadBf16(const uint16_t* x, int n) { return loadBf16(ShortRun(x, n).codes); }

inline Vec loadF16(const uint16_t* x) {
  return {_mm256_cvtph_ps(loadSixteenBytes(x)), _mm256_cvtph_ps(loadSixteenBytes(x + 8))};
}
inline Vec loadF16(const uint16_t* x, int n) { return loadF16(ShortRun(x, n).codes); }

/// e4m3's bits in a half's place, 2^-8 of the value, denormals included; the code that is no number becomes all ones.
inline Vec loadFp8(const uint8_t* x) {
  const __m256i codes = _mm256_cvtepi8_epi16(loadSixteenBytes(x));
  const __m256i half = _mm256_and_si256(_mm256_slli_epi16(codes, 7), _mm256_set1_epi16(static_cast<short>(0xbf80)));
  const __m256i nan = _mm256_cmpeq_epi16(_mm256_slli_epi16(half, 1), _mm256_set1_epi16(0x7f00));
  const __m256i values = _mm256_or_si256(half, nan);
  const Vec scaled = {_mm256_cvtph_ps(_mm256_castsi256_si128(values)),
                      _mm256_cvtph_ps(_mm256_extracti128_si256(values, 1))};
  return scaled * splat(256.0f);
}
inline Vec loadFp8(const uint8_t* x, int n) { return loadFp8(ShortRun(x, n).codes); }

inline Vec loadI8(const int8_t* x) {
  const __m128i codes = loadSixteenBytes(x);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8)))};
}
inline Vec loadI8(const int8_t* x, int n) { return loadI8(ShortRun(x, n).codes); }

/// Eight words of 16 bits, of eight of 32.
inline __m128i narrow(__m256i words) {
  return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/// BF16 bits, to nearest even.
inline __m128i eightToBf16(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return narrow(_mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16));
}
inline Vec roundToBf16(Vec a) { return {eightFromBf16(eightToBf16(a.low)), eightFromBf16(eightToBf16(a.high))}; }
/// A line, past the caches.
inline void streamBf16(uint16_t* out, Vec a, Vec b) {
  const __m128i quarters[] = {eightToBf16(a.low), eightToBf16(a.high), eightToBf16(b.low), eightToBf16(b.high)};
  for (int i = 0; i < 4; i++) _mm_stream_si128(reinterpret_cast<__m128i*>(out) + i, quarters[i]);
}
inline void storeBf16(uint16_t* out, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), eightToBf16(a.low));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 8), eightToBf16(a.high));
}
inline void storeBf16(uint16_t* out, Vec a, int n) {
  uint16_t codes[WIDTH];
  storeBf16(codes, a);
  storeRun(out, codes, n);
}

/// e4m3 codes, to nearest even, saturating at ±448, in words of 16 bits.
inline __m128i eightToFp8(__m256 a) {
  const __m256 magnitude = _mm256_min_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a), _mm256_set1_ps(448.0f));
  const __m256i bits = _mm256_castps_si256(magnitude);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 20), _mm256_set1_epi32(1));
  const __m256i carry = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7ffff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, carry), 20);
  // Adding 2^23 leaves no fraction bits.
  const __m256 whole =
      _mm256_add_ps(_mm256_mul_ps(magnitude, _mm256_set1_ps(512.0f)), _mm256_set1_ps(8388608.0f));
  const __m256i denormal = _mm256_castps_si256(_mm256_cmp_ps(magnitude, _mm256_set1_ps(0x1p-6f), _CMP_LT_OQ));
  const __m256i code = _mm256_blendv_epi8(_mm256_sub_epi32(rounded, _mm256_set1_epi32((127 - 7) << 3)),
                                          _mm256_castps_si256(whole), denormal);
  const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(a), 24), _mm256_set1_epi32(0x80));
  return narrow(_mm256_and_si256(_mm256_or_si256(code, sign), _mm256_set1_epi32(0xff)));
}
inline void storeFp8(uint8_t* out, Vec a) {
  const __m128i codes = _mm_packus_epi16(eightToFp8(a.low), eightToFp8(a.high));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), codes);
}
inline void storeFp8(uint8_t* out, Vec a, int n) {
  uint8_t codes[WIDTH];
  storeFp8(codes, a);
  storeRun(out, codes, n);
}

/// The nearest integers, ties to even, within ±127; zeros for what is no number.
inline void storeI8(int8_t* out, Vec a) {
  const Vec clamped = max(splat(-127.0f), min(splat(127.0f), a));
  const auto codes = [](__m256 value, __m256 number) {
    const __m256i isNumber = _mm256_castps_si256(_mm256_cmp_ps(number, number, _CMP_ORD_Q));
    const __m256i code = _mm256_and_si256(_mm256_cvtps_epi32(value), isNumber);
    return _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
  };
  const __m128i bytes = _mm_packs_epi16(codes(clamped.low, a.low), codes(clamped.high, a.high));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
}
inline void storeI8(int8_t* out, Vec a, int n) {
  int8_t codes[WIDTH];
  storeI8(codes, a);
  storeRun(out, codes, n);
}

/// Lane j and lane j + 8 added, then j and j + 4, j + 2, j + 1.
inline float sum(Vec a) { return sumOfEight(_mm256_add_ps(a.low, a.high)); }
inline float maximum(Vec a) { return maximumOfEight(_mm256_max_ps(a.low, a.high)); }

}  // namespace daysix::DAYSIX_ISA
