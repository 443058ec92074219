// What vectors of two registers and of one have in common: eight lanes of AVX2.
#pragma once
#include <immintrin.h>

namespace daysix::DAYSIX_ISA {

/// Lane j and lane j + 4 added, then j and j + 2, j + 1.
inline float sumOfEight(__m256 a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
inline float maximumOfEight(__m256 a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

}  // namespace daysix::DAYSIX_ISA
