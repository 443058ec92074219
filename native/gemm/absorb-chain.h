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

template <Dtype D>
class AbsorbedHeadOnChain {
 public:
  AbsorbedHeadOnChain(const AbsorbQuery& command, int head) : command_(command), shape_(command.shape), head_(head) {
    for (int j = 0; j < shape_.nope; j = cutEnd(j)) {
      cuts_++;
      pairs_ += pairsOfCut(j);
    }
  }

  /// Rows from up to to.
  void multiply(int64_t from, int64_t to, Scratch& scratch) {
    if (D == Dtype::bf16 && to - from <= FEW_ABSORBED_ROWS && shape_.latent % LINE_COLUMNS == 0) {
      return multiplyFew(from, static_cast<int>(to - from), scratch);
    }
    const int64_t panels = ceilDivide(shape_.latent, CHAIN_OUTPUTS);
    const int64_t weights = panels * pairs_ * CHAIN_STRIPS * sizeof(Pairs);
    const int64_t scales = panels * cuts_ * CHAIN_OUTPUTS * sizeof(float);
    const int64_t totals = CHAIN_ROWS * CHAIN_OUTPUTS * sizeof(float);
    auto* memory = static_cast<uint8_t*>(
        scratch.reserve(weights + scales + totals + CHAIN_ROWS * cuts_ * SCALE_BLOCK * PACKED_BYTES));
    const Decoded head = {reinterpret_cast<Pairs*>(memory), reinterpret_cast<float*>(memory + weights)};
    auto* sums = reinterpret_cast<float*>(memory + weights + scales);
    uint8_t* queries = memory + weights + scales + totals;
    decode(head, panels);
    const Tiling tiling{to - from, CHAIN_ROWS};
    for (int64_t tile = 0; tile < tiling.count(); tile++) {
      const int64_t row = from + tiling.first(tile);
      withRows<CHAIN_ROWS>(tiling.rowsOf(tile), [&](auto rows) {
        packQueries(queries, row, rows);
        for (int64_t panel = 0; panel < panels; panel++) multiplyPanel<rows>(sums, queries, head, row, panel);
      });
    }
  }

 private:
  /// A head's weights: [panel][pair of all cuts][strip], and [panel][cut][CHAIN_OUTPUTS] scales.
  struct Decoded {
    Pairs* weights;
    float* scales;
  };

  /// Pairs of weight rows that are decoded before the next, all columns of them.
  static constexpr int STEP_PAIRS = 8;
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
  int pairsOfCut(int j) const { return (cutEnd(j) - j + 1) / 2; }
  int cutEnd(int j) const { return endOfCut(command_.kvB, weightRow(j), j, shape_.nope); }

  /// [cut][row][SCALE_BLOCK]
  void packQueries(uint8_t* out, int64_t firstRow, int rows) const {
    for (int j = 0; j < shape_.nope; j = cutEnd(j)) {
      for (int row = 0; row < rows; row++) {
        const float* q = command_.q + ((firstRow + row) * shape_.heads + head_) * (shape_.nope + shape_.rope) + j;
        for (int i = 0; i < SCALE_BLOCK; i += WIDTH) {
          const int left = std::clamp(cutEnd(j) - j - i, 0, WIDTH);
          // Of the next tile's rows, which lie far apart.
          __builtin_prefetch(q + i + rows * int64_t{shape_.heads} * (shape_.nope + shape_.rope));
          packValues(out + i * PACKED_BYTES, left ? load(q + i, left) : splat(0.0f));
        }
        out += SCALE_BLOCK * PACKED_BYTES;
      }
    }
  }

  /// Some rows at a time, in memory's order.
  void decode(const Decoded& head, int64_t panels) const {
    int64_t cut = 0, pair = 0;
    for (int begin = 0; begin < shape_.nope; begin = cutEnd(begin), cut++) {
      const int end = cutEnd(begin);
      for (int j = begin; j < end; j += 2 * STEP_PAIRS, pair += STEP_PAIRS) {
        for (int64_t panel = 0; panel < panels; panel++) {
          Pairs* out = head.weights + (panel * pairs_ + pair) * CHAIN_STRIPS;
          for (int i = j; i < std::min(end, j + 2 * STEP_PAIRS); i += 2) {
            pairPanel(out, i, end, panel * CHAIN_OUTPUTS);
            out += CHAIN_STRIPS;
          }
        }
      }
      pair += pairsOfCut(begin) - ceilDivide(pairsOfCut(begin), STEP_PAIRS) * STEP_PAIRS;
      for (int64_t panel = 0; panel < panels; panel++) {
        std::fill_n(head.scales + (panel * cuts_ + cut) * CHAIN_OUTPUTS, CHAIN_OUTPUTS,
                    weightScale(command_.kvB, weightRow(begin), panel * CHAIN_OUTPUTS / SCALE_BLOCK));
      }
    }
  }

  /// Weight rows j and j + 1, or zeros from `end` on, of a panel's columns.
  void pairPanel(Pairs* out, int j, int end, int64_t column) const {
    if constexpr (D == Dtype::bf16 && CHAIN_OUTPUTS == LINE_COLUMNS) {
      if (j + 1 < end && column + LINE_COLUMNS <= shape_.latent) {
        const uint8_t* even = codesAt(j, column);
        const uint8_t* odd = codesAt(j + 1, column);
        __builtin_prefetch(even + 2 * STEP_PAIRS * (odd - even));
        __builtin_prefetch(odd + 2 * STEP_PAIRS * (odd - even));
        return pairValues(out[0], out[1], loadWords(even), loadWords(odd));
      }
    }
    for (int n = 0; n < CHAIN_STRIPS; n++) out[n] = pairsOfRows(j, end, column + n * CHAINS);
  }

  /// Weight rows j and j + 1, or zeros from `end` on, of CHAINS columns. Asks for those of the next step.
  Pairs pairsOfRows(int j, int end, int64_t column) const {
    const auto load = [&](int row) {
      const int64_t left = row < end ? shape_.latent - column : 0;
      if (left > 0) __builtin_prefetch(codesAt(row + 2 * STEP_PAIRS, column));
      return left > 0 ? chainsOf(loadUpTo<D>(codesAt(row, column), left)) : splatChains(0.0f);
    };
    return pairsOf(load(j), load(j + 1));
  }

  /// Queries of a tile, [cut][row][SCALE_BLOCK], with CHAIN_OUTPUTS columns.
  template <int Rows>
  void multiplyPanel(float* totals, const uint8_t* queries, const Decoded& head, int64_t firstRow, int64_t panel) const {
    each<Rows * CHAIN_STRIPS>([&](auto i) __attribute__((always_inline)) {
      storeChains(totals + i * CHAINS, splatChains(0.0f));
    });
    const Pairs* weights = head.weights + panel * pairs_ * CHAIN_STRIPS;
    const float* scales = head.scales + panel * cuts_ * CHAIN_OUTPUTS;
    for (int j = 0; j < shape_.nope; j = cutEnd(j)) {
      const int pairs = pairsOfCut(j);
      multiplyChains<Rows>(totals, reinterpret_cast<const PackedPair*>(queries), weights, pairs, ONES.data(), scales);
      queries += Rows * SCALE_BLOCK * PACKED_BYTES;
      weights += pairs * CHAIN_STRIPS;
      scales += CHAIN_OUTPUTS;
    }
    float* out = command_.out + (firstRow * shape_.heads + head_) * shape_.latent + panel * CHAIN_OUTPUTS;
    const int64_t columns = std::min<int64_t>(CHAIN_OUTPUTS, shape_.latent - panel * CHAIN_OUTPUTS);
    for (int row = 0; row < Rows; row++) {
      storeFloats(out, totals, columns, command_.rows);
      out += static_cast<int64_t>(shape_.heads) * shape_.latent;
      totals += CHAIN_OUTPUTS;
    }
  }

  const AbsorbQuery& command_;
  const MlaShape& shape_;
  const int head_;
  int64_t cuts_ = 0, pairs_ = 0;
};

}  // namespace daysix::DAYSIX_ISA
