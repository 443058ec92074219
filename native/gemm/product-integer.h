// Products of INT8 rows with INT8 weights. Sums of a block of SCALE_BLOCK inputs are exact, in any order; they are promoted
// in ascending order of blocks, total = total + sum · (row's scale · weight's scale) with each result rounded, one chain
// for each output.
//
// Inputs are packed in tiles of up to DOT_ROWS rows, block by block: [row][SCALE_BLOCK] codes, the rows' scales, and the
// sums that they begin with. Strips of weights hold offset codes, [word][16 outputs].
#pragma once
#include "gemm/product.h"
#include "gemm/strip.h"
#include "simd/dots.h"

namespace daysix::DAYSIX_ISA {

#if defined(__AVX512VNNI__)
constexpr int DOT_ROWS = 12;
#else
constexpr int DOT_ROWS = 4;
#endif
constexpr int DOT_VECTORS = STRIP_LANES / DOT_LANES;
constexpr int BLOCK_WORDS_OF_CODES = SCALE_BLOCK / 4;
/// A row's bytes of a packed block: its codes, scale and first sum.
constexpr int64_t DOT_BLOCK_BYTES = SCALE_BLOCK + sizeof(float) + sizeof(int32_t);
/// Packed inputs that stay in the core's second cache while strips pass by.
constexpr int64_t DOT_ROUND_BYTES = 512 << 10;

/// A packed block of a tile of rows.
struct DotBlock {
  uint8_t* bytes;
  int rows;

  int8_t* codes(int row) const { return reinterpret_cast<int8_t*>(bytes) + row * SCALE_BLOCK; }
  float* scales() const { return reinterpret_cast<float*>(bytes + rows * SCALE_BLOCK); }
  int32_t* firstSums() const { return reinterpret_cast<int32_t*>(scales() + rows); }
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
    const int64_t from = block * SCALE_BLOCK, count = std::min<int64_t>(SCALE_BLOCK, columns - from);
    for (int row = 0; row < out.rows; row++) {
      int8_t* codes = out.codes(row);
      std::memcpy(codes, product.x.values + (first + row) * product.x.stride + from, count);
      std::memset(codes + count, 0, SCALE_BLOCK - count);
      int32_t sum = 0;
      for (int i = 0; i < SCALE_BLOCK; i++) sum += codes[i];
      out.scales()[row] = product.x.scales[(first + row) * blocks + block];
      out.firstSums()[row] = firstSum(sum);
    }
  }
}

/// All of a tile's rows times a strip: `words` [block][word][16], `scales` [block][16]; totals [row][16].
template <int Rows>
inline void multiplyDots(float* totals, const DotBlock& first, const uint32_t* words, const float* scales,
                         int64_t blocks) {
  Chains sums[Rows];
  each<Rows>([&](auto row) __attribute__((always_inline)) { sums[row] = splatChains(0.0f); });
  DotBlock x = first;
  for (int64_t block = 0; block < blocks; block++) {
    DotSums dots[Rows][DOT_VECTORS];
    each<Rows>([&](auto row) __attribute__((always_inline)) {
      each<DOT_VECTORS>([&](auto n) __attribute__((always_inline)) { dots[row][n] = splatSums(x.firstSums()[row]); });
    });
    const int8_t* codes = x.codes(0);
    for (int word = 0; word < BLOCK_WORDS_OF_CODES; word++) {
      each<DOT_VECTORS>([&](auto n) __attribute__((always_inline)) {
        const OffsetCodes weights = loadOffsetCodes(words + n * DOT_LANES);
        each<Rows>([&](auto row) __attribute__((always_inline)) {
          dots[row][n] = addDots(dots[row][n], weights, codes + row * SCALE_BLOCK);
        });
      });
      words += STRIP_LANES;
      codes += 4;
    }
    const Chains weightScales = loadChains(scales + block * STRIP_LANES);
    const float* rowScales = x.scales();
    each<Rows>([&](auto row) __attribute__((always_inline)) {
      sums[row] = sums[row] + toChains(dots[row]) * (splatChains(rowScales[row]) * weightScales);
    });
    x.bytes += Rows * DOT_BLOCK_BYTES;
  }
  each<Rows>([&](auto row) __attribute__((always_inline)) { storeChains(totals + row * STRIP_LANES, sums[row]); });
}

/// Strips of a product's outputs, each turned into memory that stays in the core's caches.
class DotStrips {
 public:
  DotStrips(const Product& product, Scratch& scratch)
      : product_(product),
        weight_(*product.weight),
        tiling_{product.rows, DOT_ROWS},
        blocks_(scaleColumns(weight_)),
        roundTiles_(std::max<int64_t>(1, DOT_ROUND_BYTES / (dotRowBytes(weight_) * DOT_ROWS))) {
    const int64_t words = blocks_ * BLOCK_WORDS_OF_CODES * STRIP_LANES, scales = roundUp(blocks_, 16) * STRIP_LANES;
    words_ = static_cast<uint32_t*>(scratch.reserve((words + scales) * sizeof(uint32_t)));
    scales_ = reinterpret_cast<float*>(words_ + words);
  }

  /// Outputs from up to to.
  void multiply(int64_t from, int64_t to) {
    for (int64_t tile = 0; tile < tiling_.count(); tile += roundTiles_) {
      for (int64_t output = from; output < to; output += STRIP_LANES) {
        const int outputs = static_cast<int>(std::min<int64_t>(STRIP_LANES, to - output));
        turn(output, outputs);
        for (int64_t i = tile; i < std::min(tiling_.count(), tile + roundTiles_); i++) multiplyTile(i, output, outputs);
      }
    }
  }

 private:
  void turn(int64_t output, int outputs) {
    const int64_t row = product_.firstRow + output;
    const auto rowsOf = [&](const uint8_t* data, int64_t rowBytes) {
      return StripRows{data + row * rowBytes, rowBytes, outputs};
    };
    turnStrip(words_, rowsOf(weight_.data, weight_.columns), 0, weight_.columns);
    offsetCodes(words_, blocks_ * BLOCK_WORDS_OF_CODES * STRIP_LANES);
    if (weight_.scales) {
      turnStrip(reinterpret_cast<uint32_t*>(scales_), rowsOf(weight_.scales, blocks_ * 4), 0, blocks_ * 4);
    } else {
      std::fill_n(scales_, blocks_ * STRIP_LANES, 1.0f);
    }
  }

  static void offsetCodes(uint32_t* words, int64_t count) {
    for (int64_t i = 0; i < count; i++) words[i] ^= 0x80808080u;
  }

  void multiplyTile(int64_t tile, int64_t output, int outputs) {
    alignas(64) float totals[DOT_ROWS * STRIP_LANES];
    const int rows = tiling_.rowsOf(tile);
    withRows<DOT_ROWS>(rows, [&](auto tileRows) {
      multiplyDots<tileRows>(totals, dotBlock(product_, tiling_, tile, 0), words_, scales_, blocks_);
    });
    for (int row = 0; row < rows; row++) {
      for (int i = 0; i < outputs; i += WIDTH) {
        storeOutputs(product_, tiling_.first(tile) + row, output + i, load(totals + row * STRIP_LANES + i),
                     std::min(WIDTH, outputs - i));
      }
    }
  }

  const Product& product_;
  const Weight& weight_;
  const Tiling tiling_;
  const int64_t blocks_, roundTiles_;
  uint32_t* words_;  // [block][word][STRIP_LANES]
  float* scales_;    // [block][STRIP_LANES]
};

}  // namespace daysix::DAYSIX_ISA
