// A piece's two products in float32 vectors, over a cache of any format.
//
// Entries are widened to float32 a tile at a time, small enough for L1, once for all lanes and while the tile before is
// multiplied. A tile's columns lie in the arrangement of their format; queries are arranged alike and sums restored.
#pragma once
#include "attention/attention-piece.h"

namespace daysix::DAYSIX_ISA {

/// Rows and vectors of the register tile both products compute in.
constexpr int REGISTER_ROWS = WIDTH / 2;
constexpr int REGISTER_VECTORS = STRIP / WIDTH;
/// The scores' tile of entries: [SCORE_TOKENS, SCORE_DEPTH].
constexpr int SCORE_TOKENS = 16;
constexpr int SCORE_DEPTH = 128;
constexpr int SCORE_TILE = SCORE_TOKENS * SCORE_DEPTH;
/// The sums' tile of entries: [SUM_TOKENS, STRIP].
constexpr int SUM_TOKENS = 64;
constexpr int SUM_TILE = SUM_TOKENS * STRIP;
/// Depth multiplied between two steps of what goes on beside it.
constexpr int STEP_DEPTH = 16;

/// Columns [column, column + stride) of some tokens on their way into a tile whose rows are `stride` long; past the
/// entries' width there are zeros.
template <class Format, int stride>
class Widening {
 public:
  Widening() = default;
  /// In `steps` steps.
  Widening(float* tile, const Piece& piece, Tokens tokens, int column, int steps)
      : piece_(&piece),
        tile_(tile),
        token_(tokens.from),
        end_(tokens.to),
        each_((tokens.to - tokens.from) / std::max(steps, 1) + 1),
        column_(column) {}

  void step() { widen(std::min(token_ + each_, end_)); }
  void finish() { widen(end_); }

 private:
  void widen(int to) {
    const bool whole = token_ < to && column_ + stride <= piece_->width;
    for (; token_ < to; token_++, tile_ += stride) {
      const uint8_t* codes = piece_->at(token_) + int64_t{column_} * Format::BYTES;
      if (whole) {
#pragma GCC unroll 8
        for (int c = 0; c < stride; c += Format::STEP) {
          Vec values[Format::VECTORS];
          Format::decode(values, codes + c * Format::BYTES);
          storeAt(c, values);
        }
      } else {
        widenPart(codes);
      }
    }
  }
  void widenPart(const uint8_t* codes) {
    for (int c = 0; c < stride; c += Format::STEP) {
      Vec values[Format::VECTORS];
      const int left = std::clamp(piece_->width - column_ - c, 0, Format::STEP);
      if (left == Format::STEP) {
        Format::decode(values, codes + c * Format::BYTES);
      } else {
        Format::decode(values, codes + (left ? c * Format::BYTES : 0), left);
      }
      storeAt(c, values);
    }
  }
  void storeAt(int column, const Vec* values) {
    for (int v = 0; v < Format::VECTORS; v++) store(tile_ + column + v * WIDTH, values[v]);
  }

  const Piece* piece_ = nullptr;
  float* tile_ = nullptr;
  int token_ = 0, end_ = 0, each_ = 0, column_ = 0;
};

/// sums[m][n] += Σ_k a[m · rowStride + k · stepA] · b[k · stepB + n · vectorStride], k ascending.
template <int rowStride, int stepA, int stepB, int vectorStride, int M, int N>
[[gnu::always_inline]] inline void accumulate(Vec (&sums)[M][N], const float* a, const float* b, int depth) {
  for (int k = 0; k < depth; k++, a += stepA, b += stepB) {
    Vec right[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) right[n] = load(b + n * vectorStride);
#pragma GCC unroll 16
    for (int m = 0; m < M; m++) {
      const Vec left = splat(a[m * rowStride]);
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) sums[m][n] = fma(left, right[n], sums[m][n]);
    }
  }
}

/// Loads a register tile whose rows and vectors lie `rowStride` and `vectorStride` apart, or clears it.
template <int M, int N>
[[gnu::always_inline]] inline void loadRegisters(Vec (&tile)[M][N], const float* from, int64_t rowStride,
                                            int64_t vectorStride, bool clear) {
#pragma GCC unroll 16
  for (int m = 0; m < M; m++) {
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) tile[m][n] = clear ? splat(0) : load(from + m * rowStride + n * vectorStride);
  }
}

template <int M, int N>
[[gnu::always_inline]] inline void storeRegisters(float* out, int64_t rowStride, int64_t vectorStride,
                                             const Vec (&tile)[M][N]) {
#pragma GCC unroll 16
  for (int m = 0; m < M; m++) {
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) store(out + m * rowStride + n * vectorStride, tile[m][n]);
  }
}

/// Adds one depth's products to the scores of `tokens` tokens and N lane vectors, M tokens at a time, with calls of
/// step between.
template <int M, int N, typename Step>
inline void scoreTokens(float* scores, const float* tile, const float* queries, int tokens, int depth, bool first,
                        Step& step) {
  while (tokens >= M) {
    Vec sums[M][N];
    loadRegisters(sums, scores, WIDTH, KV_PIECE_TOKENS * WIDTH, first);
    for (int k = 0; k < depth; k += STEP_DEPTH) {
      step();
      accumulate<SCORE_DEPTH, 1, WIDTH, SCORE_DEPTH * WIDTH>(sums, tile + k, queries + k * WIDTH,
                                                             std::min(STEP_DEPTH, depth - k));
    }
    storeRegisters(scores, WIDTH, KV_PIECE_TOKENS * WIDTH, sums);
    scores += M * WIDTH;
    tile += M * SCORE_DEPTH;
    tokens -= M;
  }
  if constexpr (M > 1) {
    if (tokens > 0) scoreTokens<M / 2, N>(scores, tile, queries, tokens, depth, first, step);
  }
}

template <int M>
inline int leastOf(const int* counts) {
  int least = counts[0];
  for (int m = 1; m < M; m++) least = std::min(least, counts[m]);
  return least;
}

/// Adds tokens to M lanes' sums over a strip; token 0 begins the sums.
template <int M, typename Step>
inline void sumTokens(float* sums, int stride, const float* probabilities, const float* tile, Tokens tokens,
                      Step& step) {
  if (tokens.from >= tokens.to && tokens.from > 0) return;
  Vec acc[M][REGISTER_VECTORS];
  loadRegisters(acc, sums, stride, WIDTH, tokens.from == 0);
  for (int t = tokens.from; t < tokens.to; t += STEP_DEPTH, tile += STEP_DEPTH * STRIP) {
    step();
    accumulate<1, WIDTH, STRIP, WIDTH>(acc, probabilities + t * WIDTH, tile, std::min(STEP_DEPTH, tokens.to - t));
  }
  storeRegisters(sums, stride, WIDTH, acc);
}

/// Sums a tile for lanes [lane, end), which share a vector, M at a time: first the tokens that all M see, then each
/// lane's further tokens, since an entry that a lane may not see may hold NaN.
template <int M, typename Step>
inline void sumLanes(float* sums, int stride, const float* scores, const float* tile, const int* visible, int lanes,
                     Tokens tokens, Step& step) {
  while (lanes >= M) {
    const int common = std::clamp(leastOf<M>(visible), tokens.from, tokens.to);
    sumTokens<M>(sums, stride, scores, tile, {tokens.from, common}, step);
    for (int m = 0; m < M; m++) {
      sumTokens<1>(sums + m * stride, stride, scores + m, tile + (common - tokens.from) * STRIP,
                   {common, std::min(visible[m], tokens.to)}, step);
    }
    sums += M * stride;
    scores += M;
    visible += M;
    lanes -= M;
  }
  if constexpr (M > 1) {
    if (lanes > 0) sumLanes<M / 2>(sums, stride, scores, tile, visible, lanes, tokens, step);
  }
}

template <class Format>
class VectorAttention {
 public:
  static constexpr int VALUE_BYTES = Format::BYTES;
  /// Lanes of a block, and of one cut for more threads.
  static constexpr int LANES = 64, LEAST_LANES = REGISTER_VECTORS * WIDTH;
  /// Tokens computed together.
  static constexpr int TOKENS = 1;
  /// Tokens of a piece that are fetched before it is begun.
  static constexpr int AHEAD = SCORE_TOKENS;
  static constexpr int TILES = 2 * std::max(SUM_TILE, SCORE_TILE);

  explicit VectorAttention(int width) : depths_((width + SCORE_DEPTH - 1) / SCORE_DEPTH) {
    float columns[Format::STEP];
    Vec arranged[Format::VECTORS];
    for (int i = 0; i < Format::STEP; i++) columns[i] = static_cast<float>(i);
    for (int v = 0; v < Format::VECTORS; v++) arranged[v] = load(columns + v * WIDTH);
    Format::arrange(arranged);
    for (int v = 0; v < Format::VECTORS; v++) store(columns + v * WIDTH, arranged[v]);
    for (int i = 0; i < Format::STEP; i++) places_[static_cast<int>(columns[i])] = i;
  }

  /// Floats of a lane's query: [depths of SCORE_DEPTH, lane vectors, SCORE_DEPTH, WIDTH] of all.
  int queryFloats() const { return depths_ * SCORE_DEPTH; }

  /// Packs one of `vectors` lane vectors' queries, rounded if so wished; lanes without one are zero, and so is what
  /// fills up the width.
  void pack(float* out, int vectors, int vector, const LaneQueries& queries, bool round) const {
    const int width = queries.absorbed.count + queries.rotated.count;
    packPart(out, vectors, vector, queries.absorbed, 0, queries.lanes, round);
    packPart(out, vectors, vector, queries.rotated, queries.absorbed.count, queries.lanes, round);
    for (int k = width; k % Format::STEP != 0; k++) store(out + placeOf(vectors, vector, k), splat(0));
  }

  /// scores = entries · queries, for all visible tokens and all lanes.
  static void score(const BlockMemory& memory, const Piece& piece, const Visible& visible) {
    using Filling = Widening<Format, SCORE_DEPTH>;
    const int vectors = wholeVectors(visible.lanes) / WIDTH;
    const int depths = (piece.width + SCORE_DEPTH - 1) / SCORE_DEPTH;
    const int tiles = (visible.tokens + SCORE_TOKENS - 1) / SCORE_TOKENS * depths;
    const int steps = vectors * SCORE_TOKENS * SCORE_DEPTH / (REGISTER_ROWS * REGISTER_VECTORS * STEP_DEPTH);
    const auto fill = [&](int index) {
      if (index == tiles) return Filling();
      const int from = index / depths * SCORE_TOKENS;
      const Tokens tokens{from, std::min(from + SCORE_TOKENS, visible.tokens)};
      return Filling(memory.tiles + index % 2 * SCORE_TILE, piece, tokens, index % depths * SCORE_DEPTH, steps);
    };
    fill(0).finish();
    Prefetch prefetch(piece, {0, 0}, 1);
    for (int index = 0; index < tiles; index++) {
      const int from = index / depths * SCORE_TOKENS, column = index % depths * SCORE_DEPTH;
      if (column == 0) {
        const int ahead = from + SCORE_TOKENS;
        prefetch = ahead < visible.tokens ? Prefetch(piece, {ahead, ahead + SCORE_TOKENS}, int64_t{steps} * depths)
                                          : Prefetch(*piece.next, {0, SCORE_TOKENS}, int64_t{steps} * depths);
      }
      Filling next = fill(index + 1);
      const auto step = [&] {
        next.step();
        prefetch.step();
      };
      const int tokens = std::min(SCORE_TOKENS, visible.tokens - from);
      const int depth = std::min(SCORE_DEPTH, (piece.width - column + Format::STEP - 1) / Format::STEP * Format::STEP);
      const float* tile = memory.tiles + index % 2 * SCORE_TILE;
      const float* queries = memory.queries + static_cast<int64_t>(column) * vectors * WIDTH;
      for (int v = 0; v < vectors; v += REGISTER_VECTORS) {
        float* scores = memory.scores + (v * KV_PIECE_TOKENS + from) * WIDTH;
        const float* lanes = queries + v * SCORE_DEPTH * WIDTH;
        if (v + REGISTER_VECTORS <= vectors) {
          scoreTokens<REGISTER_ROWS, REGISTER_VECTORS>(scores, tile, lanes, tokens, depth, column == 0, step);
        } else {
          scoreTokens<REGISTER_ROWS * REGISTER_VECTORS, 1>(scores, tile, lanes, tokens, depth, column == 0, step);
        }
      }
      next.finish();
    }
  }

  /// sums = probabilities · latents, for all lanes and columns.
  static void sum(const BlockMemory& memory, const Piece& piece, int latent, const Visible& visible,
                  const PieceResult& out) {
    using Filling = Widening<Format, STRIP>;
    const int strips = (latent + STRIP - 1) / STRIP;
    const int tiles = (visible.tokens + SUM_TOKENS - 1) / SUM_TOKENS * strips;
    const int steps = (visible.lanes + REGISTER_ROWS - 1) / REGISTER_ROWS * (SUM_TOKENS / STEP_DEPTH);
    const auto tokensOf = [&](int index) {
      const int from = index / strips * SUM_TOKENS;
      return Tokens{from, std::min(from + SUM_TOKENS, visible.tokens)};
    };
    const auto fill = [&](int index) {
      if (index == tiles) return Filling();
      return Filling(memory.tiles + index % 2 * SUM_TILE, piece, tokensOf(index), index % strips * STRIP, steps);
    };
    fill(0).finish();
    for (int index = 0; index < tiles; index++) {
      Filling next = fill(index + 1);
      const auto step = [&] { next.step(); };
      const float* tile = memory.tiles + index % 2 * SUM_TILE;
      float* sums = out.sums + index % strips * STRIP;
      for (int lane = 0; lane < visible.lanes; lane += WIDTH) {
        sumLanes<REGISTER_ROWS>(sums + static_cast<int64_t>(lane) * out.stride, out.stride,
                                memory.scores + lane * KV_PIECE_TOKENS, tile, visible.of + lane,
                                std::min(WIDTH, visible.lanes - lane), tokensOf(index), step);
      }
      next.finish();
    }
  }

  /// A strip's sums in the columns' own order.
  static void restore(Vec* strip) {
    for (int v = 0; v < REGISTER_VECTORS; v += Format::VECTORS) Format::restore(strip + v);
  }

 private:
  /// Packs values that are a query's `first` and on.
  void packPart(float* out, int vectors, int vector, const LaneQueries::Part& part, int first, int lanes,
                bool round) const {
    for (int from = 0; from < part.count; from += WIDTH) {
      const int n = std::min(WIDTH, part.count - from);
      Vec square[WIDTH];
      for (int i = 0; i < WIDTH; i++) {
        const Vec row = i < lanes ? load(part.values + i * part.stride + from, n) : splat(0);
        square[i] = round ? roundToBf16(row) : row;
      }
      transpose(square);
      for (int i = 0; i < n; i++) store(out + placeOf(vectors, vector, first + from + i), square[i]);
    }
  }

  /// Where value k of a lane vector's queries lies, arranged as the entries are.
  int64_t placeOf(int vectors, int vector, int k) const {
    const int at = k / Format::STEP * Format::STEP + places_[k % Format::STEP];
    return ((int64_t{at} / SCORE_DEPTH * vectors + vector) * SCORE_DEPTH + at % SCORE_DEPTH) * WIDTH;
  }

  int depths_;
  /// Place of each of a format's columns in its arrangement.
  int places_[Format::STEP];
};

}  // namespace daysix::DAYSIX_ISA
