// Blocks of INT8 products on tiles: 16 rows are a tile's lines, a strip's words the other's. Sums are exact, so that they
// are the vectors'.
#pragma once
#include "gemm/product-integer.h"
#include "simd/tile.h"

namespace daysix::DAYSIX_ISA {

/// Block sums on their way into totals. They are promoted one block late: reading them back at once would mean waiting
/// for the tiles.
template <int RowTiles>
class DotPromotion {
 public:
  static constexpr int TILES = RowTiles * DOT_STRIPS;

  int32_t* sums(int64_t block) { return sums_[block % 2]; }

  void promote(const DotTile (&tiles)[RowTiles], const DotWeights& strips, int64_t block) {
    for (int i = 0; i < RowTiles; i++) {
      const DotBlock x = {tiles[i].first.bytes + block * tiles[i].first.rows * DOT_BLOCK_BYTES, tiles[i].first.rows};
      const int32_t* sums = sums_[block % 2] + i * DOT_STRIPS * TILE_LINES * TILE_LINES;
      const Chains scales[] = {loadChains(strips.scales(0, block)), loadChains(strips.scales(1, block))};
      if (x.rows == TILE_LINES) {
        promoteRows(tiles[i].totals, sums, x, scales, Constant<TILE_LINES>());
      } else {
        promoteRows(tiles[i].totals, sums, x, scales, x.rows);
      }
    }
  }

 private:
  template <typename Rows>
  static DAYSIX_INLINE void promoteRows(float* totals, const int32_t* sums, const DotBlock& x,
                                        const Chains (&weightScales)[DOT_STRIPS], Rows rows) {
    for (int row = 0; row < rows; row++) {
      const Chains rowScale = splatChains(x.scales()[row]);
      const __m512i first = _mm512_set1_epi32(x.firstSums()[row]);
      each<DOT_STRIPS>([&](auto strip) __attribute__((always_inline)) {
        float* total = totals + row * DOT_OUTPUTS + strip * STRIP_LANES;
        const int32_t* line = sums + (strip * TILE_LINES + row) * TILE_LINES;
        const Chains sum = {_mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_load_si512(line), first))};
        storeChains(total, loadChains(total) + sum * (rowScale * weightScales[strip]));
      });
    }
  }

  alignas(64) int32_t sums_[2][TILES * TILE_LINES * TILE_LINES];
};

/// Adds some blocks of strips times the rows of one tile or two.
template <int RowTiles>
inline void multiplyOnTiles(const DotTile (&tiles)[RowTiles], const DotWeights& strips, int64_t blocks, const DotsAhead& ahead) {
  DotPromotion<RowTiles> promotion;
  for (int64_t block = 0; block < blocks; block++) {
    const int64_t asked = BLOCK_LINES * ahead.step;
    for (int64_t byte = block * asked; byte < (block + 1) * asked; byte += LINE_BYTES) {
      __builtin_prefetch(ahead.first + byte);
      __builtin_prefetch(ahead.first + strips.stride + byte);
    }
    tileZero<0>();
    tileZero<1>();
    if constexpr (RowTiles == 2) {
      tileZero<2>();
      tileZero<3>();
    }
    const auto codes = [&](int i) {
      return tiles[i].first.bytes + block * tiles[i].first.rows * DOT_BLOCK_BYTES;
    };
#pragma GCC unroll 2
    for (int piece = 0; piece < SCALE_BLOCK / LINE_BYTES; piece++) {
      tileLoad<6>(strips.words(0, block) + piece * TILE_LINES * STRIP_LANES, LINE_BYTES);
      tileLoad<7>(strips.words(1, block) + piece * TILE_LINES * STRIP_LANES, LINE_BYTES);
      tileLoad<4>(codes(0) + piece * LINE_BYTES, SCALE_BLOCK);
      tileMultiplyCodes<0, 4, 6>();
      tileMultiplyCodes<1, 4, 7>();
      if constexpr (RowTiles == 2) {
        tileLoad<5>(codes(1) + piece * LINE_BYTES, SCALE_BLOCK);
        tileMultiplyCodes<2, 5, 6>();
        tileMultiplyCodes<3, 5, 7>();
      }
    }
    if (block > 0) promotion.promote(tiles, strips, block - 1);
    int32_t* sums = promotion.sums(block);
    tileStore<0>(sums, LINE_BYTES);
    tileStore<1>(sums + TILE_BYTES / 4, LINE_BYTES);
    if constexpr (RowTiles == 2) {
      tileStore<2>(sums + 2 * TILE_BYTES / 4, LINE_BYTES);
      tileStore<3>(sums + 3 * TILE_BYTES / 4, LINE_BYTES);
    }
  }
  promotion.promote(tiles, strips, blocks - 1);
}

}  // namespace daysix::DAYSIX_ISA
