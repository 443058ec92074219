// Products of more INT8 rows: strips of weights, multiplied with tiles of rows.
#pragma once
#include <optional>

#include "gemm/product-integer.h"
#if defined(DAYSIX_TILES)
#include "gemm/product-integer-tile.h"
#endif

namespace daysix::DAYSIX_ISA {

/// Outputs in strips, two at a time; weights that lie in rows are turned into memory that stays in the core's caches.
class DotStrips {
 public:
  DotStrips(const Product& product, Scratch& scratch)
      : product_(product),
        weight_(*product.weight),
        tiling_{product.rows, DOT_ROWS},
        onVectors_(DOT_ROWS == REGISTER_ROWS || (tiling_.count() <= 2 && tiling_.rowsOf(0) <= REGISTER_ROWS)),
        blocks_(scaleColumns(weight_)),
        roundTiles_(tilesOfRound()) {
    const int64_t turned = weight_.layout == WeightLayout::rows ? DOT_STRIPS * stripBytes(weight_) : 0;
    const int64_t totals = std::min(product.rows, roundTiles_ * DOT_ROWS) * DOT_OUTPUTS;
    turned_ = static_cast<uint8_t*>(scratch.reserve(turned + totals * sizeof(float)));
    totals_ = reinterpret_cast<float*>(turned_ + turned);
  }

  /// Outputs from up to to.
  void multiply(int64_t from, int64_t to) {
#if defined(DAYSIX_TILES)
    std::optional<UseTiles> tiles;
    if (!onVectors_) tiles.emplace();
#endif
    for (int64_t tile = 0; tile < tiling_.count(); tile += roundTiles_) {
      for (int64_t output = from; output < to; output += DOT_OUTPUTS) {
        const int outputs = static_cast<int>(std::min<int64_t>(DOT_OUTPUTS, to - output));
        multiplyTiles(tile, std::min(tiling_.count(), tile + roundTiles_), stripsOf(output, outputs), output, outputs);
      }
    }
  }

 private:
  /// Blocks of strips that stay in the first cache, or near it.
  int64_t cachedBlocks() const { return onVectors_ ? 4 : 16; }
  int64_t tilesOfPass() const { return onVectors_ ? 1 : 2; }

  /// The blocks behind those from `block` on, or the next strips. Each pass over the rows asks for a part of them, so that
  /// memory and arithmetic work at the same time.
  const uint8_t* following(const DotWeights& strips, int64_t block) const {
    const int64_t next = block + cachedBlocks();
    return strips.first + (next < blocks_ ? next * stripBlockBytes(Dtype::i8) : DOT_STRIPS * stripBytes(weight_));
  }

  /// As few rounds as the cache allows, of nearly equal size, in pairs of tiles.
  int64_t tilesOfRound() const {
    const int64_t most = std::max<int64_t>(2, DOT_ROUND_BYTES / (dotRowBytes(weight_) * DOT_ROWS));
    return roundUp(ceilDivide(tiling_.count(), ceilDivide(tiling_.count(), most)), 2);
  }

  /// A strip without outputs repeats the last one.
  DotWeights stripsOf(int64_t output, int outputs) {
    const int64_t stride = outputs > STRIP_LANES ? stripBytes(weight_) : 0;
    const int64_t row = product_.firstRow + output;
    if (weight_.layout == WeightLayout::strips) return {weight_.data + row / STRIP_ROWS * stripBytes(weight_), stride};
    for (int done = 0; done < outputs; done += STRIP_LANES) {
      turn(turned_ + done / STRIP_LANES * stride, row + done, std::min(STRIP_LANES, outputs - done));
    }
    return {turned_, stride};
  }

  void turn(uint8_t* out, int64_t row, int count) const {
    const StripRows codes = {weight_.data + row * weight_.columns, weight_.columns, count};
    const StripRows scales = {weight_.scales + row * blocks_ * sizeof(float), blocks_ * 4, count};
    for (int64_t block = 0; block < blocks_; block++, out += stripBlockBytes(Dtype::i8)) {
      const int64_t from = block * SCALE_BLOCK, bytes = std::min<int64_t>(SCALE_BLOCK, weight_.columns - from);
      turnStrip<0x01010101u * CODE_OFFSET>(reinterpret_cast<uint32_t*>(out), codes, from, bytes);
      auto* blockScales = reinterpret_cast<float*>(out + stripCodeBytes(Dtype::i8));
      if (!weight_.scales) std::fill_n(blockScales, STRIP_LANES, 1.0f);
      for (int i = 0; weight_.scales && i < STRIP_LANES; i++) {
        std::memcpy(blockScales + i, scales.row(i) + block * sizeof(float), sizeof(float));
      }
    }
  }

  /// A few blocks of the strips stay in the first cache while the rows pass by.
  void multiplyTiles(int64_t firstTile, int64_t lastTile, const DotWeights& strips, int64_t output, int outputs) {
    const int64_t firstRow = tiling_.first(firstTile), rows = tiling_.first(lastTile) - firstRow;
    const int64_t passes = ceilDivide(lastTile - firstTile, tilesOfPass());
    clear(totals_, rows * DOT_OUTPUTS);
    for (int64_t block = 0; block < blocks_; block += cachedBlocks()) {
      const DotWeights weights = {strips.first + block * stripBlockBytes(Dtype::i8), strips.stride};
      const auto blocks = std::min(cachedBlocks(), blocks_ - block);
      DotsAhead ahead = {following(strips, block), ceilDivide(STRIP_LANES * 4, passes)};
      for (int64_t tile = firstTile; tile < lastTile; tile += tilesOfPass(), ahead.first += blocks * BLOCK_LINES * ahead.step) {
        const auto tileOf = [&](int64_t tile) {
          return DotTile{dotBlock(product_, tiling_, tile, block), totals_ + (tiling_.first(tile) - firstRow) * DOT_OUTPUTS};
        };
        if (onVectors_) {
          withRows<REGISTER_ROWS>(tiling_.rowsOf(tile), [&](auto rows) {
            multiplyDots<rows, DOT_STRIPS>(tileOf(tile), weights, blocks, ahead);
          });
          continue;
        }
#if defined(DAYSIX_TILES)
        if (tile + 1 < lastTile) {
          multiplyOnTiles<2>({tileOf(tile), tileOf(tile + 1)}, weights, blocks, ahead);
        } else {
          multiplyOnTiles<1>({tileOf(tile)}, weights, blocks, ahead);
        }
#endif
      }
    }
    const auto storeRows = [&](auto count) {
      for (int64_t row = 0; row < rows; row++) {
        storeOutputs(product_, firstRow + row, output, totals_ + row * DOT_OUTPUTS, count);
      }
    };
    outputs == DOT_OUTPUTS ? storeRows(Constant<DOT_OUTPUTS>()) : storeRows(outputs);
  }

  const Product& product_;
  const Weight& weight_;
  const Tiling tiling_;
  const bool onVectors_;  // a few rows' products are faster there, tiles or not
  const int64_t blocks_, roundTiles_;
  uint8_t* turned_;  // strips made of rows
  float* totals_;    // [row][DOT_OUTPUTS]
};

}  // namespace daysix::DAYSIX_ISA
