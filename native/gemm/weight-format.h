// How each dtype's codes become vectors.
#pragma once
#include "host/commands.h"
#include "simd/vector.h"

namespace daysix::DAYSIX_ISA {

/// WIDTH values in their own order, or n of them with zeros behind. `codes` may have any alignment.
template <Dtype D>
inline Vec loadCodes(const void* codes) {
  if constexpr (D == Dtype::f32) return load(static_cast<const float*>(codes));
  if constexpr (D == Dtype::bf16) return loadBf16(static_cast<const uint16_t*>(codes));
  if constexpr (D == Dtype::f16) return loadF16(static_cast<const uint16_t*>(codes));
  if constexpr (D == Dtype::fp8) return loadFp8(static_cast<const uint8_t*>(codes));
  if constexpr (D == Dtype::i8) return loadI8(static_cast<const int8_t*>(codes));
}
template <Dtype D>
inline Vec loadCodes(const void* codes, int n) {
  if constexpr (D == Dtype::f32) return load(static_cast<const float*>(codes), n);
  if constexpr (D == Dtype::bf16) return loadBf16(static_cast<const uint16_t*>(codes), n);
  if constexpr (D == Dtype::f16) return loadF16(static_cast<const uint16_t*>(codes), n);
  if constexpr (D == Dtype::fp8) return loadFp8(static_cast<const uint8_t*>(codes), n);
  if constexpr (D == Dtype::i8) return loadI8(static_cast<const int8_t*>(codes), n);
}

/// Of `left` values those that fill a vector.
template <Dtype D>
inline Vec loadUpTo(const uint8_t* codes, int64_t left) {
  return left >= WIDTH ? loadCodes<D>(codes) : loadCodes<D>(codes, static_cast<int>(left));
}

/// Calls run with a dtype as a compile-time constant.
template <typename Run>
inline void withDtype(Dtype dtype, Run&& run) {
  switch (dtype) {
    case Dtype::f32: return run(std::integral_constant<Dtype, Dtype::f32>());
    case Dtype::bf16: return run(std::integral_constant<Dtype, Dtype::bf16>());
    case Dtype::f16: return run(std::integral_constant<Dtype, Dtype::f16>());
    case Dtype::fp8: return run(std::integral_constant<Dtype, Dtype::fp8>());
    case Dtype::i8: return run(std::integral_constant<Dtype, Dtype::i8>());
    case Dtype::i4: return;  // refused where commands are written
  }
}

/// Calls run with the format of a matmul's input as a compile-time constant; none is float16.
template <typename Run>
inline void withInputFormat(Dtype format, Run&& run) {
  withDtype(format, [&](auto constant) {
    if constexpr (constant != Dtype::f16) run(constant);
  });
}

}  // namespace daysix::DAYSIX_ISA
