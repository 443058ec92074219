// What there is to know of each dtype's bytes: src/kernels/weight-format.ts and operand-format.ts in the kernels' words.
#pragma once
#include <cstdint>

namespace daysix {

enum class Dtype : int32_t { f32, bf16, f16, fp8, i8, i4 };

/// Inputs of a row that share a scale, and that a matmul sums before it promotes them.
constexpr int SCALE_BLOCK = 128;

struct DtypeFormat {
  int valueBytes;
  /// Weight rows that share the scales of their blocks; 0 where weights have none.
  int scaleRows;
  /// A matmul's input rows have a scale for each block.
  bool hasRowScales;
  /// Every value is a BF16 value: what tiles multiply.
  bool fitsBf16;
};

constexpr DtypeFormat FORMATS[] = {
    {.valueBytes = 4, .scaleRows = 0, .hasRowScales = false, .fitsBf16 = false},           // f32
    {.valueBytes = 2, .scaleRows = 0, .hasRowScales = false, .fitsBf16 = true},            // bf16
    {.valueBytes = 2, .scaleRows = 0, .hasRowScales = false, .fitsBf16 = false},           // f16
    {.valueBytes = 1, .scaleRows = SCALE_BLOCK, .hasRowScales = true, .fitsBf16 = true},  // fp8
    {.valueBytes = 1, .scaleRows = 1, .hasRowScales = true, .fitsBf16 = true},            // i8
    {.valueBytes = 0, .scaleRows = 1, .hasRowScales = false, .fitsBf16 = true},  // i4: two codes a byte
};

constexpr const DtypeFormat& formatOf(Dtype dtype) { return FORMATS[static_cast<int>(dtype)]; }

/// Blocks of SCALE_BLOCK that begin in `count` values.
constexpr int64_t scaleBlocks(int64_t count) { return (count + SCALE_BLOCK - 1) / SCALE_BLOCK; }
/// How many of `count` values are in the block that begins at `from`.
constexpr int blockWidth(int64_t count, int64_t from) {
  return static_cast<int>(count - from < SCALE_BLOCK ? count - from : SCALE_BLOCK);
}

}  // namespace daysix
