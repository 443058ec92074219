// Rounding weights to the codes of checkpoints, as quantize-weight.ts gives them bit for bit. Values of a block are
// floats in a row of memory, zeros behind its end; loops over them are plain, for the compiler to make vectors of.
#pragma once
#include <bit>

#include "rows/quantize.h"

namespace daysix::DAYSIX_ISA {

struct alignas(64) WeightBlock {
  float x[SCALE_BLOCK];
  float rounded[SCALE_BLOCK];
};

template <Dtype D>
inline void loadBlock(float* out, const Operand& x, int64_t at, int64_t count) {
  std::memset(out, 0, SCALE_BLOCK * sizeof(float));
  forVectors(count, [&](int64_t i, auto lanes) { storeValues(out, i, loadValues<D>(x.values, at + i, lanes), lanes); });
}

/// Whole for what is not a number, too: the bits of magnitudes are in the magnitudes' order.
inline uint32_t largestMagnitude(const float* x, int count) {
  uint32_t largest = 0;
  for (int i = 0; i < count; i++) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

/// `count` values as integers from `least` to `most`, and what those are worth.
inline void roundValues(const float* x, float* rounded, int8_t* codes, int count, float inverse, float scale, float least,
                        float most) {
  // Adding 1.5 · 2^23 leaves no fraction bits.
  const Vec whole = splat(12582912.0f);
  for (int i = 0; i < count; i += WIDTH) {
    const Vec code = min(max((load(x + i) * splat(inverse) + whole) - whole, splat(least)), splat(most));
    store(rounded + i, code);
  }
  for (int i = 0; i < count; i++) codes[i] = static_cast<int8_t>(rounded[i]);
  for (int i = 0; i < count; i += WIDTH) store(rounded + i, load(rounded + i) * splat(scale));
}

/// What rounding changed in a row, and the row's own size, both squared.
struct RowErrors {
  Vec lost = splat(0), squares = splat(0);

  void add(const WeightBlock& block) {
    for (int i = 0; i < SCALE_BLOCK; i += WIDTH) {
      const Vec x = load(block.x + i), error = x - load(block.rounded + i);
      lost = lost + error * error;
      squares = squares + x * x;
    }
  }

  void store(double* errors) const {
    errors[0] = sum(lost);
    errors[1] = sum(squares);
  }
};

constexpr uint32_t INFINITE_BITS = 0x7f800000;

inline float poisonOf(uint32_t largest) {
  return largest < INFINITE_BITS ? 0.0f : std::numeric_limits<float>::quiet_NaN();
}

/// As INT8 rows are rounded, but for the floor; returns the scale.
inline float quantizeInt8Block(WeightBlock& block, int8_t* codes) {
  const uint32_t bits = largestMagnitude(block.x, SCALE_BLOCK);
  const float largest = std::max(WEIGHT_FLOOR, std::bit_cast<float>(bits));
  const float scale = largest / 127.0f;
  roundValues(block.x, block.rounded, codes, SCALE_BLOCK, 127.0f / largest, scale, -127, 127);
  return scale + poisonOf(bits);
}

/// The value of the largest magnitude, the positive one of two, becomes −8: codes reach further down than up. Scales
/// are BF16 values.
template <int GROUP>
inline float quantizeInt4Group(WeightBlock& block, int8_t* codes, int from) {
  const float* x = block.x + from;
  int32_t positive = 0, negative = 0;
  for (int i = 0; i < GROUP; i++) {
    const int32_t bits = std::bit_cast<int32_t>(x[i]), opposite = static_cast<int32_t>(bits ^ 0x80000000);
    positive = bits > positive ? bits : positive;
    negative = opposite > negative ? opposite : negative;
  }
  const uint32_t bits = static_cast<uint32_t>(std::max(positive, negative));
  const float largest = std::max(WEIGHT_FLOOR, std::bit_cast<float>(bits));
  const float exact = (negative > positive ? -largest : largest) / -8.0f;
  const uint32_t exactBits = std::bit_cast<uint32_t>(exact);
  const float scale = std::bit_cast<float>((exactBits + 0x7fff + (exactBits >> 16 & 1)) & 0xffff0000);
  roundValues(x, block.rounded + from, codes + from, GROUP, 1.0f / scale, scale, -8, 7);
  return scale + poisonOf(bits);
}

/// The groups of a block, of which `count` values are there.
template <int GROUP>
inline void quantizeInt4Block(WeightBlock& block, int8_t* codes, float* scales, int count) {
  for (int from = 0; from < SCALE_BLOCK; from += GROUP) {
    const float scale = quantizeInt4Group<GROUP>(block, codes, from);
    if (from < count) scales[from / GROUP] = scale;
  }
}

template <Dtype D>
inline void quantizeIntegerRow(const QuantizeWeight& c, int64_t row) {
  const int64_t columns = c.x.columns, groups = (columns + c.group - 1) / c.group;
  const bool nibbles = c.dtype == Dtype::i4;
  uint8_t* out = c.values + row * (nibbles ? (columns + 7) / 8 * 4 : columns);
  float* scales = c.scales + row * groups;
  WeightBlock block;
  int8_t codes[SCALE_BLOCK];
  RowErrors errors;
  for (int64_t column = 0; column < columns; column += SCALE_BLOCK) {
    const int count = blockWidth(columns, column);
    loadBlock<D>(block.x, c.x, row * columns + column, count);
    if (!nibbles) {
      scales[column / SCALE_BLOCK] = quantizeInt8Block(block, codes);
      std::memcpy(out + column, codes, count);
    } else {
      if (c.group == 32) quantizeInt4Block<32>(block, codes, scales + column / 32, count);
      else quantizeInt4Block<SCALE_BLOCK>(block, codes, scales + column / SCALE_BLOCK, count);
      // A row is whole words of eight codes.
      const int stored = (count + 7) / 8 * 8;
      std::fill(codes + count, codes + stored, int8_t{-8});
      for (int i = 0; i < stored / 2; i++)
        out[column / 2 + i] = static_cast<uint8_t>((codes[2 * i] + 8) | (codes[2 * i + 1] + 8) << 4);
    }
    errors.add(block);
  }
  errors.store(c.errors + 2 * row);
}

/// What rounding rows to FP8 lost.
template <Dtype D>
inline void fp8Errors(const QuantizeWeight& c, int64_t row) {
  const int64_t columns = c.x.columns;
  RowErrors errors;
  WeightBlock block;
  const Operand codes = {Dtype::fp8, columns, c.values, nullptr};
  for (int64_t column = 0; column < columns; column += SCALE_BLOCK) {
    const int64_t at = row * columns + column, count = blockWidth(columns, column);
    const float scale = c.scales[row / WEIGHT_SCALE_ROWS * scaleBlocks(columns) + column / SCALE_BLOCK];
    loadBlock<D>(block.x, c.x, at, count);
    loadBlock<Dtype::fp8>(block.rounded, codes, at, count);
    for (float& value : block.rounded) value *= scale;
    errors.add(block);
  }
  errors.store(c.errors + 2 * row);
}

inline void quantizeWeight(const QuantizeWeight& c, Team& team) {
  withDtype(c.x.format, [&](auto dtype) {
    if (c.dtype == Dtype::fp8) {
      const int64_t tasks = (c.rows + WEIGHT_SCALE_ROWS - 1) / WEIGHT_SCALE_ROWS;
      team.fork(tasks, [&](int64_t task, Scratch&) {
        const int64_t first = task * WEIGHT_SCALE_ROWS, end = std::min<int64_t>(c.rows, first + WEIGHT_SCALE_ROWS);
        for (int64_t column = 0; column < c.x.columns; column += SCALE_BLOCK) quantizeWeightBlock<dtype>(c, first, column);
        for (int64_t row = first; row < end; row++) fp8Errors<dtype>(c, row);
      });
      return;
    }
    team.forkRanges(c.rows, taskRows(c.x.columns), [&](int64_t from, int64_t to, Scratch&) {
      for (int64_t row = from; row < to; row++) quantizeIntegerRow<dtype>(c, row);
    });
  });
}

}  // namespace daysix::DAYSIX_ISA
