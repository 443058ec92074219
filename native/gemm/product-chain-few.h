// Products of a few rows on the BF16 chain: codes of a few strips are decoded next to the multiply, so that enough chains
// are under way.
#pragma once
#include "gemm/product-chain.h"

namespace daysix::DAYSIX_ISA {

#if defined(__AVX512F__)

/// Rows whose chains with four strips, or two, fit the registers.
constexpr int FEW_CHAIN_ROWS = 4, MORE_CHAIN_ROWS = 8;

template <Dtype D, WeightLayout Layout, int Rows>
class FewChains {
 public:
  FewChains(const Product& product, Scratch& scratch)
      : product_(product), weight_(*product.weight), blocks_(scaleColumns(weight_)) {
    words_ = static_cast<uint32_t*>(scratch.reserve((STRIPS * STRIP_WORDS + blocks_ * OUTPUTS) * sizeof(uint32_t)));
    scales_ = reinterpret_cast<float*>(words_ + STRIPS * STRIP_WORDS);
  }

  /// Outputs from up to to.
  void multiply(int64_t from, int64_t to) {
    for (int64_t output = from; output < to; output += OUTPUTS) {
      count_ = static_cast<int>(std::min<int64_t>(OUTPUTS, to - output));
      tableWeightScales(scales_, product_, output, count_, OUTPUTS);
      multiplyOutputs(output);
    }
  }

 private:
  static constexpr int STRIPS = Rows <= FEW_CHAIN_ROWS ? 4 : 2;
  static constexpr int OUTPUTS = STRIPS * CHAINS;
  static constexpr int BYTES = formatOf(D).valueBytes;
  static constexpr int64_t STRIP_WORDS = SCALE_BLOCK * BYTES / 4 * STRIP_LANES;
  using Sums = Chains[Rows][STRIPS];

  void multiplyOutputs(int64_t output) {
    Sums totals;
    forSums([&](auto row, auto n) __attribute__((always_inline)) { totals[row][n] = splatChains(0.0f); });
    for (int64_t block = 0; block < blocks_; block++) {
      const auto inputs = blockWidth(weight_.columns, block * SCALE_BLOCK);
      const uint32_t* words[STRIPS];
      for (int n = 0; n < STRIPS; n++) {
        words[n] = chainWords<D>(product_, output, n, count_, block, words_ + n * STRIP_WORDS);
      }
      Sums sums;
      multiplyBlock(sums, words, block, inputs);
      forSums([&](auto row, auto n) __attribute__((always_inline)) {
        const float rowScale = product_.x.scales ? product_.x.scales[row * blocks_ + block] : 1.0f;
        const Chains scales = splatChains(rowScale) * loadChains(scales_ + block * OUTPUTS + n * CHAINS);
        totals[row][n] = totals[row][n] + sums[row][n] * scales;
      });
    }
    forSums([&](auto row, auto n) __attribute__((always_inline)) {
      const int left = count_ - n * CHAINS;
      if (left > 0) storeOutputs(product_, row, output + n * CHAINS, Vec{totals[row][n].v}, std::min(left, CHAINS));
    });
  }

  DAYSIX_INLINE void multiplyBlock(Sums& sums, const uint32_t* const (&strips)[STRIPS], int64_t block, int inputs) const {
    using Decoder = ChainDecoder<D>;
    forSums([&](auto row, auto n) __attribute__((always_inline)) { sums[row][n] = splatChains(0.0f); });
    const auto* x = reinterpret_cast<const PackedPair*>(reinterpret_cast<const uint8_t*>(product_.packed) +
                                                        block * Rows * SCALE_BLOCK * PACKED_BYTES);
    const auto multiplyWord = [&](int word, auto pairs) __attribute__((always_inline)) {
      each<STRIPS>([&](auto n) __attribute__((always_inline)) {
        const uint32_t* at = strips[n] + word * STRIP_LANES;
        if (Layout == WeightLayout::strips) __builtin_prefetch(at + STRIP_AHEAD_WORDS);
        Pairs weights[Decoder::PAIRS];
        Decoder::decode(weights, 1, at);
        each<pairs>([&](auto pair) __attribute__((always_inline)) {
          each<Rows>([&](auto row) __attribute__((always_inline)) {
            sums[row][n] = chain(splatPair(x[row * PAIRS_OF_BLOCK + pair]), weights[pair], sums[row][n]);
          });
        });
      });
      x += Decoder::PAIRS;
    };
    // A pair of zeros more would make zero of minus zero.
    const int pairs = (inputs + 1) / 2, words = pairs / Decoder::PAIRS;
    for (int word = 0; word < words; word++) multiplyWord(word, Constant<Decoder::PAIRS>());
    if (pairs % Decoder::PAIRS) multiplyWord(words, Constant<1>());
  }

  template <typename Run>
  static DAYSIX_INLINE void forSums(Run&& run) {
    each<Rows>([&](auto row) __attribute__((always_inline)) {
      each<STRIPS>([&](auto n) __attribute__((always_inline)) { run(row, n); });
    });
  }

  const Product& product_;
  const Weight& weight_;
  const int64_t blocks_;
  uint32_t* words_;  // [strip][word][STRIP_LANES]
  float* scales_;    // [block][OUTPUTS]
  int count_ = 0;
};

#endif

}  // namespace daysix::DAYSIX_ISA
