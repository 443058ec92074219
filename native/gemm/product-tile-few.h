// Products of a few rows on tiles: each weight code is decoded once, while the block before it is multiplied.
#pragma once
#include "gemm/product-tile.h"

namespace daysix::DAYSIX_ISA {

/// Rows, of up to two tiles, whose products are cheaper next to the decoding than from a decoded copy.
constexpr int64_t FEW_TILE_ROWS = 2 * TILE_LINES;

template <class Format, int Tiles>
class FewRowsOnTiles {
 public:
  explicit FewRowsOnTiles(const Product& product)
      : product_(product), weight_(*product.weight), blocks_(scaleColumns(weight_)) {}

  void multiply(const Strip& strip) {
    std::memset(totals_, 0, sizeof totals_);
    for (int row = 0; row < STRIP_OUTPUTS; row++) decode(strip, row, 0);
    for (int64_t block = 0; block < blocks_; block++) {
      PackedBlock rows[Tiles];
      for (int i = 0; i < Tiles; i++) rows[i] = packedBlock(product_, i, block);
      multiplyBlock(promotion_.sums(), weights_[block % 2], rows, [&](int step) {
        constexpr int ROWS = STRIP_OUTPUTS / BLOCK_STEPS;
        if (block + 1 == blocks_) return;
        for (int row = step * ROWS; row < (step + 1) * ROWS; row++) decode(strip, row, block + 1);
      });
      Vec scales[Tiles];
      blockScales(scales, rows, weightScale(weight_, product_.firstRow + strip.output, block));
      promotion_.add(totals_, scales);
    }
    promotion_.finish();
    storeTotals<Tiles>(product_, 0, strip, totals_);
  }

 private:
  static constexpr int BLOCK_BYTES = SCALE_BLOCK * Format::BYTES;

  inline __attribute__((always_inline)) void decode(const Strip& strip, int row, int64_t block) {
    const int64_t from = block * BLOCK_BYTES;
    const uint8_t* codes = strip.row(row) + from;
    // Behind a row's end the kernel prefetches the row of the next strip that takes its place.
    const int64_t next = from + PREFETCH_BYTES < strip.rowBytes ? 0 : (STRIP_OUTPUTS - 1) * strip.rowBytes;
    for (int i = 0; i < BLOCK_BYTES; i += LINE_BYTES) {
      // To the second cache: rows a power of two apart share few sets of the first.
      __builtin_prefetch(codes + PREFETCH_BYTES + next + i, 0, 2);
    }
    decodeRow<Format>(weights_[block % 2], row, codes, weight_.columns - block * SCALE_BLOCK);
  }

  const Product& product_;
  const Weight& weight_;
  const int64_t blocks_;
  alignas(64) uint8_t weights_[2][STRIP_BYTES];
  alignas(64) float totals_[SUMS<Tiles>];
  Promotion<Tiles> promotion_;
};

template <class Format, int Tiles>
inline void multiplyFewOnTiles(const Product& product, int64_t from, int64_t to) {
  FewRowsOnTiles<Format, Tiles> rows(product);
  while (from < to) {
    const Strip strip = stripFrom(product, from, to);
    rows.multiply(strip);
    from += strip.outputs;
  }
}

}  // namespace daysix::DAYSIX_ISA
