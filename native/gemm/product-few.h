// Products of a few rows: each weight code is decoded once, next to the multiply, and read once in memory's order.
#pragma once
#include "gemm/product.h"

namespace daysix::DAYSIX_ISA {

/// Rows, of one tile, whose products are cheaper next to the decoding than from a decoded copy.
constexpr int FEW_ROWS = REGISTERS == 32 ? 5 : TILE_ROWS;
static_assert(FEW_ROWS <= TILE_ROWS);

/// Outputs of `Rows` rows. Four runs of neighbouring weight rows are read side by side, each in memory's order: their
/// decodings share the inputs' loads, and each run is a stream of its own to the prefetchers.
template <Dtype D, int Rows>
class FewRows {
 public:
  FewRows(const Product& product, const float* scales)
      : product_(product), scales_(scales), rowBytes_(product.weight->columns * formatOf(D).valueBytes) {}

  /// Outputs from up to to, whose weights share their scales.
  void multiply(int64_t from, int64_t to) {
    const int64_t run = ceilDivide(to - from, TILE_OUTPUTS);
    for (int64_t i = 0; i < run; i++) {
      int64_t outputs[TILE_OUTPUTS];
      for (int n = 0; n < TILE_OUTPUTS; n++) outputs[n] = std::min(from + n * run + i, to - 1);
      multiplyFour(outputs);
    }
  }

 private:
  using Sums = Vec[Rows][TILE_OUTPUTS];

  void multiplyFour(const int64_t (&outputs)[TILE_OUTPUTS]) {
    const uint8_t* codes[TILE_OUTPUTS];
    for (int n = 0; n < TILE_OUTPUTS; n++) {
      codes[n] = product_.weight->data + (product_.firstRow + outputs[n]) * rowBytes_;
    }
    Sums totals;
    for (auto& row : totals) {
      for (Vec& total : row) total = splat(0.0f);
    }
    const int64_t columns = product_.weight->columns;
    int64_t k = 0;
    for (; k + SCALE_BLOCK <= columns; k += SCALE_BLOCK) addBlock(totals, codes, k, SCALE_BLOCK);
    if (k < columns) addBlock(totals, codes, k, static_cast<int>(columns - k));
    for (int row = 0; row < Rows; row++) {
      float sums[TILE_OUTPUTS];
      sumFour(sums, totals[row]);
      for (int n = 0; n < TILE_OUTPUTS; n++) storeOutput(product_, row, outputs[n], sums[n]);
    }
  }

  inline __attribute__((always_inline)) void addBlock(Sums& totals, const uint8_t* const (&rows)[TILE_OUTPUTS],
                                                      int64_t k, int inputs) {
    Sums sums;
    for (auto& row : sums) {
      for (Vec& sum : row) sum = splat(0.0f);
    }
    const float* x = product_.packed + k * Rows;
    for (int step = 0; step < inputs; step += WIDTH) {
      for (int n = 0; n < TILE_OUTPUTS; n++) {
        const uint8_t* codes = rows[n] + (k + step) * formatOf(D).valueBytes;
        __builtin_prefetch(codes + PREFETCH_BYTES);
        const Vec weights = loadUpTo<D>(codes, inputs - step);
        for (int row = 0; row < Rows; row++) sums[row][n] = sums[row][n] + load(x + row * WIDTH) * weights;
      }
      x += WIDTH * Rows;
    }
    const float* scales = scales_ + k / SCALE_BLOCK * Rows;
    for (int row = 0; row < Rows; row++) {
      for (int n = 0; n < TILE_OUTPUTS; n++) totals[row][n] = totals[row][n] + sums[row][n] * splat(scales[row]);
    }
  }

  const Product& product_;
  const float* scales_;  // [blocks, Rows]
  const int64_t rowBytes_;
};

template <Dtype D, int Rows>
inline void multiplyFew(const Product& product, int64_t from, int64_t to, Scratch& scratch) {
  const Weight& weight = *product.weight;
  auto* scales = static_cast<float*>(scratch.reserve(scaleColumns(weight) * Rows * sizeof(float)));
  FewRows<D, Rows> rows(product, scales);
  for (int64_t output = from; output < to;) {
    const int64_t weightRow = product.firstRow + output;
    const int64_t end = std::min(to, endOfScales(weight, weightRow) - product.firstRow);
    tableScales(scales, product, 0, Rows, weightRow);
    rows.multiply(output, end);
    output = end;
  }
}

}  // namespace daysix::DAYSIX_ISA
