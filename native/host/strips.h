// How weights lie in strips, as kernels multiply them fastest: 16 rows side by side, block by block of SCALE_BLOCK inputs.
//
// [strip][block]: [word][16] words of a row's codes; where each row has scales of its own, [group][16] scales, and of INT4
// weights with zero points those, [group][16] bytes. A block is whole cache lines.
//
// A word holds two BF16 values, four codes of eight bits or eight of four, the lower bits first. INT8 codes are offset by
// 128, as vpdpbusd takes them, and have float32 scales. Rows and inputs that a weight does not have are zeros.
#pragma once
#include "host/commands.h"

namespace daysix {

/// Weight rows of a strip.
constexpr int STRIP_ROWS = 16;
/// Added to INT8 codes.
constexpr int CODE_OFFSET = 128;
/// An INT4 weight's zero point unless it has its own.
constexpr int INT4_ZERO = 8;
constexpr int INT4_CODES = 8;

constexpr int64_t stripWords(Dtype dtype) {
  return dtype == Dtype::i4 ? SCALE_BLOCK / INT4_CODES : SCALE_BLOCK * formatOf(dtype).valueBytes / 4;
}
constexpr int64_t stripCodeBytes(Dtype dtype) { return stripWords(dtype) * STRIP_ROWS * 4; }

constexpr bool hasBf16Scales(Int4Strips int4) { return int4 == Int4Strips::bf16 || int4 == Int4Strips::bf16ZeroPoints; }
constexpr bool hasZeroPoints(Int4Strips int4) {
  return int4 == Int4Strips::bf16ZeroPoints || int4 == Int4Strips::f32ZeroPoints;
}
/// Bytes of a block's scales in an INT4 strip, and of all of the block.
constexpr int64_t int4ScaleBytes(int64_t group, Int4Strips int4) {
  return SCALE_BLOCK / group * STRIP_ROWS * (hasBf16Scales(int4) ? 2 : 4);
}
constexpr int64_t int4BlockBytes(int64_t group, Int4Strips int4) {
  const int64_t zeroPoints = hasZeroPoints(int4) ? SCALE_BLOCK / group * STRIP_ROWS : 0;
  return (stripCodeBytes(Dtype::i4) + int4ScaleBytes(group, int4) + zeroPoints + 63) / 64 * 64;
}

constexpr bool hasStripScales(Dtype dtype) { return formatOf(dtype).scaleRows == 1; }
/// Bytes of a strip's block, of weights that are not INT4.
constexpr int64_t stripBlockBytes(Dtype dtype) {
  return stripCodeBytes(dtype) + (hasStripScales(dtype) ? STRIP_ROWS * static_cast<int64_t>(sizeof(float)) : 0);
}
inline int64_t stripsOf(const Weight& weight) { return (weight.rows + STRIP_ROWS - 1) / STRIP_ROWS; }
inline int64_t stripBytes(const Weight& weight) {
  const bool isInt4 = weight.dtype == Dtype::i4;
  return scaleBlocks(weight.columns) *
         (isInt4 ? int4BlockBytes(weight.group, weight.int4) : stripBlockBytes(weight.dtype));
}

/// Where INT4 codes lie: src/kernels/int4-packing.ts.
enum class Int4Order : int64_t { rows, gptq, awq };

/// What strips are made of: a weight, and where an INT4 one's codes, scales and zero points lie.
struct StripSource {
  Weight rows;
  Int4Order order = Int4Order::rows;
  Dtype scaleType = Dtype::f32;
  const uint8_t* zeroPoints = nullptr;
  int64_t zeroPointBias = 0;
};

/// Copies a weight into strips, from number `first` up to `last`.
void packStrips(uint8_t* out, const StripSource& source, int64_t first, int64_t last);

}  // namespace daysix
