// W_UKᵀ times queries on the BF16 chain: vectors lie over the latent, and neighbouring weight rows are the pairs. The sum
// is cut and promoted where weight rows that share scales end.
#pragma once
#include <array>

#include "gemm/absorb-chain-few.h"

namespace daysix::DAYSIX_ISA {

/// Where the sum over W_UK's rows that begins at row j of a head is cut.
inline int endOfCut(const Weight& kvB, int64_t weightRow, int j, int nope) {
  const int rows = formatOf(kvB.dtype).scaleRows > 0 ? formatOf(kvB.dtype).scaleRows : SCALE_BLOCK;
  return static_cast<int>(std::min<int64_t>(nope, j + rows - weightRow % rows));
}

/// `left` values of a row, of up to 16; zeros behind.
template <Dtype D>
inline Chains loadHalves(const uint8_t* codes, int64_t left) {
  alignas(64) float values[CHAINS];
  for (int i = 0; i < CHAINS; i += WIDTH) {
    const uint8_t* at = codes + i * formatOf(D).valueBytes;
    const int64_t count = std::clamp<int64_t>(left - i, 0, WIDTH);
    const Vec v = count == WIDTH ? loadCodes<D>(at) : count ? loadCodes<D>(at, static_cast<int>(count)) : splat(0.0f);
    if constexpr (WIDTH == CHAINS) return loadChains(reinterpret_cast<const float*>(&v));
    store(values + i, v);
  }
  return loadChains(values);
}

template <Dtype D>
class AbsorbedHeadOnChain {
 public:
  AbsorbedHeadOnChain(const AbsorbQuery& command, int head) : command_(command), shape_(command.shape), head_(head) {
    for (int j = 0; j < shape_.nope; j = cutEnd(j)) cuts_++;
  }

  /// Rows from up to to.
  void multiply(int64_t from, int64_t to, Scratch& scratch) {
    if (D == Dtype::bf16 && to - from <= FEW_ABSORBED_ROWS && shape_.latent % LINE_COLUMNS == 0) {
      return multiplyFew(from, static_cast<int>(to - from), scratch);
    }
    const Tiling tiling{to - from, CHAIN_ROWS};
    const int64_t pairs = PAIRS_OF_BLOCK * CHAIN_STRIPS * sizeof(Pairs), rowBytes = cuts_ * SCALE_BLOCK * PACKED_BYTES;
    const int64_t totals = (to - from) * CHAIN_OUTPUTS * sizeof(float);
    auto* memory = static_cast<uint8_t*>(scratch.reserve(pairs + totals + (to - from) * rowBytes));
    auto* weights = reinterpret_cast<Pairs*>(memory);
    auto* sums = reinterpret_cast<float*>(memory + pairs);
    uint8_t* queries = memory + pairs + totals;
    for (int64_t tile = 0; tile < tiling.count(); tile++) {
      packQueries(queries + tiling.first(tile) * rowBytes, from + tiling.first(tile), tiling.rowsOf(tile));
    }
    for (int64_t column = 0; column < shape_.latent; column += CHAIN_OUTPUTS) {
      std::memset(sums, 0, totals);
      int64_t cut = 0;
      for (int j = 0; j < shape_.nope; j = cutEnd(j), cut++) {
        decode(weights, column, j, cutEnd(j));
        alignas(64) float scales[CHAIN_OUTPUTS];
        std::fill_n(scales, CHAIN_OUTPUTS, weightScale(command_.kvB, weightRow(j), column / SCALE_BLOCK));
        for (int64_t tile = 0; tile < tiling.count(); tile++) {
          withRows<CHAIN_ROWS>(tiling.rowsOf(tile), [&](auto rows) {
            const uint8_t* x = queries + tiling.first(tile) * rowBytes + cut * rows * SCALE_BLOCK * PACKED_BYTES;
            multiplyChains<rows>(sums + tiling.first(tile) * CHAIN_OUTPUTS, reinterpret_cast<const PackedPair*>(x),
                                 weights, (cutEnd(j) - j + 1) / 2, ONES.data(), scales);
          });
        }
      }
      for (int64_t row = 0; row < to - from; row++) storeRow(from + row, column, sums + row * CHAIN_OUTPUTS);
    }
  }

 private:
  static constexpr auto ONES = [] {
    std::array<float, CHAIN_ROWS> ones = {};
    ones.fill(1.0f);
    return ones;
  }();

  void multiplyFew(int64_t from, int rows, Scratch& scratch) {
    const int64_t totals = static_cast<int64_t>(rows) * shape_.latent * sizeof(float);
    auto* sums = static_cast<float*>(scratch.reserve(totals + cuts_ * rows * SCALE_BLOCK * PACKED_BYTES));
    uint8_t* queries = reinterpret_cast<uint8_t*>(sums) + totals;
    packQueries(queries, from, rows);
    std::memset(sums, 0, totals);
    withRows<FEW_ABSORBED_ROWS>(rows, [&](auto constantRows) {
      int64_t cut = 0;
      for (int j = 0; j < shape_.nope; j = cutEnd(j), cut++) {
        const AbsorbedRows head = {codesAt(0, 0), shape_.latent, queries};
        absorbCut<constantRows>(sums, head, j, cutEnd(j), cut);
      }
    });
    for (int row = 0; row < rows; row++) {
      float* out = command_.out + ((from + row) * shape_.heads + head_) * shape_.latent;
      std::memcpy(out, sums + row * shape_.latent, shape_.latent * sizeof(float));
    }
  }

  int64_t weightRow(int j) const { return static_cast<int64_t>(head_) * (shape_.nope + shape_.value) + j; }
  const uint8_t* codesAt(int j, int64_t column) const {
    return command_.kvB.data + (weightRow(j) * shape_.latent + column) * formatOf(D).valueBytes;
  }
  int cutEnd(int j) const { return endOfCut(command_.kvB, weightRow(j), j, shape_.nope); }

  /// [cut][row][SCALE_BLOCK]
  void packQueries(uint8_t* out, int64_t firstRow, int rows) const {
    for (int j = 0; j < shape_.nope; j = cutEnd(j)) {
      for (int row = 0; row < rows; row++) {
        const float* q = command_.q + ((firstRow + row) * shape_.heads + head_) * (shape_.nope + shape_.rope) + j;
        for (int i = 0; i < SCALE_BLOCK; i += WIDTH) {
          const int left = std::clamp(cutEnd(j) - j - i, 0, WIDTH);
          packValues(out + i * PACKED_BYTES, left ? load(q + i, left) : splat(0.0f));
        }
        out += SCALE_BLOCK * PACKED_BYTES;
      }
    }
  }

  void decode(Pairs* out, int64_t column, int j, int end) const {
    const auto load = [&](int row, int64_t from) {
      const int64_t left = row < end ? shape_.latent - from : 0;
      return left > 0 ? loadHalves<D>(codesAt(row, from), left) : splatChains(0.0f);
    };
    for (; j < end; j += 2) {
      for (int n = 0; n < CHAIN_STRIPS; n++) {
        const int64_t from = column + n * CHAINS;
        // The next columns are fetched while queries are multiplied with these.
        __builtin_prefetch(codesAt(j, from + CHAIN_OUTPUTS));
        __builtin_prefetch(codesAt(j + 1, from + CHAIN_OUTPUTS));
        *out++ = pairsOf(load(j, from), load(j + 1, from));
      }
    }
  }

  void storeRow(int64_t row, int64_t column, const float* totals) const {
    float* out = command_.out + (row * shape_.heads + head_) * shape_.latent + column;
    for (int i = 0; i < std::min<int64_t>(CHAIN_OUTPUTS, shape_.latent - column); i += WIDTH) {
      const auto count = static_cast<int>(std::min<int64_t>(WIDTH, shape_.latent - column - i));
      storeFloats(out + i, load(totals + i), count, command_.rows);
    }
  }

  const AbsorbQuery& command_;
  const MlaShape& shape_;
  const int head_;
  int64_t cuts_ = 0;
};

}  // namespace daysix::DAYSIX_ISA
