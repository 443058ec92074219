// Products of more INT8 rows: strips of weights, multiplied with tiles of rows.
#pragma once
#include <optional>

#include "gemm/product-integer.h"
#if defined(DAYSIX_TILES)
#include "gemm/product-integer-tile.h"
#endif

namespace daysix::DAYSIX_ISA {

/// Outputs in strips, two at a time. Weights that lie in rows are turned into memory that stays in the core's caches.
///
/// Of many rows, a tile's inputs stay in the first cache while a group of strips passes by, which the second keeps for the
/// next tile. Of a few rows, and on tiles, two strips stay while a round of inputs passes by.
class DotStrips {
 public:
  DotStrips(const Product& product, Scratch& scratch)
      : product_(product),
        weight_(*product.weight),
        tiling_{product.rows, DOT_ROWS},
        onVectors_(DOT_ROWS == REGISTER_ROWS || (tiling_.count() <= 2 && tiling_.rowsOf(0) <= REGISTER_ROWS)),
        blocks_(scaleColumns(weight_)),
        pairBytes_(DOT_STRIPS * stripBytes(weight_)) {
    const int64_t pairs = DOT_GROUP_BYTES / pairBytes_;
    const bool inputsStay = onVectors_ && tiling_.count() > 2 && pairs > 1;
    groupOutputs_ = (inputsStay ? pairs : 1) * DOT_OUTPUTS;
    roundTiles_ = inputsStay ? tiling_.count() : tilesOfRound();
    stepTiles_ = inputsStay ? 1 : roundTiles_;
    const int64_t turned = weight_.layout == WeightLayout::rows ? groupOutputs_ / DOT_OUTPUTS * pairBytes_ : 0;
    const int64_t totals = std::min(product.rows, stepTiles_ * DOT_ROWS) * groupOutputs_;
    turned_ = static_cast<uint8_t*>(scratch.reserve(turned + totals * sizeof(float)));
    totals_ = reinterpret_cast<float*>(turned_ + turned);
  }

  /// Outputs from up to to.
  void multiply(int64_t from, int64_t to) {
#if defined(DAYSIX_TILES)
    std::optional<UseTiles> tiles;
    if (!onVectors_) tiles.emplace();
#endif
    for (int64_t round = 0; round < tiling_.count(); round += roundTiles_) {
      const int64_t end = std::min(tiling_.count(), round + roundTiles_);
      for (int64_t output = from; output < to; output += groupOutputs_) {
        const Group group = groupOf(output, std::min(groupOutputs_, to - output));
        for (int64_t tile = round; tile < end; tile += stepTiles_) {
          const int64_t behind = tile + stepTiles_;
          const uint8_t* next = behind < end ? group.strips : group.strips + pairsOf(group) * pairBytes_;
          multiplyGroup(group, tile, std::min(end, behind), next);
        }
      }
    }
  }

 private:
  /// Outputs, and their strips one behind the other.
  struct Group {
    int64_t first, outputs;
    const uint8_t* strips;
  };

  static int64_t pairsOf(const Group& group) { return ceilDivide(group.outputs, DOT_OUTPUTS); }

  /// Blocks of inputs or strips that stay in the first cache, or near it.
  int64_t cachedBlocks() const { return onVectors_ ? 4 : 16; }
  int64_t tilesOfPass() const { return onVectors_ ? 1 : 2; }

  /// As few rounds as the cache allows, of nearly equal size, in pairs of tiles.
  int64_t tilesOfRound() const {
    const int64_t most = std::max<int64_t>(2, DOT_ROUND_BYTES / (dotRowBytes(weight_) * DOT_ROWS));
    return roundUp(ceilDivide(tiling_.count(), ceilDivide(tiling_.count(), most)), 2);
  }

  Group groupOf(int64_t first, int64_t outputs) {
    const int64_t row = product_.firstRow + first;
    if (weight_.layout == WeightLayout::strips) {
      return {first, outputs, weight_.data + row / STRIP_ROWS * stripBytes(weight_)};
    }
    for (int64_t done = 0; done < outputs; done += STRIP_LANES) {
      const int count = static_cast<int>(std::min<int64_t>(STRIP_LANES, outputs - done));
      turn(turned_ + done / STRIP_LANES * stripBytes(weight_), row + done, count);
    }
    return {first, outputs, turned_};
  }

  void turn(uint8_t* out, int64_t row, int count) const {
    const StripRows codes = {weight_.data + row * weight_.columns, weight_.columns, count};
    const StripRows scales = {weight_.scales + row * blocks_ * sizeof(float), blocks_ * 4, count};
    for (int64_t block = 0; block < blocks_; block++, out += stripBlockBytes(Dtype::i8)) {
      const int64_t from = block * SCALE_BLOCK, bytes = blockWidth(weight_.columns, from);
      turnStrip<0x01010101u * CODE_OFFSET>(reinterpret_cast<uint32_t*>(out), codes, from, bytes);
      auto* blockScales = reinterpret_cast<float*>(out + stripCodeBytes(Dtype::i8));
      if (!weight_.scales) std::fill_n(blockScales, STRIP_LANES, 1.0f);
      for (int i = 0; weight_.scales && i < STRIP_LANES; i++) {
        std::memcpy(blockScales + i, scales.row(i) + block * sizeof(float), sizeof(float));
      }
    }
  }

  /// Some tiles' rows, a few blocks at a time; `next` are the strips that follow.
  void multiplyGroup(const Group& group, int64_t firstTile, int64_t lastTile, const uint8_t* next) {
    const int64_t pairs = pairsOf(group), pairTotals = (tiling_.first(lastTile) - tiling_.first(firstTile)) * DOT_OUTPUTS;
    clear(totals_, pairs * pairTotals);
    for (int64_t block = 0; block < blocks_; block += cachedBlocks()) {
      const int64_t blocks = std::min(cachedBlocks(), blocks_ - block);
      const uint8_t* strips = group.strips + block * stripBlockBytes(Dtype::i8);
      const uint8_t* behind = block + blocks < blocks_ ? strips + blocks * stripBlockBytes(Dtype::i8) : next;
      for (int64_t pair = 0; pair < pairs; pair++, strips += pairBytes_) {
        // A strip without outputs repeats the last one.
        const bool hasSecond = group.outputs - pair * DOT_OUTPUTS > STRIP_LANES;
        multiplyTiles(firstTile, lastTile, {strips, hasSecond ? stripBytes(weight_) : 0}, block, blocks,
                      pair + 1 < pairs ? strips + pairBytes_ : behind, totals_ + pair * pairTotals);
      }
    }
    for (int64_t pair = 0; pair < pairs; pair++) {
      const int64_t done = pair * DOT_OUTPUTS, outputs = std::min<int64_t>(DOT_OUTPUTS, group.outputs - done);
      storeTotals(firstTile, lastTile, group.first + done, outputs, totals_ + pair * pairTotals);
    }
  }

  /// Each pass over the rows asks for a part of what follows, so that memory and arithmetic work at the same time.
  void multiplyTiles(int64_t firstTile, int64_t lastTile, const DotWeights& weights, int64_t block, int64_t blocks,
                     const uint8_t* behind, float* totals) {
    const int64_t firstRow = tiling_.first(firstTile), passes = ceilDivide(lastTile - firstTile, tilesOfPass());
    DotsAhead ahead = {behind, ceilDivide(STRIP_LANES * 4, passes)};
    for (int64_t tile = firstTile; tile < lastTile; tile += tilesOfPass(), ahead.first += blocks * BLOCK_LINES * ahead.step) {
      const auto tileOf = [&](int64_t tile) {
        return DotTile{dotBlock(product_, tiling_, tile, block), totals + (tiling_.first(tile) - firstRow) * DOT_OUTPUTS};
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

  void storeTotals(int64_t firstTile, int64_t lastTile, int64_t output, int64_t outputs, const float* totals) const {
    const int64_t firstRow = tiling_.first(firstTile);
    const auto storeRows = [&](auto count) {
      for (int64_t row = firstRow; row < tiling_.first(lastTile); row++) {
        storeOutputs(product_, row, output, totals + (row - firstRow) * DOT_OUTPUTS, count);
      }
    };
    outputs == DOT_OUTPUTS ? storeRows(Constant<DOT_OUTPUTS>()) : storeRows(outputs);
  }

  const Product& product_;
  const Weight& weight_;
  const Tiling tiling_;
  const bool onVectors_;  // a few rows' products are faster there, tiles or not
  const int64_t blocks_, pairBytes_;
  int64_t groupOutputs_, roundTiles_, stepTiles_;
  uint8_t* turned_;  // strips made of rows
  float* totals_;    // [pair of strips][row][DOT_OUTPUTS]
};

}  // namespace daysix::DAYSIX_ISA
