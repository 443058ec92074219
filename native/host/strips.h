// How weights lie in strips, as kernels multiply them fastest: 16 rows side by side, block by block of SCALE_BLOCK inputs.
//
// [strip][block]: [word][16] words of a row's codes, then, where each row has scales of its own, [16] float32 scales.
//
// A word holds two BF16 values or four codes. INT8 codes are offset by 128, as vpdpbusd takes them. Rows and inputs that
// a weight does not have are zeros. Strips begin at multiples of a cache line.
#pragma once
#include "host/commands.h"

namespace daysix {

/// Weight rows of a strip.
constexpr int STRIP_ROWS = 16;
/// Added to INT8 codes.
constexpr int CODE_OFFSET = 128;

constexpr int64_t stripWords(Dtype dtype) { return SCALE_BLOCK * formatOf(dtype).valueBytes / 4; }
constexpr int64_t stripCodeBytes(Dtype dtype) { return stripWords(dtype) * STRIP_ROWS * 4; }
constexpr bool hasStripScales(Dtype dtype) { return formatOf(dtype).scaleRows == 1; }
/// Bytes of a strip's block.
constexpr int64_t stripBlockBytes(Dtype dtype) {
  return stripCodeBytes(dtype) + (hasStripScales(dtype) ? STRIP_ROWS * static_cast<int64_t>(sizeof(float)) : 0);
}
inline int64_t stripsOf(const Weight& weight) { return (weight.rows + STRIP_ROWS - 1) / STRIP_ROWS; }
inline int64_t stripBytes(const Weight& weight) { return scaleBlocks(weight.columns) * stripBlockBytes(weight.dtype); }

/// Copies the rows of a weight into strips, from number `first` up to `last`.
void packStrips(uint8_t* out, const Weight& rows, int64_t first, int64_t last);

}  // namespace daysix
