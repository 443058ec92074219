// Products of BF16 values on the BF16 chain (simd/chain.h): BF16, FP8 or INT8 weights with rows of BF16 or FP8 values.
//
// Vectors lie over outputs. An output's sum of a block of SCALE_BLOCK inputs is one chain from zero, pair by pair; blocks
// are promoted in ascending order, total = total + sum · scale with each result rounded. Every number of rows takes this
// one order.
//
// Inputs are packed in tiles of up to CHAIN_ROWS rows: [tile][block][row][SCALE_BLOCK], in whatever the chain splats.
#pragma once
#include "gemm/product.h"
#include "gemm/strip.h"
#if defined(__AVX512F__)
#include "gemm/weight-format-avx512.h"
#endif

namespace daysix::DAYSIX_ISA {

/// Rows and strips whose chains fit the registers together.
#if defined(__AVX512F__)
constexpr int CHAIN_ROWS = 12, CHAIN_STRIPS = 2;
#else
constexpr int CHAIN_ROWS = 4, CHAIN_STRIPS = 1;
#endif
constexpr int CHAIN_OUTPUTS = CHAIN_STRIPS * CHAINS;
constexpr int PAIRS_OF_BLOCK = SCALE_BLOCK / 2;

/// Whether weights, and inputs that are rounded first if they are float32, are BF16 values.
inline bool fitsChain(Dtype weight, Dtype input, bool toBf16) {
  return formatOf(weight).fitsBf16 && (formatOf(input).fitsBf16 || toBf16);
}

/// Calls run with a dtype of BF16 values as a compile-time constant.
template <typename Run>
inline void withChainDtype(Dtype dtype, Run&& run) {
  withDtype(dtype, [&](auto constant) {
    if constexpr (formatOf(constant).fitsBf16) run(constant);
  });
}

/// A packed input: two make a PackedPair.
constexpr int64_t PACKED_BYTES = sizeof(PackedPair) / 2;

inline int64_t chainPackedBytes(const Weight& weight) { return scaleColumns(weight) * SCALE_BLOCK * PACKED_BYTES; }

/// Packs values of a format, which are or become BF16.
template <Dtype D = Dtype::f32>
inline void packValues(uint8_t* out, Vec values) {
  if constexpr (sizeof(PackedPair) == 4) {
    storeBf16(reinterpret_cast<uint16_t*>(out), values);
  } else {
    store(reinterpret_cast<float*>(out), formatOf(D).fitsBf16 ? values : roundToBf16(values));
  }
}

/// Packs a block of a row, of which `left` values are there.
template <Dtype D>
inline void packChainBlock(uint8_t* out, const uint8_t* codes, int64_t left) {
  constexpr int BYTES = formatOf(D).valueBytes;
  if (left >= SCALE_BLOCK) {
    for (int i = 0; i < SCALE_BLOCK; i += WIDTH) packValues<D>(out + i * PACKED_BYTES, loadCodes<D>(codes + i * BYTES));
    return;
  }
  for (int i = 0; i < SCALE_BLOCK; i += WIDTH) {
    packValues<D>(out + i * PACKED_BYTES, left > i ? loadUpTo<D>(codes + i * BYTES, left - i) : splat(0.0f));
  }
}

/// Packs some rows of a product, a tile's: [block][row][SCALE_BLOCK].
template <Dtype D>
inline void packChainRows(uint8_t* packed, const Product& product, int64_t first, int rows) {
  const int64_t columns = product.weight->columns, blocks = scaleColumns(*product.weight);
  for (int row = 0; row < rows; row++) {
    const uint8_t* x = product.x.values + (first + row) * product.x.stride * formatOf(D).valueBytes;
    for (int64_t block = 0; block < blocks; block++) {
      uint8_t* out = packed + (block * rows + row) * SCALE_BLOCK * PACKED_BYTES;
      const uint8_t* next = x + (rows * product.x.stride + block * SCALE_BLOCK) * formatOf(D).valueBytes;
      for (int byte = 0; byte < SCALE_BLOCK * formatOf(D).valueBytes; byte += 64) __builtin_prefetch(next + byte);
      packChainBlock<D>(out, x + block * SCALE_BLOCK * formatOf(D).valueBytes, columns - block * SCALE_BLOCK);
    }
  }
}
inline void packChainRows(uint8_t* packed, const Product& product, int64_t first, int rows) {
  withInputFormat(product.x.format, [&](auto input) { packChainRows<input>(packed, product, first, rows); });
}

inline void packChainTile(const Product& product, int64_t tile) {
  const Tiling tiling{product.rows, CHAIN_ROWS};
  const int64_t first = tiling.first(tile);
  auto* packed = reinterpret_cast<uint8_t*>(product.packed) + first * chainPackedBytes(*product.weight);
  packChainRows(packed, product, first, tiling.rowsOf(tile));
}

/// The pairs of a strip's words, `stride` apart.
template <Dtype D>
struct ChainDecoder;

template <>
struct ChainDecoder<Dtype::bf16> {
  /// Pairs that a vector of words holds.
  static constexpr int PAIRS = 1;
  static DAYSIX_INLINE void decode(Pairs* out, int, const uint32_t* words) { out[0] = loadPairs(words); }
};

#if defined(__AVX512F__)

template <>
struct ChainDecoder<Dtype::fp8> {
  static constexpr int PAIRS = 2;
  static DAYSIX_INLINE void decode(Pairs* out, int stride, const uint32_t* words) {
    // The first two codes of a lane's four words, then the last two: unpacking separates them.
    const __m512i firsts = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    __m512i pairs[PAIRS];
    WeightFormat<Dtype::fp8>::toPairs(pairs, _mm512_shuffle_epi8(_mm512_load_si512(words), firsts));
    for (int i = 0; i < PAIRS; i++) out[i * stride] = toPairs({pairs[i]});
  }
};
template <>
struct ChainDecoder<Dtype::i8> {
  static constexpr int PAIRS = 2;
  static DAYSIX_INLINE void decode(Pairs* out, int stride, const uint32_t* words) {
    const __m512i codes = _mm512_load_si512(words);
    const auto value = [&](int byte) {
      return Chains{_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(codes, 24 - 8 * byte), 24))};
    };
    out[0] = pairsOf(value(0), value(1));
    out[stride] = pairsOf(value(2), value(3));
  }
};

#else

/// Codes of eight bits, byte by byte of the words.
template <Dtype D>
struct ChainDecoder {
  static constexpr int PAIRS = 2;
  static void decode(Pairs* out, int stride, const uint32_t* words) {
    alignas(64) uint8_t codes[4][CHAINS];
    for (int byte = 0; byte < 4; byte++) {
      for (int lane = 0; lane < CHAINS; lane++) codes[byte][lane] = static_cast<uint8_t>(words[lane] >> 8 * byte);
    }
    const auto values = [&](int byte) { return chainsOf(loadCodes<D>(codes[byte])); };
    out[0] = pairsOf(values(0), values(1));
    out[stride] = pairsOf(values(2), values(3));
  }
};

#endif

/// totals[row][output] += x · w of a block, promoted. x is [row][PAIRS_OF_BLOCK], w [pair][CHAIN_STRIPS].
template <int Rows>
inline void multiplyChains(float* totals, const PackedPair* x, const Pairs* w, int pairs, const float* rowScales,
                           const float* weightScales) {
  Chains sums[Rows][CHAIN_STRIPS];
  each<Rows>([&](auto row) __attribute__((always_inline)) {
    each<CHAIN_STRIPS>([&](auto n) __attribute__((always_inline)) { sums[row][n] = splatChains(0.0f); });
  });
  for (int pair = 0; pair < pairs; pair++) {
    Pairs weights[CHAIN_STRIPS];
    each<CHAIN_STRIPS>([&](auto n) __attribute__((always_inline)) { weights[n] = w[n]; });
    each<Rows>([&](auto row) __attribute__((always_inline)) {
      const Pairs input = splatPair(x[row * PAIRS_OF_BLOCK]);
      each<CHAIN_STRIPS>([&](auto n) __attribute__((always_inline)) {
        sums[row][n] = chain(input, weights[n], sums[row][n]);
      });
    });
    w += CHAIN_STRIPS;
    x++;
  }
  each<Rows>([&](auto row) __attribute__((always_inline)) {
    each<CHAIN_STRIPS>([&](auto n) __attribute__((always_inline)) {
      float* total = totals + (row * CHAIN_STRIPS + n) * CHAINS;
      const Chains scales = splatChains(rowScales[row]) * loadChains(weightScales + n * CHAINS);
      storeChains(total, loadChains(total) + sums[row][n] * scales);
    });
  });
}

/// table[block][i] = the scale of output `first + i`, of `count` and then the last one again, up to `outputs`.
inline void tableWeightScales(float* table, const Product& product, int64_t first, int count, int outputs) {
  const Weight& weight = *product.weight;
  const int64_t row = product.firstRow + first, blocks = scaleColumns(weight);
  for (int i = 0; i < outputs;) {
    const int64_t own = row + std::min(i, count - 1);
    const int64_t left = i < count - 1 ? endOfScales(weight, own) - own : outputs;
    const int end = static_cast<int>(std::min<int64_t>(outputs, i + left));
    for (int64_t block = 0; block < blocks; block++) {
      std::fill(table + block * outputs + i, table + block * outputs + end, weightScale(weight, own, block));
    }
    i = end;
  }
}

/// Words of a block of the n-th strip of `count` outputs from `first` on, turned into `turned` unless they lie in strips. A
/// strip without outputs repeats the last one.
template <Dtype D>
inline const uint32_t* chainWords(const Product& product, int64_t first, int n, int count, int64_t block,
                                  uint32_t* turned) {
  constexpr int BYTES = formatOf(D).valueBytes;
  const Weight& weight = *product.weight;
  const int skipped = std::min(n * CHAINS, count - 1);
  const int64_t row = product.firstRow + first + skipped, rowBytes = weight.columns * BYTES;
  if (weight.layout == WeightLayout::strips) {
    const int64_t strip = row / STRIP_ROWS * stripBytes(weight);
    return reinterpret_cast<const uint32_t*>(weight.data + strip + block * stripBlockBytes(D));
  }
  const int64_t inputs = blockWidth(weight.columns, block * SCALE_BLOCK);
  turnStrip(turned, {weight.data + row * rowBytes, rowBytes, std::min(CHAINS, count - skipped)},
            block * SCALE_BLOCK * BYTES, inputs * BYTES);
  return turned;
}

}  // namespace daysix::DAYSIX_ISA
