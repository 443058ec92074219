// Products of INT8 rows with INT8 weights. Sums of a block of SCALE_BLOCK inputs are exact, in any order; they are promoted
// in ascending order of blocks, total = total + sum · (row's scale · weight's scale) with each result rounded, one chain
// for each output.
//
// Inputs are packed in tiles of up to DOT_ROWS rows, block by block: [row][SCALE_BLOCK] codes, the rows' scales, and the
// sums that they begin with.
#pragma once
#include "gemm/product.h"
#include "gemm/strip.h"
#include "simd/dots.h"

namespace daysix::DAYSIX_ISA {

/// Rows and strips whose sums fit the registers together; rows of a tile.
#if defined(__AVX512VNNI__)
constexpr int REGISTER_ROWS = 12, DOT_STRIPS = 2;
#else
constexpr int REGISTER_ROWS = 4, DOT_STRIPS = 1;
#endif
#if defined(DAYSIX_TILES)
constexpr int DOT_ROWS = 16;
#else
constexpr int DOT_ROWS = REGISTER_ROWS;
#endif
constexpr int DOT_OUTPUTS = DOT_STRIPS * STRIP_LANES;
constexpr int VECTORS_OF_STRIP = STRIP_LANES / DOT_LANES;
/// A row's bytes of a packed block: its codes, scale and first sum.
constexpr int64_t DOT_BLOCK_BYTES = SCALE_BLOCK + sizeof(float) + sizeof(int32_t);
/// Packed inputs that stay in the core's second cache while strips pass by.
constexpr int64_t DOT_ROUND_BYTES = DOT_ROWS == 16 ? 5 << 18 : 1 << 20;
/// Strips that stay there while tiles of rows pass by.
constexpr int64_t DOT_GROUP_BYTES = 1 << 19;

/// A packed block of a tile of rows.
struct DotBlock {
  uint8_t* bytes;
  int rows;

  int8_t* codes(int row) const { return reinterpret_cast<int8_t*>(bytes) + row * SCALE_BLOCK; }
  float* scales() const { return reinterpret_cast<float*>(bytes + rows * SCALE_BLOCK); }
  int32_t* firstSums() const { return reinterpret_cast<int32_t*>(scales() + rows); }
};

/// A tile of rows from some block on, and where its totals are: [row][DOT_OUTPUTS].
struct DotTile {
  DotBlock first;
  float* totals;
};

inline int64_t dotRowBytes(const Weight& weight) { return scaleColumns(weight) * DOT_BLOCK_BYTES; }

inline DotBlock dotBlock(const Product& product, const Tiling& tiling, int64_t tile, int64_t block) {
  const int rows = tiling.rowsOf(tile);
  const int64_t before = tiling.first(tile) * dotRowBytes(*product.weight) + block * rows * DOT_BLOCK_BYTES;
  return {reinterpret_cast<uint8_t*>(product.packed) + before, rows};
}

inline void packDotTile(const Product& product, int64_t tile) {
  const Tiling tiling{product.rows, DOT_ROWS};
  const int64_t columns = product.weight->columns, blocks = scaleColumns(*product.weight), first = tiling.first(tile);
  for (int64_t block = 0; block < blocks; block++) {
    const DotBlock out = dotBlock(product, tiling, tile, block);
    const int64_t from = block * SCALE_BLOCK, count = blockWidth(columns, from);
    for (int row = 0; row < out.rows; row++) {
      int8_t* codes = out.codes(row);
      const uint8_t* x = product.x.values + (first + row) * product.x.stride + from;
      if (count == SCALE_BLOCK) {
        std::memcpy(codes, x, SCALE_BLOCK);
      } else {
        std::fill(std::copy_n(x, count, codes), codes + SCALE_BLOCK, 0);
      }
      out.scales()[row] = product.x.scales[(first + row) * blocks + block];
      out.firstSums()[row] = firstSum(codes);
    }
  }
}

/// Some blocks of strips, `stride` bytes from one strip to the next.
struct DotWeights {
  const uint8_t* first;
  int64_t stride;

  const uint32_t* words(int strip, int64_t block) const {
    return reinterpret_cast<const uint32_t*>(first + strip * stride + block * stripBlockBytes(Dtype::i8));
  }
  const float* scales(int strip, int64_t block) const {
    return reinterpret_cast<const float*>(words(strip, block) + stripWords(Dtype::i8) * STRIP_LANES);
  }
};

/// Lines of a strip's block: its words, then its scales.
constexpr int64_t BLOCK_LINES = stripBlockBytes(Dtype::i8) / (STRIP_LANES * 4);

/// What is asked for of each strip meanwhile: `step` bytes more with each line that is multiplied.
struct DotsAhead {
  const uint8_t* first;
  int64_t step;
};

/// Adds a block's sums to totals, times the rows' scales and the strips'.
template <int Rows, int Strips>
DAYSIX_INLINE void promote(float* totals, const DotSums (&dots)[Rows][Strips * VECTORS_OF_STRIP], const float* rowScales,
                           const DotWeights& weights, int64_t block) {
  Chains weightScales[Strips];
  each<Strips>([&](auto strip) __attribute__((always_inline)) {
    weightScales[strip] = loadChains(weights.scales(strip, block));
  });
  each<Rows>([&](auto row) __attribute__((always_inline)) {
    const Chains rowScale = splatChains(rowScales[row]);
    each<Strips>([&](auto strip) __attribute__((always_inline)) {
      float* total = totals + row * DOT_OUTPUTS + strip * STRIP_LANES;
      const Chains sums = toChains(dots[row] + strip * VECTORS_OF_STRIP);
      storeChains(total, loadChains(total) + sums * (rowScale * weightScales[strip]));
    });
    // One row after the other: products of all rows at once would not fit the registers.
    asm volatile("" ::: "memory");
  });
}

/// Adds some blocks of strips times a tile's rows.
template <int Rows, int Strips>
inline void multiplyDots(const DotTile& tile, const DotWeights& weights, int64_t blocks, DotsAhead ahead) {
  constexpr int VECTORS = Strips * VECTORS_OF_STRIP;
  for (int64_t block = 0; block < blocks; block++) {
    // With a constant number of rows, whatever is read of them is a constant away.
    const DotBlock x = {tile.first.bytes + block * Rows * DOT_BLOCK_BYTES, Rows};
    DotSums dots[Rows][VECTORS];
    each<Rows>([&](auto row) __attribute__((always_inline)) {
      each<VECTORS>([&](auto n) __attribute__((always_inline)) { dots[row][n] = splatSums(x.firstSums()[row]); });
    });
    const int8_t* codes = x.codes(0);
    const uint32_t* words = weights.words(0, block);
    for (int word = 0; word < stripWords(Dtype::i8); word++) {
      OffsetCodes strips[VECTORS];
      each<VECTORS>([&](auto n) __attribute__((always_inline)) {
        const uint32_t* at = words + n / VECTORS_OF_STRIP * (weights.stride / 4) + n % VECTORS_OF_STRIP * DOT_LANES;
        if (n % VECTORS_OF_STRIP == 0) __builtin_prefetch(ahead.first + n / VECTORS_OF_STRIP * weights.stride);
        strips[n] = loadOffsetCodes(at);
      });
      each<Rows>([&](auto row) __attribute__((always_inline)) {
        const FourValues values = splatFour(codes + row * SCALE_BLOCK);
        each<VECTORS>([&](auto n) __attribute__((always_inline)) {
          dots[row][n] = addDots(dots[row][n], strips[n], values);
        });
      });
      words += STRIP_LANES;
      codes += 4;
      ahead.first += ahead.step;
    }
    ahead.first += ahead.step;  // the scales
    promote<Rows, Strips>(tile.totals, dots, x.scales(), weights, block);
  }
}

}  // namespace daysix::DAYSIX_ISA
