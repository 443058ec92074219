// Which arithmetic carries out a product: the vectors' or, where there are tiles, theirs.
#pragma once
#include "gemm/product-few.h"
#include "gemm/product-panel.h"
#if defined(DAYSIX_TILES)
#include "gemm/product-tile-few.h"
#include "gemm/product-tile-panel.h"
#endif

namespace daysix::DAYSIX_ISA {

struct ProductForm {
  /// Room for a packed row, in words.
  int64_t (*packedWords)(const Weight& weight);
  /// Tiles that rows are packed in, and the packing of one.
  int64_t (*tilesOf)(int64_t rows);
  void (*packTile)(const Product& product, int64_t tile);
  /// About what one output costs, in hundredths of a nanosecond: its weights from memory, then all rows' products.
  int64_t (*outputCost)(const Product& product);
  /// A task takes a multiple of so many outputs.
  int64_t taskOutputs;
  /// Outputs from up to to, of all rows.
  void (*multiply)(const Product& product, int64_t from, int64_t to, Scratch& scratch);
};

constexpr ProductForm ON_VECTORS = {
    .packedWords = [](const Weight& weight) { return roundUp(weight.columns, 64); },
    .tilesOf = [](int64_t rows) { return Tiling{rows}.count(); },
    .packTile = packTile,
    .outputCost = [](const Product& product) {
      const Weight& weight = *product.weight;
      return weight.columns * (5 * formatOf(weight.dtype).valueBytes + product.rows) + 1;
    },
    .taskOutputs = 32,
    .multiply = [](const Product& product, int64_t from, int64_t to, Scratch& scratch) {
      withFormat(product.weight->dtype, [&](auto format) {
        using Format = decltype(format);
        if (product.rows > FEW_ROWS) return multiplyPanels<Format>(product, from, to, scratch);
        withRows<FEW_ROWS>(static_cast<int>(product.rows),
                           [&](auto rows) { multiplyFew<Format, rows>(product, from, to, scratch); });
      });
    },
};

/// What carries out a single row, and more.
struct Forms {
  const ProductForm& one;
  const ProductForm& more;
};

#if defined(DAYSIX_TILES)

constexpr ProductForm ON_TILES = {
    // Whole lines, so that every product begins at one.
    .packedWords = [](const Weight& weight) { return roundUp(scaleColumns(weight) * BLOCK_WORDS, LINE_BYTES / 4); },
    .tilesOf = tilesOf,
    .packTile = packForTiles,
    .outputCost = [](const Product& product) {
      const Weight& weight = *product.weight;
      return weight.columns * (5 * formatOf(weight.dtype).valueBytes + 2 * tilesOf(product.rows)) + 1;
    },
    .taskOutputs = 2 * STRIP_OUTPUTS,
    .multiply = [](const Product& product, int64_t from, int64_t to, Scratch& scratch) {
      const UseTiles tiles;
      withTileFormat(product.weight->dtype, [&](auto format) {
        using Format = decltype(format);
        if (product.rows > FEW_TILE_ROWS) return multiplyPanelsOnTiles<Format>(product, from, to, scratch);
        if (product.rows > TILE_LINES) return multiplyFewOnTiles<Format, 2>(product, from, to);
        multiplyFewOnTiles<Format, 1>(product, from, to);
      });
    },
};

/// Tiles take BF16 values. The formats alone decide, so that a row's bits do not depend on the rows beside it; fast
/// decoding gives that up for single rows, which vectors multiply nearer to memory's speed.
template <bool FastDecode>
inline Forms formsOf(const InputRows& x, const Weight& weight) {
  if (!fitsTiles(weight.dtype, x.format, x.toBf16)) return {ON_VECTORS, ON_VECTORS};
  return {FastDecode ? ON_VECTORS : ON_TILES, ON_TILES};
}

#else

template <bool FastDecode>
inline Forms formsOf(const InputRows&, const Weight&) {
  return {ON_VECTORS, ON_VECTORS};
}

#endif

}  // namespace daysix::DAYSIX_ISA
