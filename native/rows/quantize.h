// Rounding to a matmul's input, and of weights to FP8, as quantize.ts gives them bit for bit.
#pragma once
#include "rows/rows.h"

namespace daysix::DAYSIX_ISA {

/// Keep an all-zero block's scale a normal number.
constexpr float ACTIVATION_FLOOR = 1e-4f;
constexpr float WEIGHT_FLOOR = 0x1p-100f;

/// The scale under which a block's largest magnitude becomes e4m3's largest; a power of two is rounded up to.
inline float scaleFor(float largest, bool powerOfTwo) {
  const float scale = largest / 448.0f;
  if (!powerOfTwo) return scale;
  uint32_t bits;
  std::memcpy(&bits, &scale, sizeof bits);
  bits = (bits + 0x7fffff) & 0x7f800000;
  float rounded;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return rounded;
}

/// What a block's scale follows from.
struct BlockRange {
  float largest;
  /// Zero, and no number where a value is not finite.
  float poison;
};
inline BlockRange rangeOf(const float* x, int64_t count) {
  Vec largest = splat(ACTIVATION_FLOOR), poison = splat(0);
  forVectors(count, [&](int64_t i, auto lanes) {
    const Vec values = loadValues<Dtype::f32>(x, i, lanes);
    largest = max(abs(values), largest);
    poison = poison + (values - values);
  });
  return {maximum(largest), sum(poison)};
}

/// At most SCALE_BLOCK values as FP8 codes of one scale, which is no number where a value is not finite.
inline float quantizeBlock(uint8_t* out, const float* x, int64_t count, bool powerOfTwo) {
  const BlockRange range = rangeOf(x, count);
  const float scale = scaleFor(range.largest, powerOfTwo);
  forVectors(count, [&](int64_t i, auto lanes) {
    storeFp8(out + i, loadValues<Dtype::f32>(x, i, lanes) / splat(scale), lanes);
  });
  return scale + range.poison;
}

/// The same as INT8 codes, which are multiples of the scale within ±127.
inline float quantizeIntegers(int8_t* out, const float* x, int64_t count) {
  const BlockRange range = rangeOf(x, count);
  const Vec inverse = splat(127.0f / range.largest);
  forVectors(count, [&](int64_t i, auto lanes) {
    storeI8(out + i, loadValues<Dtype::f32>(x, i, lanes) * inverse, lanes);
  });
  return range.largest / 127.0f + range.poison;
}

inline void quantizeRow(const Quantize& c, int64_t row) {
  const int64_t columns = c.out.columns;
  const float* x = c.x + row * columns;
  switch (c.out.format) {
    case Dtype::bf16: {
      uint16_t* out = static_cast<uint16_t*>(c.out.values) + row * columns;
      forVectors(columns, [&](int64_t i, auto lanes) {
        storeBf16(out + i, loadValues<Dtype::f32>(x, i, lanes), lanes);
      });
      return;
    }
    case Dtype::fp8: {
      uint8_t* out = static_cast<uint8_t*>(c.out.values) + row * columns;
      float* scales = c.out.scales + row * scaleBlocks(columns);
      for (int64_t i = 0; i < columns; i += SCALE_BLOCK) {
        const int64_t count = blockWidth(columns, i);
        scales[i / SCALE_BLOCK] = quantizeBlock(out + i, x + i, count, c.powerOfTwoScales);
      }
      return;
    }
    case Dtype::i8: {
      int8_t* out = static_cast<int8_t*>(c.out.values) + row * columns;
      float* scales = c.out.scales + row * scaleBlocks(columns);
      for (int64_t i = 0; i < columns; i += SCALE_BLOCK) {
        const int64_t count = blockWidth(columns, i);
        scales[i / SCALE_BLOCK] = quantizeIntegers(out + i, x + i, count);
      }
      return;
    }
    default:
      std::memcpy(static_cast<float*>(c.out.values) + row * columns, x, columns * sizeof(float));
  }
}

inline void quantize(const Quantize& c, Team& team) {
  team.forkRanges(c.rows, taskRows(c.out.columns), [&](int64_t from, int64_t to, Scratch&) {
    for (int64_t row = from; row < to; row++) quantizeRow(c, row);
  });
}

/// Rows of a quantised weight that share scales.
constexpr int WEIGHT_SCALE_ROWS = formatOf(Dtype::fp8).scaleRows;

/// The block of a weight whose first value is (row, column).
template <Dtype D>
inline void quantizeWeightBlock(const QuantizeWeight& c, int64_t row, int64_t column) {
  const int64_t columns = c.x.columns;
  const int64_t count = blockWidth(columns, column);
  const int64_t endRow = std::min<int64_t>(c.rows, row + WEIGHT_SCALE_ROWS);
  const auto forValues = [&](auto run) {
    for (int64_t r = row; r < endRow; r++) {
      const int64_t at = r * columns + column;
      forVectors(count, [&](int64_t i, auto lanes) { run(at + i, loadValues<D>(c.x.values, at + i, lanes), lanes); });
    }
  };
  Vec largest = splat(WEIGHT_FLOOR), poison = splat(0);
  forValues([&](int64_t, Vec x, auto) {
    largest = max(abs(x), largest);
    poison = poison + (x - x);
  });
  const float scale = scaleFor(maximum(largest), c.powerOfTwoScales);
  c.scales[row / WEIGHT_SCALE_ROWS * scaleBlocks(columns) + column / SCALE_BLOCK] = scale + sum(poison);
  forValues([&](int64_t at, Vec x, auto lanes) { storeFp8(c.values + at, x / splat(scale), lanes); });
}

}  // namespace daysix::DAYSIX_ISA
