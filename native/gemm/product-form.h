// Which arithmetic carries out a product: the vectors' or, where there are tiles, theirs.
#pragma once
#include "gemm/product-chain-few.h"
#include "gemm/product-chain-panels.h"
#include "gemm/product-few.h"
#include "gemm/product-int4.h"
#include "gemm/product-integer-few.h"
#include "gemm/product-integer-strips.h"
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
    .packedWords = [](const Weight& weight) { return roundUp(weight.columns, WIDTH); },
    .tilesOf = [](int64_t rows) { return Tiling{rows}.count(); },
    .packTile = packTile,
    .outputCost = [](const Product& product) {
      const Weight& weight = *product.weight;
      return weight.columns * (5 * formatOf(weight.dtype).valueBytes + product.rows) + 1;
    },
    .taskOutputs = 32,
    .multiply = [](const Product& product, int64_t from, int64_t to, Scratch& scratch) {
      withDtype(product.weight->dtype, [&](auto dtype) {
        if (product.rows > FEW_ROWS) return multiplyPanels<dtype>(product, from, to, scratch);
        withRows<FEW_ROWS>(static_cast<int>(product.rows),
                           [&](auto rows) { multiplyFew<dtype, rows>(product, from, to, scratch); });
      });
    },
};

constexpr ProductForm ON_CHAIN = {
    .packedWords = [](const Weight& weight) { return chainPackedBytes(weight) / 4; },
    .tilesOf = [](int64_t rows) { return Tiling{rows, CHAIN_ROWS}.count(); },
    .packTile = packChainTile,
    .outputCost = ON_VECTORS.outputCost,
    .taskOutputs = 2 * CHAIN_OUTPUTS,
    .multiply = [](const Product& product, int64_t from, int64_t to, Scratch& scratch) {
      withChainDtype(product.weight->dtype, [&](auto dtype) {
#if defined(__AVX512F__)
        if (product.weight->layout == WeightLayout::strips) {
          if (product.rows <= MORE_CHAIN_ROWS) {
            return withRows<MORE_CHAIN_ROWS>(static_cast<int>(product.rows), [&](auto rows) {
              FewChains<dtype, WeightLayout::strips, rows>(product, scratch).multiply(from, to);
            });
          }
        } else if (product.rows <= FEW_CHAIN_ROWS) {
          return withRows<FEW_CHAIN_ROWS>(static_cast<int>(product.rows), [&](auto rows) {
            FewChains<dtype, WeightLayout::rows, rows>(product, scratch).multiply(from, to);
          });
        }
#endif
        ChainPanels<dtype>(product, scratch).multiply(from, to);
      });
    },
};

constexpr ProductForm ON_INTEGERS = {
    .packedWords = [](const Weight& weight) { return dotRowBytes(weight) / 4; },
    .tilesOf = [](int64_t rows) { return Tiling{rows, DOT_ROWS}.count(); },
    .packTile = packDotTile,
    .outputCost = ON_VECTORS.outputCost,
    .taskOutputs = 2 * STRIP_LANES,
    .multiply = [](const Product& product, int64_t from, int64_t to, Scratch& scratch) {
      if (product.weight->layout == WeightLayout::strips && product.rows <= FEW_DOT_ROWS) {
        return multiplyFewDots(product, from, to);
      }
#if defined(__AVX512VNNI__)
      if (product.rows <= FEW_DOT_ROWS) {
        return withRows<FEW_DOT_ROWS>(static_cast<int>(product.rows),
                                      [&](auto rows) { FewDotRows<rows>(product, scratch).multiply(from, to); });
      }
#endif
      DotStrips(product, scratch).multiply(from, to);
    },
};

constexpr ProductForm ON_INT4 = {
    .packedWords = [](const Weight& weight) { return int4RowBytes(weight) / 4; },
    .tilesOf = [](int64_t rows) { return Tiling{rows, INT4_ROWS}.count(); },
    .packTile = packInt4Tile,
    .outputCost = [](const Product& product) { return product.weight->columns * (5 + 2 * product.rows) / 2 + 1; },
    .taskOutputs = INT4_OUTPUTS,
    .multiply = [](const Product& product, int64_t from, int64_t to, Scratch& scratch) {
      withInt4Block(*product.weight,
                    [&](auto block) { Int4Products<decltype(block)>(product, scratch).multiply(from, to); });
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

#endif

/// BF16 values may be multiplied on tiles, whose bits are not the vectors'. Fast decoding leaves single rows to the
/// vectors, which multiply them nearer to memory's speed.
enum class TileUse { always, notForSingleRows, never };

/// The formats alone decide, so that a row's bits do not depend on the rows beside it; fast decoding gives that up.
template <TileUse Use>
inline Forms formsOf(const InputRows& x, const Weight& weight) {
  if (x.format == Dtype::i8 && weight.dtype == Dtype::i4) return {ON_INT4, ON_INT4};
  if (x.format == Dtype::i8) return {ON_INTEGERS, ON_INTEGERS};
  if (!fitsChain(weight.dtype, x.format, x.toBf16)) return {ON_VECTORS, ON_VECTORS};
#if defined(DAYSIX_TILES)
  if (hasTileFormat(weight.dtype) && weight.layout == WeightLayout::rows) {
    if constexpr (Use == TileUse::always) return {ON_TILES, ON_TILES};
    if constexpr (Use == TileUse::notForSingleRows) return {ON_CHAIN, ON_TILES};
  }
#endif
  return {ON_CHAIN, ON_CHAIN};
}

}  // namespace daysix::DAYSIX_ISA
