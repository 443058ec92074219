// The vector a kernel is written in: 16 lanes on every instruction set, so that sums over lanes have the same bits
// everywhere. Kernel files are compiled once for each instruction set, which DAYSIX_ISA names. Everything that they share
// lies in the namespace of that name, so that two instruction sets share no inlined code.
//
// Products and sums are rounded one by one. `fma` is for what has bits of its own: kernels on tiles, and probes.
//
// What is not a number stays none through every operation here, so that a damaged weight spoils the logits for all to
// see. `max` and `min` give their second operand where either is none.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef DAYSIX_ISA
#error "compile kernels with DAYSIX_ISA=amx, avx512bf16, avx512, avx2 or portable"
#endif

namespace daysix::DAYSIX_ISA {
constexpr int WIDTH = 16;
}

#if defined(__AVX512F__)
#include "simd/vector-avx512.h"
#elif defined(__AVX2__)
#include "simd/vector-avx2.h"
#else
#include "simd/vector-portable.h"
#endif

namespace daysix::DAYSIX_ISA {

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

/// e^x to about one unit in the last place, with the bits of exponential32 in elementary.ts; 0 where it would be a
/// denormal, and infinity above 88.37.
inline Vec exp(Vec x) {
  const Vec clamped = max(splat(-88.0f), min(splat(89.0f), x));
  // Added and taken away again it leaves the nearest whole number, in whose low bits it stands meanwhile.
  const Vec rounding = splat(0x1.8p23f);
  const Vec rounded = clamped * splat(1.44269504f) + rounding;
  const Vec n = rounded - rounding;
  const Vec r = clamped - n * splat(0.693145752f) - n * splat(1.42860677e-6f);
  Vec p = splat(1.98756912e-4f);
  p = p * r + splat(1.39819994e-3f);
  p = p * r + splat(8.33345205e-3f);
  p = p * r + splat(4.16657962e-2f);
  p = p * r + splat(1.66666657e-1f);
  p = p * r + splat(0.5f);
  return (r * r * p + r + splat(1.0f)) * powerOfTwo(rounded);
}

}  // namespace daysix::DAYSIX_ISA
