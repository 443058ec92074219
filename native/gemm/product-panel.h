// Products of more rows: panels of weights are decoded once into memory that stays in the core's caches, and multiplied
// with register tiles of rows.
#pragma once
#include "gemm/product.h"

namespace daysix::DAYSIX_ISA {

/// A panel's outputs and the inputs of them decoded at once, and the rows they are multiplied with before the next.
struct PanelSize {
  int outputs, inputs;
  int64_t rows;
};
/// With some rows, inputs and decoded weights stay in the first cache; with many, decoding is what to spread.
constexpr PanelSize SMALL_PANEL = {8, 256, 48};
constexpr PanelSize LARGE_PANEL = {64, 512, 96};

/// totals[row][output] += x · w over `vectors` vectors, promoted block by block.
template <int Rows>
inline void multiplyTile(float* totals, const float* x, const float* w, const float* scales, int64_t vectors) {
  for (int64_t block = 0; block < vectors; block += BLOCK_VECTORS) {
    Vec sums[Rows][TILE_OUTPUTS];
    for (auto& row : sums) {
      for (Vec& sum : row) sum = splat(0.0f);
    }
    const int count = static_cast<int>(std::min<int64_t>(vectors - block, BLOCK_VECTORS));
    for (int i = 0; i < count; i++) {
      Vec weights[TILE_OUTPUTS];
      for (int n = 0; n < TILE_OUTPUTS; n++) weights[n] = load(w + n * WIDTH);
      for (int row = 0; row < Rows; row++) {
        const Vec input = load(x + row * WIDTH);
        for (int n = 0; n < TILE_OUTPUTS; n++) sums[row][n] = sums[row][n] + input * weights[n];
      }
      x += Rows * WIDTH;
      w += TILE_OUTPUTS * WIDTH;
    }
    for (int row = 0; row < Rows; row++) {
      const Vec scale = splat(scales[row]);
      for (int n = 0; n < TILE_OUTPUTS; n++) {
        float* total = totals + (row * TILE_OUTPUTS + n) * WIDTH;
        store(total, load(total) + sums[row][n] * scale);
      }
    }
    scales += Rows;
    // Or the compiler carries the totals from block to block in registers it does not have.
    asm volatile("" ::: "memory");
  }
}

/// Panels of a product's outputs. A panel takes an output from each of `size.outputs` runs of neighbouring weight rows,
/// so that each run is read in memory's order from panel to panel.
template <Dtype D>
class Panels {
 public:
  Panels(const Product& product, const PanelSize& size, Scratch& scratch)
      : product_(product),
        weight_(*product.weight),
        size_(size),
        tiling_{product.rows},
        blocks_(scaleColumns(weight_)),
        padded_(roundUp(weight_.columns, WIDTH)) {
    const int64_t rows = std::min(product.rows, size.rows);
    const int64_t weights = size.outputs * size.inputs;
    const int64_t totals = rows * size.outputs * WIDTH;
    weights_ = static_cast<float*>(scratch.reserve((weights + totals + product.rows * blocks_) * sizeof(float)));
    totals_ = weights_ + weights;
    scales_ = totals_ + totals;
  }

  /// Outputs from up to to, whose weights share their scales.
  void multiply(int64_t from, int64_t to) {
    for (int64_t tile = 0; tile < tiling_.count(); tile++) {
      const int64_t row = tiling_.first(tile);
      tableScales(scales_ + row * blocks_, product_, row, tiling_.rowsOf(tile), product_.firstRow + from);
    }
    first_ = from;
    end_ = to;
    outputs_ = static_cast<int>(std::min<int64_t>(size_.outputs, roundUp(to - from, TILE_OUTPUTS)));
    run_ = ceilDivide(to - from, outputs_);
    const int64_t tilesAtOnce = size_.rows / TILE_ROWS;
    for (int64_t i = 0; i < run_; i++) {
      for (int64_t tile = 0; tile < tiling_.count(); tile += tilesAtOnce) {
        multiplyTiles(i, tile, std::min(tiling_.count(), tile + tilesAtOnce));
      }
    }
  }

 private:
  /// The n-th output of the i-th panel; short runs repeat the last output.
  int64_t outputOf(int64_t i, int n) const { return std::min(first_ + n * run_ + i, end_ - 1); }

  void multiplyTiles(int64_t i, int64_t firstTile, int64_t lastTile) {
    const int64_t firstRow = tiling_.first(firstTile);
    std::memset(totals_, 0, (tiling_.first(lastTile) - firstRow) * outputs_ * WIDTH * sizeof(float));
    for (int64_t k = 0; k < weight_.columns; k += size_.inputs) {
      const int64_t inputs = std::min<int64_t>(size_.inputs, weight_.columns - k);
      for (int n = 0; n < outputs_; n++) decode(i, n, k, inputs);
      const int64_t vectors = ceilDivide(inputs, WIDTH);
      for (int64_t tile = firstTile; tile < lastTile; tile++) {
        const int64_t row = tiling_.first(tile);
        withRows(tiling_.rowsOf(tile), [&](auto rows) {
          for (int n = 0; n < outputs_; n += TILE_OUTPUTS) {
            multiplyTile<rows>(totalsOf(row - firstRow, rows, n), product_.packed + row * padded_ + k * rows,
                               weights_ + n * size_.inputs, scales_ + row * blocks_ + k / SCALE_BLOCK * rows, vectors);
          }
        });
      }
    }
    for (int64_t tile = firstTile; tile < lastTile; tile++) storeTile(i, tile, firstRow);
  }

  void decode(int64_t i, int n, int64_t k, int64_t inputs) {
    const int64_t row = product_.firstRow + outputOf(i, n);
    const uint8_t* codes = weight_.data + (row * weight_.columns + k) * formatOf(D).valueBytes;
    float* out = weights_ + n / TILE_OUTPUTS * TILE_OUTPUTS * size_.inputs + n % TILE_OUTPUTS * WIDTH;
    for (int64_t step = 0; step < inputs; step += WIDTH) {
      __builtin_prefetch(codes + PREFETCH_BYTES);
      store(out + step * TILE_OUTPUTS, loadUpTo<D>(codes, inputs - step));
      codes += WIDTH * formatOf(D).valueBytes;
    }
  }

  void storeTile(int64_t i, int64_t tile, int64_t firstRow) {
    const int64_t row = tiling_.first(tile);
    const int rows = tiling_.rowsOf(tile);
    for (int n = 0; n < outputs_; n += TILE_OUTPUTS) {
      const float* totals = totalsOf(row - firstRow, rows, n);
      for (int j = 0; j < rows; j++) {
        Vec four[TILE_OUTPUTS];
        for (int m = 0; m < TILE_OUTPUTS; m++) four[m] = load(totals + (j * TILE_OUTPUTS + m) * WIDTH);
        float sums[TILE_OUTPUTS];
        sumFour(sums, four);
        for (int m = 0; m < TILE_OUTPUTS; m++) storeOutput(product_, row + j, outputOf(i, n + m), sums[m]);
      }
    }
  }

  /// [row][TILE_OUTPUTS][WIDTH] of one register tile.
  float* totalsOf(int64_t row, int tileRows, int n) const { return totals_ + (row * outputs_ + n * tileRows) * WIDTH; }

  const Product& product_;
  const Weight& weight_;
  const PanelSize size_;
  const Tiling tiling_;
  const int64_t blocks_, padded_;
  float* weights_;  // [outputs / TILE_OUTPUTS][vector][TILE_OUTPUTS][WIDTH]
  float* totals_;
  float* scales_;  // of each tile: [blocks][row]
  int64_t first_ = 0, end_ = 0, run_ = 0;
  int outputs_ = 0;
};

template <Dtype D>
inline void multiplyPanels(const Product& product, int64_t from, int64_t to, Scratch& scratch) {
  Panels<D> panels(product, product.rows <= SMALL_PANEL.rows ? SMALL_PANEL : LARGE_PANEL, scratch);
  for (int64_t output = from; output < to;) {
    const int64_t end = std::min(to, endOfScales(*product.weight, product.firstRow + output) - product.firstRow);
    panels.multiply(output, end);
    output = end;
  }
}

}  // namespace daysix::DAYSIX_ISA
