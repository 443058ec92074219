// Products of input rows with weight rows: the arithmetic under every kernel that reads a linear weight.
//
// One accumulation order serves one row, a few and panels, so that a row's bits do not depend on the rows beside it.
// This is the vectors'; product-tile.h has the tiles'. Each output has WIDTH lanes over the inputs. The lanes' sums over a
// block of SCALE_BLOCK inputs start afresh in every block and are promoted into the lanes' totals, times the block's scale
// (DeepGEMM's promotion); the lanes are added at the end, in one fixed tree.
//
// Inputs are first packed: as float32, padded with zeros to whole steps, in tiles of up to TILE_ROWS rows interleaved by
// vectors: [tile][vector][row][WIDTH].
#pragma once
#include <algorithm>

#include "host/team.h"
#include "gemm/weight-format.h"
#include "simd/unroll.h"

namespace daysix::DAYSIX_ISA {

/// Rows and weight rows whose block sums fit the registers together.
constexpr int TILE_ROWS = REGISTERS == 32 ? 6 : 1;
constexpr int TILE_OUTPUTS = 4;
/// How far ahead of the multiply a run of weight rows is asked for.
constexpr int64_t PREFETCH_BYTES = 1024;
constexpr int BLOCK_VECTORS = SCALE_BLOCK / WIDTH;

inline int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t roundUp(int64_t a, int64_t b) { return ceilDivide(a, b) * b; }

/// Cuts rows into tiles of nearly equal size, of `most` rows.
struct Tiling {
  int64_t rows;
  int most = TILE_ROWS;
  int64_t count() const { return ceilDivide(rows, most); }
  int64_t first(int64_t tile) const { return tile * (rows / count()) + std::min(tile, rows % count()); }
  int rowsOf(int64_t tile) const { return static_cast<int>(first(tile + 1) - first(tile)); }
};

/// Calls run with the number of a tile's rows as a constant.
template <int Rows = TILE_ROWS, typename Run>
inline void withRows(int rows, Run&& run) {
  if (rows == Rows) return run(Constant<Rows>());
  if constexpr (Rows > 1) withRows<Rows - 1>(rows, run);
}

/// Input rows where the caller keeps them.
struct InputRows {
  Dtype format;  // one that withInputFormat knows
  const uint8_t* values;
  int64_t stride;       // values from one row to the next
  const float* scales;  // [rows, scaleBlocks(columns)]; null where the format has none
  bool toBf16;          // rounds float32 values on the way
};

/// `rows` input rows times `outputs` weight rows from `firstRow` on.
struct Product {
  const Weight* weight;
  int64_t firstRow, outputs;
  InputRows x;
  int64_t rows;
  StoredRows out;
  int64_t outStride;
  float* packed;
};

inline int64_t scaleColumns(const Weight& weight) { return scaleBlocks(weight.columns); }

inline float weightScale(const Weight& weight, int64_t row, int64_t block) {
  if (!weight.scales) return 1.0f;
  const int64_t at = row / formatOf(weight.dtype).scaleRows * scaleColumns(weight) + block;
  float scale;
  std::memcpy(&scale, weight.scales + at * sizeof scale, sizeof scale);
  return scale;
}

/// The first weight row after `row` that has other scales.
inline int64_t endOfScales(const Weight& weight, int64_t row) {
  const int64_t rows = formatOf(weight.dtype).scaleRows;
  return weight.scales ? (row / rows + 1) * rows : weight.rows;
}

template <Dtype D>
inline void packTile(const Product& product, int64_t tile) {
  const Tiling tiling{product.rows};
  const int64_t columns = product.weight->columns;
  const int64_t padded = roundUp(columns, WIDTH);
  const int rows = tiling.rowsOf(tile);
  float* packed = product.packed + tiling.first(tile) * padded;
  for (int row = 0; row < rows; row++) {
    const uint8_t* x = product.x.values + (tiling.first(tile) + row) * product.x.stride * formatOf(D).valueBytes;
    float* out = packed + row * WIDTH;
    for (int64_t k = 0; k < columns; k += WIDTH) {
      const Vec values = loadUpTo<D>(x + k * formatOf(D).valueBytes, columns - k);
      store(out + k * rows, product.x.toBf16 ? roundToBf16(values) : values);
    }
  }
}

/// Packs one tile of a product's input rows.
inline void packTile(const Product& product, int64_t tile) {
  withInputFormat(product.x.format, [&](auto input) { packTile<input>(product, tile); });
}

/// table[block, i] = scale of row `firstRow + i` times scale of the weight rows that share `weightRow`'s, rounded.
inline void tableScales(float* table, const Product& product, int64_t firstRow, int rows, int64_t weightRow) {
  const int64_t blocks = scaleColumns(*product.weight);
  const float* rowScales = product.x.scales ? product.x.scales + firstRow * blocks : nullptr;
  for (int64_t block = 0; block < blocks; block++) {
    const float scale = weightScale(*product.weight, weightRow, block);
    for (int i = 0; i < rows; i++) {
      table[block * rows + i] = rowScales ? rowScales[i * blocks + block] * scale : scale;
    }
  }
}

/// Stores an output in the format of `out`.
inline void storeOutput(const Product& product, int64_t row, int64_t output, float value) {
  const int64_t at = row * product.outStride + output;
  if (product.out.format == Dtype::f32) {
    static_cast<float*>(product.out.values)[at] = value;
  } else {
    storeBf16(static_cast<uint16_t*>(product.out.values) + at, splat(value), 1);
  }
}

/// Zeros `count` floats, whole vectors of them: a library's call takes long to begin where memory is little and near.
inline void clear(float* out, int64_t count) {
  for (int64_t i = 0; i < count; i += WIDTH) store(out + i, splat(0.0f));
}

/// So many rows' outputs, with those of the products beside it, are more than caches keep until they are read: they pass
/// them by, and need not be fetched first.
constexpr int64_t STREAMED_ROWS = 36;

inline bool isLine(const void* out) { return reinterpret_cast<uintptr_t>(out) % 64 == 0; }

/// Stores up to WIDTH float32 outputs of one of `rows` rows.
DAYSIX_INLINE void storeFloats(float* out, Vec values, int count, int64_t rows) {
  if (count == WIDTH && rows >= STREAMED_ROWS && isLine(out)) return stream(out, values);
  if (count == WIDTH) return store(out, values);
  store(out, values, count);
}

/// Stores `count` float32 outputs of one of `rows` rows, which lie behind each other.
DAYSIX_INLINE void storeFloats(float* out, const float* values, int64_t count, int64_t rows) {
  int64_t i = 0;
  if (rows >= STREAMED_ROWS && isLine(out)) {
    for (; i + WIDTH <= count; i += WIDTH) stream(out + i, load(values + i));
  }
  for (; i + WIDTH <= count; i += WIDTH) store(out + i, load(values + i));
  if (i < count) store(out + i, load(values + i), static_cast<int>(count - i));
}

/// Stores a row's outputs from `output` on, up to WIDTH of them.
inline void storeOutputs(const Product& product, int64_t row, int64_t output, Vec values, int count) {
  const int64_t at = row * product.outStride + output;
  if (product.out.format == Dtype::f32) {
    storeFloats(static_cast<float*>(product.out.values) + at, values, count, product.rows);
  } else if (count == WIDTH) {
    storeBf16(static_cast<uint16_t*>(product.out.values) + at, values);
  } else {
    storeBf16(static_cast<uint16_t*>(product.out.values) + at, values, count);
  }
}

/// Stores `count` outputs of a row from `output` on, which lie behind each other.
DAYSIX_INLINE void storeOutputs(const Product& product, int64_t row, int64_t output, const float* values,
                                int64_t count) {
  const int64_t at = row * product.outStride + output;
  if (product.out.format == Dtype::f32) {
    return storeFloats(static_cast<float*>(product.out.values) + at, values, count, product.rows);
  }
  auto* out = static_cast<uint16_t*>(product.out.values) + at;
  int64_t i = 0;
  if (product.rows >= STREAMED_ROWS && isLine(out)) {
    for (; i + 2 * WIDTH <= count; i += 2 * WIDTH) streamBf16(out + i, load(values + i), load(values + i + WIDTH));
  }
  for (; i + WIDTH <= count; i += WIDTH) storeBf16(out + i, load(values + i));
  if (i < count) storeBf16(out + i, load(values + i), static_cast<int>(count - i));
}

}  // namespace daysix::DAYSIX_ISA
