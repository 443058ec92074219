// The BF16 chain: c = fma(a1, b1, c), then c = fma(a0, b0, c), over pairs of BF16 values, odd value first, to nearest even,
// with denormal inputs as zeros and denormal results flushed. That is vdpbf16ps; elsewhere two fused multiply-adds on
// the halves give the same bits on threads that flush denormals, and plain C++ does anywhere.
//
// Processors with tiles multiply pairs on vectors at half the speed of two fused multiply-adds.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd/unroll.h"
#include "simd/vector.h"

#if defined(__AVX512BF16__) && !defined(DAYSIX_TILES)
#define DAYSIX_DOTS
#endif

namespace daysix::DAYSIX_ISA {

/// Chains carried on together.
constexpr int CHAINS = 16;

#if defined(__AVX512F__)

/// 16 words, each a pair of BF16 values: the even one in its low half.
struct PairWords {
  __m512i v;
};
struct Chains {
  __m512 v;
};
inline PairWords loadWords(const void* pairs) { return {_mm512_loadu_si512(pairs)}; }
inline Chains splatChains(float x) { return {_mm512_set1_ps(x)}; }
inline Chains loadChains(const float* x) { return {_mm512_loadu_ps(x)}; }
inline void storeChains(float* out, Chains c) { _mm512_storeu_ps(out, c.v); }

inline Chains operator*(Chains a, Chains b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Chains operator+(Chains a, Chains b) { return {_mm512_add_ps(a.v, b.v)}; }

#if !defined(DAYSIX_DOTS)
using Half = __m512;
inline Half evenHalf(PairWords w) { return _mm512_castsi512_ps(_mm512_slli_epi32(w.v, 16)); }
inline Half oddHalf(PairWords w) {
  return _mm512_castsi512_ps(_mm512_and_si512(w.v, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}
/// The values of the first and of the last words, in their order.
inline Half firstHalf(PairWords w) { return evenHalf({_mm512_cvtepu16_epi32(_mm512_castsi512_si256(w.v))}); }
inline Half lastHalf(PairWords w) { return evenHalf({_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(w.v, 1))}); }
inline Half splatHalf(float x) { return _mm512_set1_ps(x); }
inline Half loadHalf(const float* x) { return _mm512_loadu_ps(x); }
inline Chains addProducts(Half a, Half b, Chains c) { return {_mm512_fmadd_ps(a, b, c.v)}; }
#endif

#elif defined(__AVX2__)

struct PairWords {
  __m256i low, high;
};
struct Chains {
  __m256 low, high;
};
inline PairWords loadWords(const void* pairs) {
  const auto* words = static_cast<const __m256i*>(pairs);
  return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
inline Chains splatChains(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Chains loadChains(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
inline void storeChains(float* out, Chains c) {
  _mm256_storeu_ps(out, c.low);
  _mm256_storeu_ps(out + 8, c.high);
}
inline Chains operator*(Chains a, Chains b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline Chains operator+(Chains a, Chains b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }

using Half = Chains;
inline Half evenHalf(PairWords w) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(w.low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(w.high, 16))};
}
inline Half oddHalf(PairWords w) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return {_mm256_castsi256_ps(_mm256_and_si256(w.low, high)), _mm256_castsi256_ps(_mm256_and_si256(w.high, high))};
}
inline Half valuesOf(__m256i w) {
  const auto words = [](__m128i values) { return _mm256_cvtepu16_epi32(values); };
  return evenHalf({words(_mm256_castsi256_si128(w)), words(_mm256_extracti128_si256(w, 1))});
}
inline Half firstHalf(PairWords w) { return valuesOf(w.low); }
inline Half lastHalf(PairWords w) { return valuesOf(w.high); }
inline Half splatHalf(float x) { return splatChains(x); }
inline Half loadHalf(const float* x) { return loadChains(x); }
inline Chains addProducts(Half a, Half b, Chains c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

#else

struct PairWords {
  uint32_t v[CHAINS];
};
struct Chains {
  float v[CHAINS];
};
template <typename F>
inline Chains chains(F value) {
  Chains out;
  for (int i = 0; i < CHAINS; i++) out.v[i] = value(i);
  return out;
}
inline PairWords loadWords(const void* pairs) {
  PairWords words;
  std::memcpy(words.v, pairs, sizeof words.v);
  return words;
}
inline Chains splatChains(float x) {
  return chains([=](int) { return x; });
}
inline Chains loadChains(const float* x) {
  return chains([=](int i) { return x[i]; });
}
inline void storeChains(float* out, Chains c) { std::memcpy(out, c.v, sizeof c.v); }

/// As a processor that flushes denormals rounds to float32: it looks at the exponent after rounding, so that what rounds
/// to the smallest normal number is kept.
inline float roundFlushed(double x) {
  return std::fabs(x) < 0x1.ffffffp-127 ? static_cast<float>(std::copysign(0.0, x)) : static_cast<float>(x);
}
inline Chains operator*(Chains a, Chains b) {
  return chains([&](int i) { return roundFlushed(static_cast<double>(a.v[i]) * b.v[i]); });
}
inline Chains operator+(Chains a, Chains b) {
  return chains([&](int i) { return roundFlushed(static_cast<double>(a.v[i]) + b.v[i]); });
}

using Half = Chains;
inline float halfValue(uint32_t bits) {
  // A denormal's exponent is zero.
  if (!(bits & 0x7f800000u)) bits &= 0x80000000u;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline Half evenHalf(PairWords w) {
  return chains([&](int i) { return halfValue(w.v[i] << 16); });
}
inline Half oddHalf(PairWords w) {
  return chains([&](int i) { return halfValue(w.v[i] & 0xffff0000u); });
}
inline Half valuesFrom(const PairWords& w, int first) {
  return chains([&](int i) { return halfValue(w.v[first + i / 2] << (i % 2 ? 0 : 16) & 0xffff0000u); });
}
inline Half firstHalf(const PairWords& w) { return valuesFrom(w, 0); }
inline Half lastHalf(const PairWords& w) { return valuesFrom(w, CHAINS / 2); }
inline Half splatHalf(float x) { return splatChains(x); }
inline Half loadHalf(const float* x) { return loadChains(x); }
/// In float64 the product of two BF16 values is exact, and adding a float32 rounds nothing that float32 would keep.
inline Chains addProducts(Half a, Half b, Chains c) {
  return chains([&](int i) { return roundFlushed(static_cast<double>(a.v[i]) * b.v[i] + c.v[i]); });
}

#endif

inline Chains chainsOf(Vec v) {
  static_assert(WIDTH == CHAINS);
  return loadChains(reinterpret_cast<const float*>(&v));
}

inline float bf16Bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

#if defined(DAYSIX_DOTS)

/// Pairs as the chain takes them.
using Pairs = PairWords;
/// A pair in memory, to be multiplied with all of Pairs.
using PackedPair = uint32_t;

inline Pairs toPairs(PairWords words) { return words; }
inline PackedPair packPair(uint32_t word) { return word; }
inline Pairs splatPair(const PackedPair& pair) { return {_mm512_set1_epi32(static_cast<int>(pair))}; }
/// Pairs of two vectors of BF16 values.
inline Pairs pairsOf(Chains even, Chains odd) {
  return {_mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even.v), 16), _mm512_castps_si512(odd.v))};
}
/// Pairs of the values of two vectors, those of their first and of their last words, in their order.
DAYSIX_INLINE void pairValues(Pairs& first, Pairs& last, PairWords even, PairWords odd) {
  const auto merged = [](int offset) {
    __m512i order = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    order = _mm512_add_epi32(order, _mm512_set1_epi32(offset));
    // Numbers of the second vector's values begin at 32.
    return _mm512_or_si512(order, _mm512_slli_epi32(_mm512_or_si512(order, _mm512_set1_epi32(32)), 16));
  };
  first.v = _mm512_permutex2var_epi16(even.v, merged(0), odd.v);
  last.v = _mm512_permutex2var_epi16(even.v, merged(CHAINS), odd.v);
}
DAYSIX_INLINE Chains chain(Pairs a, Pairs b, Chains c) {
  return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)};
}

#else

struct Pairs {
  Half even, odd;
};
struct PackedPair {
  float even, odd;
};

inline Pairs toPairs(PairWords words) { return {evenHalf(words), oddHalf(words)}; }
#if defined(__AVX512F__)
inline Pairs pairsOf(Chains even, Chains odd) { return {even.v, odd.v}; }
#else
inline Pairs pairsOf(Chains even, Chains odd) { return {even, odd}; }
#endif
DAYSIX_INLINE void pairValues(Pairs& first, Pairs& last, PairWords even, PairWords odd) {
  first = {firstHalf(even), firstHalf(odd)};
  last = {lastHalf(even), lastHalf(odd)};
}
inline PackedPair packPair(uint32_t word) { return {bf16Bits(word << 16), bf16Bits(word & 0xffff0000u)}; }
inline Pairs splatPair(const PackedPair& pair) { return {splatHalf(pair.even), splatHalf(pair.odd)}; }
DAYSIX_INLINE Chains chain(Pairs a, Pairs b, Chains c) { return addProducts(a.even, b.even, addProducts(a.odd, b.odd, c)); }

#endif

inline Pairs loadPairs(const void* pairs) { return toPairs(loadWords(pairs)); }
/// The pair at `word`, in all lanes.
inline Pairs splatPairAt(const void* word) {
  uint32_t bits;
  std::memcpy(&bits, word, sizeof bits);
  return splatPair(packPair(bits));
}

}  // namespace daysix::DAYSIX_ISA
