// Products of more rows on tiles: panels of weights are decoded once into tiles that stay in the core's second cache,
// and multiplied with two tiles of rows at a time.
#pragma once
#include "gemm/product-tile.h"

namespace daysix::DAYSIX_ISA {

/// A panel's strips and the blocks of them decoded at once, and the pairs of row tiles they are multiplied with before
/// the next: half a MiB of weights and as much of totals, beside which the inputs pass through.
constexpr int PANEL_STRIPS = 8;
constexpr int64_t PANEL_BLOCKS = 8;
constexpr int64_t PANEL_TILES = 32;

template <class Format>
class PanelsOnTiles {
 public:
  PanelsOnTiles(const Product& product, Scratch& scratch)
      : product_(product), weight_(*product.weight), blocks_(scaleColumns(weight_)), tiles_(tilesOf(product.rows)) {
    const int64_t weights = PANEL_STRIPS * std::min(PANEL_BLOCKS, blocks_) * STRIP_BYTES;
    const int64_t totals = PANEL_STRIPS * roundUp(std::min(PANEL_TILES, tiles_), 2) * SUMS<1>;
    weights_ = static_cast<uint8_t*>(scratch.reserve(weights + totals * sizeof(float)));
    totals_ = reinterpret_cast<float*>(weights_ + weights);
  }

  void multiply(int64_t from, int64_t to) {
    while (from < to) {
      for (count_ = 0; count_ < PANEL_STRIPS && from < to; count_++) {
        strips_[count_] = stripFrom(product_, from, to);
        from += strips_[count_].outputs;
      }
      for (int64_t tile = 0; tile < tiles_; tile += PANEL_TILES) {
        multiplyTiles(tile, std::min(tiles_, tile + PANEL_TILES));
      }
    }
  }

 private:
  void multiplyTiles(int64_t first, int64_t last) {
    std::memset(totals_, 0, count_ * roundUp(last - first, 2) * SUMS<1> * sizeof(float));
    for (int64_t block = 0; block < blocks_; block += PANEL_BLOCKS) {
      const int64_t end = std::min(blocks_, block + PANEL_BLOCKS);
      for (int strip = 0; strip < count_; strip++) decode(strip, block, end);
      forPairs(first, last, [&](auto tiles, int64_t tile, float* totals) {
        multiplyBlocks<tiles>(tile, block, end, totals);
      });
    }
    forPairs(first, last, [&](auto tiles, int64_t tile, float* totals) {
      for (int strip = 0; strip < count_; strip++) {
        storeTotals<tiles>(product_, tile, strips_[strip], totals + strip * SUMS<tiles>);
      }
    });
  }

  /// Calls run(tiles, tile, totals) for each pair of row tiles, or the one that is left.
  template <typename Run>
  void forPairs(int64_t first, int64_t last, Run&& run) {
    for (int64_t tile = first; tile < last; tile += 2) {
      float* totals = totals_ + (tile - first) * count_ * SUMS<1>;
      if (last - tile > 1) {
        run(Constant<2>(), tile, totals);
      } else {
        run(Constant<1>(), tile, totals);
      }
    }
  }

  void decode(int strip, int64_t first, int64_t last) {
    for (int64_t block = first; block < last; block++) {
      for (int row = 0; row < STRIP_OUTPUTS; row++) {
        const uint8_t* codes = strips_[strip].row(row) + block * SCALE_BLOCK * Format::BYTES;
        for (int i = 0; i < SCALE_BLOCK * Format::BYTES; i += LINE_BYTES) {
          __builtin_prefetch(codes + STRIP_OUTPUTS * strips_[strip].rowBytes + i, 0, 2);
        }
        decodeRow<Format>(weightsOf(strip, block - first), row, codes, weight_.columns - block * SCALE_BLOCK);
      }
    }
  }

  /// Two strips at a time, so that a block of rows is fetched into the first cache once for both.
  template <int Tiles>
  void multiplyBlocks(int64_t tile, int64_t first, int64_t last, float* totals) {
    Promotion<Tiles> promotion;
    for (int pair = 0; pair < count_; pair += 2) {
      for (int64_t block = first; block < last; block++) {
        PackedBlock rows[Tiles];
        for (int i = 0; i < Tiles; i++) rows[i] = packedBlock(product_, tile + i, block);
        for (int strip = pair; strip < std::min(count_, pair + 2); strip++) {
          multiplyBlock(promotion.sums(), weightsOf(strip, block - first), rows, [](int) {});
          Vec scales[Tiles];
          blockScales(scales, rows, weightScale(weight_, product_.firstRow + strips_[strip].output, block));
          promotion.add(totals + strip * SUMS<Tiles>, scales);
        }
      }
    }
    promotion.finish();
  }

  uint8_t* weightsOf(int strip, int64_t block) const { return weights_ + (block * PANEL_STRIPS + strip) * STRIP_BYTES; }

  const Product& product_;
  const Weight& weight_;
  const int64_t blocks_, tiles_;
  Strip strips_[PANEL_STRIPS];
  int count_ = 0;
  uint8_t* weights_;  // [block][strip][STRIP_BYTES]
  float* totals_;     // [pair of row tiles][strip][SUMS]
};

template <class Format>
inline void multiplyPanelsOnTiles(const Product& product, int64_t from, int64_t to, Scratch& scratch) {
  PanelsOnTiles<Format>(product, scratch).multiply(from, to);
}

}  // namespace daysix::DAYSIX_ISA
