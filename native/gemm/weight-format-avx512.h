// 64 bytes of BF16 or FP8 codes at a time as pairs of BF16 values, without a shuffle for their order.
#pragma once
#include "gemm/weight-format.h"

namespace daysix::DAYSIX_ISA {

template <Dtype D>
struct WeightFormat;

template <>
struct WeightFormat<Dtype::bf16> {
  static constexpr int BYTES = 2;
  static constexpr int STEP = 32;
  static constexpr int PAIRS = 1;

  static __m512i load(const uint8_t* codes) { return _mm512_loadu_si512(codes); }
  static __m512i load(const uint8_t* codes, int n) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((1u << n) - 1), codes);
  }
  /// STEP codes as pairs of BF16 values, in an arrangement of their own: `arrangePairs` puts STEP inputs into it.
  static void toPairs(__m512i* out, __m512i codes) { out[0] = codes; }
  static void arrangePairs(__m512i*) {}
  /// Reorders codes such that two rows of them, whose pairs are interleaved by unpacking, lie in their own order.
  static __m512i spread(__m512i codes) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), codes);
  }
};

/// Codes go to the two bytes of a BF16 value by one GF(2) product each, then as BF16 does. Arranged as unpacking
/// bytes leaves them: of each 16 codes the pairs of the first 8, then of the last 8.
template <>
struct WeightFormat<Dtype::fp8> {
  static constexpr int BYTES = 1;
  static constexpr int STEP = 64;
  static constexpr int PAIRS = 2;

  static __m512i load(const uint8_t* codes) { return _mm512_loadu_si512(codes); }
  static __m512i load(const uint8_t* codes, int n) {
    return _mm512_maskz_loadu_epi8((static_cast<__mmask64>(1) << n) - 1, codes);
  }
  /// With S the sign, E the exponent's bits and M the mantissa's, a normal number's BF16 bytes are S E3 ~E3 ~E3 ~E3 ~E3
  /// E2 E1 and E0 M2 M1 M0 0 0 0 0. The bytes of zeros and denormals are looked up, and the code that is no number gets
  /// its exponent. Trained weights are hardly ever so small, so the processor foresees the branch, which costs less than
  /// the look-ups. The code that is no number plus one has none of E's upper bits, like the codes of up to 14.
  static void toPairs(__m512i* out, __m512i codes) {
    const __mmask64 rare =
        _mm512_testn_epi8_mask(_mm512_add_epi8(codes, _mm512_set1_epi8(1)), _mm512_set1_epi8(0x70));
    const __m512i highFix = _mm512_set1_epi64(0x000000000707073c);
    const __m512i lowFix = _mm512_set1_epi64(0x60402000c0800000);
    __m512i high = _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64(0x1020404040404080), 0x3c);
    __m512i low = _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64(0x0000000001020408), 0);
    if (__builtin_expect(rare != 0, 0)) {
      const __mmask64 denormal = _mm512_testn_epi8_mask(codes, _mm512_set1_epi8(0x78));
      const __m512i magnitudes = _mm512_and_si512(codes, _mm512_set1_epi8(0x7f));
      const __mmask64 nan = _mm512_cmpeq_epi8_mask(magnitudes, _mm512_set1_epi8(0x7f));
      high = _mm512_mask_mov_epi8(high, nan, _mm512_or_si512(high, _mm512_set1_epi8(0x3c)));
      high = _mm512_xor_si512(high, _mm512_maskz_permutexvar_epi8(denormal, codes, highFix));
      low = _mm512_mask_permutexvar_epi8(low, denormal, codes, lowFix);
    }
    out[0] = _mm512_unpacklo_epi8(low, high);
    out[1] = _mm512_unpackhi_epi8(low, high);
  }
  static void arrangePairs(__m512i* v) {
    const __m512i a = v[0], b = v[1];
    v[0] = _mm512_shuffle_i64x2(a, b, 0x88);
    v[1] = _mm512_shuffle_i64x2(a, b, 0xdd);
  }
  static __m512i spread(__m512i codes) {
    const __m512i fours = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(fours, codes);
  }
};

}  // namespace daysix::DAYSIX_ISA
