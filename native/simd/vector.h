// The vector a kernel is written in. Kernel files are compiled once for each instruction set, which DAYSIX_ISA names.
// Everything that they share lies in the namespace of that name, so that two instruction sets share no inlined code.
//
// What is not a number stays none through every operation here, so that a damaged weight spoils the logits for all to
// see. `max` and `min` give their second operand where either is none.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef DAYSIX_ISA
#error "compile kernels with DAYSIX_ISA=avx512, avx2 or portable"
#endif

namespace daysix::DAYSIX_ISA {

#if defined(__AVX512F__)

constexpr int WIDTH = 16;
struct Vec {
  __m512 v;
};

inline __mmask16 firstLanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }

inline Vec splat(float x) { return {_mm512_set1_ps(x)}; }
inline Vec load(const float* x) { return {_mm512_loadu_ps(x)}; }
inline Vec load(const float* x, int n) { return {_mm512_maskz_loadu_ps(firstLanes(n), x)}; }
inline void store(float* out, Vec a) { _mm512_storeu_ps(out, a.v); }
inline void store(float* out, Vec a, int n) { _mm512_mask_storeu_ps(out, firstLanes(n), a.v); }

inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
/// a · b + c
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec roundToInteger(Vec a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/// a · 2^n for whole n in [-300, 300], through denormals.
inline Vec scaleByPowerOfTwo(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }

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

/// Sums and maxima of all lanes, in one fixed tree.
inline float sum(Vec a) { return _mm512_reduce_add_ps(a.v); }
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
inline float maximum(Vec a) { return _mm512_reduce_max_ps(a.v); }

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

#elif defined(__AVX2__)

constexpr int WIDTH = 8;
struct Vec {
  __m256 v;
};

inline __m256i firstLanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/// A register's worth of a shorter run, zeros behind it.
template <typename T>
inline __m128i loadShort(const T* x, int n) {
  alignas(16) T copy[WIDTH] = {};
  std::memcpy(copy, x, n * sizeof(T));
  __m128i loaded = _mm_setzero_si128();
  std::memcpy(&loaded, copy, sizeof copy);
  return loaded;
}

inline Vec splat(float x) { return {_mm256_set1_ps(x)}; }
inline Vec load(const float* x) { return {_mm256_loadu_ps(x)}; }
inline Vec load(const float* x, int n) { return {_mm256_maskload_ps(x, firstLanes(n))}; }
inline void store(float* out, Vec a) { _mm256_storeu_ps(out, a.v); }
inline void store(float* out, Vec a, int n) { _mm256_maskstore_ps(out, firstLanes(n), a.v); }

inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
/// a · b + c
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec roundToInteger(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
/// a · 2^n for whole n in [-300, 300], through denormals.
inline Vec scaleByPowerOfTwo(Vec a, Vec n) {
  const auto power = [](__m256i k) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(k, _mm256_set1_epi32(127)), 23));
  };
  const __m256i all = _mm256_cvtps_epi32(n.v);
  const __m256i third = _mm256_srai_epi32(all, 2);
  const __m256i rest = _mm256_sub_epi32(all, _mm256_add_epi32(third, _mm256_add_epi32(third, third)));
  const __m256 step = power(third);
  return {_mm256_mul_ps(_mm256_mul_ps(_mm256_mul_ps(_mm256_mul_ps(a.v, step), step), step), power(rest))};
}

inline Vec fromBf16(__m128i codes) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16))};
}
inline Vec loadBf16(const uint16_t* x) { return fromBf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))); }
inline Vec loadBf16(const uint16_t* x, int n) { return fromBf16(loadShort(x, n)); }

inline Vec loadF16(const uint16_t* x) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)))}; }
inline Vec loadF16(const uint16_t* x, int n) { return {_mm256_cvtph_ps(loadShort(x, n))}; }

/// e4m3's bits in a half's place, 2^-8 of the value, denormals included; the code that is no number becomes all ones.
inline Vec fromFp8(__m128i codes) {
  const __m128i half =
      _mm_and_si128(_mm_slli_epi16(_mm_cvtepi8_epi16(codes), 7), _mm_set1_epi16(static_cast<short>(0xbf80)));
  const __m128i nan = _mm_cmpeq_epi16(_mm_slli_epi16(half, 1), _mm_set1_epi16(0x7f00));
  return {_mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(half, nan)), _mm256_set1_ps(256.0f))};
}
inline Vec loadFp8(const uint8_t* x) { return fromFp8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))); }
inline Vec loadFp8(const uint8_t* x, int n) { return fromFp8(loadShort(x, n)); }

inline Vec fromI8(__m128i codes) { return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes))}; }
inline Vec loadI8(const int8_t* x) { return fromI8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))); }
inline Vec loadI8(const int8_t* x, int n) { return fromI8(loadShort(x, n)); }

/// BF16 bits, to nearest even.
inline __m128i toBf16(Vec a) {
  const __m256i bits = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}
inline void storeBf16(uint16_t* out, Vec a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(out), toBf16(a)); }
inline void storeBf16(uint16_t* out, Vec a, int n) {
  const __m128i codes = toBf16(a);
  std::memcpy(out, &codes, n * sizeof(uint16_t));
}
inline Vec roundToBf16(Vec a) { return fromBf16(toBf16(a)); }

/// e4m3 codes, to nearest even, saturating at ±448.
inline int64_t toFp8(Vec a) {
  const __m256 magnitude = _mm256_min_ps(abs(a).v, _mm256_set1_ps(448.0f));
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
  const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(a.v), 24), _mm256_set1_epi32(0x80));
  const __m256i bytes = _mm256_and_si256(_mm256_or_si256(code, sign), _mm256_set1_epi32(0xff));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  return _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
}
inline void storeFp8(uint8_t* out, Vec a, int n = WIDTH) {
  const int64_t codes = toFp8(a);
  std::memcpy(out, &codes, n);
}

/// The nearest integers, ties to even, within ±127; zeros for what is no number.
inline void storeI8(int8_t* out, Vec a, int n = WIDTH) {
  const Vec clamped = max(splat(-127.0f), min(splat(127.0f), a));
  const __m256i numbers = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_ORD_Q));
  const __m256i codes = _mm256_and_si256(_mm256_cvtps_epi32(clamped.v), numbers);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
  const int64_t bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words));
  std::memcpy(out, &bytes, n);
}

/// Sums and maxima of all lanes, in one fixed tree.
inline float sum(Vec a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
inline float maximum(Vec a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

#else

constexpr int WIDTH = 8;
struct Vec {
  float v[WIDTH];
};

template <typename F>
inline Vec lanes(F value) {
  Vec out;
  for (int i = 0; i < WIDTH; i++) out.v[i] = value(i);
  return out;
}
inline float bf16Value(uint16_t code) {
  const uint32_t bits = static_cast<uint32_t>(code) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float f16Value(uint16_t code) {
  const int exponent = code >> 10 & 31, fraction = code & 1023;
  const float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                          : exponent     ? std::ldexp(1024.0f + fraction, exponent - 25)
                                         : std::ldexp(static_cast<float>(fraction), -24);
  return code & 0x8000 ? -magnitude : magnitude;
}
struct Fp8Values {
  float of[256];
  Fp8Values() {
    for (int code = 0; code < 256; code++) {
      const int exponent = code >> 3 & 15, fraction = code & 7;
      const float magnitude = exponent == 15 && fraction == 7 ? NAN
                              : exponent ? std::ldexp(8.0f + fraction, exponent - 10)
                                         : std::ldexp(static_cast<float>(fraction), -9);
      of[code] = code & 0x80 ? -magnitude : magnitude;
    }
  }
};
inline float fp8Value(uint8_t code) {
  static const Fp8Values values;
  return values.of[code];
}
inline uint16_t bf16Code(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline uint8_t fp8Code(float x) {
  const float magnitude = std::fmin(std::fabs(x), 448.0f);
  const int sign = std::signbit(x) ? 0x80 : 0;
  if (magnitude < 0x1p-6f) return static_cast<uint8_t>(sign | static_cast<int>(std::nearbyint(magnitude * 512.0f)));
  uint32_t bits;
  std::memcpy(&bits, &magnitude, sizeof bits);
  return static_cast<uint8_t>(sign | (((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - ((127 - 7) << 3)));
}

inline Vec splat(float x) {
  return lanes([=](int) { return x; });
}
inline Vec load(const float* x, int n = WIDTH) {
  Vec out = {};
  std::memcpy(out.v, x, n * sizeof(float));
  return out;
}
inline void store(float* out, Vec a, int n = WIDTH) { std::memcpy(out, a.v, n * sizeof(float)); }

inline Vec operator+(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] + b.v[i]; });
}
inline Vec operator-(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] - b.v[i]; });
}
inline Vec operator*(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] * b.v[i]; });
}
inline Vec operator/(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] / b.v[i]; });
}
inline Vec max(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec min(Vec a, Vec b) {
  return lanes([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec abs(Vec a) {
  return lanes([&](int i) { return std::fabs(a.v[i]); });
}
/// a · b + c, rounded twice where there is no such instruction.
inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec roundToInteger(Vec a) {
  return lanes([&](int i) { return std::nearbyint(a.v[i]); });
}
inline Vec scaleByPowerOfTwo(Vec a, Vec n) {
  return lanes([&](int i) { return std::ldexp(a.v[i], static_cast<int>(n.v[i])); });
}

inline Vec loadBf16(const uint16_t* x, int n = WIDTH) {
  uint16_t codes[WIDTH] = {};
  std::memcpy(codes, x, n * sizeof(uint16_t));
  return lanes([&](int i) { return bf16Value(codes[i]); });
}
inline Vec loadF16(const uint16_t* x, int n = WIDTH) {
  uint16_t codes[WIDTH] = {};
  std::memcpy(codes, x, n * sizeof(uint16_t));
  return lanes([&](int i) { return f16Value(codes[i]); });
}
inline Vec loadFp8(const uint8_t* x, int n = WIDTH) {
  return lanes([=](int i) { return i < n ? fp8Value(x[i]) : 0.0f; });
}
inline Vec loadI8(const int8_t* x, int n = WIDTH) {
  return lanes([=](int i) { return i < n ? static_cast<float>(x[i]) : 0.0f; });
}
inline void storeBf16(uint16_t* out, Vec a, int n = WIDTH) {
  for (int i = 0; i < n; i++) out[i] = bf16Code(a.v[i]);
}
inline Vec roundToBf16(Vec a) {
  return lanes([&](int i) { return bf16Value(bf16Code(a.v[i])); });
}
/// e4m3 codes, to nearest even, saturating at ±448.
inline void storeFp8(uint8_t* out, Vec a, int n = WIDTH) {
  for (int i = 0; i < n; i++) out[i] = fp8Code(a.v[i]);
}

/// The nearest integers, ties to even, within ±127; zeros for what is no number.
inline void storeI8(int8_t* out, Vec a, int n = WIDTH) {
  for (int i = 0; i < n; i++) {
    const float x = std::fmin(127.0f, std::fmax(-127.0f, a.v[i]));
    out[i] = a.v[i] == a.v[i] ? static_cast<int8_t>(std::nearbyint(x)) : 0;
  }
}

/// Sums and maxima of all lanes, in one fixed tree.
inline float sum(Vec a) {
  return ((a.v[0] + a.v[4]) + (a.v[2] + a.v[6])) + ((a.v[1] + a.v[5]) + (a.v[3] + a.v[7]));
}
inline float maximum(Vec a) {
  float best = a.v[0];
  for (int i = 1; i < WIDTH; i++) best = best > a.v[i] ? best : a.v[i];
  return best;
}

#endif

#if !defined(__AVX512F__)
/// Row i of a square of vectors becomes its column i.
inline void transpose(Vec* rows) {
  float square[WIDTH][WIDTH], turned[WIDTH][WIDTH];
  for (int i = 0; i < WIDTH; i++) store(square[i], rows[i]);
  for (int i = 0; i < WIDTH; i++) {
    for (int j = 0; j < WIDTH; j++) turned[j][i] = square[i][j];
  }
  for (int i = 0; i < WIDTH; i++) rows[i] = load(turned[i]);
}

/// out[i] = sum(a[i])
inline void sumFour(float* out, const Vec* a) {
  for (int i = 0; i < 4; i++) out[i] = sum(a[i]);
}
#endif

/// e^x to about one unit in the last place; 0 below −104, infinity above 88.73.
inline Vec exp(Vec x) {
  const Vec clamped = max(splat(-104.0f), min(splat(89.0f), x));
  const Vec n = roundToInteger(clamped * splat(1.44269504f));
  const Vec r = fma(n, splat(-1.42860677e-6f), fma(n, splat(-0.693145752f), clamped));
  Vec p = splat(1.98756912e-4f);
  p = fma(p, r, splat(1.39819994e-3f));
  p = fma(p, r, splat(8.33345205e-3f));
  p = fma(p, r, splat(4.16657962e-2f));
  p = fma(p, r, splat(1.66666657e-1f));
  p = fma(p, r, splat(0.5f));
  p = fma(p * r, r, r + splat(1.0f));
  return scaleByPowerOfTwo(p, n);
}

}  // namespace daysix::DAYSIX_ISA
