// Products on AMX's tiles: FP8 and BF16 weights with inputs that are BF16 values, for any number of rows.
//
// Weight rows are the lines of a tile register, 16 input rows its columns. The sums over a block of SCALE_BLOCK inputs
// start at zero, are taken in steps of 32 inputs, and a fused multiply with the block's scale promotes them into float32
// totals. Few rows and panels keep this one order, so that a row's bits do not depend on the rows beside it.
//
// Inputs are packed in tiles of up to 16 rows: of each block [pair of inputs][row], then the rows' scales. A register
// takes 16 columns of whatever number of rows; what it reads past the last row is multiplied in vain.
#pragma once
#include "gemm/product.h"
#include "gemm/weight-format-avx512.h"
#include "simd/tile.h"

namespace daysix::DAYSIX_ISA {

/// Steps of a block, each of as many inputs as a tile's line holds.
constexpr int BLOCK_STEPS = SCALE_BLOCK / LINE_VALUES;
constexpr int BLOCK_PAIRS = SCALE_BLOCK / 2;
/// A row's words of a packed block: its pairs and its scale.
constexpr int64_t BLOCK_WORDS = BLOCK_PAIRS + 1;
/// Weight rows multiplied together, in two tiles, and a block of their weights: [step][tile][line][LINE_VALUES] BF16.
constexpr int STRIP_OUTPUTS = 2 * TILE_LINES;
constexpr int64_t STRIP_STEP_BYTES = 2 * TILE_BYTES;
constexpr int64_t STRIP_BYTES = BLOCK_STEPS * STRIP_STEP_BYTES;
/// Sums of a strip and `Tiles` tiles of rows: [tile of weight rows][tile of rows][weight row][row].
template <int Tiles>
constexpr int SUMS = 2 * Tiles * TILE_LINES * TILE_LINES;

/// A block of packed rows, or any pairs that lie like them.
struct PackedBlock {
  float* words;
  int64_t rows;

  float* step(int i) const { return words + i * TILE_LINES * rows; }
  float* scales() const { return words + BLOCK_PAIRS * rows; }
  int64_t stride() const { return rows * static_cast<int64_t>(sizeof(float)); }
};

inline int64_t tilesOf(int64_t rows) { return ceilDivide(rows, TILE_LINES); }

inline PackedBlock packedBlock(const Product& product, int64_t tile, int64_t block) {
  const int64_t first = tile * TILE_LINES, rows = std::min<int64_t>(TILE_LINES, product.rows - first);
  const int64_t before = first * scaleColumns(*product.weight) + block * rows;
  return {product.packed + before * BLOCK_WORDS, rows};
}

/// 32 inputs as pairs of BF16, of which `left` remain in the row; zeros behind.
template <Dtype D>
inline __m512i loadPairs(const uint8_t* x, int64_t left) {
  if constexpr (D == Dtype::bf16) {
    using Codes = WeightFormat<Dtype::bf16>;
    if (left >= LINE_VALUES) return Codes::load(x);
    return left > 0 ? Codes::load(x, static_cast<int>(left)) : _mm512_setzero_si512();
  }
  const auto half = [&](int from) {
    const uint8_t* codes = x + from * formatOf(D).valueBytes;
    const auto count = static_cast<int>(std::clamp<int64_t>(left - from, 0, WIDTH));
    return toBf16(count == WIDTH ? loadCodes<D>(codes) : count ? loadCodes<D>(codes, count) : splat(0.0f));
  };
  return _mm512_inserti64x4(_mm512_castsi256_si512(half(0)), half(WIDTH), 1);
}

template <class Format, Dtype D>
inline void packBlock(const Product& product, int64_t tile, int64_t block) {
  const PackedBlock out = packedBlock(product, tile, block);
  const InputRows& x = product.x;
  const int64_t k = block * SCALE_BLOCK, left = product.weight->columns - k;
  Vec lines[BLOCK_STEPS][TILE_LINES] = {};
  for (int64_t row = 0; row < out.rows; row++) {
    const int64_t at = tile * TILE_LINES + row;
    const uint8_t* codes = x.values + (at * x.stride + k) * formatOf(D).valueBytes;
    __m512i pairs[BLOCK_STEPS];
    for (int i = 0; i < BLOCK_STEPS; i++) {
      pairs[i] = loadPairs<D>(codes + i * LINE_VALUES * formatOf(D).valueBytes, left - i * LINE_VALUES);
    }
    for (int i = 0; i < BLOCK_STEPS; i += Format::PAIRS) Format::arrangePairs(pairs + i);
    for (int i = 0; i < BLOCK_STEPS; i++) lines[i][row].v = _mm512_castsi512_ps(pairs[i]);
    out.scales()[row] = formatOf(D).hasRowScales ? x.scales[at * scaleColumns(*product.weight) + block] : 1.0f;
  }
  const auto rows = static_cast<int>(out.rows);
  for (int i = 0; i < BLOCK_STEPS; i++) {
    // A single row's pairs lie as they come.
    if (rows == 1) {
      store(out.step(i), lines[i][0]);
      continue;
    }
    transpose(lines[i]);
    for (int line = 0; line < TILE_LINES; line++) store(out.step(i) + line * rows, lines[i][line], rows);
  }
}

/// Whether BF16 tiles take a dtype's weights.
constexpr bool hasTileFormat(Dtype dtype) { return dtype == Dtype::fp8 || dtype == Dtype::bf16; }

/// Calls run with the weight format of a dtype that tiles take.
template <typename Run>
inline void withTileFormat(Dtype dtype, Run&& run) {
  if (dtype == Dtype::fp8) return run(WeightFormat<Dtype::fp8>());
  return run(WeightFormat<Dtype::bf16>());
}

template <class Format, Dtype D>
inline void packForTiles(const Product& product, int64_t tile) {
  for (int64_t block = 0; block < scaleColumns(*product.weight); block++) packBlock<Format, D>(product, tile, block);
}

/// Packs one tile of a product's input rows.
inline void packForTiles(const Product& product, int64_t tile) {
  withTileFormat(product.weight->dtype, [&](auto format) {
    using Format = decltype(format);
    withInputFormat(product.x.format, [&](auto input) { packForTiles<Format, input>(product, tile); });
  });
}

/// A strip's weights where they are. A short strip repeats its last row in place of missing rows.
struct Strip {
  int64_t output;
  int outputs;
  const uint8_t* codes;
  int64_t rowBytes;

  const uint8_t* row(int i) const { return codes + std::min(i, outputs - 1) * rowBytes; }
};

/// The longest strip of outputs from `from` on, up to `to`, whose weights share their scales.
inline Strip stripFrom(const Product& product, int64_t from, int64_t to) {
  const Weight& weight = *product.weight;
  const int64_t row = product.firstRow + from, rowBytes = weight.columns * formatOf(weight.dtype).valueBytes;
  const int64_t outputs = std::min<int64_t>({STRIP_OUTPUTS, to - from, endOfScales(weight, row) - row});
  return {from, static_cast<int>(outputs), weight.data + row * rowBytes, rowBytes};
}

/// Decodes the block of a strip's row i that begins at `codes`, of which `left` inputs remain in the row.
template <class Format>
inline __attribute__((always_inline)) void decodeRow(uint8_t* weights, int i, const uint8_t* codes, int64_t left) {
  uint8_t* line = weights + i * LINE_BYTES;
  for (int step = 0; step < BLOCK_STEPS; step += Format::PAIRS) {
    __m512i pairs[Format::PAIRS];
    if (left >= Format::STEP) {
      Format::toPairs(pairs, Format::load(codes));
    } else {
      Format::toPairs(pairs, left > 0 ? Format::load(codes, static_cast<int>(left)) : _mm512_setzero_si512());
    }
    for (const __m512i& pair : pairs) _mm512_store_si512(line, pair), line += STRIP_STEP_BYTES;
    codes += Format::STEP * Format::BYTES;
    left -= Format::STEP;
  }
}

/// sums = a strip's weights times `Tiles` tiles of rows, of one block. Calls between(step) before each step, for work
/// that overlaps with the tiles'.
template <int Tiles, typename Between>
inline __attribute__((always_inline)) void multiplyBlock(float* sums, const uint8_t* weights,
                                                         const PackedBlock (&rows)[Tiles], Between&& between) {
  tileZero<0>();
  tileZero<2>();
  if constexpr (Tiles == 2) {
    tileZero<1>();
    tileZero<3>();
  }
#pragma GCC unroll 4
  for (int step = 0; step < BLOCK_STEPS; step++) {
    between(step);
    tileLoad<4>(weights + step * STRIP_STEP_BYTES, LINE_BYTES);
    tileLoad<5>(weights + step * STRIP_STEP_BYTES + TILE_BYTES, LINE_BYTES);
    tileLoad<6>(rows[0].step(step), rows[0].stride());
    tileMultiply<0, 4, 6>();
    tileMultiply<2, 5, 6>();
    if constexpr (Tiles == 2) {
      tileLoad<7>(rows[1].step(step), rows[1].stride());
      tileMultiply<1, 4, 7>();
      tileMultiply<3, 5, 7>();
    }
  }
  constexpr int TILE_SUMS = TILE_LINES * TILE_LINES;
  tileStore<0>(sums, LINE_BYTES);
  tileStore<2>(sums + Tiles * TILE_SUMS, LINE_BYTES);
  if constexpr (Tiles == 2) {
    tileStore<1>(sums + TILE_SUMS, LINE_BYTES);
    tileStore<3>(sums + 3 * TILE_SUMS, LINE_BYTES);
  }
}

/// Block sums on their way into totals. Sums are promoted one block late: reading them back at once would mean waiting
/// for the tiles.
template <int Tiles>
class Promotion {
 public:
  /// Where the next block's sums go.
  float* sums() { return sums_[turn_]; }

  /// Has the next block's sums added to totals, times the scale of each row.
  void add(float* totals, const Vec (&scales)[Tiles]) {
    finish();
    totals_ = totals;
    std::copy(scales, scales + Tiles, scales_);
    turn_ ^= 1;
  }

  void finish() {
    if (!totals_) return;
    const float* sums = sums_[turn_ ^ 1];
    for (int i = 0; i < 2 * Tiles; i++) {
      const Vec scale = scales_[i % Tiles];
#pragma GCC unroll 16
      for (int line = 0; line < TILE_LINES; line++) {
        const int at = (i * TILE_LINES + line) * TILE_LINES;
        store(totals_ + at, fma(load(sums + at), scale, load(totals_ + at)));
      }
    }
    totals_ = nullptr;
  }

 private:
  alignas(64) float sums_[2][SUMS<Tiles>];
  Vec scales_[Tiles];
  float* totals_ = nullptr;
  int turn_ = 0;
};

/// What promotes a strip's sums: each row's scale of the block times the strip's.
template <int Tiles>
inline void blockScales(Vec (&scales)[Tiles], const PackedBlock (&rows)[Tiles], float stripScale) {
  for (int i = 0; i < Tiles; i++) scales[i] = load(rows[i].scales()) * splat(stripScale);
}

/// Stores a strip's outputs of the rows of tiles from `tile` on.
template <int Tiles>
inline void storeTotals(const Product& product, int64_t tile, const Strip& strip, const float* totals) {
  for (int i = 0; i < 2 * Tiles; i++) {
    const int64_t row = (tile + i % Tiles) * TILE_LINES;
    const int output = i / Tiles * TILE_LINES, outputs = std::min(TILE_LINES, strip.outputs - output);
    if (outputs <= 0) return;
    Vec square[TILE_LINES];
    for (int line = 0; line < TILE_LINES; line++) square[line] = load(totals + (i * TILE_LINES + line) * TILE_LINES);
    transpose(square);
    const auto rows = std::min<int64_t>(TILE_LINES, product.rows - row);
    for (int64_t j = 0; j < rows; j++) storeOutputs(product, row + j, strip.output + output, square[j], outputs);
  }
}

}  // namespace daysix::DAYSIX_ISA
