// The two halves of kv_b_proj, each used by itself (absorbed attention): W_UK moves queries into the latent space, W_UV
// brings latent sums out of it. kvB is [heads × (nope + value), latent]: each head's W_UK rows, then its W_UV rows.
#pragma once
#include "gemm/absorb-chain.h"
#include "gemm/gemm.h"
#if defined(DAYSIX_TILES)
#include "gemm/absorb-tile.h"
#endif

namespace daysix::DAYSIX_ISA {

/// Calls run(head, first row, rows, scratch) as tasks for all heads of `rows` rows, of as many as share a decoded copy of a
/// head's weights.
template <typename Run>
inline void forkHeads(Team& team, int heads, int64_t rows, Run&& run) {
  constexpr int64_t LEAST_ROWS = 96, MOST_ROWS = 512, TASKS_PER_THREAD = 4;
  const int64_t even = ceilDivide(rows * heads, TASKS_PER_THREAD * team.threads());
  const Tiling blocks{rows, static_cast<int>(std::clamp(even, LEAST_ROWS, MOST_ROWS))};
  team.fork(blocks.count() * heads, [&](int64_t task, Scratch& scratch) {
    const int64_t block = task % blocks.count();
    run(static_cast<int>(task / blocks.count()), blocks.first(block), blocks.rowsOf(block), scratch);
  });
}

/// out[row, head] = W_UV[head] · latentSum[row, head]. Of few rows all heads' are packed first, of more each head's where
/// they are multiplied.
template <TileUse Use = TileUse::always>
inline void projectValue(const ProjectValue& command, Team& team) {
  const auto& [heads, nope, rope, value, latent, scale] = command.shape;
  if (command.rows == 0 || heads == 0 || value == 0) return;
  const InputRows like = {Dtype::f32, nullptr, static_cast<int64_t>(heads) * latent, nullptr, command.roundInputs};
  const auto product = [&](int head, int64_t firstRow, int64_t rows) {
    const int64_t at = firstRow * heads + head;
    InputRows x = like;
    x.values = reinterpret_cast<const uint8_t*>(command.latentSum + at * latent);
    return Product{&command.kvB, static_cast<int64_t>(head) * (nope + value) + nope, value, x, rows,
                   {Dtype::f32, command.out + at * value}, static_cast<int64_t>(heads) * value, nullptr};
  };
  const Forms forms = formsOf<Use>(like, command.kvB);
  if (&forms.more == &ON_CHAIN && command.rows > SMALL_ROUND_ROWS) {
    return forkHeads(team, heads, command.rows, [&](int head, int64_t firstRow, int64_t rows, Scratch& scratch) {
      ON_CHAIN.multiply(product(head, firstRow, rows), 0, value, scratch);
    });
  }
  ProductBatch batch(team, forms, command.kvB, heads, static_cast<int64_t>(command.rows) * heads);
  for (int head = 0; head < heads; head++) batch.add(product(head, 0, command.rows));
  batch.run();
}

/// W_UK[head]ᵀ times the head's query of some rows. Lanes lie over the latent, in tiles of TILE_VECTORS vectors; the
/// sum runs over weight rows in order, and is cut and promoted where weight rows that share scales end.
template <Dtype D>
class AbsorbedHead {
 public:
  AbsorbedHead(const AbsorbQuery& command, int head) : command_(command), shape_(command.shape), head_(head) {}

  /// Rows from up to to. One or two decode weights next to the multiply, more share a decoded copy.
  void multiply(int64_t from, int64_t to, Scratch& scratch) {
    const int64_t tiles = ceilDivide(shape_.latent, TILE_COLUMNS);
    const int64_t copied = to - from > DIRECT_ROWS ? tiles * shape_.nope * TILE_COLUMNS : 0;
    auto* weights = static_cast<float*>(scratch.reserve((copied + MOST_ROWS * shape_.nope) * sizeof(float)));
    float* queries = weights + copied;
    if (copied == 0) {
      withRows<DIRECT_ROWS>(static_cast<int>(to - from),
                            [&](auto rows) { multiplyDirect<rows>(queries, from, tiles); });
      return;
    }
    copyWeights(weights, tiles);
    const Tiling tiling{to - from};
    for (int64_t rowTile = 0; rowTile < tiling.count(); rowTile++) {
      const int rows = tiling.rowsOf(rowTile);
      packQueries(queries, from + tiling.first(rowTile), rows);
      for (int64_t tile = 0; tile < tiles; tile++) {
        multiplyRows(rows, queries, from + tiling.first(rowTile), tile, weights + tile * shape_.nope * TILE_COLUMNS);
      }
    }
  }

 private:
  static constexpr int TILE_VECTORS = 4;
  static constexpr int TILE_COLUMNS = TILE_VECTORS * WIDTH;
  static constexpr int DIRECT_ROWS = 2;
  static constexpr int MOST_ROWS = std::max(TILE_ROWS, DIRECT_ROWS);
  static constexpr int AHEAD_ROWS = 8;

  int64_t weightRow(int j) const { return static_cast<int64_t>(head_) * (shape_.nope + shape_.value) + j; }

  inline __attribute__((always_inline)) void decode(Vec* out, int j, int64_t tile) const {
    constexpr int BYTES = formatOf(D).valueBytes;
    const uint8_t* row = command_.kvB.data + weightRow(j) * shape_.latent * BYTES;
    for (int i = 0; i < TILE_VECTORS; i++) {
      const int64_t from = tile * TILE_COLUMNS + i * WIDTH;
      const int64_t left = shape_.latent - from;
      if (left >= WIDTH) __builtin_prefetch(row + (from + AHEAD_ROWS * shape_.latent) * BYTES);
      out[i] = left > 0 ? loadUpTo<D>(row + from * BYTES, left) : splat(0.0f);
    }
  }

  template <int Rows>
  void multiplyDirect(float* queries, int64_t from, int64_t tiles) const {
    constexpr int WIDE = REGISTERS == 32 ? 4 / Rows : 1;
    packQueries(queries, from, Rows);
    const auto decoded = [&](Vec* out, int j, int64_t tile) { decode(out, j, tile); };
    int64_t tile = 0;
    for (; tile + WIDE <= tiles; tile += WIDE) multiplyTiles<Rows, WIDE>(queries, from, tile, decoded);
    for (; tile < tiles; tile++) multiplyTiles<Rows, 1>(queries, from, tile, decoded);
  }

  /// [tile][j][TILE_COLUMNS], read in memory's order.
  void copyWeights(float* weights, int64_t tiles) const {
    for (int j = 0; j < shape_.nope; j++) {
      for (int64_t tile = 0; tile < tiles; tile++) {
        Vec v[TILE_VECTORS];
        decode(v, j, tile);
        float* out = weights + (tile * shape_.nope + j) * TILE_COLUMNS;
        for (int i = 0; i < TILE_VECTORS; i++) store(out + i * WIDTH, v[i]);
      }
    }
  }

  /// [j][row]
  void packQueries(float* queries, int64_t firstRow, int rows) const {
    for (int row = 0; row < rows; row++) {
      const float* q = command_.q + ((firstRow + row) * shape_.heads + head_) * (shape_.nope + shape_.rope);
      for (int j = 0; j < shape_.nope; j += WIDTH) {
        const int count = std::min(WIDTH, shape_.nope - j);
        float values[WIDTH];
        const Vec v = load(q + j, count);
        store(values, command_.roundInputs ? roundToBf16(v) : v);
        for (int i = 0; i < count; i++) queries[(j + i) * rows + row] = values[i];
      }
    }
  }

  void multiplyRows(int rows, const float* queries, int64_t firstRow, int64_t tile, const float* weights) const {
    const auto loaded = [&](Vec* out, int j, int64_t) {
      for (int i = 0; i < TILE_VECTORS; i++) out[i] = load(weights + j * TILE_COLUMNS + i * WIDTH);
    };
    withRows(rows, [&](auto constantRows) {
      multiplyTiles<constantRows, 1>(queries, firstRow, tile, loaded);
    });
  }

  template <int Rows, int Tiles, typename Weights>
  void multiplyTiles(const float* queries, int64_t firstRow, int64_t tile, const Weights& weights) const {
    Vec totals[Rows][Tiles][TILE_VECTORS];
    for (auto& row : totals) {
      for (auto& part : row) {
        for (Vec& total : part) total = splat(0.0f);
      }
    }
    for (int j = 0; j < shape_.nope;) {
      const int end = endOfCut(command_.kvB, weightRow(j), j, shape_.nope);
      Vec sums[Rows][Tiles][TILE_VECTORS];
      for (auto& row : sums) {
        for (auto& part : row) {
          for (Vec& sum : part) sum = splat(0.0f);
        }
      }
      const int64_t scaleRow = weightRow(j);
      for (; j < end; j++) {
        for (int t = 0; t < Tiles; t++) {
          Vec w[TILE_VECTORS];
          weights(w, j, tile + t);
          for (int row = 0; row < Rows; row++) {
            const Vec q = splat(queries[j * Rows + row]);
            for (int i = 0; i < TILE_VECTORS; i++) sums[row][t][i] = sums[row][t][i] + q * w[i];
          }
        }
      }
      for (int t = 0; t < Tiles; t++) {
        const Vec scale = splat(weightScale(command_.kvB, scaleRow, (tile + t) * TILE_COLUMNS / SCALE_BLOCK));
        for (int row = 0; row < Rows; row++) {
          for (int i = 0; i < TILE_VECTORS; i++) totals[row][t][i] = totals[row][t][i] + sums[row][t][i] * scale;
        }
      }
    }
    for (int row = 0; row < Rows; row++) {
      for (int t = 0; t < Tiles; t++) storeTile(totals[row][t], firstRow + row, tile + t);
    }
  }

  void storeTile(Vec* totals, int64_t row, int64_t tile) const {
    float* out = command_.out + (row * shape_.heads + head_) * shape_.latent;
    for (int i = 0; i < TILE_VECTORS; i++) {
      const int64_t column = tile * TILE_COLUMNS + i * WIDTH;
      const int64_t left = std::min<int64_t>(WIDTH, shape_.latent - column);
      if (left > 0) store(out + column, totals[i], static_cast<int>(left));
    }
  }

  const AbsorbQuery& command_;
  const MlaShape& shape_;
  const int head_;
};

/// Calls run with what multiplies the queries of a head of some rows.
template <TileUse Use, typename Run>
inline void withAbsorbedHead(const AbsorbQuery& command, int head, Run&& run) {
  const bool fits = fitsChain(command.kvB.dtype, Dtype::f32, command.roundInputs);
#if defined(DAYSIX_TILES)
  if (fits && hasTileFormat(command.kvB.dtype) &&
      (Use == TileUse::always || (Use == TileUse::notForSingleRows && command.rows > 1))) {
    return withTileFormat(command.kvB.dtype, [&](auto format) {
      run(AbsorbedHeadOnTiles<decltype(format)>(command, head));
    });
  }
#endif
  if (fits) {
    return withChainDtype(command.kvB.dtype, [&](auto dtype) { run(AbsorbedHeadOnChain<dtype>(command, head)); });
  }
  withDtype(command.kvB.dtype, [&](auto dtype) { run(AbsorbedHead<dtype>(command, head)); });
}

template <TileUse Use = TileUse::always>
inline void absorbQuery(const AbsorbQuery& command, Team& team) {
  forkHeads(team, command.shape.heads, command.rows, [&](int head, int64_t firstRow, int64_t rows, Scratch& scratch) {
    withAbsorbedHead<Use>(command, head, [&](auto absorbed) { absorbed.multiply(firstRow, firstRow + rows, scratch); });
  });
}

}  // namespace daysix::DAYSIX_ISA
