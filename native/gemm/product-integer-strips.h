// Products of more INT8 rows: strips of weights are turned once into memory that stays in the core's caches, and
// multiplied with tiles of rows.
#pragma once
#include "gemm/product-integer.h"
#if defined(DAYSIX_TILES)
#include "gemm/product-integer-tile.h"
#endif

namespace daysix::DAYSIX_ISA {

#if defined(DAYSIX_TILES)
constexpr bool ON_TILES_OF_CODES = true;
#else
constexpr bool ON_TILES_OF_CODES = false;
#endif

/// Strips of a product's outputs, each turned into memory that stays in the core's caches.
class DotStrips {
 public:
  DotStrips(const Product& product, Scratch& scratch)
      : product_(product),
        weight_(*product.weight),
        tiling_{product.rows, DOT_ROWS},
        blocks_(scaleColumns(weight_)),
        roundTiles_(tilesOfRound()) {
    const int64_t strips = DOT_STRIPS * (stripWords() + stripScales());
    const int64_t totals = std::min(product.rows, roundTiles_ * DOT_ROWS) * DOT_OUTPUTS;
    words_ = static_cast<uint32_t*>(scratch.reserve((strips + totals) * sizeof(uint32_t)));
    scales_ = reinterpret_cast<float*>(words_ + DOT_STRIPS * stripWords());
    totals_ = scales_ + DOT_STRIPS * stripScales();
  }

  /// Outputs from up to to.
  void multiply(int64_t from, int64_t to) {
#if defined(DAYSIX_TILES)
    const UseTiles tiles;
#endif
    for (int64_t tile = 0; tile < tiling_.count(); tile += roundTiles_) {
      for (int64_t output = from; output < to; output += DOT_OUTPUTS) {
        const int outputs = static_cast<int>(std::min<int64_t>(DOT_OUTPUTS, to - output));
        for (int strip = 0; strip < DOT_STRIPS; strip++) turn(strip, output, outputs);
        multiplyTiles(tile, std::min(tiling_.count(), tile + roundTiles_), output, outputs);
      }
    }
  }

 private:
  /// Adding 128 to a code inverts its sign. Tiles take codes as they are.
  static constexpr uint32_t OFFSET_BITS = ON_TILES_OF_CODES ? 0 : 0x80808080;
  static constexpr int64_t CACHED_BLOCKS = ON_TILES_OF_CODES ? 16 : 4;

  /// As few rounds as the cache allows, of nearly equal size, in pairs of tiles.
  int64_t tilesOfRound() const {
    const int64_t most = std::max<int64_t>(2, DOT_ROUND_BYTES / (dotRowBytes(weight_) * DOT_ROWS));
    return roundUp(ceilDivide(tiling_.count(), ceilDivide(tiling_.count(), most)), 2);
  }
  int64_t stripWords() const { return blocks_ * BLOCK_WORDS_OF_CODES * STRIP_LANES; }
  int64_t stripScales() const { return blocks_ * STRIP_LANES; }

  void turn(int strip, int64_t output, int outputs) {
    // A strip without outputs repeats the last one.
    const int64_t skipped = std::min(strip * STRIP_LANES, outputs - 1), row = product_.firstRow + output + skipped;
    const auto rowsOf = [&](const uint8_t* data, int64_t rowBytes) {
      return StripRows{data + row * rowBytes, rowBytes, std::min<int>(STRIP_LANES, outputs - skipped)};
    };
    uint32_t* words = words_ + strip * stripWords();
    turnStrip<OFFSET_BITS>(words, rowsOf(weight_.data, weight_.columns), 0, weight_.columns);
    float* scales = scales_ + strip * stripScales();
    if (weight_.scales) {
      turnScales(scales, rowsOf(weight_.scales, blocks_ * static_cast<int64_t>(sizeof(float))));
    } else {
      std::fill_n(scales, stripScales(), 1.0f);
    }
  }

  void turnScales(float* scales, const StripRows& rows) {
    for (int i = 0; i < STRIP_LANES; i++) {
      for (int64_t block = 0; block < blocks_; block++) {
        std::memcpy(scales + block * STRIP_LANES + i, rows.row(i) + block * sizeof(float), sizeof(float));
      }
    }
  }

  /// A few blocks of the strips stay in the first cache while the rows pass by.
  void multiplyTiles(int64_t firstTile, int64_t lastTile, int64_t output, int outputs) {
    const int64_t firstRow = tiling_.first(firstTile), rows = tiling_.first(lastTile) - firstRow;
    std::memset(totals_, 0, rows * DOT_OUTPUTS * sizeof(float));
    for (int64_t block = 0; block < blocks_; block += CACHED_BLOCKS) {
      const DotWeights strips = {words_ + block * BLOCK_WORDS_OF_CODES * STRIP_LANES, scales_ + block * STRIP_LANES,
                                 stripWords(), stripScales()};
      const auto blocks = std::min(CACHED_BLOCKS, blocks_ - block);
      const auto totalsOf = [&](int64_t tile) { return totals_ + (tiling_.first(tile) - firstRow) * DOT_OUTPUTS; };
#if defined(DAYSIX_TILES)
      const auto tileOf = [&](int64_t tile) {
        return DotTile{dotBlock(product_, tiling_, tile, block), totalsOf(tile)};
      };
      int64_t tile = firstTile;
      for (; tile + 1 < lastTile; tile += 2) multiplyOnTiles<2>({tileOf(tile), tileOf(tile + 1)}, strips, blocks);
      if (tile < lastTile) multiplyOnTiles<1>({tileOf(tile)}, strips, blocks);
#else
      for (int64_t tile = firstTile; tile < lastTile; tile++) {
        withRows<DOT_ROWS>(tiling_.rowsOf(tile), [&](auto rows) {
          multiplyDots<rows>(totalsOf(tile), dotBlock(product_, tiling_, tile, block), strips, blocks);
        });
      }
#endif
    }
    for (int64_t row = 0; row < rows; row++) {
      for (int i = 0; i < outputs; i += WIDTH) {
        storeOutputs(product_, firstRow + row, output + i, load(totals_ + row * DOT_OUTPUTS + i),
                     std::min(WIDTH, outputs - i));
      }
    }
  }

  const Product& product_;
  const Weight& weight_;
  const Tiling tiling_;
  const int64_t blocks_, roundTiles_;
  uint32_t* words_;  // [strip][block][word][STRIP_LANES]
  float* scales_;    // [strip][block][STRIP_LANES]
  float* totals_;    // [row][DOT_OUTPUTS]
};

}  // namespace daysix::DAYSIX_ISA
