// W_UKᵀ times the queries of a few rows, of BF16 weights: two weight rows after the other are read along the latent, once,
// and paired on the way. The chains are those of absorb-chain.h.
#pragma once
#include "gemm/product-chain.h"

namespace daysix::DAYSIX_ISA {

/// Columns whose values are paired together.
constexpr int LINE_COLUMNS = 2 * CHAINS;

/// Rows whose chains over a line or more fit the registers.
constexpr int FEW_ABSORBED_ROWS = REGISTERS == 32 ? 8 : 1;

/// A head's W_UK where it lies, and its queries: [cut][row][SCALE_BLOCK] packed values of its rows.
struct AbsorbedRows {
  const uint8_t* weights;
  int64_t latent;
  const uint8_t* queries;
};

/// out[row][columns] of one cut, weight rows from up to to, for the lines from `column` on. Sums of a cut are added to
/// those of the ones before.
template <int Rows, int Lines>
inline void absorbLines(float* out, const AbsorbedRows& head, int64_t column, int from, int to, int64_t cut) {
  constexpr int AHEAD_ROWS = 16;
  const int64_t rowBytes = head.latent * sizeof(uint16_t);
  const auto* queries =
      reinterpret_cast<const PackedPair*>(head.queries + cut * Rows * SCALE_BLOCK * PACKED_BYTES);
  Chains sums[Rows][Lines][2];
  each<Rows * Lines * 2>([&](auto i) __attribute__((always_inline)) {
    sums[i / (2 * Lines)][i / 2 % Lines][i % 2] = splatChains(0.0f);
  });
  for (int j = from; j < to; j += 2, queries++) {
    const uint8_t* even = head.weights + j * rowBytes + column * sizeof(uint16_t);
    each<Lines>([&](auto line) __attribute__((always_inline)) {
      const uint8_t* at = even + line * LINE_COLUMNS * sizeof(uint16_t);
      __builtin_prefetch(at + AHEAD_ROWS * rowBytes);
      __builtin_prefetch(at + (AHEAD_ROWS + 1) * rowBytes);
      // A last row without another has zero beside it.
      const PairWords words = loadWords(at);
      Pairs weights[2];
      pairValues(weights[0], weights[1], words, j + 1 < to ? loadWords(at + rowBytes) : PairWords{});
      each<Rows>([&](auto row) __attribute__((always_inline)) {
        const Pairs query = splatPair(queries[row * PAIRS_OF_BLOCK]);
        each<2>([&](auto half) __attribute__((always_inline)) {
          sums[row][line][half] = chain(query, weights[half], sums[row][line][half]);
        });
      });
    });
  }
  each<Rows>([&](auto row) __attribute__((always_inline)) {
    each<Lines>([&](auto line) __attribute__((always_inline)) {
      float* totals = out + row * head.latent + column + line * LINE_COLUMNS;
      each<2>([&](auto half) __attribute__((always_inline)) {
        storeChains(totals + half * CHAINS, loadChains(totals + half * CHAINS) + sums[row][line][half]);
      });
    });
  });
}

/// Adds a cut's products over the whole latent, which is a multiple of LINE_COLUMNS.
template <int Rows>
inline void absorbCut(float* out, const AbsorbedRows& head, int from, int to, int64_t cut) {
  constexpr int LINES = FEW_ABSORBED_ROWS / Rows;
  int64_t column = 0;
  for (; column + LINES * LINE_COLUMNS <= head.latent; column += LINES * LINE_COLUMNS) {
    absorbLines<Rows, LINES>(out, head, column, from, to, cut);
  }
  for (; column < head.latent; column += LINE_COLUMNS) absorbLines<Rows, 1>(out, head, column, from, to, cut);
}

}  // namespace daysix::DAYSIX_ISA
