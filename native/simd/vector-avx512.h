// Vectors in one register of AVX-512.
#pragma once
#include "simd/eight-lanes.h"

namespace daysix::DAYSIX_ISA {

/// Vectors that the registers hold.
constexpr int REGISTERS = 32;
struct Vec {
  __m512 v;
};

inline __mmask16 firstLanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }

inline Vec splat(float x) { return {_mm512_set1_ps(x)}; }
inline Vec load(const float* x) { return {_mm512_loadu_ps(x)}; }
inline Vec load(const float* x, int n) { return {_mm512_maskz_loadu_ps(firstLanes(n), x)}; }
inline void store(float* out, Vec a) { _mm512_storeu_ps(out, a.v); }
/// Past the caches, to lines that `out` is aligned to. Atomic changes order it with other threads, as a fork ends with.
inline void stream(float* out, Vec a) { _mm512_stream_ps(out, a.v); }
inline void store(float* out, Vec a, int n) { _mm512_mask_storeu_ps(out, firstLanes(n), a.v); }

inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
/// a · b + c, rounded once.
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// 2^n of whole n from -127 on, whose lowest bits `bits` holds; zero for -127.
inline Vec powerOfTwo(Vec bits) {
  const __m512i exponent = _mm512_add_epi32(_mm512_castps_si512(bits.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}

inline Vec fromBf16(__m256i codes) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(codes), 16))};
}
inline Vec loadBf16(const uint16_t* x) { return fromBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x))); }
inline Vec loadBf16(const uint16_t* x, int n) { return fromBf16(_mm256_maskz_loadu_epi16(firstLanes(n), x)); }

inline Vec loadF16(const uint16_t* x) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)))};
}
inline Vec loadF16(const uint16_t* x, int n) { return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(firstLanes(n), x))}; }

/// e4m3's bits in a half's place, 2^-8 of the value, denormals included; the code that is no number becomes all ones.
inline Vec fromFp8(__m128i codes) {
  const __m256i half =
      _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7), _mm256_set1_epi16(static_cast<short>(0xbf80)));
  const __m256i nan = _mm256_cmpeq_epi16(_mm256_slli_epi16(half, 1), _mm256_set1_epi16(0x7f00));
  return {_mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(half, nan)), _mm512_set1_ps(256.0f))};
}
inline Vec loadFp8(const uint8_t* x) { return fromFp8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))); }
inline Vec loadFp8(const uint8_t* x, int n) { return fromFp8(_mm_maskz_loadu_epi8(firstLanes(n), x)); }

inline Vec fromI8(__m128i codes) { return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes))}; }
inline Vec loadI8(const int8_t* x) { return fromI8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))); }
inline Vec loadI8(const int8_t* x, int n) { return fromI8(_mm_maskz_loadu_epi8(firstLanes(n), x)); }

/// To BF16, to nearest even; vcvtneps2bf16 would flush denormals.
inline Vec roundToBf16(Vec a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_mask_mov_epi32(rounded, nan, quiet), high))};
}
inline __m256i toBf16(Vec a) {
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(roundToBf16(a).v), 16));
}
/// A line, past the caches.
inline void streamBf16(uint16_t* out, Vec a, Vec b) {
  const __m512i line = _mm512_inserti64x4(_mm512_castsi256_si512(toBf16(a)), toBf16(b), 1);
  _mm512_stream_si512(reinterpret_cast<__m512i*>(out), line);
}
inline void storeBf16(uint16_t* out, Vec a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), toBf16(a)); }
inline void storeBf16(uint16_t* out, Vec a, int n) { _mm256_mask_storeu_epi16(out, firstLanes(n), toBf16(a)); }

/// e4m3 codes, to nearest even, saturating at ±448.
inline __m128i toFp8(Vec a) {
  const __m512 magnitude = _mm512_min_ps(_mm512_abs_ps(a.v), _mm512_set1_ps(448.0f));
  const __m512i bits = _mm512_castps_si512(magnitude);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 20), _mm512_set1_epi32(1));
  const __m512i carry = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7ffff));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, carry), 20);
  // Adding 2^23 leaves no fraction bits.
  const __m512 whole =
      _mm512_add_ps(_mm512_mul_ps(magnitude, _mm512_set1_ps(512.0f)), _mm512_set1_ps(8388608.0f));
  const __mmask16 denormal = _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(0x1p-6f), _CMP_LT_OQ);
  const __m512i code = _mm512_mask_mov_epi32(_mm512_sub_epi32(rounded, _mm512_set1_epi32((127 - 7) << 3)), denormal,
                                             _mm512_castps_si512(whole));
  const __m512i sign = _mm512_and_si512(_mm512_srli_epi32(_mm512_castps_si512(a.v), 24), _mm512_set1_epi32(0x80));
  // Of 2^23's own bits none lies in the low byte.
  return _mm512_cvtepi32_epi8(_mm512_or_si512(code, sign));
}
inline void storeFp8(uint8_t* out, Vec a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(out), toFp8(a)); }
inline void storeFp8(uint8_t* out, Vec a, int n) { _mm_mask_storeu_epi8(out, firstLanes(n), toFp8(a)); }

/// The nearest integers, ties to even, within ±127; zeros for what is no number.
inline __m128i toI8(Vec a) {
  const Vec clamped = max(splat(-127.0f), min(splat(127.0f), a));
  const __mmask16 numbers = _mm512_cmp_ps_mask(a.v, a.v, _CMP_ORD_Q);
  return _mm512_cvtepi32_epi8(_mm512_maskz_cvtps_epi32(numbers, clamped.v));
}
inline void storeI8(int8_t* out, Vec a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(out), toI8(a)); }
inline void storeI8(int8_t* out, Vec a, int n) { _mm_mask_storeu_epi8(out, firstLanes(n), toI8(a)); }

/// Lane j and lane j + 8 added, then j and j + 4, j + 2, j + 1.
inline float sum(Vec a) {
  return sumOfEight(_mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)));
}
/// out[i] = sum(a[i]), in sum's own tree.
inline void sumFour(float* out, const Vec* a) {
  const auto halves = [](__m512 x, __m512 y) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
  };
  const __m512 low = halves(a[0].v, a[1].v);
  const __m512 high = halves(a[2].v, a[3].v);
  __m512 x = _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
  x = _mm512_add_ps(x, _mm512_permute_ps(x, 0x4e));
  x = _mm512_add_ps(x, _mm512_permute_ps(x, 0xb1));
  const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, x)));
}
inline float maximum(Vec a) {
  return maximumOfEight(_mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)));
}

/// Row i of a square of vectors becomes its column i.
inline void transpose(Vec* rows) {
  Vec pairs[WIDTH], fours[WIDTH];
  for (int i = 0; i < WIDTH; i += 2) {
    pairs[i] = {_mm512_unpacklo_ps(rows[i].v, rows[i + 1].v)};
    pairs[i + 1] = {_mm512_unpackhi_ps(rows[i].v, rows[i + 1].v)};
  }
  // fours[4 g + c]: column c of each quarter, rows 4 g to 4 g + 3.
  for (int i = 0; i < WIDTH; i += 4) {
    for (int half = 0; half < 2; half++) {
      const __m512 low = pairs[i + half].v, high = pairs[i + 2 + half].v;
      fours[i + 2 * half] = {_mm512_shuffle_ps(low, high, 0x44)};
      fours[i + 2 * half + 1] = {_mm512_shuffle_ps(low, high, 0xee)};
    }
  }
  for (int c = 0; c < 4; c++) {
    const __m512 even = _mm512_shuffle_f32x4(fours[c].v, fours[4 + c].v, 0x88);
    const __m512 odd = _mm512_shuffle_f32x4(fours[c].v, fours[4 + c].v, 0xdd);
    const __m512 laterEven = _mm512_shuffle_f32x4(fours[8 + c].v, fours[12 + c].v, 0x88);
    const __m512 laterOdd = _mm512_shuffle_f32x4(fours[8 + c].v, fours[12 + c].v, 0xdd);
    rows[c] = {_mm512_shuffle_f32x4(even, laterEven, 0x88)};
    rows[4 + c] = {_mm512_shuffle_f32x4(odd, laterOdd, 0x88)};
    rows[8 + c] = {_mm512_shuffle_f32x4(even, laterEven, 0xdd)};
    rows[12 + c] = {_mm512_shuffle_f32x4(odd, laterOdd, 0xdd)};
  }
}

}  // namespace daysix::DAYSIX_ISA
