// Products of a few rows: each weight code is decoded once, next to the multiply, and read once in memory's order.
#pragma once
#include "product.h"

namespace daysix::DAYSIX_ISA {

constexpr int FEW_ROWS = 3;
/// How far ahead of the multiply weights are asked for.
constexpr int64_t PREFETCH_BYTES = 1024;

/// Four outputs of `Rows` rows.
template <class Format, int Rows>
class FewRows {
 public:
  FewRows(const Product& product, const float* scales) : product_(product), scales_(scales) {}

  void multiply(int64_t output, int count) {
    const WeightTile<Format> tile(*product_.weight, product_.firstRow + output, count);
    const int64_t columns = product_.weight->columns;
    Vec totals[Rows][TILE_OUTPUTS];
    for (auto& row : totals) {
      for (Vec& total : row) total = splat(0.0f);
    }
    int64_t k = 0;
    for (; k + SCALE_BLOCK <= columns; k += SCALE_BLOCK) addBlock(totals, tile, k, SCALE_BLOCK);
    if (k < columns) addBlock(totals, tile, k, static_cast<int>(columns - k));
    for (int row = 0; row < Rows; row++) storeOutputs(product_, row, output, count, totals[row]);
  }

 private:
  /// The block of `inputs` inputs from k on.
  inline __attribute__((always_inline)) void addBlock(Vec (&totals)[Rows][TILE_OUTPUTS], const WeightTile<Format>& tile,
                                                      int64_t k, int inputs) {
    Vec sums[Rows][TILE_OUTPUTS];
    for (auto& row : sums) {
      for (Vec& sum : row) sum = splat(0.0f);
    }
    for (int step = 0; step < inputs; step += Format::STEP) {
      Vec weights[TILE_OUTPUTS][Format::VECTORS];
      for (int n = 0; n < TILE_OUTPUTS; n++) {
        const uint8_t* codes = tile.rows[n] + (k + step) * Format::BYTES;
        __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(codes) + PREFETCH_BYTES));
        if (step + Format::STEP <= inputs) {
          Format::decode(weights[n], codes);
        } else {
          Format::decode(weights[n], codes, inputs - step);
        }
      }
      for (int i = 0; i < Format::VECTORS; i++) {
        for (int row = 0; row < Rows; row++) {
          const Vec x = load(product_.packed + ((k + step + i * WIDTH) * Rows + row * WIDTH));
          for (int n = 0; n < TILE_OUTPUTS; n++) sums[row][n] = fma(x, weights[n][i], sums[row][n]);
        }
      }
    }
    const float* scales = scales_ + k / SCALE_BLOCK * Rows;
    for (int row = 0; row < Rows; row++) {
      for (int n = 0; n < TILE_OUTPUTS; n++) totals[row][n] = fma(sums[row][n], splat(scales[row]), totals[row][n]);
    }
  }

  const Product& product_;
  const float* scales_;  // [blocks, Rows]
};

template <class Format, int Rows>
inline void multiplyFew(const Product& product, int64_t from, int64_t to, Scratch& scratch) {
  const Weight& weight = *product.weight;
  auto* scales = static_cast<float*>(scratch.reserve(scaleColumns(weight) * Rows * sizeof(float)));
  FewRows<Format, Rows> rows(product, scales);
  for (int64_t output = from; output < to;) {
    const int64_t weightRow = product.firstRow + output;
    const int64_t end = std::min(to, endOfScales(weight, weightRow) - product.firstRow);
    tableScales(scales, product, 0, Rows, weightRow);
    for (; output < end; output += TILE_OUTPUTS) {
      rows.multiply(output, static_cast<int>(std::min<int64_t>(TILE_OUTPUTS, end - output)));
    }
    output = end;
  }
}

}  // namespace daysix::DAYSIX_ISA
