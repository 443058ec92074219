// Products of many rows: a panel of weight rows is decoded once into memory that stays in the core's cache, and
// multiplied in register tiles.
#pragma once
#include "product.h"

namespace daysix::DAYSIX_ISA {

constexpr int PANEL_OUTPUTS = 32;
constexpr int PANEL_INPUTS = 1024;
/// Rows multiplied by a panel before the next one takes its place.
constexpr int64_t PANEL_ROWS = 96;

/// [vector][output][WIDTH] of a tile's weights, from input k on.
template <class Format>
inline void decodeTile(float* out, const WeightTile<Format>& tile, int64_t k, int64_t inputs) {
  for (int64_t step = 0; step < inputs; step += Format::STEP) {
    for (int n = 0; n < TILE_OUTPUTS; n++) {
      const uint8_t* codes = tile.rows[n] + (k + step) * Format::BYTES;
      Vec v[Format::VECTORS];
      if (step + Format::STEP <= inputs) {
        Format::decode(v, codes);
      } else {
        Format::decode(v, codes, static_cast<int>(inputs - step));
      }
      for (int i = 0; i < Format::VECTORS; i++) store(out + (step + i * WIDTH) * TILE_OUTPUTS + n * WIDTH, v[i]);
    }
  }
}

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
        for (int n = 0; n < TILE_OUTPUTS; n++) sums[row][n] = fma(input, weights[n], sums[row][n]);
      }
      x += Rows * WIDTH;
      w += TILE_OUTPUTS * WIDTH;
    }
    for (int row = 0; row < Rows; row++) {
      const Vec scale = splat(scales[row]);
      for (int n = 0; n < TILE_OUTPUTS; n++) {
        float* total = totals + (row * TILE_OUTPUTS + n) * WIDTH;
        store(total, fma(sums[row][n], scale, load(total)));
      }
    }
    scales += Rows;
    // Or the compiler carries the totals from block to block in registers it does not have.
    asm volatile("" ::: "memory");
  }
}

inline void multiplyTile(int rows, float* totals, const float* x, const float* w, const float* scales,
                         int64_t vectors) {
  switch (rows) {
    case 1: return multiplyTile<1>(totals, x, w, scales, vectors);
    case 2: return multiplyTile<2>(totals, x, w, scales, vectors);
    case 3: return multiplyTile<3>(totals, x, w, scales, vectors);
    case 4: return multiplyTile<4>(totals, x, w, scales, vectors);
    case 5: return multiplyTile<5>(totals, x, w, scales, vectors);
    default: return multiplyTile<6>(totals, x, w, scales, vectors);
  }
}

/// One panel of up to PANEL_OUTPUTS weight rows that share their scales, times all rows of a product.
template <class Format>
class Panel {
 public:
  Panel(const Product& product, Scratch& scratch) : product_(product), tiling_{product.rows} {
    const int64_t blocks = scaleColumns(*product.weight);
    const int64_t rows = std::min(product.rows, PANEL_ROWS + TILE_ROWS);
    const int64_t weights = PANEL_OUTPUTS * PANEL_INPUTS;
    const int64_t totals = rows * PANEL_OUTPUTS * WIDTH;
    weights_ = static_cast<float*>(scratch.reserve((weights + totals + rows * blocks) * sizeof(float)));
    totals_ = weights_ + weights;
    scales_ = totals_ + totals;
  }

  void multiply(int64_t output, int outputs) {
    const int64_t tiles = tiling_.count();
    const int64_t tilesAtOnce = PANEL_ROWS / TILE_ROWS;
    for (int64_t tile = 0; tile < tiles; tile += tilesAtOnce) {
      multiplyRows(output, outputs, tile, std::min(tiles, tile + tilesAtOnce));
    }
  }

 private:
  void multiplyRows(int64_t output, int outputs, int64_t firstTile, int64_t lastTile) {
    const Weight& weight = *product_.weight;
    const int64_t blocks = scaleColumns(weight);
    const int64_t firstRow = tiling_.first(firstTile);
    const int64_t rows = tiling_.first(lastTile) - firstRow;
    const int64_t padded = roundUp(weight.columns, Format::STEP);
    for (int64_t tile = firstTile; tile < lastTile; tile++) {
      const int64_t row = tiling_.first(tile);
      tableScales(scales_ + (row - firstRow) * blocks, product_, row, tiling_.rowsOf(tile), product_.firstRow + output);
    }
    std::memset(totals_, 0, rows * PANEL_OUTPUTS * WIDTH * sizeof(float));
    for (int64_t k = 0; k < weight.columns; k += PANEL_INPUTS) {
      const int64_t inputs = std::min<int64_t>(PANEL_INPUTS, weight.columns - k);
      decode(output, outputs, k, inputs);
      for (int64_t tile = firstTile; tile < lastTile; tile++) {
        const int64_t row = tiling_.first(tile);
        const int tileRows = tiling_.rowsOf(tile);
        for (int n = 0; n < outputs; n += TILE_OUTPUTS) {
          multiplyTile(tileRows, totalsOf(row - firstRow, tileRows, n), product_.packed + row * padded + k * tileRows,
                       weights_ + n * PANEL_INPUTS, scales_ + (row - firstRow) * blocks + k / SCALE_BLOCK * tileRows,
                       roundUp(inputs, Format::STEP) / WIDTH);
        }
      }
    }
    storeRows(output, outputs, firstTile, lastTile);
  }

  void decode(int64_t output, int outputs, int64_t k, int64_t inputs) {
    for (int n = 0; n < outputs; n += TILE_OUTPUTS) {
      const WeightTile<Format> tile(*product_.weight, product_.firstRow + output + n,
                                    std::min(TILE_OUTPUTS, outputs - n));
      decodeTile<Format>(weights_ + n * PANEL_INPUTS, tile, k, inputs);
    }
  }

  void storeRows(int64_t output, int outputs, int64_t firstTile, int64_t lastTile) {
    const int64_t firstRow = tiling_.first(firstTile);
    for (int64_t tile = firstTile; tile < lastTile; tile++) {
      const int64_t row = tiling_.first(tile);
      const int tileRows = tiling_.rowsOf(tile);
      for (int n = 0; n < outputs; n += TILE_OUTPUTS) {
        const float* totals = totalsOf(row - firstRow, tileRows, n);
        for (int i = 0; i < tileRows; i++) {
          Vec four[TILE_OUTPUTS];
          for (int j = 0; j < TILE_OUTPUTS; j++) four[j] = load(totals + (i * TILE_OUTPUTS + j) * WIDTH);
          float sums[TILE_OUTPUTS];
          sumFour(sums, four);
          storeOutputs(product_, row + i, output + n, std::min(TILE_OUTPUTS, outputs - n), sums);
        }
      }
    }
  }

  /// [row][output][WIDTH] of one register tile.
  float* totalsOf(int64_t row, int tileRows, int n) const {
    return totals_ + (row * PANEL_OUTPUTS + n * tileRows) * WIDTH;
  }

  const Product& product_;
  const Tiling tiling_;
  float* weights_;  // [PANEL_OUTPUTS / TILE_OUTPUTS][vector][TILE_OUTPUTS][WIDTH]
  float* totals_;
  float* scales_;  // of each tile: [blocks][row]
};

template <class Format>
inline void multiplyPanels(const Product& product, int64_t from, int64_t to, Scratch& scratch) {
  Panel<Format> panel(product, scratch);
  for (int64_t output = from; output < to;) {
    const int64_t shared = endOfScales(*product.weight, product.firstRow + output) - product.firstRow;
    const int64_t end = std::min({to, shared, output + PANEL_OUTPUTS});
    panel.multiply(output, static_cast<int>(end - output));
    output = end;
  }
}

}  // namespace daysix::DAYSIX_ISA
