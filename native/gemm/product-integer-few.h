// Products of a few INT8 rows: weights are read as they lie, once, in memory's order. A weight row's block sums fill a
// vector's lanes and are scaled there; those of 16 outputs are then turned and added, blocks ascending.
#pragma once
#include "gemm/product-integer.h"

namespace daysix::DAYSIX_ISA {

/// Rows whose products keep pace with memory.
constexpr int FEW_DOT_ROWS = 4;

/// Outputs from up to to of a few rows times a weight that lies in strips: one strip after the other.
inline void multiplyFewDots(const Product& product, int64_t from, int64_t to) {
  const Weight& weight = *product.weight;
  const DotBlock x = dotBlock(product, {product.rows, DOT_ROWS}, 0, 0);
  static_assert(STRIP_LANES == WIDTH);
  for (int64_t output = from; output < to; output += STRIP_LANES) {
    const DotWeights strip = {weight.data + (product.firstRow + output) / STRIP_ROWS * stripBytes(weight), 0};
    alignas(64) float totals[FEW_DOT_ROWS * DOT_OUTPUTS] = {};
    withRows<FEW_DOT_ROWS>(static_cast<int>(product.rows),
                           [&](auto rows) {
                             const DotsAhead ahead = {strip.first + STRIP_AHEAD_WORDS * 4, STRIP_LANES * 4};
                             multiplyDots<rows, 1>({x, totals}, strip, scaleColumns(weight), ahead);
                           });
    const int count = static_cast<int>(std::min<int64_t>(STRIP_LANES, to - output));
    for (int64_t row = 0; row < product.rows; row++) {
      storeOutputs(product, row, output, load(totals + row * DOT_OUTPUTS), count);
    }
  }
}

#if defined(__AVX512VNNI__)

template <int Rows>
class FewDotRows {
 public:
  FewDotRows(const Product& product, Scratch& scratch)
      : product_(product), weight_(*product.weight), blocks_(scaleColumns(weight_)), chunks_(ceilDivide(blocks_, LANES)) {
    const int64_t codes = Rows * blocks_ * SCALE_BLOCK, tables = Rows * chunks_ * LANES;
    const int64_t scaled = Rows * chunks_ * LANES * LANES;
    auto* memory = static_cast<uint8_t*>(scratch.reserve(codes + (2 * tables + scaled) * sizeof(float)));
    codes_ = reinterpret_cast<int8_t*>(memory);
    firstSums_ = reinterpret_cast<int32_t*>(memory + codes);
    rowScales_ = reinterpret_cast<float*>(firstSums_ + tables);
    scaled_ = rowScales_ + tables;
    spreadRows();
  }

  /// Outputs from up to to.
  void multiply(int64_t from, int64_t to) {
    for (int64_t output = from; output < to; output += LANES) {
      const int count = static_cast<int>(std::min<int64_t>(LANES, to - output));
      for (int i = 0; i < count; i++) scaleOutput(output + i, i);
      each<Rows>([&](auto row) { storeOutputs(product_, row, output, totalsOf(row), count); });
    }
  }

 private:
  static constexpr int LANES = STRIP_LANES;
  static constexpr int GROUP = 4;
  static constexpr int PIECE = 64;

  void spreadRows() {
    const Tiling tiling{product_.rows, DOT_ROWS};
    for (int64_t block = 0; block < chunks_ * LANES; block++) {
      const bool isThere = block < blocks_;
      const DotBlock packed = dotBlock(product_, tiling, 0, isThere ? block : 0);
      for (int row = 0; row < Rows; row++) {
        if (isThere) std::memcpy(codes_ + (block * Rows + row) * SCALE_BLOCK, packed.codes(row), SCALE_BLOCK);
        firstSums_[row * chunks_ * LANES + block] = isThere ? packed.firstSums()[row] : 0;
        rowScales_[row * chunks_ * LANES + block] = isThere ? packed.scales()[row] : 0;
      }
    }
  }

  void scaleOutput(int64_t output, int i) {
    const int64_t row = product_.firstRow + output;
    const uint8_t* codes = weight_.data + row * weight_.columns;
    for (int64_t chunk = 0; chunk < chunks_; chunk++) {
      const int64_t first = chunk * LANES, blocks = std::min<int64_t>(LANES, blocks_ - first);
      __m512i groups[Rows][GROUP];
      each<GROUP>([&](auto group) __attribute__((always_inline)) {
        const int64_t block = first + group * GROUP;
        if ((block + GROUP) * SCALE_BLOCK <= weight_.columns) {
          sumGroup<true>(groups, group, codes, block);
        } else {
          sumGroup<false>(groups, group, codes, block);
        }
      });
      const auto firstLanes = static_cast<__mmask16>((1u << blocks) - 1);
      const float* scales = reinterpret_cast<const float*>(weight_.scales) + row * blocks_ + first;
      const __m512 weightScales = weight_.scales ? _mm512_maskz_loadu_ps(firstLanes, scales) : _mm512_set1_ps(1.0f);
      each<Rows>([&](auto r) __attribute__((always_inline)) {
        const int64_t at = r * chunks_ * LANES + first;
        const __m512i sums = _mm512_add_epi32(addLanes(groups[r]), _mm512_loadu_si512(firstSums_ + at));
        const __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(rowScales_ + at), weightScales);
        _mm512_store_ps(scaled_ + (at + i) * LANES,
                        _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale));
      });
    }
  }

  /// groups[row][group]: in each quarter, its part of the sums of four blocks.
  template <bool Whole>
  DAYSIX_INLINE void sumGroup(__m512i (&groups)[Rows][GROUP], int group, const uint8_t* codes, int64_t block) const {
    __m512i dots[Rows][GROUP];
    each<GROUP>([&](auto b) __attribute__((always_inline)) {
      each<Rows>([&](auto row) __attribute__((always_inline)) { dots[row][b] = _mm512_setzero_si512(); });
      if (!Whole && block + b >= blocks_) return;
      each<SCALE_BLOCK / PIECE>([&](auto piece) __attribute__((always_inline)) {
        const int64_t k = (block + b) * SCALE_BLOCK + piece * PIECE;
        _mm_prefetch(reinterpret_cast<const char*>(codes + k + AHEAD_BYTES), _MM_HINT_T0);
        const int64_t left = Whole ? PIECE : std::clamp<int64_t>(weight_.columns - k, 0, PIECE);
        const __m512i raw = Whole ? _mm512_loadu_si512(codes + k)
                                  : _mm512_maskz_loadu_epi8(left == PIECE ? ~0ull : (1ull << left) - 1, codes + k);
        const __m512i weights = _mm512_xor_si512(raw, _mm512_set1_epi8(static_cast<char>(CODE_OFFSET)));
        const int8_t* x = codes_ + (block + b) * Rows * SCALE_BLOCK + piece * PIECE;
        each<Rows>([&](auto row) __attribute__((always_inline)) {
          dots[row][b] = _mm512_dpbusd_epi32(dots[row][b], weights, _mm512_load_si512(x + row * SCALE_BLOCK));
        });
      });
    });
    each<Rows>([&](auto row) __attribute__((always_inline)) {
      const auto halves = [](__m512i a, __m512i b) __attribute__((always_inline)) {
        return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
      };
      const __m512i low = halves(dots[row][0], dots[row][1]), high = halves(dots[row][2], dots[row][3]);
      groups[row][group] = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
    });
  }

  /// The sums of 16 blocks in order.
  static DAYSIX_INLINE __m512i addLanes(const __m512i (&groups)[GROUP]) {
    const auto halves = [](__m512i a, __m512i b) __attribute__((always_inline)) {
      return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
    };
    return halves(halves(groups[0], groups[1]), halves(groups[2], groups[3]));
  }

  /// Of 16 outputs.
  Vec totalsOf(int row) const {
    Vec total = splat(0.0f);
    for (int64_t chunk = 0; chunk < chunks_; chunk++) {
      Vec square[LANES];
      for (int i = 0; i < LANES; i++) square[i] = load(scaled_ + ((row * chunks_ + chunk) * LANES + i) * LANES);
      transpose(square);
      const int64_t blocks = std::min<int64_t>(LANES, blocks_ - chunk * LANES);
      for (int64_t block = 0; block < blocks; block++) total = total + square[block];
    }
    return total;
  }

  static constexpr int64_t AHEAD_BYTES = 2048;

  const Product& product_;
  const Weight& weight_;
  const int64_t blocks_, chunks_;
  int8_t* codes_;       // [block][row][SCALE_BLOCK]
  int32_t* firstSums_;  // [row][chunk][LANES], as are the scales
  float* rowScales_;
  float* scaled_;  // [row][chunk][output][LANES]
};

#endif

}  // namespace daysix::DAYSIX_ISA
