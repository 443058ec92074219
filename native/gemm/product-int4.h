// Products of INT8 rows with INT4 weights. Sums of a group, of 32 or 128 inputs, are exact; they are scaled and added up in
// a block of SCALE_BLOCK inputs, and that is scaled by the row and added to a total, blocks ascending, each result rounded.
//
// Inputs are packed in tiles of up to INT4_ROWS rows, block by block: [row][SCALE_BLOCK] codes, of each eight the even ones
// before the odd ones, as weights are unpacked; the rows' scales, and what each group's sums begin with.
#pragma once
#include "gemm/product-integer.h"

namespace daysix::DAYSIX_ISA {

#if defined(__AVX512VNNI__)
constexpr int INT4_ROWS = 12;
#else
constexpr int INT4_ROWS = 4;
#endif
constexpr int MOST_GROUPS = SCALE_BLOCK / 32;
constexpr int64_t INT4_ROW_BYTES = SCALE_BLOCK + sizeof(float) + MOST_GROUPS * sizeof(int32_t);
/// Blocks of so many strips stay in the core's first cache while rows pass by.
constexpr int64_t INT4_CACHED_BLOCKS = 4;
constexpr int INT4_STRIPS = 4;
constexpr int INT4_OUTPUTS = INT4_STRIPS * STRIP_ROWS;

/// A packed block of a tile of rows.
struct Int4RowBlock {
  uint8_t* bytes;
  int rows;

  int8_t* codes(int row) const { return reinterpret_cast<int8_t*>(bytes) + row * SCALE_BLOCK; }
  float* scales() const { return reinterpret_cast<float*>(bytes + rows * SCALE_BLOCK); }
  /// −8 times the sum of a group's codes, or, where weights have zero points of their own, −1 times.
  int32_t* firstSums(int row) const { return reinterpret_cast<int32_t*>(scales() + rows) + row * MOST_GROUPS; }
};

inline int64_t int4RowBytes(const Weight& weight) { return scaleColumns(weight) * INT4_ROW_BYTES; }

inline Int4RowBlock int4RowBlock(const Product& product, const Tiling& tiling, int64_t tile, int64_t block) {
  const int rows = tiling.rowsOf(tile);
  const int64_t before = tiling.first(tile) * int4RowBytes(*product.weight) + block * rows * INT4_ROW_BYTES;
  return {reinterpret_cast<uint8_t*>(product.packed) + before, rows};
}

/// The even bytes of eight, then the odd ones.
inline uint64_t evenBeforeOdd(uint64_t codes) {
  const auto evenBytes = [](uint64_t x) {
    x &= 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    return (x | x >> 16) & 0xffffffff;
  };
  return evenBytes(codes) | evenBytes(codes >> 8) << 32;
}

inline void packInt4Tile(const Product& product, int64_t tile) {
  const Tiling tiling{product.rows, INT4_ROWS};
  const int64_t columns = product.weight->columns, group = product.weight->group, blocks = scaleColumns(*product.weight);
  const int zeroPoint = hasZeroPoints(product.weight->int4) ? 1 : INT4_ZERO;
  for (int64_t block = 0; block < blocks; block++) {
    const Int4RowBlock out = int4RowBlock(product, tiling, tile, block);
    const int64_t from = block * SCALE_BLOCK, count = blockWidth(columns, from);
    for (int row = 0; row < out.rows; row++) {
      const int64_t inputRow = tiling.first(tile) + row;
      int8_t codes[SCALE_BLOCK] = {};
      std::memcpy(codes, product.x.values + inputRow * product.x.stride + from, count);
      for (int64_t first = 0; first < SCALE_BLOCK; first += group) {
        int32_t sum = 0;
        for (int64_t i = first; i < first + group; i++) sum += codes[i];
        out.firstSums(row)[first / group] = -zeroPoint * sum;
      }
      for (int i = 0; i < SCALE_BLOCK; i += INT4_CODES) {
        uint64_t eight;
        std::memcpy(&eight, codes + i, sizeof eight);
        eight = evenBeforeOdd(eight);
        std::memcpy(out.codes(row) + i, &eight, sizeof eight);
      }
      out.scales()[row] = product.x.scales[inputRow * blocks + block];
    }
  }
}

/// What an INT4 weight's strips hold, as constants.
template <int Group, Int4Strips Int4>
struct Int4Block {
  static constexpr int GROUP = Group;
  static constexpr int64_t BYTES = int4BlockBytes(Group, Int4);
  static constexpr bool HAS_ZERO_POINTS = hasZeroPoints(Int4);

  /// The scales of a group, and its zero points.
  static DAYSIX_INLINE Chains scales(const uint8_t* block, int group) {
    const uint8_t* scales = block + stripCodeBytes(Dtype::i4);
    if constexpr (!hasBf16Scales(Int4)) return loadChains(reinterpret_cast<const float*>(scales) + group * STRIP_ROWS);
    return chainsOf(loadBf16(reinterpret_cast<const uint16_t*>(scales) + group * STRIP_ROWS));
  }
  static DAYSIX_INLINE Chains zeroPoints(const uint8_t* block, int group) {
    const uint8_t* zeroPoints = block + stripCodeBytes(Dtype::i4) + int4ScaleBytes(Group, Int4);
    return chainsOf(loadI8(reinterpret_cast<const int8_t*>(zeroPoints) + group * STRIP_ROWS));
  }
};

/// totals[row][16] += a tile's rows times some blocks of a strip, from block `first` of the rows on.
template <int Rows, typename Block>
inline void multiplyInt4(float* totals, const Int4RowBlock& first, const uint8_t* strip, int64_t blocks) {
  for (int64_t block = 0; block < blocks; block++, strip += Block::BYTES) {
    // With a constant number of rows, whatever is read of them is a constant away.
    const Int4RowBlock x = {first.bytes + block * Rows * INT4_ROW_BYTES, Rows};
    const auto* words = reinterpret_cast<const uint32_t*>(strip);
    const int8_t* codes = x.codes(0);
    Chains parts[Rows];
    each<Rows>([&](auto row) __attribute__((always_inline)) { parts[row] = splatChains(0.0f); });
    for (int group = 0; group < SCALE_BLOCK / Block::GROUP; group++) {
      DotSums dots[Rows][VECTORS_OF_STRIP];
      each<Rows>([&](auto row) __attribute__((always_inline)) {
        each<VECTORS_OF_STRIP>([&](auto n) __attribute__((always_inline)) {
          dots[row][n] = splatSums(Block::HAS_ZERO_POINTS ? 0 : x.firstSums(row)[group]);
        });
      });
#pragma GCC unroll 4
      for (int word = 0; word < Block::GROUP / INT4_CODES; word++) {
        __builtin_prefetch(words + STRIP_AHEAD_WORDS);
        each<VECTORS_OF_STRIP>([&](auto n) __attribute__((always_inline)) {
          UnsignedCodes even, odd;
          loadNibbles(even, odd, words + n * DOT_LANES);
          each<Rows>([&](auto row) __attribute__((always_inline)) {
            dots[row][n] = addDotsOf(dots[row][n], even, codes + row * SCALE_BLOCK);
            dots[row][n] = addDotsOf(dots[row][n], odd, codes + row * SCALE_BLOCK + 4);
          });
        });
        words += STRIP_ROWS;
        codes += INT4_CODES;
      }
      const Chains scales = Block::scales(strip, group);
      each<Rows>([&](auto row) __attribute__((always_inline)) {
        Chains sums = toChains(dots[row]);
        // Integers this small are exact in float32.
        if constexpr (Block::HAS_ZERO_POINTS) {
          sums = sums + Block::zeroPoints(strip, group) * splatChains(static_cast<float>(x.firstSums(row)[group]));
        }
        parts[row] = parts[row] + sums * scales;
      });
    }
    each<Rows>([&](auto row) __attribute__((always_inline)) {
      float* total = totals + row * STRIP_ROWS;
      storeChains(total, loadChains(total) + parts[row] * splatChains(x.scales()[row]));
    });
  }
}

/// Outputs of a few strips at a time; weights that lie in rows are turned into memory that stays in the core's caches.
template <typename Block>
class Int4Products {
 public:
  Int4Products(const Product& product, Scratch& scratch)
      : product_(product),
        weight_(*product.weight),
        tiling_{product.rows, INT4_ROWS},
        blocks_(scaleColumns(weight_)),
        roundTiles_(std::max<int64_t>(1, DOT_ROUND_BYTES / (int4RowBytes(weight_) * INT4_ROWS))) {
    const int64_t turned = weight_.layout == WeightLayout::rows ? INT4_STRIPS * stripBytes() : 0;
    const int64_t totals = std::min(product.rows, roundTiles_ * INT4_ROWS) * INT4_OUTPUTS;
    turned_ = static_cast<uint8_t*>(scratch.reserve(turned + totals * sizeof(float)));
    totals_ = reinterpret_cast<float*>(turned_ + turned);
  }

  /// Outputs from up to to.
  void multiply(int64_t from, int64_t to) {
    for (int64_t tile = 0; tile < tiling_.count(); tile += roundTiles_) {
      for (int64_t output = from; output < to; output += INT4_OUTPUTS) {
        multiplyTiles(tile, std::min(tiling_.count(), tile + roundTiles_), output, std::min(to, output + INT4_OUTPUTS));
      }
    }
  }

 private:
  int64_t stripBytes() const { return blocks_ * Block::BYTES; }

  /// The first of the strips of some outputs; others follow.
  const uint8_t* stripsOf(int64_t from, int64_t to) {
    const int64_t row = product_.firstRow + from;
    if (weight_.layout == WeightLayout::strips) return weight_.data + row / STRIP_ROWS * stripBytes();
    for (int64_t done = 0; done < to - from; done += STRIP_ROWS) {
      turn(turned_ + done / STRIP_ROWS * stripBytes(), row + done, static_cast<int>(std::min<int64_t>(STRIP_ROWS, to - from - done)));
    }
    return turned_;
  }

  void turn(uint8_t* out, int64_t row, int count) const {
    constexpr int64_t CODE_BYTES = SCALE_BLOCK / 2, GROUPS = SCALE_BLOCK / Block::GROUP;
    const int64_t rowBytes = ceilDivide(weight_.columns, INT4_CODES) * 4, groups = ceilDivide(weight_.columns, Block::GROUP);
    const StripRows codes = {weight_.data + row * rowBytes, rowBytes, count};
    const StripRows scales = {weight_.scales + row * groups * 4, groups * 4, count};
    for (int64_t block = 0; block < blocks_; block++, out += Block::BYTES) {
      const int64_t from = block * CODE_BYTES;
      turnStrip(reinterpret_cast<uint32_t*>(out), codes, from, std::min(CODE_BYTES, rowBytes - from));
      auto* blockScales = reinterpret_cast<float*>(out + stripCodeBytes(Dtype::i4));
      for (int64_t group = 0; group < GROUPS; group++, blockScales += STRIP_ROWS) {
        const int64_t at = std::min(groups - 1, block * GROUPS + group);
        for (int i = 0; i < STRIP_ROWS; i++) std::memcpy(blockScales + i, scales.row(i) + at * 4, sizeof(float));
      }
    }
  }

  void multiplyTiles(int64_t firstTile, int64_t lastTile, int64_t from, int64_t to) {
    const uint8_t* strips = stripsOf(from, to);
    const int64_t firstRow = tiling_.first(firstTile), rows = tiling_.first(lastTile) - firstRow;
    const int count = static_cast<int>(ceilDivide(to - from, STRIP_ROWS));
    clear(totals_, rows * INT4_OUTPUTS);
    // One tile reads each strip in memory's order.
    const int64_t cached = lastTile - firstTile == 1 ? blocks_ : INT4_CACHED_BLOCKS;
    for (int64_t block = 0; block < blocks_; block += cached) {
      const int64_t blocks = std::min(cached, blocks_ - block);
      for (int64_t tile = firstTile; tile < lastTile; tile++) {
        withRows<INT4_ROWS>(tiling_.rowsOf(tile), [&](auto tileRows) {
          for (int strip = 0; strip < count; strip++) {
            float* totals = totals_ + strip * rows * STRIP_ROWS + (tiling_.first(tile) - firstRow) * STRIP_ROWS;
            multiplyInt4<tileRows, Block>(totals, int4RowBlock(product_, tiling_, tile, block),
                                          strips + strip * stripBytes() + block * Block::BYTES, blocks);
          }
        });
      }
    }
    for (int strip = 0; strip < count; strip++) store(firstRow, rows, strip, from + strip * STRIP_ROWS, to);
  }

  void store(int64_t firstRow, int64_t rows, int strip, int64_t from, int64_t to) const {
    static_assert(STRIP_ROWS == WIDTH);
    const int count = static_cast<int>(std::min<int64_t>(WIDTH, to - from));
    for (int64_t row = 0; row < rows; row++) {
      storeOutputs(product_, firstRow + row, from, load(totals_ + (strip * rows + row) * STRIP_ROWS), count);
    }
  }

  const Product& product_;
  const Weight& weight_;
  const Tiling tiling_;
  const int64_t blocks_, roundTiles_;
  uint8_t* turned_;  // strips made of rows
  float* totals_;    // [strip][row][STRIP_ROWS]
};

/// Calls run with an Int4Block of a weight's group and strips. Rows are turned into strips with float32 scales.
template <int Group, typename Run>
inline void withInt4Strips(const Weight& weight, Run&& run) {
  switch (weight.layout == WeightLayout::rows ? Int4Strips::f32 : weight.int4) {
    case Int4Strips::bf16: return run(Int4Block<Group, Int4Strips::bf16>());
    case Int4Strips::f32: return run(Int4Block<Group, Int4Strips::f32>());
    case Int4Strips::bf16ZeroPoints: return run(Int4Block<Group, Int4Strips::bf16ZeroPoints>());
    case Int4Strips::f32ZeroPoints: return run(Int4Block<Group, Int4Strips::f32ZeroPoints>());
  }
}
template <typename Run>
inline void withInt4Block(const Weight& weight, Run&& run) {
  weight.group == 32 ? withInt4Strips<32>(weight, run) : withInt4Strips<SCALE_BLOCK>(weight, run);
}

}  // namespace daysix::DAYSIX_ISA
