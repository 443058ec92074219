// Products of more rows on the BF16 chain: weights are decoded into memory that stays in the core's second cache, and tiles
// of rows, which stay in the first, pass by.
#pragma once
#include "gemm/product-chain.h"

namespace daysix::DAYSIX_ISA {

/// Panels and blocks that are decoded together: one that stays in the first cache where few tiles pass by, or as many as
/// the second holds, so that tiles of many rows stay in the first.
struct ChainRound {
  int panels;
  int64_t blocks;
};
constexpr ChainRound SMALL_ROUND = {1, 1}, LARGE_ROUND = {4, 4};
constexpr int64_t SMALL_ROUND_ROWS = 8 * CHAIN_ROWS;
/// Rows whose totals stay in the second cache beside a round's weights.
constexpr int64_t CHAIN_ROUND_ROWS = 576;

/// Outputs of a product with weights of dtype D. Rows that are not packed yet are packed on the way.
template <Dtype D>
class ChainPanels {
 public:
  ChainPanels(const Product& product, Scratch& scratch)
      : product_(product),
        weight_(*product.weight),
        tiling_{product.rows, CHAIN_ROWS},
        round_(product.packed && product.rows <= SMALL_ROUND_ROWS ? SMALL_ROUND : LARGE_ROUND),
        roundOutputs_(round_.panels * CHAIN_OUTPUTS),
        blocks_(scaleColumns(weight_)),
        rowBytes_(chainPackedBytes(weight_)) {
    const int64_t pairs = std::min(blocks_, round_.blocks) * round_.panels * PANEL_PAIRS * sizeof(Pairs);
    const int64_t words = stripWords(D) * STRIP_LANES * 4;
    const int64_t packed = product.packed ? 0 : CHAIN_ROWS * rowBytes_;
    const int64_t totals = std::min(product.rows, CHAIN_ROUND_ROWS) * roundOutputs_ * sizeof(float);
    const int64_t weightScales = blocks_ * roundOutputs_ * sizeof(float);
    const int64_t rowScales = product.rows * blocks_ * sizeof(float);
    auto* memory = static_cast<uint8_t*>(scratch.reserve(pairs + words + packed + totals + weightScales + rowScales));
    pairs_ = reinterpret_cast<Pairs*>(memory);
    words_ = reinterpret_cast<uint32_t*>(memory += pairs);
    own_ = memory += words;
    totals_ = reinterpret_cast<float*>(memory += packed);
    weightScales_ = reinterpret_cast<float*>(memory += totals);
    rowScales_ = reinterpret_cast<float*>(memory += weightScales);
    tableRowScales();
  }

  /// Outputs from up to to.
  void multiply(int64_t from, int64_t to) {
    for (int64_t output = from; output < to; output += roundOutputs_) {
      outputs_ = {output, std::min(to, output + roundOutputs_)};
      forPanels([&](const Panel& panel) {
        tableWeightScales(scalesOf(panel, 0), product_, panel.output, panel.outputs, CHAIN_OUTPUTS);
      });
      constexpr int64_t TILES = CHAIN_ROUND_ROWS / CHAIN_ROWS;
      for (int64_t tile = 0; tile < tiling_.count(); tile += TILES) {
        multiplyTiles({tile, std::min(tiling_.count(), tile + TILES)});
      }
    }
  }

 private:
  static constexpr int PANEL_PAIRS = PAIRS_OF_BLOCK * CHAIN_STRIPS;
  struct Range {
    int64_t from, to;
  };
  struct Panel {
    int number, outputs;
    int64_t output;
  };

  /// [tile][block][row]
  void tableRowScales() {
    float* out = rowScales_;
    forTiles({0, tiling_.count()}, [&](int64_t first, int rows) {
      const float* scales = product_.x.scales + first * blocks_;
      for (int64_t block = 0; block < blocks_; block++) {
        for (int row = 0; row < rows; row++) *out++ = product_.x.scales ? scales[row * blocks_ + block] : 1.0f;
      }
    });
  }

  template <typename Run>
  void forPanels(Run&& run) const {
    Panel panel = {0, 0, outputs_.from};
    for (; panel.output < outputs_.to; panel.output += CHAIN_OUTPUTS, panel.number++) {
      panel.outputs = static_cast<int>(std::min<int64_t>(CHAIN_OUTPUTS, outputs_.to - panel.output));
      run(panel);
    }
  }

  /// Calls run(first row, rows) for tiles.
  template <typename Run>
  void forTiles(const Range& tiles, Run&& run) const {
    for (int64_t tile = tiles.from; tile < tiles.to; tile++) run(tiling_.first(tile), tiling_.rowsOf(tile));
  }

  void multiplyTiles(const Range& tiles) {
    const int64_t firstRow = tiling_.first(tiles.from), rows = tiling_.first(tiles.to) - firstRow;
    std::memset(totals_, 0, rows * roundOutputs_ * sizeof(float));
    for (int64_t from = 0; from < blocks_; from += round_.blocks) {
      const Range blocks = {from, std::min(blocks_, from + round_.blocks)};
      forPanels([&](const Panel& panel) {
        for (int64_t block = from; block < blocks.to; block++) decode(pairsOf(panel, block - from), panel, block);
      });
      forTiles(tiles, [&](int64_t row, int count) {
        float* totals = totals_ + (row - firstRow) * roundOutputs_;
        withRows<CHAIN_ROWS>(count, [&](auto tileRows) { multiplyTile<tileRows>(totals, row, blocks); });
        if (blocks.to == blocks_) storeTile(totals, row, count);
      });
    }
  }

  /// totals is [panel][row][CHAIN_OUTPUTS].
  template <int Rows>
  void multiplyTile(float* totals, int64_t row, const Range& blocks) {
    const uint8_t* x = packedRows(row, Rows) + blocks.from * Rows * SCALE_BLOCK * PACKED_BYTES;
    const float* rowScales = rowScales_ + row * blocks_ + blocks.from * Rows;
    for (int64_t block = blocks.from; block < blocks.to; block++) {
      const int pairs = (inputsOf(block) + 1) / 2;
      forPanels([&](const Panel& panel) {
        multiplyChains<Rows>(totals + panel.number * Rows * CHAIN_OUTPUTS, reinterpret_cast<const PackedPair*>(x),
                             pairsOf(panel, block - blocks.from), pairs, rowScales, scalesOf(panel, block));
      });
      x += Rows * SCALE_BLOCK * PACKED_BYTES;
      rowScales += Rows;
    }
  }

  const uint8_t* packedRows(int64_t row, int rows) const {
    if (product_.packed) return reinterpret_cast<const uint8_t*>(product_.packed) + row * rowBytes_;
    packChainRows(own_, product_, row, rows);
    return own_;
  }

  void storeTile(const float* totals, int64_t firstRow, int rows) const {
    for (int row = 0; row < rows; row++) {
      forPanels([&](const Panel& panel) {
        const float* values = totals + (panel.number * rows + row) * CHAIN_OUTPUTS;
        storeOutputs(product_, firstRow + row, panel.output, values, panel.outputs);
      });
    }
  }

  Pairs* pairsOf(const Panel& panel, int64_t block) const {
    return pairs_ + (block * round_.panels + panel.number) * PANEL_PAIRS;
  }
  float* scalesOf(const Panel& panel, int64_t block) const {
    return weightScales_ + (panel.number * blocks_ + block) * CHAIN_OUTPUTS;
  }
  int inputsOf(int64_t block) const {
    return blockWidth(weight_.columns, block * SCALE_BLOCK);
  }

  void decode(Pairs* pairs, const Panel& panel, int64_t block) {
    using Decoder = ChainDecoder<D>;
    const int count = static_cast<int>(ceilDivide(inputsOf(block) * formatOf(D).valueBytes, 4));
    for (int n = 0; n < CHAIN_STRIPS; n++) {
      const uint32_t* words = chainWords<D>(product_, panel.output, n, panel.outputs, block, words_);
      for (int i = 0; i < count; i++) {
        // The next block is fetched while rows are multiplied with this one.
        __builtin_prefetch(words + (stripWords(D) + i) * STRIP_LANES);
        Decoder::decode(pairs + n + i * Decoder::PAIRS * CHAIN_STRIPS, CHAIN_STRIPS, words + i * STRIP_LANES);
      }
    }
  }

  const Product& product_;
  const Weight& weight_;
  const Tiling tiling_;
  const ChainRound round_;
  const int64_t roundOutputs_, blocks_, rowBytes_;
  Range outputs_ = {};
  Pairs* pairs_;         // [block][panel][pair][strip]
  uint32_t* words_;      // [word][STRIP_LANES]
  uint8_t* own_;         // a tile of rows that are not packed, [block][row][SCALE_BLOCK]
  float* totals_;        // [tile][panel][row][CHAIN_OUTPUTS]
  float* weightScales_;  // [panel][block][CHAIN_OUTPUTS]
  float* rowScales_;     // [tile][block][row]
};

}  // namespace daysix::DAYSIX_ISA
