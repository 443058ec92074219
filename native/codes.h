// Vectors from the codes of any dtype.
#pragma once
#include "commands.h"
#include "vector.h"

namespace daysix::DAYSIX_ISA {

constexpr int codeBytes(Dtype dtype) { return dtype == Dtype::f32 ? 4 : dtype == Dtype::fp8 ? 1 : 2; }

/// WIDTH values in their own order, or n of them with zeros behind. `codes` may have any alignment.
template <Dtype D>
inline Vec loadCodes(const void* codes) {
  if constexpr (D == Dtype::f32) return load(static_cast<const float*>(codes));
  if constexpr (D == Dtype::bf16) return loadBf16(static_cast<const uint16_t*>(codes));
  if constexpr (D == Dtype::f16) return loadF16(static_cast<const uint16_t*>(codes));
  if constexpr (D == Dtype::fp8) return loadFp8(static_cast<const uint8_t*>(codes));
}
template <Dtype D>
inline Vec loadCodes(const void* codes, int n) {
  if constexpr (D == Dtype::f32) return load(static_cast<const float*>(codes), n);
  if constexpr (D == Dtype::bf16) return loadBf16(static_cast<const uint16_t*>(codes), n);
  if constexpr (D == Dtype::f16) return loadF16(static_cast<const uint16_t*>(codes), n);
  if constexpr (D == Dtype::fp8) return loadFp8(static_cast<const uint8_t*>(codes), n);
}

}  // namespace daysix::DAYSIX_ISA
